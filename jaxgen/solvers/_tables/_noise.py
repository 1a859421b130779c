"""Gaussian factors of a step: the noise of the reverse-time family, and the forward kernel.

All are lower triangular square roots L M with L the Cholesky factor of Sigma: rows keep their own
scale. Source: derived.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.math import (
    apply,
    lower_inverse,
    namespace,
    semidefinite_factor,
    square_root,
    total,
    working_dtype,
)
from jaxgen.processes import num_blocks


class PathRow(NamedTuple):
    """What a step needs to weigh itself against the forward process: F^-1 (z_t - Psi z_s) in terms
    of z_t, the predictions and the noise, for a forward kernel z_t = Psi z_s + F noise, s = t_next.

    Source: definition.
    """

    keep: Any  # [] or [c, c] F^-1 (1 - Psi P)
    weights: Any  # [k, ...] -F^-1 Psi C_j
    noise: Any  # [] or [c, c] -F^-1 Psi N
    log_ratio: Any  # [] log |det N / det F|, for one event entry


def path_rows(process, ts, propagate, weights, noise):
    """The `PathRow`s [n] of steps P, C_j and N along ts [n + 1].

    Written in the terms of the step, small coefficients stay accurate in float32. Source:
    definition.
    """
    xp = namespace(process, ts)
    forward, factor = forward_kernel(process, ts[1:], ts[:-1])
    if forward.ndim == 1:
        pull = forward / factor
        keep, weights = (1 - forward * propagate) / factor, -pull[:, None] * weights
        return PathRow(keep, weights, -pull * noise, xp.log(noise) - xp.log(factor))
    whiten = lower_inverse(factor)
    pull = -whiten @ forward
    weights = xp.einsum("nij,nkj...->nki...", pull, weights)
    logs = lambda root: xp.sum(xp.log(xp.diagonal(root, axis1=-2, axis2=-1)), -1)
    return PathRow(whiten + pull @ propagate, weights, pull @ noise, logs(noise) - logs(factor))


def log_weight(row, z, history, noise):
    """log forward(z_t | z_s) - log step(z_s | z_t) [] in nats, of a step from z that held `history`
    and drew `noise`.

    Source: definition (Radon-Nikodym derivative of Gaussian steps).
    """
    wide = lambda tree: jax.tree.map(lambda leaf: leaf.astype(working_dtype(leaf)), tree)
    noise = wide(noise)
    terms = [apply(row.keep, wide(z)), apply(row.noise, noise)]
    terms += [apply(weight, wide(held)) for weight, held in zip(row.weights, history, strict=True)]
    blocks = 1 if row.keep.ndim == 0 else row.keep.shape[0]
    pairs = zip(jax.tree.leaves(noise), jax.tree.leaves(total(terms)), strict=True)
    return sum(
        (jnp.sum(drawn**2) - jnp.sum(needed**2)) / 2 + drawn.size // blocks * row.log_ratio
        for drawn, needed in pairs
    )


def moved_weight(row, z, mean, after, *, entries=False):
    """log forward(z | after) - log step(after | z) [] in nats, of a row of a table from z to a
    given state whose mean is `mean`.

    Source: as `log_weight`; the noise is what leads from the mean to the state.
    """
    path, blocks = row.path, 1 if entries or row.noise.ndim == 0 else row.noise.shape[0]
    inverse = lower_inverse(row.noise) if blocks > 1 else 1 / row.noise
    wide = lambda tree: jax.tree.map(lambda leaf: leaf.astype(working_dtype(leaf)), tree)
    z, mean, after = wide(z), wide(mean), wide(after)
    times = lambda coefficient, leaf: apply(coefficient, leaf, entries=entries)
    gap = lambda a, b: times(inverse, jax.tree.map(jnp.subtract, a, b))
    drawn, moved = gap(after, mean), gap(after, times(row.propagate, z))
    needed = total([times(path.keep, z), times(path.noise, moved)])
    pairs = zip(jax.tree.leaves(drawn), jax.tree.leaves(needed), strict=True)
    ratio = jnp.sum(path.log_ratio) if entries else path.log_ratio
    size = lambda leaf: 1 if entries else leaf.size // blocks
    return sum((jnp.sum(a**2) - jnp.sum(b**2)) / 2 + size(a) * ratio for a, b in pairs)


def forward_kernel(process, start, end):
    """Psi and F [n, ...] of the forward process from times start to later times end [n], z_end =
    Psi z_start + F noise.

    Source: definition.
    """
    xp = namespace(process, start, end)
    (phi, chol), (phi_end, chol_end) = process.transition(start), process.transition(end)
    if num_blocks(process) is None:
        ratio = phi_end / phi
        log_gap = xp.log(phi_end / chol_end) - xp.log(phi / chol)
        return ratio, chol_end * square_root(-xp.expm1(2 * log_gap))
    psi = phi_end @ xp.linalg.inv(phi)
    return psi, remainder(chol_end, lower_inverse(chol_end) @ psi @ chol)


def remainder(chol, spread):
    """The lower factor [n, c, c] of L (I - K K^T) L^T, for L = chol and K = spread [n, c, c].

    Source: definition.
    """
    eye = np.eye(chol.shape[-1])[None]
    return chol @ semidefinite_factor(eye - spread @ namespace(spread).swapaxes(spread, -1, -2))
