"""The doors losses.score and losses.flow: f(process, apply, ...) -> loss_fn(params, key, x0).

The exact predictions are written from the papers, at one fixed time for each process; `params`
bends them, and zero leaves them exact.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import textbook

from jaxgen import predictions, processes
from jaxgen.losses import flow, score

TIMES = {"vp": 0.3, "edm": 0.7, "linear_flow": 0.4, "cld": 0.3}
SIGMA_DATA = 0.6
PARAMS = EXACT, BENT = np.zeros(2), np.array([0.6, -0.5])
NORMAL = (np.ones(1), np.array([[0.4, -0.3]]), np.array([0.3]))
MANY = 4000
# Where every loss is asked, and where a few are; the rest of the doors' losses there are slow.
FEW = {
    "edm": ("edm", "x0 weighted"),
    "linear_flow": ("velocity", "flow", "score", "implicit score"),
}
CASES = [("vp", True), ("cld", True), ("edm", False), ("linear_flow", False)]
CASES += [pytest.param(name, True, marks=pytest.mark.slow) for name in FEW]


def make(name):
    return getattr(processes.augmented if name == "cld" else processes.scalar, name)()


def kinds(name):
    rows = {kind: kind for kind in ("x0", "eps", "score", "v", "velocity")}
    rows["edm"] = predictions.edm(SIGMA_DATA)
    if name == "cld":
        del rows["velocity"]
    return rows


def slopes(name):
    """d alpha / dt and d sigma / dt."""
    (alpha, sigma), beta = textbook.SCHEDULES[name](TIMES[name]), 0.1 + 19.9 * TIMES[name]
    return {
        "vp": (-beta / 2 * alpha, beta / 2 * alpha**2 / sigma),
        "edm": (0.0, 1.0),
        "linear_flow": (-1.0, 1.0),
    }[name]


def exact_prediction(name, kind, z, mixture):
    """E[target | z] [d] of a kind, for z [d] or [c, d] at the time of this process."""
    t = TIMES[name]
    column, cov = textbook.channel(name, t)
    rows = z.reshape(len(column), -1)
    _, x0, full_score = textbook.posterior(rows, column, cov, *mixture)
    if kind == "x0":
        return x0
    if kind in {"eps", "score"}:  # of the last block, whose noise has deviation L_cc
        return full_score[-1] * (1.0 if kind == "score" else -np.linalg.cholesky(cov)[-1, -1])
    read = column @ np.linalg.inv(cov)
    s = 1 / np.sqrt(read @ column)  # the noise level of the channel
    u = read @ rows * s**2
    if kind == "edm":  # Karras et al. 2022, equation 7: D = c_skip u + c_out F
        skip = SIGMA_DATA**2 / (s**2 + SIGMA_DATA**2)
        return (x0 - skip * u) / (s * SIGMA_DATA / np.sqrt(s**2 + SIGMA_DATA**2))
    eps = (u - x0) / s
    if kind == "v":  # Salimans and Ho 2022: v = alpha eps - sigma x0 with alpha^2 + sigma^2 = 1
        return (eps - s * x0) / np.sqrt(1 + s**2)
    d_alpha, d_sigma = slopes(name)
    return d_alpha * x0 + d_sigma * eps


def bend(params, z):
    x = z if z.ndim == 1 else z[0] + 0.5 * z[1]
    return params[0] * jnp.tanh(x) + params[1] * jnp.cos(2 * x)


def network(name, kind, mixture):
    return lambda params, z, t: exact_prediction(name, kind, z, mixture) + bend(params, z)


def losses_of(name, full, mixture):
    """The losses of the doors on this process, by a label; `weighted` counts the x0 error."""
    process = make(name)
    weighted = functools.partial(score.denoising, weighting=score.snr_weight(process))
    found = {label: (score.denoising, label, kind) for label, kind in kinds(name).items()}
    found |= {
        "x0 weighted": (weighted, "x0", "x0"),
        "v weighted": (weighted, "v", "v"),
        "implicit x0": (score.implicit, "x0", "x0"),
        "implicit score": (score.implicit, "score", "score"),
        "sliced": (score.sliced, "eps", "eps"),
    }
    losses = {
        key: make_loss(process, network(name, label, mixture), kind=kind)
        for key, (make_loss, label, kind) in found.items()
    }
    if name != "cld":
        apply = network(name, "velocity", mixture)
        losses["flow"] = flow.conditional_matching(apply, process=process)
    return {key: loss_fn for key, loss_fn in losses.items() if full or key in FEW[name]}


@functools.cache
def sampled(name, full):
    """(values, gradients, least): {label: [2, n]}, {label: [2, n, 2]} at EXACT and BENT over keys
    and data, and {label: [n]} for normal data at EXACT.
    """
    losses, of_normal = losses_of(name, full, textbook.MIXTURE), losses_of(name, full, NORMAL)

    def one(params, key, x0, normal):
        def values(params):
            found = {k: f(params, key, x0, TIMES[name]) for k, f in losses.items()}
            return found, found

        gradients, found = jax.jacfwd(values, has_aux=True)(params)
        least = {
            k: of_normal[k](0 * params, key, normal, TIMES[name])
            for k in kinds(name)
            if k in of_normal
        }
        return found, gradients, least

    keys, data = jax.random.split(jax.random.key(0), MANY), textbook.draw(MANY)
    run = jax.jit(jax.vmap(one, (None, 0, 0, 0)))
    with jax.debug_key_reuse(False):
        found = [run(params, keys, data, textbook.draw(MANY, 1, *NORMAL)) for params in PARAMS]
    stack = lambda index: jax.tree.map(
        lambda *both: np.stack(both), *(each[index] for each in found)
    )
    return stack(0), stack(1), found[0][2]


def gradient_vanishes_at_the_exact_prediction_and_nowhere_else(name, full):
    for label, gradients in sampled(name, full)[1].items():
        mean, error = textbook.mean_and_error(gradients[0])
        textbook.within(mean, 0.0, error, f"{name} {label}")
        mean, error = textbook.mean_and_error(gradients[1])
        assert np.max(np.abs(mean) / error) > 10, (label, mean, error)


def least_value_for_normal_data(name, full):
    """The posterior variance 1 / (1 / v + gamma) of x0, in the units of each kind."""
    column, cov = textbook.channel(name, TIMES[name])
    precision = np.linalg.inv(cov)
    gamma = column @ precision @ column
    least = 1 / (1 / NORMAL[2][0] + gamma)
    per_score = (precision @ column)[-1] ** 2
    scales = {
        "x0": 1.0,
        "score": per_score,
        "eps": per_score * np.linalg.cholesky(cov)[-1, -1] ** 2,
        "v": 1 + gamma,
        "edm": gamma + 1 / SIGMA_DATA**2,
    }
    if name != "cld":
        (d_alpha, d_sigma), (alpha, sigma) = slopes(name), (column[0], np.sqrt(cov[0, 0]))
        scales["velocity"] = (d_alpha - d_sigma * alpha / sigma) ** 2
    for label, values in sampled(name, full)[2].items():
        mean, error = textbook.mean_and_error(values)
        textbook.within(mean, scales[label] * least, error, f"{name} {label}")


def excess_is_the_squared_distance_to_the_exact_prediction(name, full):
    """E loss(bent) - E loss(exact) = E |bend|^2, in the units of each loss; constants cancel."""
    column, cov = textbook.channel(name, TIMES[name])
    precision, values = np.linalg.inv(cov), sampled(name, full)[0]
    random = np.random.default_rng(5).standard_normal((MANY, len(column), 2))
    z = textbook.draw(MANY, 6)[:, None] * column[:, None] + np.linalg.cholesky(cov) @ random
    z = z if name == "cld" else z[:, 0]
    truth, truth_error = textbook.mean_and_error(
        np.mean(np.asarray(jax.vmap(functools.partial(bend, BENT))(z)) ** 2, 1)
    )
    per_x0 = np.sum((precision @ column) ** 2)  # |s' - s|^2 for an x0 error of one
    scales = dict.fromkeys(kinds(name), 1.0) | {
        "x0 weighted": column @ precision @ column,
        "implicit x0": per_x0,  # half a sum over d = 2 is a mean
        "implicit score": per_x0 / (precision @ column)[-1] ** 2,
    }
    for label, scale in scales.items():
        if label not in values:
            continue
        excess, error = textbook.mean_and_error(values[label][1] - values[label][0])
        both = np.hypot(error, scale * truth_error)
        textbook.within(excess, scale * truth, both, f"{name} {label}")


def implicit_differs_from_denoising_by_a_constant(name, full):
    """E |s - grad log p(z | x0)|^2 / 2 = E (|s|^2 / 2 + div s) + d / (2 sigma^2), at any s."""
    variance = textbook.channel(name, TIMES[name])[1][0, 0]
    values = sampled(name, full)[0]
    for at in (0, 1):
        ours, error = textbook.mean_and_error(values["implicit score"][at])
        other, other_error = textbook.mean_and_error(values["score"][at])  # d = 2
        textbook.within(ours + 1 / variance, other, np.hypot(error, other_error), name)


@pytest.mark.parametrize(("name", "full"), CASES)
def test_expectations(name, full):
    """One set of draws for all of them, and one test, which no two workers share."""
    gradient_vanishes_at_the_exact_prediction_and_nowhere_else(name, full)
    least_value_for_normal_data(name, full)
    excess_is_the_squared_distance_to_the_exact_prediction(name, full)
    if name in {"vp", "linear_flow"}:
        implicit_differs_from_denoising_by_a_constant(name, full)


@pytest.mark.parametrize("name", [pytest.param("vp", marks=pytest.mark.slow), "cld"])
def test_sliced_is_unbiased(name):
    """The same key gives sliced and implicit the same z: their difference averages to zero."""
    process, n = make(name), 2000
    shape = processes.noise_shape(process, (2,))
    mix = np.random.default_rng(0).standard_normal((2, int(np.prod(shape))))
    apply = lambda params, z, t: jnp.sin(mix @ z.reshape(-1))
    losses = [score.implicit(process, apply, kind="x0")]
    losses += [score.sliced(process, apply, kind="x0", num_probes=k) for k in (1, 8)]

    def both(key, x0):
        return jnp.stack([loss_fn(None, key, x0, TIMES[name]) for loss_fn in losses])

    with jax.debug_key_reuse(False):
        found = jax.jit(jax.vmap(both))(jax.random.split(jax.random.key(3), n), textbook.draw(n))
    for column in (1, 2):
        mean, error = textbook.mean_and_error(found[:, column] - found[:, 0])
        textbook.within(mean, 0.0, error, name)
    noise = np.std(found[:, 1:] - found[:, :1], axis=0)
    assert noise[0] / noise[1] == pytest.approx(8**0.5, rel=0.15)


def rough(params, z, t, scale=1.0):
    """Some network, exact for nothing."""
    z = z if z.ndim == 1 else z[0] - 0.3 * z[1]
    return scale * jnp.tanh(params * z) + 0.2 * jnp.cos(3 * t).astype(z.dtype)


@pytest.mark.usefixtures("same_key")
@pytest.mark.parametrize("name", ["edm", "cld"])
def test_weightings_are_identities_between_kinds(name):
    """For every example: the error of an output is the weighted error of the x0hat it implies."""
    process = make(name)
    weights = {
        predictions.edm(SIGMA_DATA): score.edm_weight(process, SIGMA_DATA),
        "v": lambda t: 1 + score.snr_weight(process)(t),
        "x0": score.snr_weight(process, 0.0),
    }
    if name != "cld":
        weights["eps"] = score.snr_weight(process, 1.0)

    def pairs(key, x0, t):
        run = lambda kind, weighting: score.denoising(
            process, rough, kind=kind, weighting=weighting
        )(1.3, key, x0, t)
        return [(run(kind, None), run(kind, weighting)) for kind, weighting in weights.items()]

    ts = np.linspace(process.t_min, process.t_max, 9)
    keys = jax.random.split(jax.random.key(1), 9)
    for plain, weighted in jax.jit(jax.vmap(pairs))(keys, textbook.draw(9), ts):
        np.testing.assert_allclose(weighted, plain, rtol=1e-9)


@pytest.mark.usefixtures("same_key")
def test_eager_jit_vmap_pmap_and_a_loop_agree():
    matching = flow.conditional_matching(rough)
    losses = [
        score.denoising(make("cld"), rough, kind="v"),
        score.sliced(make("vp"), rough, kind="x0", num_probes=2),
        matching,
    ]
    everything = lambda key, x0: jnp.stack([loss_fn(1.3, key, x0) for loss_fn in losses])
    keys, x0 = jax.random.split(jax.random.key(0), 4), textbook.draw(4)
    mapped, spread = jax.jit(jax.vmap(everything))(keys, x0), jax.pmap(everything)(keys, x0)
    np.testing.assert_allclose(jax.jit(everything)(keys[1], x0[1]), mapped[1], rtol=1e-9)
    np.testing.assert_allclose(spread, mapped, rtol=1e-9)
    np.testing.assert_allclose(matching(1.3, keys[0], x0[0]), mapped[0, 2], rtol=1e-9)


@pytest.mark.usefixtures("same_key")
def test_times_drawn_given_and_handed_on():
    """The network sees the law's time or the given one, and every condition."""
    process, key, x0 = make("vp"), jax.random.key(0), jnp.asarray([0.5, -1.0])
    law, seen = lambda u: 0.25 + 0.5 * u, []

    def apply(params, z, t, *, label, scale=1.0):
        seen.append((float(t), label, scale))
        return jnp.sin(z) * t

    for make_loss in (score.denoising, score.implicit):
        loss_fn = make_loss(process, apply, kind="eps", time=law)
        assert loss_fn.time is law
        drawn = loss_fn(None, key, x0, label=3)
        time, label, scale = seen.pop()
        assert 0.25 <= time < 0.75
        assert (label, scale) == (3, 1.0)
        assert float(loss_fn(None, key, x0, time, label=3)) == pytest.approx(
            float(drawn), rel=1e-12
        )
        assert float(loss_fn(None, key, x0, 0.9, label=4, scale=2.0)) != float(drawn)
        assert seen.pop() == (0.9, 4, 2.0)
        other = loss_fn(None, jax.random.key(1), x0, label=3)
        assert seen.pop()[0] != time
        assert float(other) != float(drawn)
    low, high = (score.denoising(process, apply, kind="eps").time(u) for u in (0.0, 1.0))
    assert (float(low), float(high)) == (process.t_min, process.t_max)


def test_one_trace_for_new_params_keys_and_process_numbers():
    traces = []

    @jax.jit
    def run(params, key, x0, beta_max):
        traces.append(None)
        process = processes.scalar.vp(0.1, beta_max)
        return jax.value_and_grad(
            lambda beta: score.denoising(processes.scalar.vp(0.1, beta), rough, kind="v")(
                params, key, x0, 0.3
            )
        )(beta_max)[1], score.denoising(process, rough, kind="v")(params, key, x0, 0.3)

    x0, h = jnp.asarray([0.5, -1.0]), 1e-4
    with jax.debug_key_reuse(False):
        key = jax.random.key(0)
        slope, _ = run(1.3, key, x0, 20.0)
        low, high = (run(1.3, key, x0, 20.0 + step)[1] for step in (-h, h))
        other = run(0.7, jax.random.key(1), x0, 10.0)[1]
    assert len(traces) == 1
    assert float(other) != float(high)
    np.testing.assert_allclose(slope, (high - low) / (2 * h), rtol=1e-6)


def losses_in_single(name):
    """Losses whose every part could widen: rows, a weighting, a law of times, a divergence."""
    process = make(name)
    rows = {k: kind for k, kind in kinds(name).items() if k in {"edm", "velocity"}}
    losses = {k: score.denoising(process, rough, kind=kind) for k, kind in rows.items()}
    law, weighting = score.log_normal_noise(process), score.edm_weight(process)
    losses["weighted"] = score.denoising(process, rough, kind="v", weighting=weighting, time=law)
    losses["implicit"] = score.implicit(process, rough, kind="v", weighting=weighting)

    def everything(params, key, x0, t):
        return {k: loss_fn(params, key, x0, t) for k, loss_fn in losses.items()}

    return process, everything


@pytest.mark.usefixtures("same_key")
@pytest.mark.parametrize("name", list(TIMES))
def test_single_precision_stays_so_and_is_finite_at_both_ends(name):
    """Also bfloat16 data have float32 losses, at times of float32."""
    process, everything = losses_in_single(name)
    key, x0 = jax.random.key(0), jnp.asarray([0.5, -1.0], jnp.float32)
    for dtype, t in ((jnp.float32, None), (jnp.bfloat16, None), (jnp.float32, np.float64(0.5))):
        params = jax.ShapeDtypeStruct((), dtype)
        shapes = jax.eval_shape(
            lambda params, x0, t=t: everything(params, key, x0, t), params, x0.astype(dtype)
        )
        assert {k: v.dtype for k, v in shapes.items()} == dict.fromkeys(shapes, np.dtype("float32"))
    ends = jnp.asarray([process.t_min, process.t_max], jnp.float32)
    at_ends = jax.jit(jax.vmap(everything, (None, None, None, 0)))
    for label, values in at_ends(jnp.float32(1.3), key, x0, ends).items():
        assert values.dtype == jnp.float32
        assert np.all(np.isfinite(values)), (label, values)


@pytest.mark.usefixtures("x32", "same_key")
def test_without_x64():
    process, everything = losses_in_single("cld")
    values = jax.jit(everything)(1.3, jax.random.key(0), jnp.asarray([0.5, -1.0]), 0.2)
    assert {value.dtype for value in values.values()} == {np.dtype(np.float32)}
    assert all(np.isfinite(value) for value in values.values())


def test_refuses_what_makes_no_sense():
    process = make("vp")
    with pytest.raises(ValueError, match=r"^predictions: kind must be one of .*; got 'noise'"):
        score.denoising(process, rough, kind="noise")
    with pytest.raises(ValueError, match=r"^predictions: kind must be one of .*; got 'noise'"):
        score.implicit(process, rough, kind="noise")
    with pytest.raises(ValueError, match=r"^losses\.score\.sliced: num_probes must be .*; got 0"):
        score.sliced(process, rough, kind="eps", num_probes=0)
    with pytest.raises(ValueError, match=r"^losses\.flow\.conditional_matching: .*; got 2 blocks"):
        flow.conditional_matching(rough, process=make("cld"))


def test_refuses_a_prediction_of_another_shape():
    """A network that returns all blocks would broadcast against the target in silence."""
    process, x0 = make("cld"), jnp.zeros(2)
    for make_loss in (score.denoising, score.implicit, score.sliced):
        loss_fn = make_loss(process, lambda params, z, t: z, kind="x0")
        with pytest.raises(AssertionError, match="shape"):
            jax.eval_shape(loss_fn, None, jax.random.key(0), x0)
