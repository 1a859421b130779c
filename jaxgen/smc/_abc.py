"""Approximate Bayesian computation by a population whose tolerance falls.

Each step simulates once at new parameters, drawn from a kernel estimate of the posterior so far,
and keeps the closest of old and new. A particle keeps the importance weight of its birth, prior
over the density that it was proposed with, so that every simulation goes on counting: with a fixed
tolerance, the particles of each step alone estimate prior x P(distance <= tolerance) without bias.

Sources: Beaumont et al. 2009, arXiv 0805.2256 (weights, twice the covariance; they correct Sisson,
Fan and Tanaka 2007); Lenormand, Jabot and Deffuant 2013, arXiv 1111.1308 (a fixed number of
simulations a step, tolerance by rank, when to stop); Filippi et al. 2013, arXiv 1106.6280 (the full
covariance); Owen and Zhou 2000 (a share of prior draws bounds the weights).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from jaxgen.math import is_concrete
from jaxgen.types import sampling_algorithm


class AbcState(NamedTuple):
    """Weighted particles of the prior given data within a tolerance. Source: definition."""

    particles: Any  # [n, *event]
    weights: Any  # [n], summing to 1; 0 beyond the tolerance
    tolerance: Any  # [], never rising
    distances: Any  # [n], of the data simulated at the particles
    log_weights: Any  # [n], nats: log prior less log-density of the proposal
    simulations: Any  # [], spent so far
    count: Any  # [], steps taken


class AbcInfo(NamedTuple):
    """What a step tells a person. Source: definition."""

    effective_draws: Any  # [], of the new weights, from 1 to n
    acceptance: Any  # [], the share of this step's simulations within the tolerance before it
    simulations: Any  # [], spent so far
    divergences: Any  # [], of this step: log-prior NaN or +inf, or distance NaN; weighed as 0
    is_finished: Any  # [], the least tolerance is reached


class AbcRunInfo(NamedTuple):
    """What `abc_run` tells a person. Source: definition."""

    steps: Any  # []
    is_finished: Any  # [], the least tolerance was reached
    effective_draws: Any  # [], of the final weights
    acceptance: Any  # [], of the last step
    simulations: Any  # [], spent in all
    divergences: Any  # [], of all steps


def abc(prior, simulate, distance, *, least=0.0, fresh=None, defensive=0.1, batch=1000):
    """Population Monte Carlo of the prior given distance <= tolerance: a `SamplingAlgorithm` over
    particles [n, *event], which start as draws of the prior.

    A step spends `fresh` simulations and keeps the n closest of old and new; the tolerance is the
    largest distance kept, and stays at `least` once there: further steps then renew the particles
    under one law. Means are sums of weights x particles. The law is the posterior as the tolerance
    falls if the distance tells data apart as a sufficient statistic would; distances of learned
    summaries (`mcmc.intractable.posterior_means`) come near. Tolerances chosen by rank cost a bias
    of order 1 / n. New particles come from normals of twice the weighted covariance around the old;
    those outside the prior's support weigh 0, and count as simulations.

    Args:
        prior: `Distribution` of theta [*event], its log-density normalised, floats only.
        simulate: (key, theta) -> data, any tree; run at parameters outside the support too, where
            what it returns is ignored.
        distance: data -> [], to what was observed.
        least: the tolerance [] to stop at; 0 asks for equal data, fit for counts.
        fresh: simulations in a step; None is n.
        defensive: the share in (0, 1] of proposals from the prior: no weight exceeds 1 / defensive,
            where an unmixed kernel estimate may miss the posterior's tails.
        batch: how many are simulated at once.
    Raises ValueError on a prior without log-density, a negative tolerance, a share outside (0, 1],
    fresh or batch < 1; `init` without rng_key, on particles without a common leading axis n >= 2,
    (where concrete) outside the prior's support, or none of which has a finite distance.
    Source: Beaumont et al. 2009, arXiv 0805.2256; Lenormand et al. 2013, arXiv 1111.1308.
    """
    where = "smc.abc"
    _check_options(where, prior, least, fresh, defensive, batch)

    def simulated(key, thetas):
        def once(each):
            i, theta = each
            return distance(simulate(jax.random.fold_in(key, i), theta))

        size = jax.tree.leaves(thetas)[0].shape[0]
        found = jax.lax.map(once, (jnp.arange(size), thetas), batch_size=min(batch, size))
        if found.shape != (size,):
            raise ValueError(
                f"{where}: distance must return one number []; got shape {found.shape[1:]}"
            )
        return found.astype(jnp.result_type(found, float))

    def init(position, rng_key=None):
        if rng_key is None:
            raise ValueError(f"{where}: init must have an rng_key to simulate with; got None")
        particles = jax.tree.map(jnp.asarray, position)
        size = _check_particles(where, particles, prior)
        distances = simulated(rng_key, particles)
        distances = jnp.where(jnp.isnan(distances), jnp.inf, distances)
        if is_concrete(distances) and not np.any(np.isfinite(distances)):
            raise ValueError(f"{where}: some particle must have a finite distance; got none")
        zeros = jnp.zeros(size, distances.dtype)
        return _weighed(particles, distances, zeros, least, jnp.asarray(size), jnp.zeros((), int))

    def step(rng_key, state):
        key_new, key_data = jax.random.split(rng_key)
        size = state.weights.shape[0]
        many = size if fresh is None else fresh
        new, log_weights, bad = _proposed(key_new, prior, state, many, defensive, batch)
        apart = simulated(key_data, new)
        possible = log_weights > -jnp.inf
        bad |= possible & jnp.isnan(apart)
        apart = jnp.where(possible & ~bad, apart, jnp.inf).astype(state.distances.dtype)
        taken = jnp.mean(apart <= state.tolerance)
        pool = jax.tree.map(
            lambda a, b: jnp.concatenate([a, b]),
            (new, apart, log_weights.astype(state.log_weights.dtype)),
            (state.particles, state.distances, state.log_weights),
        )
        # Within the least tolerance the newest go first, whatever their distance: it has one law.
        rank = jnp.maximum(pool[1], jnp.asarray(least, apart.dtype))
        chosen = jnp.argsort(rank)[:size]
        kept = jax.tree.map(lambda leaf: leaf[chosen], pool)
        after = _weighed(*kept, least, state.simulations + many, state.count + 1)
        effective = 1 / jnp.sum(after.weights**2)
        finished = after.tolerance <= jnp.asarray(least, apart.dtype)
        return after, AbcInfo(effective, taken, after.simulations, jnp.sum(bad), finished)

    return sampling_algorithm(init, step)


def abc_run(key, algorithm, particles, *, least_acceptance=0.05, max_steps=50):
    """(state, AbcRunInfo): `abc` run from particles [n, *event], draws of the prior, until its
    least tolerance is reached, which `is_finished` tells, a step accepts too few of its
    simulations, or max_steps are done.

    Raises ValueError on an acceptance outside [0, 1), max_steps < 1, and as `init`.
    Source: Lenormand et al. 2013, arXiv 1111.1308 (to stop by acceptance).
    """
    if not 0 <= least_acceptance < 1 or max_steps < 1:
        raise ValueError(
            "smc.abc_run: 0 <= least_acceptance < 1 and max_steps >= 1 must hold; got "
            f"{least_acceptance}, {max_steps}"
        )
    key_first, key_steps = jax.random.split(key)
    first = algorithm.init(particles, key_first)
    shaped = jax.eval_shape(algorithm.step, jax.random.key(0), first)[1]
    info = jax.tree.map(lambda like: jnp.zeros(like.shape, like.dtype), shaped)
    info = info._replace(acceptance=jnp.ones_like(info.acceptance))

    def going(carry):
        state, info, _ = carry
        enough = info.acceptance >= least_acceptance
        return ~info.is_finished & enough & (state.count < max_steps)

    def turn(carry):
        state, _, lost = carry
        state, info = algorithm.step(jax.random.fold_in(key_steps, state.count), state)
        return state, info, lost + info.divergences

    state, info, lost = jax.lax.while_loop(going, turn, (first, info, info.divergences))
    told = info.is_finished, info.effective_draws, info.acceptance, state.simulations, lost
    return state, AbcRunInfo(state.count, *told)


def _weighed(particles, distances, log_weights, least, simulations, count):
    """The state of particles: weights within the tolerance that the farthest of them sets."""
    tolerance = jnp.maximum(jnp.max(distances), jnp.asarray(least, distances.dtype))
    logs = jnp.where(jnp.isfinite(distances), log_weights, -jnp.inf)
    top = jnp.max(logs)
    weights = jnp.exp(logs - jnp.where(top > -jnp.inf, top, 0))
    total = jnp.sum(weights)
    weights = jnp.where(total > 0, weights / jnp.where(total > 0, total, 1), 1 / weights.size)
    return AbcState(
        particles, weights, tolerance, distances, log_weights, simulations, jnp.asarray(count)
    )


def _proposed(key, prior, state, many, defensive, batch):
    """New particles [many, *event], their log-weights [many], and whether their prior is none."""
    flat = jax.vmap(lambda theta: ravel_pytree(theta)[0])(state.particles)
    unravel = ravel_pytree(jax.tree.map(lambda leaf: leaf[0], state.particles))[1]
    weights = state.weights.astype(flat.dtype)
    factor = _factor(flat, weights)
    logits = jnp.log(weights)

    def draw(i):
        key_which, key_prior, key_old, key_noise = jax.random.split(jax.random.fold_in(key, i), 4)
        old = flat[jax.random.categorical(key_old, logits)]
        near = old + factor @ jax.random.normal(key_noise, old.shape, old.dtype)
        anew = ravel_pytree(prior.sample(key_prior))[0].astype(old.dtype)
        return jnp.where(jax.random.uniform(key_which, (), old.dtype) < defensive, anew, near)

    # in units of the kernel, where its density is a function of distance
    centres = jax.scipy.linalg.solve_triangular(factor, flat.T, lower=True).T
    own = jnp.sum(jnp.log(jnp.diagonal(factor))) + flat.shape[1] / 2 * jnp.log(2 * jnp.pi)

    def log_weight(x):
        unit = jax.scipy.linalg.solve_triangular(factor, x, lower=True)
        squares = jnp.sum((centres - unit[None]) ** 2, -1)
        near = jax.nn.logsumexp(logits - squares / 2) - own.astype(x.dtype)
        logprior = prior.logdensity(unravel(x)).astype(x.dtype)
        bad = jnp.isnan(logprior) | (logprior == jnp.inf)
        safe = jnp.where(bad, -jnp.inf, logprior)
        share = jnp.asarray(defensive, x.dtype)
        proposal = jnp.logaddexp(jnp.log(share) + safe, jnp.log1p(-share) + near)
        return jnp.where(safe > -jnp.inf, safe - proposal, -jnp.inf), bad

    drawn = jax.vmap(draw)(jnp.arange(many))
    log_weights, bad = jax.lax.map(log_weight, drawn, batch_size=min(batch, many))
    return jax.vmap(unravel)(drawn), log_weights, bad


def _factor(flat, weights):
    """Cholesky factor [d, d] of twice the weighted covariance of flat [n, d], never singular."""
    away = flat - (weights @ flat)[None]
    cov = 2 * (away * weights[:, None]).T @ away
    limits = jnp.finfo(flat.dtype)
    ridge = jnp.sqrt(limits.eps) * jnp.diagonal(cov) + jnp.sqrt(limits.tiny)
    return jnp.linalg.cholesky(cov + jnp.diag(ridge))


def _check_options(where, prior, least, fresh, defensive, batch):
    if getattr(prior, "logdensity", None) is None or not hasattr(prior, "sample"):
        raise ValueError(
            f"{where}: the prior must have sample(key) and logdensity(theta), a Distribution; got "
            f"{prior!r}"
        )
    if is_concrete(least) and not (np.ndim(least) == 0 and 0 <= least < np.inf):
        raise ValueError(f"{where}: least must be a finite number of at least 0; got {least}")
    if is_concrete(defensive) and not 0 < defensive <= 1:
        raise ValueError(f"{where}: defensive must lie in (0, 1]; got {defensive}")
    for name, value in {"fresh": fresh, "batch": batch}.items():
        if value is not None and value < 1:
            raise ValueError(f"{where}: {name} must be at least 1; got {value}")


def _check_particles(where, particles, prior):
    """How many there are; ValueError as `abc` says."""
    leaves = jax.tree.leaves(particles)
    sizes = {jnp.shape(leaf)[:1] for leaf in leaves}
    if len(sizes) != 1 or sizes == {()} or min(sizes)[0] < 2:
        raise ValueError(
            f"{where}: particles must share a leading axis of n >= 2; got {sorted(sizes)}"
        )
    if not all(jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in leaves):
        raise ValueError(
            f"{where}: particles must be floats; got {[str(leaf.dtype) for leaf in leaves]}"
        )
    values = jax.vmap(prior.logdensity)(particles)
    (size,) = min(sizes)
    if values.shape != (size,):
        raise ValueError(
            f"{where}: the prior's log-density must be one number []; got shape {values.shape[1:]}"
        )
    if is_concrete(values) and not np.all(np.isfinite(values)):
        raise ValueError(
            f"{where}: particles must lie in the prior's support, with finite log-density; got "
            f"{int(np.sum(~np.isfinite(values)))} that do not of {size}"
        )
    return size
