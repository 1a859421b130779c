"""Denoisers by rejection: exact draws, exact shares, and densities that jump."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from jaxgen import densities, processes
from jaxgen.predictions import from_density

PROCESS = processes.scalar.vp()
LAW = densities.gaussian_mixture([0.2, 0.8], [[-2.0, 0.5], [1.5, -1.0]], [0.25, 0.5])
LOG_P = lambda x: densities.distribution(LAW).logdensity(x) + 3.7
# The highest point of the second component, and less than the tail of the first there.
CEILING = float(LOG_P(jnp.array([1.5, -1.0]))) + 1e-3
Z, T = jnp.array([0.4, -0.7]), 0.45


GUESS = (jnp.array([0.8, -0.7]), jnp.array([6.0, 2.0]))


@pytest.mark.parametrize("guess", [None, pytest.param(GUESS, marks=pytest.mark.slow)])
def test_mean_of_kept_draws_and_their_share(guess):
    """Both unbiased: the share is Z N / exp(ceiling), the mean the exact denoiser."""
    ceiling = CEILING
    if guess is not None:  # log-weights are log p + off: their largest value on a fine grid
        side = jnp.linspace(-6, 6, 241)
        grid = jnp.stack(jnp.meshgrid(side, side), -1).reshape(-1, 2)
        off = lambda x: LOG_P(x) + jnp.sum((x - guess[0]) ** 2 / (2 * guess[1]))
        ceiling = float(jnp.max(jax.vmap(off)(grid))) + 0.02

    def one(key):
        draws = from_density.rejection_draws(key, (2,), 200)
        options = {"ceiling": ceiling, "guess": guess}
        denoiser = from_density.rejection(PROCESS, LOG_P, draws, **options)
        return denoiser(Z, T), from_density.kept(PROCESS, LOG_P, draws, **options)(Z, T)

    means, report = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), 2000))
    exact = densities.denoiser(LAW, PROCESS)(Z, T)
    assert np.all(np.abs(np.mean(means, 0) - exact) < 5 * np.std(means, 0) / 2000**0.5)
    assert np.max(report.excess) <= 0
    if guess is None:
        alpha, sigma = PROCESS.transition(T)
        # E exp(log p - ceiling) under N(z / alpha, (sigma / alpha)^2)
        log_p = densities.marginal(LAW, PROCESS, T).logdensity(Z) + 2 * np.log(alpha)
        share = np.exp(log_p + 3.7 - ceiling)
        error = np.std(report.share) / 2000**0.5
        assert abs(np.mean(report.share) - share) < 5 * error


def test_a_density_that_jumps():
    """Uniform on [0, 1]: kept draws are a truncated normal, with no gradient to speak of."""
    log_p = lambda x: jnp.where(jnp.all((x > 0) & (x < 1)), 0.0, -jnp.inf)
    z, t = jnp.array([0.9]), 0.3
    alpha, sigma = (float(part) for part in PROCESS.transition(t))
    ends = (np.array([0.0, 1.0]) - 0.9 / alpha) / (sigma / alpha)
    exact = scipy.stats.truncnorm(*ends, 0.9 / alpha, sigma / alpha).mean()
    draws = from_density.rejection_draws(jax.random.key(1), (1,), 40_000)
    denoiser = from_density.rejection(PROCESS, log_p, draws, ceiling=0.0)
    report = from_density.kept(PROCESS, log_p, draws, ceiling=0.0)(z, t)
    share = np.diff(scipy.stats.norm.cdf(ends))[0]
    assert abs(report.share - share) < 5 * np.sqrt(share * (1 - share) / 40_000)
    assert abs(denoiser(z, t)[0] - exact) < 5 * 0.3 / np.sqrt(40_000 * share)
    # A ceiling that is too low is reported, and one that keeps nothing falls back on importance.
    low = from_density.kept(PROCESS, log_p, draws, ceiling=-1.0)(z, t)
    np.testing.assert_allclose(low.excess, 1.0)
    high = from_density.rejection(PROCESS, log_p, draws, ceiling=50.0)(z, t)
    weighed = from_density.importance(PROCESS, log_p, draws.eps)(z, t)
    np.testing.assert_allclose(high, weighed, rtol=1e-12)


def test_float32_and_wrong_input():
    draws = from_density.rejection_draws(jax.random.key(2), (2,), 8)
    denoiser = from_density.rejection(PROCESS, LOG_P, draws, ceiling=CEILING)
    assert denoiser(Z.astype(jnp.float32), T).dtype == jnp.float32
    with pytest.raises(ValueError, match="ceiling must be one number"):
        from_density.rejection(PROCESS, LOG_P, draws, ceiling=jnp.zeros(2))
    with pytest.raises(ValueError, match="m >= 2"):
        from_density.kept(
            PROCESS, LOG_P, from_density.rejection_draws(jax.random.key(3), (2,), 1), ceiling=0.0
        )
    with pytest.raises(ValueError, match="of the event"):
        denoiser(jnp.zeros(3), T)
