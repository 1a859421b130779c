"""Processes diagonal in a basis: one scalar process for each entry, in every verb and reading."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.fft
import scipy.integrate

import jaxgen as jg
from jaxgen.processes import is_diagonal, log_snr, mean_log_snr, scalar

diagonal = jg.processes.diagonal
BETAS = np.array([20.0, 8.0, 14.0])
EQUAL = diagonal.anisotropic(scalar.vp, 0.1, np.full(3, 20.0))
DIFFERENT = diagonal.anisotropic(scalar.vp, np.array([0.1, 0.3, 0.2]), BETAS)
MIXTURE = jg.densities.gaussian_mixture(
    [0.3, 0.7],
    [[-1.0, 0.5, 0.0], [1.0, -0.5, 0.3]],
    [np.diag([0.2, 0.1, 0.3]) + 0.05, np.diag([0.1, 0.4, 0.2]) - 0.02],
)
Z, X0 = jnp.array([0.3, -0.2, 0.9]), jnp.array([0.7, -1.1, 0.2])


slowly = functools.partial(pytest.param, marks=pytest.mark.slow)


@functools.cache
def spectral():
    return {
        "anisotropic": DIFFERENT,
        "monotone": diagonal.anisotropic(
            scalar.monotone, np.array([[0.3, -1.0], [0.5, 0.0], [2.0, 1.0]]), event=(3,)
        ),
        "blurring": diagonal.blurring((2, 3), blur=2.0),
        "frequency_wise": diagonal.frequency_wise(1 / (1 + diagonal.frequencies((2, 3)))),
    }


@pytest.mark.parametrize(
    "name",
    ["anisotropic", *(slowly(name) for name in ("monotone", "blurring", "frequency_wise"))],
)
def test_transition_is_the_integral_of_drift_and_diffusion(name):
    process = spectral()[name]
    lo, hi = process.t_min + 1e-3, process.t_max
    ts = np.linspace(lo, hi, 5)
    coefficients = jax.jit(lambda t: (process.drift(t), process.diffusion(t)))

    def slope(t, flat):
        drift, noise = (np.asarray(part).ravel() for part in coefficients(t))
        log_alpha, variance = flat.reshape(2, -1)
        return np.concatenate([drift + 0 * log_alpha, 2 * drift * variance + noise**2])

    moments = lambda t: [np.asarray(part).ravel() for part in process.transition(np.asarray(t))]
    alpha, sigma = moments(lo)
    found = scipy.integrate.solve_ivp(
        slope,
        (lo, hi),
        np.concatenate([np.log(alpha), sigma**2]),
        t_eval=ts,
        method="DOP853",
        rtol=1e-11,
        atol=1e-13,
    )
    for t, flat in zip(ts[1:], found.y.T[1:], strict=True):
        ours = moments(t)
        log_alpha, variance = flat.reshape(2, -1)
        np.testing.assert_allclose(ours[0], np.exp(log_alpha), rtol=1e-8)
        np.testing.assert_allclose(ours[1] ** 2, variance, rtol=1e-8)


def test_entries_are_the_scalar_processes():
    coefficients = jax.jit(lambda p, t: (*p.transition(t), p.drift(t), p.diffusion(t)))
    for i, (low, high) in enumerate([(0.1, 20.0), (0.3, 8.0), (0.2, 14.0)]):
        entry = scalar.vp(low, high)
        for number, ts in ((np, np.array([[0.1, 0.5]])), (jnp, jnp.array([[0.1, 0.5]]))):
            ours, theirs = (
                one.transition(ts) if number is np else coefficients(one, ts)
                for one in (DIFFERENT, entry)
            )
            for array, expected in zip(ours, theirs, strict=True):
                assert array.shape == (1, 2, 3)
                np.testing.assert_allclose(array[..., i], expected, rtol=1e-13)
    for part in DIFFERENT.transition(np.float64(0.3)):
        assert type(part) is np.ndarray


@pytest.mark.slow
def test_many_distinct_entries_are_worked_out_together():
    process = diagonal.anisotropic(scalar.vp, 0.1, np.linspace(5.0, 20.0, 8100))
    alpha, sigma = process.transition(np.array([0.2, 0.7]))
    expected = scalar.vp(0.1, process.entries.transition.args[2][7650]).transition(np.array(0.7))
    assert type(alpha) is np.ndarray
    assert alpha.dtype == np.float64
    np.testing.assert_allclose((alpha[1, 7650], sigma[1, 7650]), expected, rtol=1e-13)


@pytest.mark.slow
def test_equal_numbers_are_the_scalar_process_in_every_verb():
    t, kinds = 0.3, ("eps", "v", "velocity", jg.predictions.edm(0.7))
    predict, score = lambda z, t: jnp.tanh(z) * t, jg.losses.score

    def verbs(process, key):
        law = jg.prior(process, (3,))
        found = {
            "corrupt": jg.corrupt(process, X0, Z, t),
            "log_snr": log_snr(process, t) + jnp.zeros(3),
            "mean_log_snr": mean_log_snr(process, t),
            "lift": jg.lift(process, X0, Z),
            "data_part": jg.data_part(process, Z),
            "prior": (law.sample(key), law.logdensity(Z)),
            "marginal": jg.densities.marginal(MIXTURE, process, t).logdensity(Z),
            "denoiser": jg.densities.denoiser(MIXTURE, process)(Z, t),
            "covariance": jg.densities.posterior_covariance(MIXTURE, process)(Z, t),
            "score": jg.as_score(process, predict, kind="score")(Z, t),
            "loss": score.denoising(process, lambda params, z, t: z * t, kind="v")(None, key, X0),
            "weighted": score.denoising(
                process, lambda params, z, t: z, kind="eps", weighting=score.snr_weight(process)
            )(None, key, X0),
            "field": jg.as_field(process, predict, kind="eps")(Z, t),
        }
        for i, kind in enumerate(kinds):
            found[f"read {i}"] = jg.as_denoiser(process, predict, kind=kind)(Z, t)
            found[f"target {i}"] = jg.predictions.target(process, kind, X0, Z, t)
        return found

    key = jax.random.key(0)
    with jax.debug_key_reuse(False):
        ours, theirs = (jax.jit(verbs)(one, key) for one in (EQUAL, scalar.vp()))
    chex.assert_trees_all_close(ours, theirs, rtol=1e-12, atol=1e-12)
    assert jg.processes.noise_shape(EQUAL, (3,)) == (3,)
    for grid in (jg.grids.uniform, jg.grids.log_snr, jg.grids.karras, jg.grids.cosine):
        np.testing.assert_allclose(grid(EQUAL, 5), grid(scalar.vp(), 5), rtol=1e-12)


@pytest.mark.slow
def test_equal_numbers_are_the_scalar_process_in_losses():
    score, apply = jg.losses.score, lambda params, z, t: params * jnp.sin(z) + t

    def losses(process, key):
        made = [
            score.denoising(process, apply, kind="velocity"),
            score.denoising(process, apply, kind="v", weighting=score.snr_weight(process)),
            score.denoising(process, apply, kind="eps", time=score.log_normal_noise(process)),
            score.implicit(process, apply, kind="eps"),
            score.sliced(process, apply, kind="eps"),
        ]
        return [loss_fn(0.7, key, X0) for loss_fn in made]

    key = jax.random.key(1)
    with jax.debug_key_reuse(False):
        ours, theirs = (jax.jit(losses)(one, key) for one in (EQUAL, scalar.vp()))
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_targets_read_back_as_data_and_scores_are_gradients():
    exact = jg.densities.denoiser(MIXTURE, DIFFERENT)

    @jax.jit
    def all_at(t):
        z, back = jg.corrupt(DIFFERENT, X0, Z, t), []
        for kind in ("eps", "score", "v", "velocity", jg.predictions.edm(0.7)):
            truth = jg.predictions.target(DIFFERENT, kind, X0, Z, t)
            back.append(jg.as_denoiser(DIFFERENT, lambda z, t, truth=truth: truth, kind=kind)(z, t))
        slope = jax.grad(jg.densities.marginal(MIXTURE, DIFFERENT, t).logdensity)(z)
        # Tweedie's second identity: Cov = (sigma^2 / alpha) d x0hat / dz, entry by entry.
        alpha, sigma = DIFFERENT.transition(t)
        jacobian = jax.jacobian(exact)(z, t) * (sigma**2 / alpha)[None]
        covariance = jg.densities.posterior_covariance(MIXTURE, DIFFERENT)(z, t)
        return jnp.stack(back), jg.as_score(DIFFERENT, exact)(z, t), slope, jacobian, covariance

    for t in (0.02, 0.5, 0.95):
        back, score, slope, jacobian, covariance = all_at(t)
        np.testing.assert_allclose(back, np.tile(X0, (5, 1)), rtol=1e-9)
        np.testing.assert_allclose(score, slope, rtol=1e-8)
        np.testing.assert_allclose(jacobian, covariance, rtol=1e-8, atol=1e-12)


@pytest.mark.slow
def test_marginal_is_the_law_of_the_noised_samples():
    t, n = 0.25, 40_000
    alpha, sigma = (np.asarray(part) for part in DIFFERENT.transition(np.float64(t)))
    weights = np.array([0.3, 0.7])
    means = np.array([[-1.0, 0.5, 0.0], [1.0, -0.5, 0.3]])
    covs = np.array([np.diag([0.2, 0.1, 0.3]) + 0.05, np.diag([0.1, 0.4, 0.2]) - 0.02])
    log_p = [
        np.log(w) + scipy.stats.multivariate_normal(alpha * m, c * np.outer(alpha, alpha)
        + np.diag(sigma**2)).logpdf(Z) for w, m, c in zip(weights, means, covs, strict=True)
    ]  # fmt: skip
    law = jg.densities.marginal(MIXTURE, DIFFERENT, t)
    assert float(law.logdensity(Z)) == pytest.approx(np.logaddexp(*log_p), abs=1e-12)
    zs = np.asarray(jax.jit(jax.vmap(law.sample))(jax.random.split(jax.random.key(2), n)))
    mean = alpha * (weights @ means)
    spread = np.sqrt(zs.var(0) / n)
    assert (np.abs(zs.mean(0) - mean) < 5 * spread).all()


@pytest.mark.parametrize("name", ["anisotropic", slowly("blurring")])
def test_float32_sweep(name):
    process = spectral()[name]
    ts = np.linspace(process.t_min, process.t_max, 100)
    exact = process.transition(ts)
    with jax.enable_x64(False):
        rough = jax.jit(lambda ts: (process.transition(ts), log_snr(process, ts)))(np.float32(ts))
        assert jg.corrupt(process, *[jnp.ones(rough[1].shape[1:])] * 2, 0.3).dtype == jnp.float32
    for ours, truth in zip(rough[0], exact, strict=True):
        assert ours.dtype == jnp.float32
        np.testing.assert_allclose(ours, truth, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(rough[1], 2 * np.log(exact[0] / exact[1]), atol=1e-3)


def test_numbers_cross_jit_and_have_gradients():
    def fn(betas, t):
        process = diagonal.anisotropic(scalar.vp, 0.1, betas)
        assert is_diagonal(process)
        return jnp.sum(jnp.sin(jg.corrupt(process, X0, Z, t)) + log_snr(process, t))

    whole = jax.jit(fn)
    slopes = jax.jit(jax.grad(fn))(jnp.asarray(BETAS), 0.4)
    for i in range(3):
        step = 1e-4 * (np.arange(3) == i)
        up, down = (whole(BETAS + s * step, 0.4) for s in (1, -1))
        assert float(slopes[i]) == pytest.approx(float(up - down) / 2e-4, rel=1e-6)
    crossed = jax.jit(lambda process, t: process.transition(t))
    chex.assert_trees_all_close(crossed(DIFFERENT, 0.4), DIFFERENT.transition(0.4), rtol=1e-14)


def test_bases_are_orthonormal():
    x = np.random.default_rng(0).standard_normal((8, 6, 3))
    dct = diagonal.dct(x.shape, axes=(0, 1))
    np.testing.assert_allclose(dct.to(x), scipy.fft.dctn(x, axes=(0, 1), norm="ortho"), atol=1e-13)
    rotation = np.linalg.qr(np.random.default_rng(1).standard_normal((5, 5)))[0]
    np.testing.assert_allclose(
        diagonal.matrix_basis(rotation).to(x[0, :5, 0]), rotation @ x[0, :5, 0]
    )
    for shape, basis in (
        (x.shape, dct),
        ((8, 6, 3), diagonal.fourier((8, 6, 3))),
        ((8, 6, 3), diagonal.no_basis()),
    ):
        np.testing.assert_allclose(basis.back(basis.to(x)), x, atol=1e-13)
        assert float(jnp.sum(basis.to(x) ** 2)) == pytest.approx(np.sum(x**2), rel=1e-13)
        assert basis.to(np.float32(x)).dtype == np.float32
        assert basis.to(x).shape == shape


def test_blurring_is_heat_dissipation_times_the_family():
    shape, t = (8, 8), 0.6
    process = diagonal.blurring(shape, family=scalar.vp, blur=3.0, floor=0.0)
    alpha, sigma = process.transition(np.float64(t))
    vp = scalar.vp().transition(np.float64(t))
    np.testing.assert_allclose((alpha[0, 0], sigma[0, 0]), vp, rtol=1e-14)
    np.testing.assert_allclose(sigma, vp[1], rtol=1e-14)
    # Wide blur is diffusion: against the heat kernel summed over reflections of the pixels' edges.
    wide = diagonal.blurring((64,), family=scalar.vp, blur=6.0, floor=0.0)
    basis, start = diagonal.dct((64,)), np.exp(-((np.arange(64) - 20.0) ** 2) / 18)
    blurred = basis.back(wide.transition(np.float64(t))[0] / vp[0] * basis.to(start))
    width = 3**2 + (6 * np.sin(np.pi / 2 * t) ** 2) ** 2
    kernel = lambda centre: np.exp(-((np.arange(64) - centre) ** 2) / (2 * width))
    heat = 3 / np.sqrt(width) * (kernel(20.0) + kernel(-21.0))
    np.testing.assert_allclose(blurred, heat, atol=2e-6)


def test_a_network_reads_pixels_in_basis():
    # Noise of one size is the same in every basis: coordinates and pixels tell one story.
    shape, t = (4, 4), 0.4
    basis, process = diagonal.dct(shape), diagonal.frequency_wise(np.ones(shape))
    network = lambda x, t: 0.5 * jnp.tanh(x) + t
    x0, eps = np.random.default_rng(0).standard_normal((2, *shape))

    @jax.jit
    def both(x0, eps):
        z = jg.corrupt(process, basis.to(x0), basis.to(eps), t)
        x = jg.corrupt(scalar.vp(), x0, eps, t)
        inside = jg.predictions.in_basis(network, basis)(z, t)
        return (basis.back(z), basis.back(inside)), (x, network(x, t))

    chex.assert_trees_all_close(*both(x0, eps), atol=1e-13)


def test_refusals():
    where = "diagonal in a basis, of event \\(3,\\)"
    with pytest.raises(ValueError, match=f"predictions.rechannel: .*{where}"):
        jg.rechannel(lambda z, t: z, scalar.vp(), DIFFERENT)
    with pytest.raises(ValueError, match=f"predictions.matched_times: .*{where}"):
        jg.predictions.matched_times(DIFFERENT, scalar.vp())
    with pytest.raises(ValueError, match="numbers must have the shape of an event"):
        diagonal.anisotropic(scalar.vp, 0.1, 20.0)
    with pytest.raises(ValueError, match="numbers must broadcast to one event"):
        diagonal.anisotropic(scalar.vp, np.ones(2), np.full(3, 20.0))
    with pytest.raises(ValueError, match="the family must make scalar processes"):
        diagonal.anisotropic(jg.processes.augmented.cld, np.ones(2))
    with pytest.raises(ValueError, match="signal-to-noise ratio must fall"):
        diagonal.anisotropic(scalar.ve, 0.01, np.array([50.0, 1e-3]))
    with pytest.raises(ValueError, match=r"must be \(2,\); got \(3,\)"):
        jax.eval_shape(lambda z: jg.prior(DIFFERENT, (2,)).logdensity(z), Z)
    with pytest.raises(ValueError, match="must have the shape of the event"):
        jax.eval_shape(lambda x: jg.corrupt(DIFFERENT, x, x, 0.3), np.ones((1, 3)))
    with pytest.raises(ValueError, match="mixtures are laws of flat vectors"):
        jax.eval_shape(jg.densities.denoiser(MIXTURE, diagonal.blurring((2, 2))), Z, 0.3)
    with pytest.raises(ValueError, match="matrix must be orthonormal"):
        diagonal.matrix_basis(np.full((2, 2), 0.5))
    with pytest.raises(ValueError, match="axes must be among those"):
        diagonal.dct((2, 2), axes=(2,))
