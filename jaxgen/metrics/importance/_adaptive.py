"""Adaptive importance sampling for several expectations at once.

Each stage draws from the proposal g, estimates all expectations I, and fits the next proposal to
f sqrt(Σ a_j (phi_j - I_j)²). What the stages spend is lost to the answer: it comes from a last,
independent draw of the best proposal, with coefficients from the stages, so that it is unbiased.
The best moment to stop trades one against the other: with V the variance of one draw under the best
proposal so far and R what is left of the budget, the answer's variance will be V / R; stop as soon
as a stage has not lowered that.

Sources: Rubinstein and Kroese 2004, The Cross-Entropy Method, section 2; Hesterberg 1995, Weighted
average importance sampling and defensive mixture distributions; the stopping rule is derived here.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxgen.densities import GaussianMixture, distribution
from jaxgen.metrics.importance._estimate import (
    checked_scales,
    estimate,
    log_spread,
)
from jaxgen.metrics.importance._proposal import fit_gaussian, fit_mixture
from jaxgen.types import Distribution

Array = jax.Array


class _Problem(NamedTuple):
    """The arguments of `adaptive`, checked."""

    logdensity_fn: Callable
    values_fn: Callable
    start: Distribution
    budget: int
    num_samples: int
    num_components: int
    defensive: float
    scales: Any
    point: Any  # the shape and dtype of one draw [d]
    values: Any  # those of its values [J]


class Adaptive(NamedTuple):
    """Adaptive importance sampling as pure functions. Source: definition."""

    init: Callable  # () -> state
    step: Callable  # (key, state) -> (state, info), one stage
    draw: Callable  # (key, state, n) -> Expectations of [J], from n fresh draws; n is static
    proposal: Callable  # state -> Distribution, the best so far


class AdaptiveState(NamedTuple):
    """What the next stage needs. Source: definition."""

    fitted: GaussianMixture  # of the next stage
    share: Array  # [], of the fitted part of the next proposal; the rest is the start
    best: Any  # (fitted, share) of the stage with the least variance
    variance: Array  # [], of one draw there: Σ a_j n (standard error)²
    beta: Array  # [J], found there
    value: Array  # [J], all stages, weighted by their precision
    precision: Array  # []
    spent: Array  # [], draws so far
    projected: Array  # [], the answer's summed variance if the rest of the budget is drawn now
    done: Array  # [], whether the last stage has not paid


def adaptive(
    logdensity_fn: Callable[[Array], Array],
    values_fn: Callable[[Array], Array],
    start: Distribution,
    *,
    budget: int,
    num_samples: int,
    num_components: int = 1,
    defensive: float = 0.1,
    scales: Array | None = None,
) -> Adaptive:
    """Adaptive importance sampling of E_f[phi_j], j = 1..J, as (init, step, draw, proposal).

    Run `step` until `state.done`, then `draw(key, state, budget - spent)`.

    Args:
        logdensity_fn: log f, x [d] -> [], normalised.
        values_fn: x [d] -> [J].
        start: the first proposal over [d]; it must reach wherever f does.
        budget: draws in all, the last one included.
        num_samples: draws of one stage, at most half of the budget.
        num_components: of the fitted Gaussian mixture.
        defensive: the part of `start` in every later proposal, in (0, 1]: weights are then at most
            1 / defensive times those under `start`.
        scales: [J], the a_j: how much each variance counts; None is 1 each.

    Raises ValueError on numbers out of their range, or scales that do not fit.
    Source: see the head of the file.
    """
    where = "importance.adaptive"
    if not 8 <= 2 * num_samples <= budget:
        raise ValueError(
            f"{where}: num_samples must be at least 4 and at most half of the budget; "
            f"got {num_samples} of {budget}"
        )
    if not 0 < defensive <= 1:
        raise ValueError(f"{where}: defensive must be in (0, 1]; got {defensive}")
    if not 1 <= num_components <= num_samples:
        raise ValueError(
            f"{where}: num_components must be in [1, {num_samples}]; got {num_components}"
        )
    point = jax.eval_shape(start.sample, jax.random.key(0))
    values = jax.eval_shape(values_fn, point)
    if len(point.shape) != 1 or len(values.shape) != 1:
        raise ValueError(
            f"{where}: start must draw [d] and values_fn give [J]; "
            f"got {point.shape} and {values.shape}"
        )
    problem = _Problem(
        logdensity_fn, values_fn, start, budget, num_samples, num_components, defensive,
        checked_scales(where, scales, values.shape[0]), point, values,
    )  # fmt: skip

    def draw(key, state, n):
        _, log_weights, found = _drawn(problem, key, _proposal(problem, *state.best), n)
        return estimate(log_weights, found, beta=state.beta)

    return Adaptive(
        init=lambda: _init(problem),
        step=lambda key, state: _step(problem, key, state),
        draw=draw,
        proposal=lambda state: _proposal(problem, *state.best),
    )


def _proposal(problem, fitted, share):
    """The mixture of a fitted law, a part `share` of it, and the start."""
    part, start = distribution(fitted), problem.start

    def sample(key):
        key_which, key_start, key_part = jax.random.split(key, 3)
        from_part = jax.random.uniform(key_which, (), problem.point.dtype) < share
        return jnp.where(from_part, part.sample(key_part), start.sample(key_start))

    def logdensity(x):
        return jnp.logaddexp(
            jnp.log(share) + part.logdensity(x), jnp.log1p(-share) + start.logdensity(x)
        )

    return Distribution(sample, logdensity)


def _drawn(problem, key, law, n):
    """Points [n, d], log-weights [n] and values [n, J] of n draws."""
    xs = jax.vmap(law.sample)(jax.random.split(key, n))
    log_weights = jax.vmap(lambda x: problem.logdensity_fn(x) - law.logdensity(x))(xs)
    return xs, log_weights, jax.vmap(problem.values_fn)(xs)


def _init(problem):
    d, dtype = problem.point.shape[0], problem.point.dtype
    anywhere = fit_gaussian(jnp.zeros(2, dtype), jnp.eye(2, d, dtype=dtype))  # of share 0
    anywhere = jax.tree.map(
        lambda leaf: jnp.broadcast_to(leaf, (problem.num_components, *leaf.shape[1:])), anywhere
    )
    zero, none = jnp.zeros((), problem.values.dtype), jnp.zeros_like(problem.values)
    share, endless = jnp.zeros((), dtype), jnp.full_like(zero, jnp.inf)
    return AdaptiveState(
        fitted=anywhere,
        share=share,
        best=(anywhere, share),
        variance=endless,
        beta=none,
        value=none,
        precision=zero,
        spent=jnp.zeros((), int),
        projected=endless,
        done=jnp.zeros((), bool),
    )


def _fit(problem, key, log_weights, xs):
    if problem.num_components == 1:
        return fit_gaussian(log_weights, xs)
    return fit_mixture(key, log_weights, xs, problem.num_components)


def _step(problem, key, state):
    key_draw, key_fit = jax.random.split(key)
    law, scales, n = (
        _proposal(problem, state.fitted, state.share),
        problem.scales,
        problem.num_samples,
    )
    xs, log_weights, values = _drawn(problem, key_draw, law, n)
    found = estimate(log_weights, values)
    squares = found.standard_error**2
    variance = n * jnp.sum(squares if scales is None else scales * squares)
    better = variance < state.variance
    pick = lambda new, old: jax.tree.map(lambda a, b: jnp.where(better, a, b), new, old)
    weight = 1 / jnp.maximum(variance, jnp.finfo(variance.dtype).tiny ** 0.5)
    precision = state.precision + weight
    value = state.value + (found.value - state.value) * weight / precision
    target = log_weights + jax.vmap(lambda v: log_spread(v, value, scales))(values)
    target = jnp.where(jnp.any(target > -jnp.inf), target, log_weights)  # when nothing varies
    spent, least = state.spent + n, jnp.minimum(variance, state.variance)
    projected = least / jnp.maximum(problem.budget - spent, 1)
    new = AdaptiveState(
        fitted=_fit(problem, key_fit, target, xs),
        share=jnp.full_like(state.share, 1 - problem.defensive),
        best=pick((state.fitted, state.share), state.best),
        variance=least,
        beta=pick(found.beta, state.beta),
        value=value,
        precision=precision,
        spent=spent,
        projected=projected,
        done=(projected >= state.projected) | (spent + n >= problem.budget),
    )
    return new, found
