"""Metropolis on sequences by regenerating a suffix with a model (QUEST).

The cut i, uniform on the n positions of y, is an auxiliary variable: y_{<i} is kept and the model
writes on. Given i the proposal and its reverse pass through the same prefix, so

    accept with min(1, pi(y') / pi(y) * [p(y_{>=i} | y_{<i}) / n'] / [p(y'_{>=i} | y_{<i}) / n])

since i is as likely as 1 / n from y and 1 / n' from y'. Every y' that grows from cut i has more
than i tokens, so the reverse move exists.

Source: Faria et al. 2024, arXiv 2406.00049 (QUEST), whose target is exp(quality / temperature),
without the model's own probability; here the target is what the user writes, with or without it.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.math import is_concrete
from jaxgen.mcmc._accept import decide
from jaxgen.mcmc._checks import valid_start
from jaxgen.types import sampling_algorithm


class SuffixState(NamedTuple):
    """Which sequence a chain is at. Source: definition."""

    position: Any  # [length] integers; after the first `end` only `end`
    logdensity: Any  # [], nats, of the target
    token_logprobs: Any  # [length], log p(token | those before) of the model, 0 after the end


class SuffixInfo(NamedTuple):
    """What a step tells a person. Source: definition."""

    acceptance_rate: Any  # [], probability of acceptance, given the cut
    is_accepted: Any  # []
    is_divergent: Any  # [], the proposal's log-density was NaN or +inf, or its ratio was NaN
    proposal: Any  # [length], accepted or not
    log_forward: Any  # [], nats, of the suffix given the cut and the prefix
    cut: Any  # [], the first position that was regenerated


def suffix_regeneration(logdensity_fn, next_logits, *, end):
    """Metropolis over token sequences x [length] whose proposals rewrite a suffix with a model; as
    a `SamplingAlgorithm`.

    A sequence is its tokens up to and including the first `end`, and padded with `end`; one without
    `end` fills the buffer. Its number of tokens n counts the `end`.

    Args:
        logdensity_fn: x [length] -> [], nats, the target: a quality over a temperature, or that
            plus the model's log-probability. No factor of the model is added.
        next_logits: (x [length], i []) -> [k], the model's logits of token i, reading x[:i] only.
        end: the token that ends a sequence, an integer in [0, k).

    A step asks the model `length` times. From a sequence that the model cannot write (a token of
    probability 0 behind the cut) no cut is left. Raises ValueError on a negative end; `init` on a
    position that is no padded sequence of integers, or a log-density that is NaN or +inf.
    Source: Faria et al. 2024, arXiv 2406.00049, algorithm 1.
    """
    where = "mcmc.suffix_regeneration"
    if not isinstance(end, int) or end < 0:
        raise ValueError(f"{where}: end must be an integer, at least 0; got {end}")

    def logprobs_at(x, i):
        return jax.nn.log_softmax(next_logits(x, i))

    def init(position, rng_key=None):
        del rng_key
        x = _valid_sequence(where, position, end)
        logdensity = logdensity_fn(x)
        valid_start(where, logdensity)
        places = jnp.arange(len(x))
        each = jax.vmap(lambda i: logprobs_at(x, i)[x[i]])(places)
        return SuffixState(x, logdensity, jnp.where(places < _length(x, end), each, 0))

    def write(key, state, cut):
        """The sequence with its suffix from `cut` written anew, and its tokens' log-probs."""

        def body(carry, i):
            x, probs, done = carry
            each = logprobs_at(x, i)
            drawn = jax.random.categorical(jax.random.fold_in(key, i), each).astype(x.dtype)
            fresh = (i >= cut) & ~done
            token = jnp.where(i < cut, x[i], jnp.where(done, end, drawn)).astype(x.dtype)
            prob = jnp.where(fresh, each[drawn], jnp.where(i < cut, probs[i], 0))
            done = done | (fresh & (token == end))
            return (x.at[i].set(token), probs.at[i].set(prob), done), None

        start = (state.position, state.token_logprobs, jnp.zeros((), bool))
        (x, probs, _), _ = jax.lax.scan(body, start, jnp.arange(len(state.position)))
        return x, probs

    def step(rng_key, state):
        key_cut, key_write, key_accept = jax.random.split(rng_key, 3)
        n = _length(state.position, end)
        cut = jax.random.randint(key_cut, (), 0, n)
        x, probs = write(key_write, state, cut)
        new = SuffixState(x, logdensity_fn(x), probs)
        suffix = jnp.arange(len(x)) >= cut
        forward = jnp.sum(jnp.where(suffix, probs, 0))
        backward = jnp.sum(jnp.where(suffix, state.token_logprobs, 0))
        lengths = jnp.log(n) - jnp.log(_length(x, end))
        ratio = new.logdensity - state.logdensity + backward - forward
        ratio = ratio + lengths.astype(ratio.dtype)
        state, info = decide(key_accept, ratio, new, state, forward)
        return state, SuffixInfo(*info, cut)

    return sampling_algorithm(init, step)


def _length(x, end):
    """Tokens of x [length] up to and including the first `end`; all of them without one."""
    is_end = x == end
    return jnp.where(jnp.any(is_end), jnp.argmax(is_end) + 1, len(x))


def _valid_sequence(where, x, end):
    x = jnp.asarray(x)
    if x.ndim != 1 or len(x) == 0 or not jnp.issubdtype(x.dtype, jnp.integer):
        raise ValueError(f"{where}: x must be integers [length]; got {x.dtype} {x.shape}")
    if is_concrete(x):
        held = np.asarray(x)
        if np.any(np.diff((held == end).astype(int)) < 0):
            raise ValueError(f"{where}: after the first end there must be only ends; got {held}")
    return x
