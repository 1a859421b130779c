"""Unadjusted overdamped Langevin: x' = x + dt grad log p(x) + sqrt(2 dt) xi, in its variants.

The step is blackjax's (`blackjax.mala` is its Metropolis-adjusted form, and unbiased). On N(0, 1)
the step is x' = (1 - dt) x + sqrt(2 dt) xi, so the stationary variance v solves
v = (1 - dt)^2 v + 2 dt: v = 1 / (1 - dt / 2). The bias of averages is of order dt.

A step that lands where the log-density is not finite or its gradient is not is not taken: the chain
stays, and info says is_divergent.
Sources: Roberts and Tweedie 1996 (ULA, MALA); Lau et al. 2023, arXiv 2305.15988 (the family);
Song and Ermon 2019, arXiv 1907.05600, algorithm 1 (annealed; its step epsilon is 2 dt).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.math import is_concrete
from jaxgen.mcmc._accept import keep_or_take
from jaxgen.mcmc._checks import positive, valid_start
from jaxgen.types import sampling_algorithm


class LangevinState(NamedTuple):
    """Where an unadjusted chain is; the log-density and gradient are the smooth part's. Source:
    definition; the fields are those of blackjax.mala.
    """

    position: Any  # [*event]
    logdensity: Any  # [], nats
    logdensity_grad: Any  # [*event]


class LangevinInfo(NamedTuple):
    """What an unadjusted step tells a person. Source: definition."""

    is_divergent: Any  # [], the step left the finite numbers and was not taken


class AnnealedState(NamedTuple):
    """Where an annealed chain is. Source: definition."""

    position: Any  # [*event]
    logdensity: Any  # [], nats, at the level of the step to come
    logdensity_grad: Any  # [*event]
    count: Any  # [], steps taken


def noise_like(key, tree):
    """Unit normals in the shape [*event] and dtype of a tree; one array takes the key itself."""
    leaves, structure = jax.tree.flatten(tree)
    keys = [key] if len(leaves) == 1 else jax.random.split(key, len(leaves))
    draws = [jax.random.normal(k, x.shape, x.dtype) for k, x in zip(keys, leaves, strict=True)]
    return jax.tree.unflatten(structure, draws)


def euler(position, drift, noise, dt):
    """x + dt drift + sqrt(2 dt) noise, leaf by leaf [*event], in the dtype of x."""

    def leaf(x, g, n):
        h = jnp.asarray(dt, x.dtype)
        return x + h * g + jnp.sqrt(2 * h) * n

    return jax.tree.map(leaf, position, drift, noise)


def start(where, evaluate, position):
    """The state at a position [*event], where evaluate gives log-density and gradient."""
    position = jax.tree.map(jnp.asarray, position)
    logdensity, gradient = evaluate(position)
    valid_start(where, logdensity, gradient)
    return LangevinState(position, logdensity, gradient)


def land(evaluate, state, position):
    """(state, info) after a move to a position [*event], or after none if it is not finite."""
    new = LangevinState(position, *evaluate(position))
    # One sum finds whatever is not finite: inf and NaN stay so in a product with zero.
    zeros = jax.tree.map(lambda x, g: jnp.sum(0 * x + 0 * g), new.position, new.logdensity_grad)
    finite = jnp.isfinite(new.logdensity + sum(jax.tree.leaves(zeros)))
    return keep_or_take(finite, new, state), LangevinInfo(~finite)


def ula(logdensity_fn, dt):
    """Unadjusted Langevin on exp(logdensity_fn(x)), x [*event] any tree of arrays; as a
    `SamplingAlgorithm`.

    Args: dt [], > 0, possibly traced. Biased by O(dt): on N(0, 1) the stationary variance is
    1 / (1 - dt / 2). Raises ValueError on a dt that is not positive; `init` on a log-density that
    is NaN or +inf.
    Source: Roberts and Tweedie 1996, section 1.4.1; Lau et al. 2023, arXiv 2305.15988.
    """
    positive("mcmc.ula", dt=dt)
    evaluate = jax.value_and_grad(logdensity_fn)

    def init(position, rng_key=None):
        del rng_key
        return start("mcmc.ula", evaluate, position)

    def step(rng_key, state):
        noise = noise_like(rng_key, state.position)
        return land(evaluate, state, euler(state.position, state.logdensity_grad, noise, dt))

    return sampling_algorithm(init, step)


def preconditioned(logdensity_fn, dt, scale):
    """Unadjusted Langevin under a constant metric M = C C^T on x [*event], any tree; as a
    `SamplingAlgorithm`: x' = x + dt M grad log p + sqrt(2 dt) C xi.

    It is `ula` in the coordinates C^-1 x. Args: dt [], > 0; scale, the C: a number [], a tree of
    the shapes of x (diagonal), or for x [d] a matrix [d, d]. Raises ValueError on a dt that is not
    positive; `init` on a scale that does not fit x, and as `ula`.
    Source: Roberts and Stramer 2002; Lau et al. 2023, arXiv 2305.15988, preconditioned ULA.
    """
    where = "mcmc.preconditioned"
    positive(where, dt=dt)
    evaluate = jax.value_and_grad(logdensity_fn)

    def init(position, rng_key=None):
        del rng_key
        state = start(where, evaluate, position)
        _linear_map(where, scale, state.position)
        return state

    def step(rng_key, state):
        forth, back = _linear_map(where, scale, state.position)
        noise = forth(noise_like(rng_key, state.position))
        drift = forth(back(state.logdensity_grad))
        return land(evaluate, state, euler(state.position, drift, noise, dt))

    return sampling_algorithm(init, step)


def _linear_map(where, scale, position):
    """Functions g -> C g and g -> C^T g of trees of the position's shapes."""
    leaves = jax.tree.leaves(position)
    shape = jnp.shape(scale) if len(jax.tree.leaves(scale)) == 1 else None
    if len(leaves) == 1 and leaves[0].ndim == 1 and shape == leaves[0].shape * 2:
        matrix = jnp.asarray(jax.tree.leaves(scale)[0], leaves[0].dtype)
        forth = lambda g: jax.tree.map(lambda a: jnp.dot(matrix, a, precision="highest"), g)
        back = lambda g: jax.tree.map(lambda a: jnp.dot(matrix.T, a, precision="highest"), g)
        return forth, back
    if jax.tree.structure(scale) == jax.tree.structure(0.0) and shape == ():
        scale = jax.tree.map(lambda x: jnp.full_like(x, scale), position)
    fits = jax.tree.structure(scale) == jax.tree.structure(position)
    if not fits or [jnp.shape(s) for s in jax.tree.leaves(scale)] != [x.shape for x in leaves]:
        raise ValueError(
            f"{where}: scale must be a number, of the shapes of x, or [d, d] for x [d]; got "
            f"{jax.tree.map(jnp.shape, scale)} for x of {jax.tree.map(jnp.shape, position)}"
        )
    apply = lambda g: jax.tree.map(lambda c, a: jnp.asarray(c, a.dtype) * a, scale, g)
    return apply, apply


def annealed(logdensity_fn, levels, dts, *, steps):
    """Unadjusted Langevin down a ladder of levels, x [*event] any tree; as a `SamplingAlgorithm`.

    Each of the levels [k], in turn, is sampled for `steps` steps with its own dts [k]; the last one
    for ever after. For scores at noise levels sigma [k], levels = sigma and dts proportional to
    sigma^2; for tempering exponents, levels rise to 1.

    Args: logdensity_fn(x, level []) -> []; levels [k]; dts [k], > 0, or one number; steps, an
    integer >= 1. Raises ValueError on shapes that do not fit or numbers out of range; `init` as
    `ula`. Not taken a step, the chain keeps its gradient, also across a change of level.
    Source: Song and Ermon 2019, arXiv 1907.05600, algorithm 1 (epsilon = 2 dt).
    """
    where = "mcmc.annealed"
    levels, dts = jnp.asarray(levels), jnp.asarray(dts)
    if levels.ndim != 1 or len(levels) == 0 or dts.shape not in {(), levels.shape}:
        raise ValueError(
            f"{where}: levels [k] and dts [k] or [] must fit; got {levels.shape}, {dts.shape}"
        )
    if not isinstance(steps, int) or steps < 1:
        raise ValueError(f"{where}: steps must be an integer, at least 1; got {steps}")
    if is_concrete(dts) and not np.all((np.asarray(dts) > 0) & np.isfinite(np.asarray(dts))):
        raise ValueError(f"{where}: dts must be positive; got {dts}")
    dts = jnp.broadcast_to(dts, levels.shape)
    at = lambda count: jnp.minimum(count // steps, len(levels) - 1)

    def evaluate(count):
        """x -> log-density and gradient; a real level comes in the dtype of x."""
        level = levels[at(count)]

        def slope(x):
            real = jnp.issubdtype(level.dtype, jnp.floating)
            dtype = jnp.result_type(*jax.tree.leaves(x)) if real else level.dtype
            return jax.value_and_grad(logdensity_fn)(x, level.astype(dtype))

        return slope

    def init(position, rng_key=None):
        del rng_key
        count = jnp.zeros((), int)
        return AnnealedState(*start(where, evaluate(count), position), count)

    def step(rng_key, state):
        noise, count = noise_like(rng_key, state.position), state.count + 1
        position = euler(state.position, state.logdensity_grad, noise, dts[at(state.count)])
        new, info = land(evaluate(count), LangevinState(*state[:3]), position)
        return AnnealedState(*new, count), info

    return sampling_algorithm(init, step)
