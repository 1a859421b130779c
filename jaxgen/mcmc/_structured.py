"""Langevin, or Hamiltonian Monte Carlo with friction, whose posterior is broken into independent
groups (structured SG-MCMC).

Groups i = 1..m of the parameters see each other only through a buffer of earlier samples: the step
follows the gradient of sum_i log p(x_i, x~_not i), where each x~ takes its other groups from
independent places of the buffer. At equilibrium the law is prod_i q_i with
q_i proportional to exp(E_{q_not i} log p), the fixed point of mean-field variational inference, and
nothing is assumed of the q_i. One group is plain Langevin (`blackjax.sgld`) or, with friction, the
integrator of `blackjax.sghmc`, which is used here: x' = x + dt v and
v' = (1 - friction dt) v + dt grad log p(x) + sqrt(2 friction dt) xi.

Source: Alexos, Boyd and Mandt 2022, arXiv 2107.09028 (S-SGLD, S-SGHMC and their dropout form).
Deviations: the buffer is a ring that the chain itself fills; dropout divides the gradient of a
group by its probability of being kept, so that its mean is unbiased for every number of groups.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.mcmc._accept import keep_or_take
from jaxgen.mcmc._checks import fraction, positive, valid_start
from jaxgen.mcmc._langevin import LangevinInfo, euler, noise_like
from jaxgen.types import sampling_algorithm


class StructuredState(NamedTuple):
    """Where a structured chain is. Source: definition."""

    position: Any  # [*event]
    safe: Any  # [*event], where the last step with a finite gradient began
    buffer: Any  # [buffer_size, *event], earlier positions
    count: Any  # [], steps taken
    velocity: Any = None  # [*event] with friction, else None


def structured(logdensity_fn, dt, groups, *, buffer_size=256, thin=1, keep=None, friction=None):
    """Langevin, or with friction SGHMC, on the broken posterior of x [*event], any tree; as a
    `SamplingAlgorithm`.

    `init(position, rng_key, *, batch=())` fills the buffer with the start, and with friction draws
    the velocity, or starts at rest without a key; `step(rng_key, state, batch=())` hands a
    minibatch on. The buffer must span many times the
    chain's memory, thin * buffer_size steps against 1 / (dt * precision): else groups see their
    own past, and are less broken than they should be.

    Args:
        logdensity_fn: (x, *batch) -> [], nats, or an unbiased estimate of it.
        dt: [], > 0. The bias is O(dt), as `ula`'s plus that of the noise of the gradient.
        groups: integers, a tree of the shapes of x or of one number a leaf: the group of each
            entry.
        buffer_size: places of the ring.
        thin: it takes every thin-th position.
        keep: None, m gradients a step for m groups; or in (0, 1], dropout: each group is the
            chain's own with this probability, else the buffer's, and one gradient a step.
        friction: None, Langevin; or [], > 0, of v' = grad log p - friction v: then dt is that of
            dx = v dt, and a chain remembers its velocity for a time 1 / friction.

    Where the gradient is not finite the chain goes back to where it last was, at rest, and info
    says is_divergent. Raises ValueError on numbers out of range; `init` on groups that do not fit
    x, or a log-density that is NaN or +inf.
    Source: Alexos, Boyd and Mandt 2022, arXiv 2107.09028.
    """
    where = "mcmc.structured"
    positive(where, dt=dt)
    if keep is not None:
        fraction(where, keep=keep)
    if friction is not None:
        positive(where, friction=friction)
    for name, value in (("buffer_size", buffer_size), ("thin", thin)):
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{where}: {name} must be an integer, at least 1; got {value}")
    m = max(int(np.max(np.asarray(leaf))) for leaf in jax.tree.leaves(groups)) + 1

    def init(position, rng_key=None, *, batch=()):
        x = jax.tree.map(jnp.asarray, position)
        labels = _labels(where, groups, x)
        if any(np.min(leaf, initial=0) < 0 for leaf in jax.tree.leaves(labels)):
            raise ValueError(f"{where}: groups must be at least 0; got {groups}")
        valid_start(where, *jax.value_and_grad(logdensity_fn)(x, *batch))
        buffer = jax.tree.map(lambda a: jnp.broadcast_to(a, (buffer_size, *a.shape)), x)
        velocity = None
        if friction is not None:
            rest = jax.tree.map(jnp.zeros_like, x)
            velocity = rest if rng_key is None else noise_like(rng_key, x)
        return StructuredState(x, x, buffer, jnp.zeros((), int), velocity)

    def gradient(key, state, batch):
        """(log-density, drift) of the broken energy at the position."""
        x, labels = state.position, _labels(where, groups, state.position)
        slope = jax.value_and_grad(logdensity_fn)
        if keep is None:
            if m == 1:
                return slope(x, *batch)
            places = jax.random.randint(key, (m, m), 0, buffer_size)
            same = jnp.eye(m, dtype=bool)
            values, each = jax.vmap(lambda a, b: slope(_mix(state, labels, a, b), *batch))(
                places, same
            )
            pick = lambda g, label: _own(g, label)
            return jnp.sum(values), jax.tree.map(pick, each, labels)
        key_keep, key_place = jax.random.split(key)
        kept = jax.random.bernoulli(key_keep, keep, (m,))
        places = jax.random.randint(key_place, (m,), 0, buffer_size)
        value, g = slope(_mix(state, labels, places, kept), *batch)
        return value, jax.tree.map(lambda a, l: a * kept[l] / jnp.asarray(keep, a.dtype), g, labels)

    def step(rng_key, state, batch=()):
        key_group, key_noise = jax.random.split(rng_key)
        x = state.position
        value, drift = gradient(key_group, state, batch)
        if friction is None:
            new, velocity = euler(x, drift, noise_like(key_noise, x), dt), None
        else:
            new, velocity = _sghmc(key_noise, x, state.velocity, drift, dt, friction)
        finite = jnp.isfinite(value)
        for leaf in jax.tree.leaves((new, velocity)):
            finite = finite & jnp.all(jnp.isfinite(leaf))
        rest = jax.tree.map(jnp.zeros_like, velocity)
        moved, stayed = (new, x, velocity), (state.safe, state.safe, rest)
        new, safe, velocity = keep_or_take(finite, moved, stayed)
        count = state.count + 1
        slot = count // thin % buffer_size
        fill = count % thin == 0
        put = lambda ring, a: ring.at[slot].set(jnp.where(fill, a, ring[slot]))
        buffer = jax.tree.map(put, state.buffer, safe)
        return StructuredState(new, safe, buffer, count, velocity), LangevinInfo(~finite)

    return sampling_algorithm(init, step)


def _sghmc(key, x, velocity, drift, dt, friction):
    """(position, velocity) after blackjax's step of SGHMC, in the dtype of x."""
    from blackjax.sgmcmc.diffusions import sghmc  # not above: its import starts JAX's devices

    dtype = jnp.result_type(*jax.tree.leaves(x))
    step = sghmc(jnp.asarray(friction, dtype))
    new = step(key, x, velocity, drift, jnp.asarray(dt, dtype), jnp.ones((), dtype))
    return jax.tree.map(lambda a, b: a.astype(b.dtype), new, (x, velocity))


def _mix(state, labels, places, own):
    """x with the groups that are not its own [m] taken from their places [m] of the buffer."""

    def leaf(a, ring, label):
        return jnp.where(own[label], a, _entries(ring, places[label]))

    return jax.tree.map(leaf, state.position, state.buffer, labels)


def _entries(ring, place):
    """Entry by entry, ring [n, *event] at place [*event]: [*event]."""
    return jnp.take_along_axis(ring, place[None], axis=0)[0]


def _own(g, label):
    """From gradients g [m, *event], one a group, each entry's own: [*event]."""
    return jnp.take_along_axis(g, jnp.asarray(label)[None], axis=0)[0]


def _labels(where, groups, x):
    """Groups as NumPy integers of the shapes of x [*event]."""
    if jax.tree.structure(groups) != jax.tree.structure(x):
        raise ValueError(
            f"{where}: groups must have the structure of x; got {jax.tree.structure(groups)} for "
            f"{jax.tree.structure(x)}"
        )

    def leaf(label, a):
        label = np.asarray(label)
        if label.dtype.kind not in "iu" or label.shape not in {(), a.shape}:
            raise ValueError(
                f"{where}: groups must be integers of the shape of x or []; got {label.dtype} "
                f"{label.shape} for {a.shape}"
            )
        return np.broadcast_to(label, a.shape)

    return jax.tree.map(leaf, groups, x)
