"""Parallel tempering with deterministic even-odd swaps, over any kernel.

Replica i runs a kernel on  exponent_i log p(x) + (1 - exponent_i) log r(x), r a reference or flat;
then neighbours (0, 1), (2, 3), ... swap on even steps and (1, 2), (3, 4), ... on odd ones, each by
a Metropolis decision. The alternation is not reversible, though it leaves the product of the laws
invariant: a replica whose swaps are accepted travels on in its direction instead of diffusing.

Source: Geyer 1991; Okabe et al. 2001 (deterministic even-odd); Syed et al. 2022,
arXiv 1905.02939 (its optimality, round trips).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.math import is_concrete
from jaxgen.mcmc._accept import keep_or_take
from jaxgen.mcmc._checks import is_bad, valid_start
from jaxgen.types import sampling_algorithm


class TemperingState(NamedTuple):
    """Where the replicas are. Source: definition."""

    position: Any  # [*event], of the replica at exponent 1: the sample
    logdensity: Any  # [], nats, of the target there
    kernels: Any  # the kernel's states, leading axis [k]
    count: Any  # [], steps taken
    replica: Any  # [k], which replica is at each exponent
    phase: Any  # [k], by replica: 0 not yet hot, 1 hot was its last end, 2 cold was, after hot
    round_trips: Any  # [], from the smallest exponent to 1 and back, all replicas
    rates: Any  # [k - 1], summed probabilities of swaps
    tries: Any  # [k - 1], swaps tried


class TemperingInfo(NamedTuple):
    """What a step of parallel tempering tells a person. Source: definition."""

    kernel: Any  # the kernel's infos, leading axis [k]
    is_swapped: Any  # [k - 1], neighbours i and i + 1
    is_tried: Any  # [k - 1], every second one
    swap_rate: Any  # [k - 1], mean probability of a swap so far; 0 before the first
    round_trips: Any  # [], so far
    is_divergent: Any  # [], a log-density was NaN or +inf at a swap, which was rejected


def parallel_tempering(logdensity_fn, kernel, exponents, *, reference_fn=None, moves=1):
    """Non-reversible parallel tempering of exp(logdensity_fn(x)), x [*event] any tree; as a
    `SamplingAlgorithm` whose position is the replica at exponent 1.

    `init(position, rng_key)` starts all replicas at one position; `init(None, rng_key, replicas=)`
    at positions [k, *event]. A swapped replica's kernel starts anew where it arrives.

    Args:
        logdensity_fn: x [*event] -> [], nats, the target.
        kernel: (tempered_logdensity_fn, exponent []) -> SamplingAlgorithm, such as
            `lambda f, b: blackjax.mala(f, 0.1 / b)`; it is vmapped over the exponents.
        exponents: [k], k >= 2, rising from >= 0 to 1, the target.
        reference_fn: log r(x), nats, normalised or not; without one, r is flat and the smallest
            exponent must be positive.
        moves: steps of the kernel between swaps.

    Raises ValueError on a ladder that does not rise or does not end at 1; `init` on a log-density
    that is NaN or +inf.
    Source: Okabe et al. 2001; Syed et al. 2022, arXiv 1905.02939, algorithm 1.
    """
    where = "mcmc.parallel_tempering"
    exponents = _ladder(where, exponents, reference_fn)
    k = len(exponents)
    if not isinstance(moves, int) or moves < 1:
        raise ValueError(f"{where}: moves must be an integer, at least 1; got {moves}")
    path, gap = _path(logdensity_fn, reference_fn)
    at = lambda exponent: kernel(lambda x: path(x, exponent), exponent)

    def ladder(xs):
        """The exponents in the dtype of the positions."""
        dtype = jnp.result_type(*jax.tree.leaves(xs))
        return jnp.asarray(exponents, dtype if jnp.issubdtype(dtype, jnp.floating) else float)

    def begin(xs, key):
        if key is None:
            return jax.vmap(lambda b, x: at(b).init(x))(ladder(xs), xs)
        keys = jax.random.split(key, k)
        return jax.vmap(lambda b, x, one: at(b).init(x, one))(ladder(xs), xs, keys)

    def advance(key, states):
        many = jax.vmap(lambda b, one, state: at(b).step(one, state))
        return many(ladder(states.position), jax.random.split(key, k), states)

    def init(position, rng_key=None, *, replicas=None):
        xs = _replicas(where, position, replicas, k)
        cold = jax.tree.map(lambda a: a[-1], xs)
        logdensity = logdensity_fn(cold)
        valid_start(where, logdensity)
        zeros, zero = jnp.zeros(k - 1, logdensity.dtype), jnp.zeros((), int)
        phase = jnp.zeros(k, int)
        states = begin(xs, rng_key)
        return TemperingState(
            cold, logdensity, states, zero, jnp.arange(k), phase, zero, zeros, zeros
        )

    def step(rng_key, state):
        key_moves, key_swap, key_init = jax.random.split(rng_key, 3)
        states, infos = state.kernels, None
        if moves == 1:
            states, infos = advance(key_moves, states)
        else:
            keys = jax.random.split(key_moves, moves)
            turn = lambda states, one: advance(one, states)
            states, infos = jax.lax.scan(turn, states, keys)
            infos = jax.tree.map(lambda a: a[-1], infos)
        gaps, targets = jax.vmap(gap)(states.position)
        log_ratio = jnp.diff(jnp.asarray(exponents, gaps.dtype)) * (gaps[:-1] - gaps[1:])
        bad = is_bad(targets)
        never = bad[:-1] | bad[1:] | jnp.isnan(log_ratio)
        log_ratio = jnp.where(never, -jnp.inf, log_ratio)
        uniform = jax.random.uniform(key_swap, (k - 1,), log_ratio.dtype)
        tried = jnp.arange(k - 1) % 2 == state.count % 2
        swapped = tried & (jnp.log(uniform) < log_ratio)
        up, down = jnp.append(swapped, False), jnp.append(False, swapped)
        source = jnp.arange(k) + up - down
        xs = jax.tree.map(lambda a: a[source], states.position)
        fresh = begin(xs, key_init)
        states = jax.vmap(keep_or_take)(up | down, fresh, states)
        replica = state.replica[source]
        phase, trip = _travel(state.phase, replica)
        rates = state.rates + jnp.where(tried, jnp.exp(jnp.minimum(log_ratio, 0)), 0)
        tries = state.tries + tried
        trips = state.round_trips + trip
        new = TemperingState(
            jax.tree.map(lambda a: a[-1], xs),
            targets[source][-1],
            states,
            state.count + 1,
            replica,
            phase,
            trips,
            rates,
            tries,
        )
        rate = rates / jnp.maximum(tries, 1)
        return new, TemperingInfo(infos, swapped, tried, rate, trips, jnp.any(bad))

    return sampling_algorithm(init, step)


def _travel(phase, replica):
    """(phase [k], trips []) after replicas [k] took their places: one trip when a replica is back
    at the hot end after the cold one.
    """
    hot, cold = replica[0], replica[-1]
    trip = phase[hot] == 2
    phase = phase.at[hot].set(1)
    return phase.at[cold].set(jnp.where(phase[cold] > 0, 2, 0)), trip.astype(int)


def _path(logdensity_fn, reference_fn):
    """path(x, exponent) -> [] along the ladder, and gap(x) -> (log p - log r, log p)."""

    def path(x, exponent):
        # At exponent 0 a log-density of -inf must not become NaN.
        part = logdensity_fn(x)
        part = jnp.where(exponent > 0, jnp.asarray(exponent, part.dtype) * part, 0)
        if reference_fn is None:
            return part
        rest = reference_fn(x)
        return part + jnp.where(exponent < 1, jnp.asarray(1 - exponent, rest.dtype) * rest, 0)

    def gap(x):
        target = logdensity_fn(x)
        return (target if reference_fn is None else target - reference_fn(x)), target

    return path, gap


def _ladder(where, exponents, reference_fn):
    exponents = np.asarray(exponents, float) if is_concrete(exponents) else exponents
    if exponents.ndim != 1 or len(exponents) < 2:
        raise ValueError(f"{where}: exponents must be [k] with k >= 2; got {exponents.shape}")
    if is_concrete(exponents):
        if exponents[-1] != 1:
            raise ValueError(f"{where}: exponents must end at 1, the target; got {exponents}")
        if not np.all(np.diff(exponents) > 0) or exponents[0] < 0:
            raise ValueError(f"{where}: exponents must rise from 0 or more to 1; got {exponents}")
        if exponents[0] == 0 and reference_fn is None:
            raise ValueError(f"{where}: exponent 0 needs reference_fn, a law to sample; got None")
    return exponents


def _replicas(where, position, replicas, k):
    if (position is None) == (replicas is None):
        raise ValueError(f"{where}: init needs a position or replicas, one of both")
    if replicas is None:
        spread = lambda x: jnp.broadcast_to(jnp.asarray(x), (k, *jnp.shape(x)))
        return jax.tree.map(spread, position)
    shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(replicas)]
    if any(shape[:1] != (k,) for shape in shapes):
        raise ValueError(f"{where}: replicas must be [{k}, *event]; got {shapes}")
    return jax.tree.map(jnp.asarray, replicas)
