"""Patterns: one whose likelihood can be summed, one whose cannot, and real ones."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jaxgen as jg
from experiments.point_patterns import _real

LOW, HIGH = (np.log(5.0), 0.0), (np.log(150.0), 1.0)  # theta = (log beta, gamma), on a box
REAL_LOW, REAL_HIGH = (np.log(20.0), 0.0), (np.log(2000.0), 1.0)
WALK, REAL_WALK, NARROW_WALK = (0.5, 0.25), (0.2, 0.15), (0.1, 0.04)  # a posterior deviation
WHOLE_CAPACITY = 40
STEPS_A_POINT = 25  # of births and deaths, in a simulation of a real pattern's size


class Problem(NamedTuple):
    """A pattern, how to simulate others, and its posterior where that is known."""

    name: str
    pattern: Any
    radius: float
    simulate: Any  # (key, theta) -> Pattern
    truth: Any  # (mean [2], deviation [2]) or None
    weights: Any  # the posterior on `grids`, or None
    window: Any
    low: Any = LOW  # of the prior's box
    high: Any = HIGH
    walk: Any = WALK
    start: Any = None  # theta [2] of the pseudo-likelihood, or None


def window():
    """The unit square."""
    return jg.points.box([0.0, 0.0], [1.0, 1.0])


def grids(n=200):
    """Midpoints (log beta, gamma) [n, n, 2] of the box of the prior."""
    axes = [
        low + (high - low) * (np.arange(n) + 0.5) / n for low, high in zip(LOW, HIGH, strict=True)
    ]
    return np.stack(np.meshgrid(*axes, indexing="ij"), -1)


def prior(problem):
    """The uniform law on the problem's box."""
    low, high = (jnp.asarray(end, float) for end in (problem.low, problem.high))

    def logdensity(theta):
        inside = jnp.all((theta >= low) & (theta <= high))
        return jnp.where(inside, -jnp.sum(jnp.log(high - low)), -jnp.inf)

    sample = lambda key: jax.random.uniform(key, (2,), minval=low, maxval=high)
    return jg.types.Distribution(sample, logdensity)


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
    return Problem("whole", pattern, 2.0, simulate, (mean, deviation), weights, window())


def simulator(radius, window, capacity, steps):
    """simulate(key, theta) -> pattern, by births and deaths from nothing."""

    def simulate(key, theta):
        law = process(theta, radius)
        return jg.points.simulate(key, law, window, capacity=capacity, steps=steps)

    return simulate


def short(settings):
    """Close pairs interact: simulations by births and deaths; no posterior is known."""
    simulate = simulator(settings.radius, window(), settings.capacity, settings.inner_steps)
    theta = jnp.asarray([np.log(settings.beta), settings.gamma])
    pattern = jax.jit(simulate)(jax.random.key(settings.seed), theta)
    return Problem("short", pattern, settings.radius, simulate, None, None, window())


def real(name, settings):
    """A real pattern; the radius has the highest profile pseudo-likelihood, or is half a typical
    distance where no radius does better than none.
    """
    given = _real.load(name)
    n = len(given.points)
    typical = np.sqrt(given.height / n)
    radii = np.append(np.linspace(0.15, 1.2, 43) * typical, 0.5 * typical)
    values, gammas, betas = _real.profile(given.points, given.height, radii)
    repels = gammas.min() < 1
    best = values.argmax() if repels else -1
    radius = float(radii[best])
    where = jg.points.box([0.0, 0.0], [1.0, given.height])
    capacity = int(1.5 * n) + 20
    simulate = simulator(radius, where, capacity, STEPS_A_POINT * n)
    pattern = jg.points.pattern(jnp.asarray(given.points, float), capacity)
    start = np.log(betas[best]), gammas[best]
    options = REAL_LOW, REAL_HIGH, REAL_WALK if repels else NARROW_WALK, start
    return Problem(name, pattern, radius, simulate, None, None, where, *options)


def make(name, settings):
    """The problem of a name; `_real.MissingError` where a package is not installed."""
    if name in _real.NAMES:
        return real(name, settings)
    return {"whole": whole, "short": short}[name](settings)
