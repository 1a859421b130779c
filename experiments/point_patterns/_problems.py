"""Two patterns: one whose likelihood can be summed, one whose cannot."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jaxgen as jg

LOW = (np.log(5.0), 0.0)  # theta = (log beta, gamma), uniform on a box
HIGH = (np.log(150.0), 1.0)
WHOLE_CAPACITY = 40


class Problem(NamedTuple):
    """A pattern, how to simulate others, and its posterior where that is known."""

    name: str
    pattern: Any
    radius: float
    simulate: Any  # (key, theta) -> Pattern
    truth: Any  # (mean [2], deviation [2]) or None
    weights: Any  # the posterior on `grids`, or None


def window():
    """The unit square."""
    return jg.points.box([0.0, 0.0], [1.0, 1.0])


def grids(n=200):
    """Midpoints (log beta, gamma) [n, n, 2] of the box of the prior."""
    axes = [
        low + (high - low) * (np.arange(n) + 0.5) / n for low, high in zip(LOW, HIGH, strict=True)
    ]
    return np.stack(np.meshgrid(*axes, indexing="ij"), -1)


def logprior(theta):
    """0 on the box, -inf elsewhere."""
    inside = (theta >= jnp.asarray(LOW)) & (theta <= jnp.asarray(HIGH))
    return jnp.where(jnp.all(inside), 0.0, -jnp.inf)


def sample_prior(key):
    """A theta [2] of the prior."""
    return jax.random.uniform(key, (2,), minval=jnp.asarray(LOW), maxval=jnp.asarray(HIGH))


def process(theta, radius):
    """Strauss' process at theta."""
    return jg.points.strauss(jnp.exp(theta[0]), theta[1], radius)


def loglikelihood(problem):
    """log q(y | theta), unnormalised."""
    return lambda y, theta: process(theta, problem.radius).logdensity(y)


def whole(settings):
    """All points interact: counts by their exact law, and the posterior by sums."""

    def simulate(key, theta):
        key_count, key_points = jax.random.split(key)
        log_probs, _ = jg.points.strauss_everywhere(
            jnp.exp(theta[0]), theta[1], window(), capacity=WHOLE_CAPACITY
        )
        n = jax.random.categorical(key_count, log_probs)
        return jg.points.Pattern(
            jax.random.uniform(key_points, (WHOLE_CAPACITY, 2)), jnp.arange(WHOLE_CAPACITY) < n
        )

    key = jax.random.key(settings.seed + 1)
    pattern = simulate(key, jnp.asarray([np.log(20.0), 0.8]))
    n = int(jg.points.count(pattern))
    grid = grids()

    def log_z(theta):
        return jg.points.strauss_everywhere(
            jnp.exp(theta[0]), theta[1], window(), capacity=WHOLE_CAPACITY
        )[1]

    log_zs = np.asarray(jax.jit(jax.vmap(jax.vmap(log_z)))(grid))
    law = n * grid[..., 0] + n * (n - 1) / 2 * np.log(grid[..., 1]) - log_zs
    weights = np.exp(law - law.max())
    weights /= weights.sum()
    mean = np.sum(weights[..., None] * grid, (0, 1))
    deviation = np.sqrt(np.sum(weights[..., None] * (grid - mean) ** 2, (0, 1)))
    return Problem("whole", pattern, 2.0, simulate, (mean, deviation), weights)


def short(settings):
    """Close pairs interact: simulations by births and deaths; no posterior is known."""

    def simulate(key, theta):
        return jg.points.simulate(
            key,
            process(theta, settings.radius),
            window(),
            capacity=settings.capacity,
            steps=settings.inner_steps,
        )

    theta = jnp.asarray([np.log(settings.beta), settings.gamma])
    pattern = jax.jit(simulate)(jax.random.key(settings.seed), theta)
    return Problem("short", pattern, settings.radius, simulate, None, None)
