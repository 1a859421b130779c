"""Tempered SMC against a Gaussian posterior, its normaliser, and its own bookkeeping."""

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from jaxgen import densities, smc

# A false alarm: blackjax scans over split keys under vmap
pytestmark = pytest.mark.usefixtures("same_key")

# N(0, 1) prior and N(2 | x, .25) likelihood on each of two axes
LOG_Z, MEAN, VARIANCE = 2 * norm.logpdf(2, 0, 1.25**0.5), 1.6, 0.2


def logprior_fn(x):
    return jnp.sum(jax.scipy.stats.norm.logpdf(x))


def loglikelihood_fn(x):
    return jnp.sum(jax.scipy.stats.norm.logpdf(2.0, x, 0.5))


def kernel(logdensity_fn, exponent):
    return blackjax.mala(logdensity_fn, 0.2 / (1 + 4 * exponent))


def runs(count, n, **options):
    algorithm = smc.tempered(logprior_fn, loglikelihood_fn, kernel, **options)

    def one(key):
        key_start, key_run = jax.random.split(key)
        return smc.run(key_run, algorithm, jax.random.normal(key_start, (n, 2)))

    return jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), count))


@pytest.mark.parametrize("exponents", [None, (0.02, 0.1, 0.3, 1.0)])
def test_log_z_and_weighted_mean(exponents):
    """Within four standard errors of -5.261021 and 1.6 over runs; without the weights it is not."""
    np.testing.assert_allclose(LOG_Z, -5.261021, atol=1e-6)
    count = 60 if exponents else 30
    state, info = runs(count, 200, exponents=exponents, moves=3)
    assert jnp.all(info.is_finished)
    assert jnp.all(state.exponent == 1)
    assert jnp.all(info.divergences == 0)
    np.testing.assert_allclose(jnp.sum(state.weights, 1), 1, rtol=1e-9)
    z = np.exp(np.asarray(state.log_normaliser) - LOG_Z)
    assert abs(z.mean() - 1) < 4 * z.std(ddof=1) / count**0.5, (z.mean(), z.std())
    means = np.asarray(jnp.einsum("rn,rnd->rd", state.weights, state.particles)).mean(1)
    error = means.std(ddof=1) / count**0.5
    assert abs(means.mean() - MEAN) < 4 * error, (means.mean(), error)
    plain = np.asarray(state.particles).mean((1, 2))
    assert plain.mean() < MEAN - 4 * error, plain.mean()
    spread = jnp.einsum("rn,rnd->r", state.weights, (state.particles - MEAN) ** 2) / 2
    error = np.std(spread, ddof=1) / count**0.5
    assert abs(np.mean(spread) - VARIANCE) < 4 * error + 0.005, (np.mean(spread), error)


@pytest.mark.slow
def test_a_last_step_leaves_equal_weights_and_log_z():
    algorithm = smc.tempered(logprior_fn, loglikelihood_fn, kernel, moves=2)
    run = jax.jit(smc.run, static_argnums=1, static_argnames="resample")
    start = jax.random.normal(jax.random.key(1), (400, 2))
    state, info = run(jax.random.key(2), algorithm, start)
    after, _ = run(jax.random.key(2), algorithm, start, resample=True)
    np.testing.assert_allclose(after.weights, 1 / 400, rtol=1e-9)
    np.testing.assert_allclose(after.log_normaliser, state.log_normaliser, rtol=1e-12)
    assert after.count == state.count + 1
    assert 0.4 < info.acceptance <= 1
    assert abs(after.particles.mean() - MEAN) < 0.15
    picked = smc.equal_weights(jax.random.key(3), state)
    weighted = state.weights @ state.particles
    np.testing.assert_allclose(picked.mean(0), weighted, atol=0.02)


def test_a_bounded_likelihood_and_a_short_run():
    """-inf is a legal likelihood: Z is the prior's mass where it is not; and unfinished is told."""
    inside = lambda x: jnp.where(x[0] > 0.5, 0.0, -jnp.inf)
    algorithm = smc.tempered(logprior_fn, inside, kernel, moves=1)
    n = 1000
    start = jax.random.normal(jax.random.key(1), (n, 2))
    state, info = jax.jit(lambda key: smc.run(key, algorithm, start))(jax.random.key(2))
    assert info.is_finished
    assert jnp.sum(state.weights * (state.particles[:, 0] <= 0.5)) < 1e-9
    error = (norm.sf(0.5) * norm.cdf(0.5) / n) ** 0.5 / norm.sf(0.5)
    assert abs(state.log_normaliser - norm.logsf(0.5)) < 8 * error
    short = smc.tempered(logprior_fn, loglikelihood_fn, kernel, exponents=np.linspace(0.01, 1, 50))
    brief = jax.jit(lambda key: smc.run(key, short, start[:20], max_steps=2))
    state, info = brief(jax.random.key(2))
    assert not info.is_finished
    assert state.exponent < 0.1
    assert info.steps == 2


@pytest.mark.slow
def test_a_diffusion_prior_inside_blackjax():
    """The flow of a denoiser as prior: posterior of a mixture prior, known in closed form."""
    from jaxgen import grids, likelihoods, predictions, processes

    law = densities.gaussian_mixture([0.3, 0.7], [[-1.5, 0.0], [1.0, 0.5]], [0.2, 0.3])
    process = processes.scalar.vp()
    ts, denoiser = grids.power(process, 48, t_min=0.01), densities.denoiser(law, process)
    log_prob = likelihoods.flow_ode(process, denoiser, ts)
    value = lambda x: log_prob(jax.random.key(0), x)
    prior = predictions.score_density(process, denoiser, value, t=0.01)
    likelihood = lambda x: jax.scipy.stats.norm.logpdf(0.2, x[0], 0.5)
    algorithm = smc.tempered(prior, likelihood, lambda f, b: blackjax.mala(f, 0.1), moves=2)
    keys = jax.random.split(jax.random.key(1), 600)
    start = jax.vmap(densities.distribution(law).sample)(keys)
    state, _ = jax.jit(lambda key: smc.run(key, algorithm, start))(jax.random.key(2))
    parts = norm.pdf(0.2, [-1.5, 1.0], np.sqrt([0.45, 0.55])) * [0.3, 0.7]
    assert abs(state.log_normaliser - np.log(parts.sum())) < 0.15
    left = jnp.sum(state.weights * (state.particles[:, 0] < -0.25))
    means = np.array([-1.5, 1.0]) + np.array([0.2, 0.3]) * (0.2 - np.array([-1.5, 1.0])) / (
        np.array([0.2, 0.3]) + 0.25
    )
    spread = np.sqrt(1 / (1 / np.array([0.2, 0.3]) + 4))
    exact = parts @ norm.cdf(-0.25, means, spread) / parts.sum()
    assert abs(left - exact) < 0.08, (left, exact)


@pytest.mark.usefixtures("x32", "same_key")
def test_float32():
    algorithm = smc.tempered(logprior_fn, loglikelihood_fn, kernel, moves=1)
    start = jax.random.normal(jax.random.key(1), (300, 2))
    state, info = jax.jit(lambda key: smc.run(key, algorithm, start))(jax.random.key(2))
    assert state.particles.dtype == state.log_normaliser.dtype == jnp.float32
    assert info.is_finished
    assert abs(state.log_normaliser - LOG_Z) < 0.4


def test_wrong_input():
    make = lambda likelihood=loglikelihood_fn, **options: smc.tempered(
        logprior_fn, likelihood, kernel, **options
    )
    start = jnp.zeros((4, 2))
    for call, message in [
        (lambda: make(exponents=(0.1, 0.5)), "from >= 0 to 1"),
        (lambda: make(exponents=(0.5, 0.2, 1.0)), "rise"),
        (lambda: make(exponents=((0.5, 1.0),)), "shape"),
        (lambda: make(share=1.0), "share"),
        (lambda: make(moves=0), "moves"),
        (lambda: make(lambda x: jnp.nan * x[0]).init(start), "NaN or .inf"),
        (lambda: make(lambda x: jnp.inf + x[0]).init(start), "NaN or .inf"),
        (lambda: make(lambda x: -jnp.inf + x[0]).init(start), "above -inf"),
        (lambda: make(lambda x: x).init(start), "one number"),
        (lambda: make().init({"a": jnp.zeros((3, 2)), "b": jnp.zeros((4, 2))}), "axis"),
        (lambda: make().init(jnp.zeros(())), "axis"),
        (lambda: smc.run(jax.random.key(0), make(), start, max_steps=0), "max_steps"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
