"""Differentially private release of a sample that a Markov chain only nearly drew (ASAP).

If an exact draw x* is private, and the chain's x can be coupled with it so that always
|x - x*| <= distance (their W_infinity distance), then x + noise is private: noise whose density
changes by at most exp(epsilon) under a shift of `distance` hides the difference. From data D to a
neighbour D' the release passes  x_D ~ x*_D ~ x*_D' ~ x_D', so the budgets add up:
budget = exact + 2 noise, for pure epsilon and for Gaussian mu alike.

Source: Lin et al. 2024, arXiv 2310.14661 (approximate sample perturbation). The sum of budgets is
derived here by group privacy.
"""

import jax
import jax.numpy as jnp

from jaxgen.mcmc._checks import positive


def private_release(key, x, *, distance, budget, mechanism="laplace"):
    """x [*event] plus noise that hides a W_infinity distance at a privacy budget; an array.

    mechanism="laplace": independent Laplace noise of scale distance / budget, for a distance in the
    L1 norm (sqrt(d) times the Euclidean one suffices) and pure epsilon = budget. "gaussian":
    normal noise of standard deviation distance / budget, for a Euclidean distance and Gaussian
    differential privacy mu = budget. The whole release costs `private_budget`.

    Args: distance, budget [], > 0. Raises ValueError otherwise, or on another mechanism.
    Source: Lin et al. 2024, arXiv 2310.14661; Dwork et al. 2006 (Laplace); Dong, Roth and Su 2022,
    theorem 1 (Gaussian).
    """
    where = "mcmc.private_release"
    positive(where, distance=distance, budget=budget)
    if mechanism not in ("laplace", "gaussian"):
        raise ValueError(f"{where}: mechanism must be 'laplace' or 'gaussian'; got {mechanism!r}")
    x = jnp.asarray(x)
    draw = jax.random.laplace if mechanism == "laplace" else jax.random.normal
    scale = jnp.asarray(distance, x.dtype) / jnp.asarray(budget, x.dtype)
    return x + scale * draw(key, x.shape, x.dtype)


def private_budget(exact, noise):
    """The budget [] of a released sample: exact + 2 noise, where an exact draw costs `exact` and
    `private_release` was given `noise`; both epsilon, or both Gaussian mu.

    Raises ValueError unless both are positive. Source: group privacy, as derived in the head of
    this file; Lin et al. 2024, arXiv 2310.14661.
    """
    positive("mcmc.private_budget", exact=exact, noise=noise)
    return exact + 2 * noise


def coupled_distances(key, algorithm, x, y, num_steps, *, norm=2):
    """Distances [num_steps + 1] between two chains of one algorithm, started at x and y [d] and
    driven by the same keys (synchronous coupling).

    Their last value, maximised over starts, measures what W_infinity distance a chain of that
    length can have from its stationary law on a bounded domain: a measurement, no proof. A
    Langevin chain on a log-density of curvature between m and L contracts by 1 - m dt a step, when
    dt <= 2 / (m + L); after a Metropolis step the two may be accepted differently.

    Args: norm, 1 or 2 or any order of `jnp.linalg.norm`. Raises ValueError on shapes that differ or
    num_steps < 1. Source: Lin et al. 2024, arXiv 2310.14661; Durmus and Moulines 2019,
    arXiv 1605.01559 (synchronous coupling).
    """
    where = "mcmc.coupled_distances"
    x, y = jnp.asarray(x), jnp.asarray(y)
    if x.ndim != 1 or x.shape != y.shape or num_steps < 1:
        raise ValueError(
            f"{where}: x and y must be [d], num_steps at least 1; got {x.shape}, {y.shape}, "
            f"{num_steps}"
        )
    key_init, key_run = jax.random.split(key)
    start = lambda a: algorithm.init(a, jax.random.fold_in(key_init, 0))
    apart = lambda a, b: jnp.linalg.norm(a.position - b.position, ord=norm)

    def body(states, i):
        move = lambda state: algorithm.step(jax.random.fold_in(key_run, i), state)[0]
        states = tuple(map(move, states))
        return states, apart(*states)

    first = (start(x), start(y))
    _, rest = jax.lax.scan(body, first, jnp.arange(num_steps))
    return jnp.concatenate([apart(*first)[None], rest])
