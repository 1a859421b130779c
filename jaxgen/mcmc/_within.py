"""Metropolis within Gibbs: any kernels, each on its own block of a dict.

Source: Tierney 1994, section 2.4 (cycles and mixtures of kernels).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxgen.mcmc._checks import is_bad, valid_start
from jaxgen.types import sampling_algorithm


class WithinGibbsState(NamedTuple):
    """Where the blocks are. Source: definition."""

    position: Any  # a dict of arrays [*event]
    logdensity: Any  # [], nats


class WithinGibbsInfo(NamedTuple):
    """What a cycle tells a person. Source: definition."""

    blocks: Any  # {block: info of its kernel}; of all of them also in a random scan
    chosen: Any  # [b], whether each block, in order, was moved
    is_divergent: Any  # [], the log-density at the end was NaN or +inf: a kernel let it through


def within_gibbs(logdensity_fn, kernels, *, scan="cycle"):
    """Cycles kernels over the blocks of x, a dict of arrays [*event], each on its conditional law;
    as a `SamplingAlgorithm`.

    A kernel is built anew at each step from the present rest, and keeps no state between steps.
    scan="cycle" moves all blocks in order; "random" one of them, chosen uniformly.

    Args: logdensity_fn(x) -> []; kernels {block: (logdensity_fn_of_block, rest) ->
    SamplingAlgorithm}, a block a name of x or a tuple of names, whose values are then a dict; rest,
    the dict of the other names. Raises ValueError without kernels or on another scan; `init` on a
    position that is no dict or whose names the blocks do not cover, and on a log-density that is
    NaN or +inf.
    Source: Tierney 1994, section 2.4.
    """
    where = "mcmc.within_gibbs"
    if not kernels or scan not in ("cycle", "random"):
        raise ValueError(
            f"{where}: at least one kernel, and scan 'cycle' or 'random'; got {list(kernels)}, "
            f"{scan!r}"
        )

    def init(position, rng_key=None):
        del rng_key
        covered = {name for block in kernels for name in _names(block)}
        if not isinstance(position, dict) or covered != set(position):
            got = sorted(position) if isinstance(position, dict) else type(position)
            raise ValueError(
                f"{where}: blocks must cover the names of a dict; got {sorted(covered)} for {got}"
            )
        position = jax.tree.map(jnp.asarray, position)
        logdensity = logdensity_fn(position)
        valid_start(where, logdensity)
        return WithinGibbsState(position, logdensity)

    def move(key, x, block, build):
        names = _names(block)
        rest = {name: value for name, value in x.items() if name not in names}
        one = isinstance(block, str)
        inside = x[block] if one else {name: x[name] for name in names}
        merge = lambda part: {**rest, **({block: part} if one else part)}
        algorithm = build(lambda part: logdensity_fn(merge(part)), rest)
        key_init, key_step = jax.random.split(key)
        state, info = algorithm.step(key_step, algorithm.init(inside, key_init))
        return merge(state.position), info

    def step(rng_key, state):
        x, infos, b = state.position, {}, len(kernels)
        if scan == "random":
            pick = jax.random.randint(jax.random.fold_in(rng_key, b), (), 0, b)
            chosen = jnp.arange(b) == pick
        else:
            chosen = jnp.ones(b, bool)
        for i, (block, build) in enumerate(kernels.items()):
            new, infos[block] = move(jax.random.fold_in(rng_key, i), x, block, build)
            x = jax.tree.map(lambda a, c, i=i: jnp.where(chosen[i], a, c), new, x)
        state = WithinGibbsState(x, logdensity_fn(x))
        infos = {
            block if isinstance(block, str) else "+".join(block): infos[block] for block in infos
        }
        return state, WithinGibbsInfo(infos, chosen, is_bad(state.logdensity))

    return sampling_algorithm(init, step)


def _names(block):
    return (block,) if isinstance(block, str) else tuple(block)
