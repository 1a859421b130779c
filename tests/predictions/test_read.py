"""Scores, fields and rechannelled denoisers of an exact mixture."""

import jax
import jax.numpy as jnp
import numpy as np
import problems
import pytest

import jaxgen as jg
from jaxgen import densities, predictions
from jaxgen.processes import log_snr

scalar = jg.processes.scalar
PROCESSES = {
    "vp": scalar.vp(),
    "ve": scalar.ve(),
    "edm": scalar.edm(),
    "cosine": scalar.cosine(),
    "linear_flow": scalar.linear_flow(),
    "cld": jg.processes.augmented.cld(),
}
everywhere = pytest.mark.parametrize("name", list(PROCESSES))
MIXTURE = problems.mixture_a()


def states(process, ts, seed=0):
    """A noised example of the mixture at each of the times ts [n]."""
    keys = jax.random.split(jax.random.key(seed), len(ts))
    draw = lambda key, t: densities.marginal(MIXTURE, process, t).sample(key)
    return jax.jit(jax.vmap(draw))(keys, jnp.asarray(ts))


@everywhere
def test_score_and_field_of_the_exact_denoiser(name):
    process = PROCESSES[name]
    denoiser = densities.denoiser(MIXTURE, process)
    log_p = lambda z, t: densities.marginal(MIXTURE, process, t).logdensity(z)

    @jax.jit
    @jax.vmap
    def fn(z, t):
        field = jg.as_field(process, denoiser)
        slope_z, slope_t = jax.grad(log_p, (0, 1))(z, t)
        divergence = jg.math.divergence.exact()(lambda z: field(z, t), z)[1]
        # Mass is conserved: d/dt log p + div f + f . grad log p = 0.
        along = jnp.sum(field(z, t) * slope_z)
        sizes = jnp.abs(slope_t) + jnp.abs(divergence) + jnp.abs(along)
        scores = jg.as_score(process, denoiser)(z, t), slope_z
        return (slope_t + divergence + along) / sizes, *scores

    ts = jg.grids.karras(process, 9)
    residuals, scores, gradients = fn(states(process, ts), jnp.asarray(ts))
    assert np.max(np.abs(residuals)) < 1e-7
    np.testing.assert_allclose(scores, gradients, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("kind", ["eps", "v", "score", "edm"])
@pytest.mark.parametrize("name", ["vp", "cld"])
def test_all_kinds_have_one_score(name, kind):
    process = PROCESSES[name]
    kind = predictions.edm() if kind == "edm" else kind
    denoiser = densities.denoiser(MIXTURE, process)
    row = predictions.row_of(kind)

    def predict(z, t):
        from_z, from_prediction = predictions.reading(process, row, t)
        known = jg.math.contract(from_z, z)
        return (denoiser(z, t) - known) / from_prediction

    z, t = states(process, [0.3])[0], 0.3
    for read in (jg.as_score, jg.as_field):
        ours = read(process, predict, kind=kind)(z, t)
        np.testing.assert_allclose(ours, read(process, denoiser)(z, t), rtol=1e-10)


def test_field_of_a_velocity_is_itself():
    process = PROCESSES["linear_flow"]
    velocity = lambda x, t: jnp.sin(x) + t
    field = jg.as_field(process, velocity, kind="velocity")
    x = jnp.asarray([0.4, -2.0])
    for t in (1e-3, 0.3, 0.9):
        np.testing.assert_allclose(field(x, t), velocity(x, t), rtol=1e-9)


def test_field_is_the_textbook_field():
    x, t = problems.STARTS[:8], 0.4
    for name, field in (("vp", problems.field_vp), ("edm", problems.field_edm)):
        read = jg.as_field(PROCESSES[name], densities.denoiser(MIXTURE, PROCESSES[name]))
        ours = jax.jit(jax.vmap(read, (0, None)))
        np.testing.assert_allclose(ours(x, t), field(x, t), rtol=1e-10, atol=1e-12)
    cld = PROCESSES["cld"]
    ours = jax.jit(jax.vmap(jg.as_field(cld, densities.denoiser(MIXTURE, cld)), (0, None)))
    z = problems.STARTS_CLD
    np.testing.assert_allclose(ours(z, t), problems.field_cld(z, t), rtol=1e-10, atol=1e-11)


@everywhere
def test_rechannelled_denoiser_is_the_processes_own(name):
    vp, process = PROCESSES["vp"], PROCESSES[name]
    t_min, t_max = predictions.matched_times(process, vp)
    ts = np.repeat(np.linspace(0, 1, 25) ** 2 * (t_max - t_min) + t_min, 20)
    ours = predictions.rechannel(densities.denoiser(MIXTURE, vp), vp, process)
    own = densities.denoiser(MIXTURE, process)
    both = jax.jit(jax.vmap(lambda z, t: (ours(z, t), own(z, t))))(
        states(process, ts), jnp.asarray(ts)
    )
    assert np.max(np.abs(both[0] - both[1])) < 1e-9


@everywhere
def test_matched_times_have_one_signal_to_noise_ratio(name):
    vp, process = PROCESSES["vp"], PROCESSES[name]
    ends = predictions.matched_times(process, vp)
    assert all(isinstance(t, np.ndarray | np.float64) for t in ends)
    assert process.t_min <= ends[0] < ends[1] <= process.t_max
    for t, trained, own in zip(
        ends, (vp.t_min, vp.t_max), (process.t_min, process.t_max), strict=True
    ):
        wanted = float(log_snr(vp, np.float64(trained)))
        found = float(log_snr(process, np.float64(t)))
        assert found == pytest.approx(wanted, abs=1e-9) or t == pytest.approx(own, abs=1e-12)


def test_times_beyond_the_training_are_clipped():
    edm, small = PROCESSES["edm"], scalar.edm(t_min=0.1, t_max=2.0)
    seen = lambda t: predictions.rechannel(lambda x, s: jnp.stack([s]), small, edm)(jnp.ones(1), t)[
        0
    ]
    assert (float(seen(0.01)), float(seen(1.0)), float(seen(50.0))) == pytest.approx(
        (0.1, 1.0, 2.0)
    )


def test_beyond_the_training_data_or_noise_keep_their_scale():
    # vp was trained down to noise 0.0105 on data of deviation 0.2 or more: almost the answer.
    vp, edm = PROCESSES["vp"], PROCESSES["edm"]
    ours = predictions.rechannel(densities.denoiser(MIXTURE, vp), vp, edm)
    z = jnp.asarray([1.3, 1.2])
    np.testing.assert_allclose(
        ours(z, 0.002), densities.denoiser(MIXTURE, edm)(z, 0.002), atol=2e-3
    )
    # Noisier than trained: the denoiser is handed noise of the size that it knows.
    small = scalar.edm(t_min=0.1, t_max=2.0)
    handed = predictions.rechannel(lambda x, s: x, small, edm)(50 * z, 50.0)
    np.testing.assert_allclose(handed, 2 * z, rtol=1e-14)


@pytest.mark.slow
def test_rechannel_has_traced_times_and_gradients():
    vp, cld = PROCESSES["vp"], PROCESSES["cld"]
    fn = lambda z, t: jnp.sum(predictions.rechannel(densities.denoiser(MIXTURE, vp), vp, cld)(z, t))
    own = lambda z, t: jnp.sum(densities.denoiser(MIXTURE, cld)(z, t))
    z = states(cld, [0.3])[0]
    ours, exact = (jax.jit(jax.grad(f, (0, 1)))(z, 0.3) for f in (fn, own))
    np.testing.assert_allclose(ours[0], exact[0], rtol=1e-8)
    np.testing.assert_allclose(ours[1], exact[1], rtol=1e-8)


@pytest.mark.parametrize("name", ["edm", "cld"])
def test_rechannel_in_float32(name):
    vp, process = PROCESSES["vp"], PROCESSES[name]
    ends = predictions.matched_times(process, vp)
    ts = np.asarray(jg.grids.log_snr(process, 6, t_min=ends[0], t_max=ends[1]), np.float32)
    zs = np.asarray(states(process, ts))

    def fn(mixture, z, t):
        ours = predictions.rechannel(densities.denoiser(mixture, vp), vp, process)
        return ours(z, t), densities.denoiser(mixture, process)(z, t)

    with jax.enable_x64(False):
        small = jax.tree.map(np.float32, MIXTURE)
        ours, own = jax.jit(jax.vmap(fn, (None, 0, 0)))(small, zs.astype(np.float32), ts)
    assert ours.dtype == jnp.float32
    np.testing.assert_allclose(ours, own, atol=3e-4)


def test_rechannel_of_blocks_is_refused():
    with pytest.raises(
        ValueError, match="rechannel: trained_under must be a scalar process; got blocks"
    ):
        predictions.rechannel(None, PROCESSES["cld"], PROCESSES["vp"])
