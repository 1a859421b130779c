"""Gradient descent of particles on the distance between their statistics and a target."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.flows.microcanonical._log_det import Step, exact
from jaxgen.math import is_concrete


class State(NamedTuple):
    """Particles and what their map has done to volume so far. Source: definition."""

    x: jax.Array  # [n, d]
    log_det: jax.Array  # [n], nats, the sum over the steps


class Info(NamedTuple):
    """What a step did, for a person; errors are those before it. Source: definition."""

    mean_error: jax.Array  # [], |mean over particles of Phi - target|
    error: jax.Array  # [], root mean square over particles of |Phi - target|
    entropy_change: jax.Array  # [], nats per dimension, from the start to after the step
    log_det_error: jax.Array  # [n], standard error of this step's log-determinants; 0 when exact
    truncation: jax.Array  # [], their bias, at most, when a series estimates them; else 0
    invertible: jax.Array  # [], bool; False: the step size is too large here, or x is not finite


class Descent(NamedTuple):
    """A microcanonical descent of particles x [n, d]. A recipe. Source: definition."""

    init: Callable  # x [n, d] -> State
    step: Callable  # (key, state) -> (state, info)


def plain(statistics, target, *, step_size, log_det=None):
    """The `Descent` of each particle x [d] by itself: x <- x - gamma J Phi(x)^T (Phi(x) - target).

    From particles of known entropy H_0 (white noise: d log(2 pi e sigma^2) / 2 nats) the law after
    the steps has entropy H_0 + E log_det, where log_det sums log |det| of the steps. Every particle
    meets the target in the end, so k directions collapse and the entropy falls without end: stop
    early, or use `mean_field`.

    Args:
        statistics: Phi, x [d] -> [k], smooth.
        target: [k], such as the statistics of one long series.
        step_size: gamma > 0. Averages over d entries have gradients of size 1 / d, so gamma is of
            the order of d: gamma |J|^2 < 1 is needed, `info.invertible` watches it.
        log_det: `exact()` when None, or `series(...)`, which is random; exact ignores its key.

    Raises ValueError on a target that is not [k] or not finite, step_size <= 0, particles that are
    not [n, d], and statistics that are not finite at the start.
    Source: Bruna and Mallat 2019, arXiv 1801.02013; Haggbom, Karlsmark and Anden 2024,
    arXiv 2403.08362.
    """
    return _descent("microcanonical.plain", statistics, target, step_size, log_det, coupled=False)


def mean_field(statistics, target, *, step_size, log_det=None):
    """The `Descent` of particles x [n, d] together: x_i <- x_i - gamma J Phi(x_i)^T r, with
    r = mean_j Phi(x_j) - target.

    Only the average is bound to the target; the fluctuations of Phi between particles survive, and
    entropy falls by less. log_det [n] sums to the log |det| of the map of all particles, its
    coupling term included and shared evenly, so that H_0 + mean log_det is the joint entropy
    divided by n: at most the entropy of one particle, and equal to it as n grows. One particle is
    `plain`.

    Args and ValueError: as `plain`.
    Source: Haggbom, Karlsmark and Anden 2024, arXiv 2403.08362.
    """
    name = "microcanonical.mean_field"
    return _descent(name, statistics, target, step_size, log_det, coupled=True)


def _descent(where, statistics, target, step_size, log_det, *, coupled):
    if np.ndim(target) != 1 or np.size(target) < 1:
        raise ValueError(f"{where}: target must have shape [k]; got {np.shape(target)}")
    if is_concrete(target) and not np.all(np.isfinite(target)):
        raise ValueError(f"{where}: target must be finite; got {target}")
    if np.ndim(step_size) != 0:
        raise ValueError(f"{where}: step_size must be []; got {np.shape(step_size)}")
    if is_concrete(step_size) and not 0 < step_size < np.inf:
        raise ValueError(f"{where}: step_size must be positive; got {step_size}")
    rule = exact() if log_det is None else log_det

    def residual(x):
        each = jax.vmap(statistics)(x) - jnp.asarray(target, x.dtype)[None]
        return jnp.broadcast_to(jnp.mean(each, 0), each.shape) if coupled else each

    def move(x):
        pulled = jax.vmap(lambda x, r: jax.vjp(statistics, x)[1](r)[0])(x, residual(x))
        return jnp.asarray(step_size, x.dtype) * pulled

    made = Step(statistics, move, residual, step_size, coupled)

    def init(x):
        x = jnp.asarray(x)
        if x.ndim != 2 or len(x) < 1 or not jnp.issubdtype(x.dtype, jnp.floating):
            raise ValueError(f"{where}: x must be [n, d], real; got {x.dtype}{x.shape}")
        found = jax.eval_shape(statistics, x[0]).shape
        if found != np.shape(target):
            raise ValueError(
                f"{where}: target must have the shape of the statistics, {found}; "
                f"got {np.shape(target)}"
            )
        values = residual(x)
        if is_concrete(values) and not np.all(np.isfinite(values)):
            raise ValueError(f"{where}: statistics must be finite at the start; got NaN or inf")
        return State(x, jnp.zeros(len(x), x.dtype))

    def step(key, state):
        x, log_det = state
        found = rule(key, made, x)
        each = jax.vmap(statistics)(x) - jnp.asarray(target, x.dtype)[None]
        log_det = log_det + found.value
        state = State(x - move(x), log_det)
        info = Info(
            jnp.linalg.norm(jnp.mean(each, 0)),
            jnp.sqrt(jnp.mean(jnp.sum(each**2, 1))),
            jnp.mean(log_det) / x.shape[1],
            found.standard_error,
            found.truncation,
            found.invertible & jnp.all(jnp.isfinite(state.x)),
        )
        return state, info

    return Descent(init, step)


def reverse_kl(state, entropy, logdensity_fn):
    """Terms [n], in nats per dimension, whose mean estimates KL(particles' law || p) / d.

    -(entropy + log_det_i + log p(x_i)) / d. After `plain` they are independent and their spread
    gives the standard error. After `mean_field` the mean estimates the divergence of all particles
    from n draws of p, divided by n: at least that of one particle.

    Args: state of x [n, d]; entropy [], nats, of one particle at the start; logdensity_fn, x [d] ->
    [], normalised.
    Source: Haggbom, Karlsmark and Anden 2024, arXiv 2403.08362, equation 1.
    """
    held = entropy + state.log_det + jax.vmap(logdensity_fn)(state.x)
    return -held / state.x.shape[1]
