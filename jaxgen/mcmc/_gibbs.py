"""Gibbs sampling on finite states: blocks drawn from their exact conditional law.

Source: Geman and Geman 1984; Liu, Wong and Kong 1995 (random and systematic scans).
"""

import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.mcmc._accept import keep_or_take
from jaxgen.mcmc._checks import is_bad, valid_start
from jaxgen.mcmc._sites import ONE_HOT, real, sites, valid_sites
from jaxgen.types import sampling_algorithm

MOST = 65536  # configurations of one block


class GibbsState(NamedTuple):
    """Where a Gibbs chain is. Source: definition."""

    position: Any  # [*event]
    logdensity: Any  # [], nats


class GibbsInfo(NamedTuple):
    """What a Gibbs step tells a person; b is 1 for a random scan. Source: definition."""

    block: Any  # [b], which blocks were drawn
    log_probs: Any  # [b, configurations], conditional law of each, the last site fastest
    is_divergent: Any  # [], a log-density was NaN or +inf, and its configuration left out


def block_gibbs(logdensity_fn, values, *, blocks=None, scan="cycle"):
    """Gibbs sampling of blocks of sites of x [*event], each block jointly from its exact
    conditional law; as a `SamplingAlgorithm`.

    A block of m sites with k values is drawn by k^m evaluations of logdensity_fn (vmapped), which
    may be any function. scan="cycle" draws every block in order at each step; "random" one block,
    chosen uniformly, and is reversible.

    Args: values, the numbers [k] that entries take, or ("one_hot", k) for x [*sites, k]; blocks,
    integers [b, m] of flat sites that together cover all, every site its own block when None.
    Raises ValueError on other values, blocks that repeat a site within themselves, miss one, or
    have more than 65,536 configurations; `init` on a position that has other values, and on a
    log-density that is NaN or +inf.
    Source: Geman and Geman 1984; Liu, Wong and Kong 1995.
    """
    where = "mcmc.block_gibbs"
    hot = isinstance(values, tuple) and values[:1] == (ONE_HOT,) and len(values) == 2
    law = sites(where, ONE_HOT if hot else values)
    k = int(values[1]) if hot else len(values)
    if scan not in ("cycle", "random"):
        raise ValueError(f"{where}: scan must be 'cycle' or 'random'; got {scan!r}")
    if blocks is not None:
        blocks = _valid_blocks(where, blocks, k)

    def tables(x):
        n = law.index(x).shape[0]
        held = np.arange(n)[:, None] if blocks is None else blocks
        if sorted(set(held.ravel())) != list(range(n)):
            raise ValueError(f"{where}: blocks must cover the sites 0..{n - 1}; got {held}")
        if hot and x.shape[-1] != k:
            raise ValueError(f"{where}: x must be [*sites, {k}]; got {x.shape}")
        return held, np.array(list(itertools.product(range(k), repeat=held.shape[1])))

    def init(position, rng_key=None):
        del rng_key
        x = valid_sites(where, law, position)
        tables(x)
        logdensity = logdensity_fn(real(x))
        valid_start(where, logdensity)
        return GibbsState(x, logdensity)

    def draw(key, state, block, configurations):
        index = law.index(state.position)
        all_index = jax.vmap(lambda one: index.at[block].set(one))(configurations)
        all_x = jax.vmap(lambda one: law.write(one, state.position))(all_index)
        found = jax.vmap(lambda x: logdensity_fn(real(x)))(all_x)
        bad = is_bad(found)
        kept = jnp.where(bad, -jnp.inf, found)
        some = jnp.any(kept > -jnp.inf)
        choice = jax.random.categorical(key, jnp.where(some, kept, 0))
        taken = lambda new, old: jnp.where(some, new[choice], old)
        state = GibbsState(taken(all_x, state.position), taken(found, state.logdensity))
        return state, (jax.nn.log_softmax(kept), jnp.any(bad) | ~some)

    def step(rng_key, state):
        held, configurations = tables(state.position)
        held, configurations = jnp.asarray(held), jnp.asarray(configurations)
        if scan == "random":
            key_block, key_draw = jax.random.split(rng_key)
            which = jax.random.randint(key_block, (1,), 0, len(held))
            state, (probs, bad) = draw(key_draw, state, held[which[0]], configurations)
            return state, GibbsInfo(which, probs[None], bad)

        def body(state, row):
            i, block = row
            return draw(jax.random.fold_in(rng_key, i), state, block, configurations)

        order = jnp.arange(len(held))
        state, (probs, bad) = jax.lax.scan(body, state, (order, held))
        return state, GibbsInfo(order, probs, jnp.any(bad))

    return sampling_algorithm(init, step)


def coloured_gibbs(logdensity_fn, values, colours):
    """Gibbs sampling of all sites of one colour at once, colour after colour, for pairwise models;
    as a `SamplingAlgorithm` on x [*event].

    One gradient a colour gives every conditional law of it, exactly if log p is affine in each site
    with the others fixed (as a Boltzmann machine, an Ising or a one-hot Potts model without
    squares) and no two sites of a colour are coupled. Neither is checked: elsewhere the chain is
    biased; use `block_gibbs`.

    Args: values, the numbers [k] that entries take, or "one_hot" for x [*sites, k]; colours,
    integers of the shape of the sites. Raises ValueError on values that are neither; `init` on
    colours that do not fit, a position that has other values, and a log-density that is NaN or
    +inf.
    Source: Geman and Geman 1984; Fischer and Igel 2012 (restricted Boltzmann machines).
    """
    where = "mcmc.coloured_gibbs"
    law = sites(where, values)
    kinds, flat = np.unique(np.asarray(colours), return_inverse=True)
    flat = flat.reshape(-1)

    def init(position, rng_key=None):
        del rng_key
        x = valid_sites(where, law, position)
        shape = x.shape[:-1] if values == ONE_HOT else x.shape
        if np.shape(colours) != shape:
            raise ValueError(f"{where}: colours must be {shape}; got {np.shape(colours)}")
        logdensity, gradient = jax.value_and_grad(logdensity_fn)(real(x))
        valid_start(where, logdensity, gradient)
        return GibbsState(x, logdensity)

    def step(rng_key, state):
        def body(x, i):
            index = law.index(x)
            slopes = law.slopes(jax.grad(logdensity_fn)(real(x)), index)
            bad = ~jnp.all(jnp.isfinite(slopes), axis=1)
            safe = jnp.where(bad[:, None], 0, slopes)
            drawn = jax.random.categorical(jax.random.fold_in(rng_key, i), safe, axis=1)
            here = jnp.asarray(flat) == i
            new = law.write(jnp.where(here & ~bad, drawn, index), x)
            return new, (jax.nn.log_softmax(safe, axis=1), jnp.any(bad & here))

        order = jnp.arange(len(kinds))
        x, (probs, bad) = jax.lax.scan(body, state.position, order)
        new = GibbsState(x, logdensity_fn(real(x)))
        lost = is_bad(new.logdensity)
        return keep_or_take(~lost, new, state), GibbsInfo(order, probs, jnp.any(bad) | lost)

    return sampling_algorithm(init, step)


def _valid_blocks(where, blocks, k):
    blocks = np.asarray(blocks)
    if blocks.ndim != 2 or blocks.dtype.kind not in "iu" or blocks.size == 0:
        raise ValueError(
            f"{where}: blocks must be integers [b, m]; got {blocks.dtype} {blocks.shape}"
        )
    if any(len(set(block)) < len(block) for block in blocks.tolist()):
        raise ValueError(f"{where}: a block must not repeat a site; got {blocks}")
    if k ** blocks.shape[1] > MOST:
        raise ValueError(
            f"{where}: a block must have at most {MOST} configurations; got {k}^{blocks.shape[1]}"
        )
    return blocks
