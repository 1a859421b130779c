"""Approximate Bayesian computation: parameters whose simulated data look like the data.

Sources: Pritchard et al. 1999 (rejection); Marjoram et al. 2003 (Markov chains); Fearnhead and
Prangle 2012, arXiv 1004.1112 (posterior means as summaries).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.math import is_concrete
from jaxgen.mcmc._accept import decide
from jaxgen.mcmc._checks import positive
from jaxgen.mcmc.intractable._proposal import ParameterState, joint, start, with_density
from jaxgen.types import sampling_algorithm


class Kept(NamedTuple):
    """The parameters that simulated closest to the data. Source: definition."""

    theta: Any  # [keep, *event], closest first
    distance: Any  # [keep]
    tolerance: Any  # [], the largest distance kept


def abc_rejection(key, sample_prior, simulate, distance, *, simulations, keep, batch=1000):
    """The parameters [keep, *event] of those drawn from the prior whose data come closest: `Kept`.

    Independent draws of the posterior given distance <= tolerance, up to the choice of tolerance
    by rank. Distances that are NaN come last.

    Args: sample_prior(key) -> theta; simulate(key, theta) -> data; distance(data) -> [], to what
    was observed; batch, how many are simulated at once. Raises ValueError unless
    1 <= keep <= simulations and 1 <= batch. Source: Pritchard et al. 1999; Beaumont, Zhang and
    Balding 2002 (tolerance by rank).
    """
    if not 1 <= keep <= simulations or batch < 1:
        raise ValueError(
            "mcmc.intractable.abc_rejection: keep must lie in 1 ... simulations, batch be at least "
            f"1; got {keep}, {simulations}, {batch}"
        )

    def once(i):
        key_prior, key_data = jax.random.split(jax.random.fold_in(key, i))
        theta = sample_prior(key_prior)
        return theta, distance(simulate(key_data, theta))

    thetas, distances = jax.lax.map(once, jnp.arange(simulations), batch_size=batch)
    distances = jnp.where(jnp.isnan(distances), jnp.inf, distances)
    order = jnp.argsort(distances)[:keep]
    return Kept(jax.tree.map(lambda a: a[order], thetas), distances[order], distances[order[-1]])


def abc_mcmc(logprior_fn, simulate, distance, proposal, *, tolerance, kernel="uniform"):
    """Metropolis-Hastings on theta [*event] that takes a theta only with data close enough; as a
    `SamplingAlgorithm`.

    Its law is prior times E[k(distance / tolerance)], k the indicator of [0, 1] ("uniform") or
    exp(-r^2 / 2) ("gaussian"): the posterior as the tolerance falls, if the distance tells data
    apart as a sufficient statistic would. State.extra is the distance [] of the data simulated at
    the position. A start too far away (log-density -inf) moves to the first theta that is not.

    Args: logprior_fn(theta) -> []; simulate(key, theta) -> data; distance(data) -> [] to what was
    observed; proposal, a `Proposal`. Raises ValueError on a proposal without density, a tolerance
    that is not positive, another kernel; `init` without rng_key, or where the prior is NaN or +inf.
    Source: Marjoram et al. 2003, algorithm F; Wilkinson 2013, arXiv 0811.3355 (kernels).
    """
    where = "mcmc.intractable.abc_mcmc"
    with_density(where, proposal)
    positive(where, tolerance=tolerance)
    if kernel not in ("uniform", "gaussian"):
        raise ValueError(f"{where}: kernel must be 'uniform' or 'gaussian'; got {kernel!r}")

    def at(key, theta):
        apart = distance(simulate(key, theta))
        ratio = apart / jnp.asarray(tolerance, apart.dtype)
        hit = jnp.where(ratio <= 1, 0, -jnp.inf) if kernel == "uniform" else -(ratio**2) / 2
        hit = jnp.where(jnp.isnan(ratio), jnp.nan, hit).astype(apart.dtype)
        return ParameterState(theta, joint(logprior_fn(theta), hit), apart)

    def init(position, rng_key=None):
        if rng_key is None:
            raise ValueError(f"{where}: init must have an rng_key to simulate with; got None")
        return start(where, position, lambda theta: at(rng_key, theta))

    def step(rng_key, state):
        key_propose, key_simulate, key_accept = jax.random.split(rng_key, 3)
        old = state.position
        new = at(key_simulate, proposal.sample(key_propose, old))
        forward = proposal.logdensity(new.position, old)
        hastings = proposal.logdensity(old, new.position) - forward
        ratio = jnp.where(
            new.logdensity == -jnp.inf, -jnp.inf, new.logdensity - state.logdensity + hastings
        )
        return decide(key_accept, ratio, new, state, forward)

    return sampling_algorithm(init, step)


def posterior_means(thetas, features, *, ridge=1e-6):
    """summary: features [f] -> [p], the regression of parameters [n, p] on features [n, f] of data
    simulated from them: nearly E[theta | data], the best summary of its dimension.

    Features are centred and scaled; the ridge, per simulation, keeps collinear ones finite, and a
    constant one gets no weight. Returns a `jax.tree_util.Partial`, which crosses jit.

    Raises ValueError on shapes that do not fit, fewer than 2 simulations, values not finite, or a
    ridge that is not positive. Source: Fearnhead and Prangle 2012, arXiv 1004.1112, section 3.
    """
    where = "mcmc.intractable.posterior_means"
    thetas, features = jnp.asarray(thetas), jnp.asarray(features)
    if thetas.ndim != 2 or features.ndim != 2 or len(thetas) != len(features) or len(thetas) < 2:
        raise ValueError(
            f"{where}: thetas [n, p] and features [n, f] must have one n of at least 2; got "
            f"{thetas.shape}, {features.shape}"
        )
    positive(where, ridge=ridge)
    if is_concrete(thetas, features) and not (
        np.all(np.isfinite(thetas)) and np.all(np.isfinite(features))
    ):
        raise ValueError(f"{where}: thetas and features must be finite; got some that are not")
    centre, offset = features.mean(0), thetas.mean(0)
    spread = features.std(0)
    scale = jnp.where(spread > 0, spread, 1)
    unit = (features - centre[None]) / scale[None]
    gram = unit.T @ unit / len(unit)
    gram = gram + jnp.asarray(ridge, gram.dtype) * jnp.eye(len(gram), dtype=gram.dtype)
    weights = jnp.linalg.solve(gram, unit.T @ (thetas - offset[None]) / len(unit))
    return jax.tree_util.Partial(_regressed, centre, scale, weights, offset)


def _regressed(centre, scale, weights, offset, features):
    """The fitted line [p] at features [f]."""
    return offset + ((features - centre) / scale) @ weights
