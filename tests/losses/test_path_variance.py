"""Losses on fixed paths: exact gradients, no variance at the right drift, and paths of others."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import densities, energies, grids, processes
from jaxgen.losses import path
from jaxgen.solvers import sde, solve
from jaxgen.types import Distribution

LOG_Z = 1.7
POINT = Distribution(lambda key: jnp.zeros(1), lambda x: jnp.zeros(()))
RIGHT = {"push": jnp.array([1.3]), "log_z": jnp.array(LOG_Z)}
WRONG = {"push": jnp.array([0.5]), "log_z": jnp.array(0.4)}


def unit(x):
    """A unit Gaussian at 1.3 times Z: its Föllmer drift is 1.3 everywhere."""
    return LOG_Z + jnp.sum(jax.scipy.stats.norm.logpdf(x, 1.3))


def run(params, key, x, *, along=None, stops=5):
    """Föllmer's sampler of a constant drift, on the path of itself or of `along`."""
    push = lambda x, t: params["push"]
    lead = push if along is None else lambda x, t: jnp.full(1, along)
    return solve(key, sde.foellmer(push, along=lead), x, np.linspace(0, 1, stops))


def through(params, key, x):
    return solve(key, sde.foellmer(lambda x, t: params["push"]), x, np.linspace(0, 1, 5))


def gradients(loss_fn, params, n, seed=1):
    keys = jax.random.split(jax.random.key(seed), n)
    return jax.jit(jax.vmap(lambda key: jax.grad(loss_fn)(params, key)["push"][0]))(keys)


@pytest.mark.usefixtures("same_key")
@pytest.mark.parametrize("along", [None, pytest.param(-2.0, marks=pytest.mark.slow)])
def test_nothing_is_left_at_the_right_drift(along):
    """Value and gradient of each draw, on policy and off."""
    follow = lambda params, key, x: run(params, key, x, along=along)
    losses = (
        path.log_variance(follow, POINT, unit, draws=3),
        path.trajectory_balance(follow, POINT, unit, lambda params: params["log_z"]),
    )
    for loss_fn in losses:
        value, slope = jax.jit(jax.value_and_grad(loss_fn))(RIGHT, jax.random.key(0))
        assert abs(value) < 1e-24
        assert max(float(jnp.max(jnp.abs(leaf))) for leaf in jax.tree.leaves(slope)) < 1e-10
    # The divergence's own gradient is x_1 - 1.3, of variance 1, at the right drift too.
    spread = np.var(gradients(path.reverse_kl(through, POINT, unit), RIGHT, 400))
    assert abs(spread - 1) < 5 * (2 / 400) ** 0.5


@pytest.mark.usefixtures("same_key")
def test_gradient_is_the_score_function_estimate_with_the_others_as_baseline():
    """By hand on common draws, to rounding: sum of (f_i - mean of the others) grad log q_i / n."""
    keys = jax.random.split(jax.random.key(3), 6)
    weigh = path.weighted_path(run, POINT, unit)
    logs = jax.vmap(lambda key: weigh(WRONG, key).log_weight)(keys)
    # log q of a constant drift is linear in B_1 = x_1 - drift: grad log q = B_1.
    scores = jax.vmap(lambda key: weigh(WRONG, key).x[0])(keys) - WRONG["push"][0]
    others = (jnp.sum(logs) - logs) / 5
    by_hand = jnp.mean(-(logs - others) * scores)
    loss_fn = path.log_variance(run, POINT, unit, draws=6)
    found = jax.grad(loss_fn)(WRONG, jax.random.key(3))["push"][0]
    np.testing.assert_allclose(found, by_hand, rtol=1e-10)


@pytest.mark.slow
@pytest.mark.usefixtures("same_key")
def test_mean_gradient_is_that_of_the_divergence():
    """KL = (push - 1.3)^2 / 2, gradient -0.8, and the exact variances of both estimates."""
    n = 4000
    logs = gradients(path.log_variance(run, POINT, unit, draws=4), WRONG, n)
    assert abs(np.mean(logs) + 0.8) < 5 * np.std(logs) / n**0.5
    kl = gradients(path.reverse_kl(through, POINT, unit), WRONG, 4 * n).reshape(n, 4).mean(1)
    assert abs(np.mean(kl) + 0.8) < 5 * np.std(kl) / n**0.5
    # log w = const + 0.8 B_1: the gradient is -0.8 times the variance of 4 normal draws, whose
    # own variance is 2 / 3; the divergence's is the mean of 4 unit normals, less 0.8.
    np.testing.assert_allclose(np.var(logs), 0.64 * 2 / 3, rtol=0.25)
    np.testing.assert_allclose(np.var(kl), 1 / 4, rtol=0.15)
    # Paths drawn along -2: log w = const + 0.8 B_1 still, so the mean slope is the same here.
    off = lambda params, key, x: run(params, key, x, along=-2.0)
    slopes = gradients(path.log_variance(off, POINT, unit, draws=4), WRONG, n)
    assert abs(np.mean(slopes) + 0.8) < 5 * np.std(slopes) / n**0.5


@pytest.mark.slow
@pytest.mark.usefixtures("same_key")
def test_balance_at_the_mean_log_weight_is_the_variance():
    n = 5
    keys = jax.random.split(jax.random.key(2), n)
    weigh = path.weighted_path(run, POINT, unit)
    mean = jnp.mean(jax.vmap(lambda key: weigh(WRONG, key).log_weight)(keys))
    loss_fn = path.trajectory_balance(run, POINT, unit, lambda params: params["log_z"])
    whole = lambda params: jnp.mean(jax.vmap(lambda key: loss_fn(params, key))(keys))
    value, slope = jax.value_and_grad(whole)(WRONG | {"log_z": mean})
    variance = path.log_variance(run, POINT, unit, draws=n)
    twin, twin_slope = jax.value_and_grad(variance)(WRONG, jax.random.key(2))
    np.testing.assert_allclose(value, twin * (n - 1) / n, rtol=1e-10)
    np.testing.assert_allclose(slope["push"], twin_slope["push"] * (n - 1) / n, rtol=1e-10)
    assert abs(slope["log_z"]) < 1e-12


SCALAR = processes.scalar.vp()


def table_run(process, drift, along, ts):
    def go(params, key, x):
        lead = None if along is None else (lambda z, t: along(params, z, t))
        solver = sde.ancestral(process, lambda z, t: drift(params, z, t), variance=0.5, along=lead)
        return solve(key, solver, x, ts)

    return go


def annealed_run(drift, along):
    start = lambda x: jnp.sum(jax.scipy.stats.norm.logpdf(x))
    between = energies.geometric_path(start, unit)

    def go(params, key, x):
        lead = None if along is None else (lambda z, t: along(params, z, t))
        solver = sde.controlled(between, lambda z, t: drift(params, z, t), along=lead)
        return solve(key, solver, x, np.linspace(0, 1, 5))

    return go


LONGER = ("blocks", "controlled", "foellmer")


def walkers(name):
    """(run through, run along itself, start) of a sampler of one parameter."""
    drift = lambda params, z, t: params * jnp.tanh(z) + params**2 * t
    if name == "controlled":
        start = jnp.array([0.3, -0.2])
        return annealed_run(drift, None), annealed_run(drift, drift), start
    if name == "foellmer":
        go = lambda along: (
            lambda params, key, x: solve(
                key,
                sde.foellmer(
                    lambda z, t: drift(params, z, t),
                    along=along and (lambda z, t: drift(params, z, t)),
                ),
                x,
                np.linspace(0, 1, 5),
            )
        )
        return go(None), go(True), jnp.zeros(2)
    ts = np.asarray(grids.log_snr(SCALAR, 4, t_min=0.05))
    process, start = SCALAR, jnp.array([0.3, -0.2])
    if name == "blocks":
        process = processes.augmented.cld()
        ts = np.asarray(grids.log_snr(process, 4, t_min=0.05))
        start = jnp.array([[0.3, -0.2], [0.1, 0.5]])
        base, drift = drift, lambda params, z, t: base(params, z[0], t) + z[1]
    return table_run(process, drift, None, ts), table_run(process, drift, drift, ts), start


@pytest.mark.usefixtures("same_key")
@pytest.mark.parametrize(
    "name", ["scalar", *(pytest.param(name, marks=pytest.mark.slow) for name in LONGER)]
)
def test_along_itself_the_path_and_the_weights_are_the_same(name):
    """And the path has no gradient, so that weights of one path tell two drifts apart."""
    through, along, start = walkers(name)
    key = jax.random.key(4)
    params = jnp.array(0.7)
    x, infos = jax.jit(through)(params, key, start)
    same, weights = jax.jit(along)(params, key, start)
    np.testing.assert_allclose(same, x, rtol=1e-9)
    np.testing.assert_allclose(weights.log_weight, infos.log_weight, atol=1e-7)
    slope = jax.jacrev(lambda p: along(p, key, start)[0])(params)
    np.testing.assert_array_equal(slope, 0)
    # On the path held fixed the gradient is that of -log q alone, a score, whose mean is 0.
    keys = jax.random.split(jax.random.key(5), 4000)
    total = lambda p, key: jnp.sum(along(p, key, start)[1].log_weight)
    slopes = jax.jit(jax.vmap(lambda key: jax.grad(total)(params, key)))(keys)
    if name != "controlled":  # its backward process has the parameter too
        assert abs(np.mean(slopes)) < 5 * np.std(slopes) / 4000**0.5
        assert np.std(slopes) > 0.1


@pytest.mark.usefixtures("same_key")
@pytest.mark.parametrize("name", ["controlled", "foellmer"])
def test_weights_of_the_path_of_another_by_hand(name):
    """Products of Gaussian densities of the kernels of one drift along the path of another."""
    drift = lambda z, t: jnp.sin(z) + t
    other = lambda z, t: 1.5 - z * t
    ts, start = np.linspace(0, 1, 4), jnp.array([0.3, -0.2]) * (name == "controlled")
    first = lambda x: jnp.sum(jax.scipy.stats.norm.logpdf(x))
    between = energies.geometric_path(first, unit)
    if name == "controlled":
        solver = sde.controlled(between, drift, along=other)
    else:
        solver = sde.foellmer(drift, along=other)
    xs, infos = jax.jit(lambda x: solve(jax.random.key(6), solver, x, ts, trajectory=True))(start)
    normal = lambda x, mean, variance: jnp.sum(
        jax.scipy.stats.norm.logpdf(x, mean, np.sqrt(variance))
    )
    log_weight = 0.0
    for x, after, t, t_next in zip(xs[:-1], xs[1:], ts[:-1], ts[1:], strict=True):
        h = t_next - t
        if name == "controlled":
            forth = lambda x, t: x + h * (jax.grad(between(t))(x) + drift(x, t))  # noqa: B023
            back = after + h * (jax.grad(between(t_next))(after) - drift(after, t_next))
            log_weight += normal(x, back, 2 * h) - normal(after, forth(x, t), 2 * h)
        else:  # Brownian motion: bridge(x | after) N(after; 0, t_next) = N(after; x, h) N(x; 0, t)
            log_weight += normal(after, x, h) - normal(after, x + h * drift(x, t), h)
    if name == "foellmer":
        log_weight -= normal(xs[-1], 0.0, 1.0)
    np.testing.assert_allclose(jnp.sum(infos.log_weight), log_weight, rtol=1e-10)


@pytest.mark.slow
@pytest.mark.usefixtures("same_key")
def test_weights_at_the_exact_denoiser_level_on_the_paths_of_another():
    """The denoising diffusion sampler: log w is log Z on any path as the steps shrink."""
    law = densities.gaussian(np.array([0.7]), np.array([0.3]))
    exact = densities.denoiser(law, SCALAR)
    poor = lambda z, t: 0.5 * exact(z, t)
    found = []
    for n in (30, 120):
        ts = np.asarray(grids.log_snr(SCALAR, n, t_min=0.01))
        solver = sde.ancestral(SCALAR, exact, along=poor)
        go = lambda params, key, x, solver=solver, ts=ts: solve(key, solver, x, ts)
        prior, end = (densities.marginal(law, SCALAR, t) for t in (ts[0], ts[-1]))
        loss_fn = path.log_variance(go, prior, end.logdensity, draws=400)
        found.append(float(jax.jit(loss_fn)(None, jax.random.key(0))))
    assert found[1] < 0.4 * found[0], found


def test_wrong_input():
    with pytest.raises(ValueError, match="draws must be at least 2"):
        path.log_variance(run, POINT, unit, draws=1)
    with pytest.raises(ValueError, match="normaliser must be one number"):
        path.trajectory_balance(run, POINT, unit, lambda params: params["push"])(
            WRONG, jax.random.key(0)
        )
    with pytest.raises(ValueError, match="shape of x"):
        run({"push": jnp.zeros(1)}, jax.random.key(0), jnp.zeros(2))
    with pytest.raises(ValueError, match="along needs a variance"):
        sde.ancestral(SCALAR, lambda z, t: z, variance=lambda z, t: z, along=lambda z, t: z)


@pytest.mark.slow
@pytest.mark.usefixtures("same_key")
def test_float32():
    with jax.enable_x64(False):
        loss_fn = path.log_variance(run, POINT, unit, draws=8)
        params = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), WRONG)
        value, slope = jax.value_and_grad(loss_fn)(params, jax.random.key(0))
        assert value.dtype == slope["push"].dtype == jnp.float32
        assert np.isfinite(value)
