"""Tempered sequential Monte Carlo: blackjax's step, with weights and normaliser carried.

A step from exponent b to b' resamples by the last weights, moves the particles by a kernel of
prior x likelihood^b, and weighs them by likelihood^(b' - b). The particles of a state are therefore
*weighted* draws of prior x likelihood^b', the last ones too; Z is the product of the mean weights,
and the mean of the estimated Z is Z where the ladder is fixed.
Source: Del Moral, Doucet and Jasra 2006, section 3.3 (forward kernels, weights first); Jasra et al.
2011 (the adaptive ladder); Neal 2001.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.math import is_concrete
from jaxgen.types import sampling_algorithm


class TemperedState(NamedTuple):
    """Weighted particles of prior x likelihood^exponent. Source: definition."""

    particles: Any  # [n, *event]
    weights: Any  # [n], summing to 1
    exponent: Any  # []
    log_normaliser: Any  # [], nats, of prior x likelihood^exponent against that of the prior
    count: Any  # [], steps taken


class TemperedInfo(NamedTuple):
    """What a step tells a person. Source: definition."""

    effective_draws: Any  # [], of the new weights, from 1 to n
    log_increment: Any  # [], nats, of the normaliser
    divergences: Any  # [], particles with a likelihood that is NaN or +inf, weighed as 0
    ancestors: Any  # [n]
    kernel: Any  # the kernel's infos, leading axes [n, moves]


class RunInfo(NamedTuple):
    """What `run` tells a person. Source: definition."""

    steps: Any  # []
    is_finished: Any  # [], exponent 1 was reached
    effective_draws: Any  # [], of the final weights, before any resampling
    least_effective: Any  # [], of all steps
    divergences: Any  # [], of all steps
    acceptance: Any  # [], mean acceptance rate of the last step's kernel, or NaN if it reports none


def tempered(
    logprior_fn,
    loglikelihood_fn,
    kernel,
    *,
    exponents=None,
    share=0.5,
    moves=5,
    resample=None,
):
    """Tempered SMC of prior x likelihood as a `SamplingAlgorithm` over particles [n, *event], which
    start as draws of the prior.

    `step` leaves a state whose weights must be used: mean = sum weights x particles. Once at
    exponent 1 a further step resamples, moves and leaves equal weights, and does not change log Z.
    -inf is a legal log-likelihood, and its particles are lost at the first step.

    Args:
        logprior_fn: x [*event] -> [], nats; log Z is against its normaliser.
        loglikelihood_fn: x [*event] -> [], nats.
        kernel: (logdensity_fn, exponent []) -> SamplingAlgorithm, such as `lambda f, b:
            blackjax.mala(f, 0.1)`; `mcmc.parallel_tempering` takes the same.
        exponents: [k] rising from >= 0 to 1, or None for an adaptive ladder.
        share: each step of the adaptive ladder goes as far as leaves this share of the particles
            effective, their weights counted.
        moves: steps of the kernel in a step.
        resample: (key, weights, n) -> [n], of `blackjax.smc.resampling`; None is `systematic`.
    Raises ValueError on a ladder that does not rise or does not end at 1, a share outside (0, 1),
    moves < 1; `init` on particles without a common leading axis n >= 2, log-densities that are not
    one number, and (where concrete) ones that are NaN or +inf, or no likelihood above 0.
    Source: Del Moral et al. 2006; Jasra et al. 2011.
    """
    # The import of blackjax starts JAX's devices: not before somebody asks for it.
    import blackjax.smc.tempered as blackjax_tempered
    from blackjax.smc.solver import dichotomy

    where, resample = "smc.tempered", _resampler(resample)
    exponents = None if exponents is None else _ladder(where, exponents)
    if not 0 < share < 1 or not isinstance(moves, int) or moves < 1:
        raise ValueError(
            f"{where}: 0 < share < 1 and moves >= 1 must hold; got {share} and {moves}"
        )

    def likelihood(x):
        # Finite: 0 times -inf would be NaN. A power of it still is far below any weight.
        value = loglikelihood_fn(x)
        bad = jnp.isnan(value) | (value == jnp.inf)
        floor = jnp.asarray(-1e30, value.dtype)
        return jnp.where(bad, floor, jnp.maximum(value, floor))

    def init(position, rng_key=None):
        particles = jax.tree.map(jnp.asarray, position)
        values = _check_start(where, particles, logprior_fn, loglikelihood_fn)
        start = blackjax_tempered.init(particles)
        zero = jnp.zeros((), values.dtype)
        weights = start.weights.astype(values.dtype)
        return TemperedState(particles, weights, zero, zero, jnp.zeros((), int))

    def aim(state):
        if exponents is not None:
            ladder = exponents.astype(state.exponent.dtype)
            return ladder[jnp.minimum(state.count, len(exponents) - 1)]
        left = 1 - state.exponent
        values, logs = jax.vmap(likelihood)(state.particles), jnp.log(state.weights)

        def spare(gap):
            tilted = jax.nn.logsumexp(logs + gap * values)
            return 2 * tilted - jax.nn.logsumexp(logs + 2 * gap * values) - jnp.log(share)

        gap = dichotomy(spare, jnp.zeros_like(left), left)
        # Never stuck: a bisection that finds nothing would leave NaN or 0
        gap = jnp.where(jnp.isnan(gap), 0.0, gap)
        gap = jnp.clip(gap, jnp.minimum(1e-8, left), left)
        return jnp.where(left - gap < 1e-12, jnp.ones_like(left), state.exponent + gap)

    def step(rng_key, state):
        at = lambda f: kernel(f, state.exponent)
        move = blackjax_tempered.build_kernel(
            logprior_fn,
            likelihood,
            lambda key, s, f: at(f).step(key, s),
            lambda x, f: at(f).init(x),
            resample,
        )
        inner = blackjax_tempered.TemperedSMCState(state.particles, state.weights, state.exponent)
        target = aim(state).astype(state.exponent.dtype)
        new, info = move(rng_key, inner, moves, target, {})
        raw = jax.vmap(loglikelihood_fn)(new.particles)
        divergences = jnp.sum(jnp.isnan(raw) | (raw == jnp.inf))
        increment = info.log_likelihood_increment
        total = state.log_normaliser + increment
        after = TemperedState(new.particles, new.weights, target, total, state.count + 1)
        effective = 1 / jnp.sum(new.weights**2)
        return after, TemperedInfo(
            effective, increment, divergences, info.ancestors, info.update_info
        )

    return sampling_algorithm(init, step)


def run(key, algorithm, particles, *, max_steps=200, resample=False):
    """(state, RunInfo): an algorithm such as `tempered` run from particles [n, *event] until its
    exponent is 1 or max_steps are done, which `is_finished` tells.

    With resample=True one more step at exponent 1 follows: the particles are then equally weighted,
    and moved by the kernel at 1. Step i uses fold_in(key, i). Raises ValueError on max_steps < 1,
    and as `init`. Source: definition.
    """
    if max_steps < 1:
        raise ValueError(f"smc.run: max_steps must be at least 1; got {max_steps}")
    first = algorithm.init(particles)
    shaped = jax.eval_shape(algorithm.step, key, first)[1]
    size = first.weights.shape[0]
    info = jax.tree.map(lambda like: jnp.zeros(like.shape, like.dtype), shaped)

    def turn(carry):
        state, _, least, lost = carry
        state, info = algorithm.step(jax.random.fold_in(key, state.count), state)
        least = jnp.minimum(least, info.effective_draws)
        return state, info, least, lost + info.divergences

    def going(carry):
        return (carry[0].exponent < 1) & (carry[0].count < max_steps)

    least = jnp.full((), size, info.effective_draws.dtype)
    start = (first, info, least, jnp.zeros((), info.divergences.dtype))
    state, info, least, lost = jax.lax.while_loop(going, turn, start)
    rate = getattr(info.kernel, "acceptance_rate", None)
    rate = jnp.full((), jnp.nan) if rate is None else jnp.mean(rate)
    finished = state.exponent >= 1
    told = RunInfo(state.count, finished, info.effective_draws, least, lost, rate)
    if resample:
        again = algorithm.step(jax.random.fold_in(key, state.count), state)[0]
        state = jax.tree.map(lambda a, b: jnp.where(finished, a, b), again, state)
    return state, told


def equal_weights(key, state, *, resample=None):
    """Particles [n, *event] without weights, resampled from a state by `resample(key, weights, n)`;
    it repeats some, so that `run(..., resample=True)`, which moves them apart, is better.

    Source: Gordon, Salmond and Smith 1993.
    """
    picked = _resampler(resample)(key, state.weights, state.weights.shape[0])
    return jax.tree.map(lambda leaf: leaf[picked], state.particles)


def _resampler(resample):
    from blackjax.smc.resampling import systematic

    return systematic if resample is None else resample


def _ladder(where, exponents):
    """The exponents [k] as an array; ValueError unless they rise from >= 0 to 1."""
    ladder = jnp.asarray(exponents, float)
    if ladder.ndim != 1 or not len(ladder):
        raise ValueError(f"{where}: exponents must have shape [k]; got {ladder.shape}")
    if is_concrete(ladder):
        held = np.asarray(ladder)
        if not (np.all(np.diff(held) > 0) and held[0] >= 0 and held[-1] == 1):
            raise ValueError(f"{where}: exponents must rise from >= 0 to 1; got {held}")
    return ladder


def _check_start(where, particles, logprior_fn, loglikelihood_fn):
    """The log-likelihoods [n] of the particles; ValueError as `tempered` says."""
    sizes = {jnp.shape(leaf)[:1] for leaf in jax.tree.leaves(particles)}
    if len(sizes) != 1 or sizes == {()} or min(sizes)[0] < 2:
        raise ValueError(
            f"{where}: particles must share a leading axis of n >= 2; got {sorted(sizes)}"
        )
    found = []
    for name, fn in {"logprior_fn": logprior_fn, "loglikelihood_fn": loglikelihood_fn}.items():
        values = jax.vmap(fn)(particles)
        if values.shape != min(sizes):
            raise ValueError(
                f"{where}: {name} must return one number []; got shape {values.shape[1:]}"
            )
        bad = jnp.isnan(values) | (values == jnp.inf)
        if is_concrete(values) and bool(jnp.any(bad)):
            raise ValueError(
                f"{where}: {name} must not be NaN or +inf at the start; got {int(jnp.sum(bad))} "
                f"such particles of {len(values)}"
            )
        if is_concrete(values) and not bool(jnp.any(values > -jnp.inf)):
            raise ValueError(f"{where}: {name} must be above -inf for a particle; got none")
        found.append(values)
    return found[1]
