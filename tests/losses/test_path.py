"""Samplers trained on the weights of their paths: exact drifts, learned ones, and log Z."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import densities, energies, grids, processes
from jaxgen.losses import path
from jaxgen.solvers import exponential, sde, solve
from jaxgen.types import Distribution

LOG_Z = 1.7
LAW = densities.gaussian_mixture([0.3, 0.7], [[-1.2], [0.9]], [0.25, 0.16])
POINT = Distribution(lambda key: jnp.zeros(1), lambda x: jnp.zeros(()))


def target(x):
    return densities.distribution(LAW).logdensity(x) + LOG_Z


def init(key, width=24):
    keys = jax.random.split(key, 2)
    return {
        "in": jax.random.normal(keys[0], (7, width)) / 2,
        "mid": jax.random.normal(keys[1], (width, width)) / width**0.5,
        "out": jnp.zeros((width, 1)),
    }


def net(params, x, t):
    """[1] from x [1] and t []: two layers, 0 at the start."""
    waves = [jnp.sin(np.pi * t), jnp.cos(np.pi * t), jnp.sin(2 * np.pi * t)]
    inputs = jnp.concatenate([x, jnp.tanh(x), jnp.stack([*waves, t, jnp.ones_like(t)])])
    hidden = jnp.tanh(jnp.tanh(inputs @ params["in"]) @ params["mid"])
    return hidden @ params["out"]


def clipped_score(x):
    return jnp.clip(jax.grad(target)(x), -10, 10)


def path_integral():
    """The path integral sampler: drift net + net(t) grad log target."""

    def run(params, key, x):
        drift = lambda x, t: net(params["a"], x, t) + net(params["b"], 0 * x, t) * clipped_score(x)
        return solve(key, sde.foellmer(drift), x, np.linspace(0, 1, 33))

    return run, POINT


def denoising_diffusion():
    """The denoising diffusion sampler: a learned denoiser under VP."""
    process = processes.scalar.vp()
    ts = np.asarray(grids.log_snr(process, 32, t_min=0.01))

    def run(params, key, x):
        def denoiser(z, t):
            alpha, sigma = process.transition(t)
            pull = net(params["a"], z, t) + net(params["b"], 0 * z, t) * clipped_score(z)
            return alpha * z + sigma * pull

        return solve(key, sde.ancestral(process, denoiser, variance=1.0), x, ts)

    return run, processes.prior(process, (1,))


def controlled_diffusion():
    """The controlled Monte Carlo diffusion, along the geometric path."""
    start = lambda x: jnp.sum(jax.scipy.stats.norm.logpdf(x))
    annealing = energies.geometric_path(start, target)

    def run(params, key, x):
        control = lambda x, t: net(params["a"], x, t)
        return solve(key, sde.controlled(annealing, control), x, np.linspace(0, 1, 25))

    return run, Distribution(lambda key: jax.random.normal(key, (1,)), start)


SAMPLERS = {
    "path integral": path_integral,
    "denoising diffusion": denoising_diffusion,
    "controlled diffusion": controlled_diffusion,
}


def train(loss_fn, params, steps, rate, batch):
    """Adam, written here: optax belongs to training."""

    def step(carry, i):
        params, first, second = carry
        keys = jax.random.split(jax.random.fold_in(jax.random.key(9), i), batch)
        grads = jax.grad(lambda p: jnp.mean(jax.vmap(lambda k: loss_fn(p, k))(keys)))(params)
        first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, grads)
        second = jax.tree.map(lambda v, g: 0.99 * v + 0.01 * g**2, second, grads)
        down = rate * (1 - i / steps)
        params = jax.tree.map(
            lambda p, m, v: (
                p - down * (m / (1 - 0.9 ** (i + 1))) / (jnp.sqrt(v / (1 - 0.99 ** (i + 1))) + 1e-8)
            ),
            params,
            first,
            second,
        )
        return (params, first, second), None

    zeros = jax.tree.map(jnp.zeros_like, params)
    return jax.lax.scan(step, (params, zeros, zeros), jnp.arange(steps))[0][0]


@pytest.mark.slow
@pytest.mark.usefixtures("same_key")
@pytest.mark.parametrize("name", list(SAMPLERS))
def test_learned_samplers_find_log_z(name):
    """Log Z of a mixture within 0.05 with the learned drift, and weights that training levels."""
    run, prior = SAMPLERS[name]()
    loss_fn = path.reverse_kl(run, prior, target)
    estimate = jax.jit(path.log_normaliser(run, prior, target, draws=4000))
    keys = jax.random.split(jax.random.key(0), 2)
    params = {"a": init(keys[0]), "b": init(keys[1])}
    before = estimate(params, jax.random.key(1))
    params = jax.jit(lambda p: train(loss_fn, p, 400, 0.02, 128))(params)
    after = estimate(params, jax.random.key(1))
    assert abs(after.log_normaliser - LOG_Z) < 0.05, after.log_normaliser
    assert after.variance < before.variance / 3, (before.variance, after.variance)
    assert after.bound < LOG_Z + 0.02
    right = jnp.mean(after.x > -0.2)
    assert abs(right - 0.7) < 0.1, right


@pytest.mark.usefixtures("same_key")
def test_exact_drift_has_equal_weights():
    """Föllmer's for a unit Gaussian off the centre: the estimate has no variance and no gap."""
    unit = lambda x: LOG_Z + jnp.sum(jax.scipy.stats.norm.logpdf(x, 1.3))

    def run(params, key, x):
        return solve(key, sde.foellmer(lambda x, t: params), x, np.linspace(0, 1, 5))

    estimate = jax.jit(path.log_normaliser(run, POINT, unit, draws=50))
    found = estimate(jnp.array([1.3]), jax.random.key(0))
    np.testing.assert_allclose(found.log_weights, LOG_Z, atol=1e-12)
    np.testing.assert_allclose(found.log_normaliser, LOG_Z, atol=1e-12)
    assert found.variance < 1e-20
    np.testing.assert_allclose(found.effective_draws, 50, rtol=1e-9)
    # Elsewhere KL = (params - 1.3)^2 / 2, and its gradient
    loss_fn = path.reverse_kl(run, POINT, unit)
    keys = jax.random.split(jax.random.key(1), 2000)
    loss = lambda p: jnp.mean(jax.vmap(lambda key: loss_fn(p, key))(keys))
    value, slope = jax.jit(jax.value_and_grad(loss))(jnp.array([0.5]))
    assert abs(value + LOG_Z - 0.32) < 5 * 0.8 / 2000**0.5
    np.testing.assert_allclose(slope, [-0.8], atol=5 * 1 / 2000**0.5)


@pytest.mark.usefixtures("same_key")
def test_weights_level_at_the_exact_denoiser_as_steps_shrink():
    process = processes.scalar.vp()
    law = densities.gaussian(np.array([0.7]), np.array([0.3]))
    found = []
    for n in (40, 160):
        ts = np.asarray(grids.log_snr(process, n, t_min=0.01))
        end = densities.marginal(law, process, ts[-1])
        solver = sde.ancestral(process, densities.denoiser(law, process))
        run = lambda params, key, x, solver=solver, ts=ts: solve(key, solver, x, ts)
        prior = densities.marginal(law, process, ts[0])
        estimate = path.log_normaliser(run, prior, end.logdensity, draws=2000)
        result = jax.jit(estimate)(None, jax.random.key(0))
        assert abs(result.log_normaliser) < 5 * result.standard_error
        found.append(float(result.variance))
    assert found[1] < 0.4 * found[0], found


def test_wrong_input():
    run = lambda params, key, x: (x, None)
    with pytest.raises(ValueError, match="log_weight"):
        path.reverse_kl(run, POINT, target)(None, jax.random.key(0))
    process = processes.scalar.vp()
    solver = exponential.ddim(process, lambda z, t: 0 * z)
    run = lambda params, key, x: solve(key, solver, x, np.array([0.9, 0.5]))
    with pytest.raises(ValueError, match="log_weight"):
        path.reverse_kl(run, POINT, target)(None, jax.random.key(0))
    run = lambda params, key, x: solve(key, sde.foellmer(lambda x, t: x), x, np.array([0.0, 1.0]))
    with pytest.raises(ValueError, match="one number"):
        path.reverse_kl(run, POINT, lambda x: x)(None, jax.random.key(0))
    with pytest.raises(ValueError, match="at least 2"):
        path.log_normaliser(run, POINT, target, draws=1)
