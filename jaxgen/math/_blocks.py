"""One algebra for scalar and block processes: a coefficient is a scalar [] or a matrix [c, c] on a
leading axis.

Everything here broadcasts over leading axes of the coefficients and works on NumPy and JAX arrays
alike. A coefficient is a block when the caller says so (`blocks=True`), because [n] scalars at n
times and a [c, c] matrix at one time cannot be told apart by shape.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxgen.math._host import namespace


class Channel(NamedTuple):
    """How a noisy z speaks of x0: read . z = gain x0 + unit noise. Source: definition."""

    gain: Any  # [...] sqrt(gamma), the square root of the signal-to-noise ratio
    read: Any  # [...] or [..., c]
    whiten: Any  # [...] or [..., c, c]: L^-1
    noise: Any  # [...] or [..., c]: read L, a unit vector; noise . eps is the channel's noise


def lower_inverse(matrix):
    """The inverse [..., c, c] of a lower triangular matrix [..., c, c], by forward substitution.

    Element-wise relative accuracy holds however badly the rows are scaled. Source: Higham 2002,
    chapter 8.
    """
    xp = namespace(matrix)
    c = matrix.shape[-1]
    zero = xp.zeros_like(matrix[..., 0, 0])
    rows = []
    for i in range(c):
        row = []
        for j in range(c):
            known = (1.0 if i == j else zero) - sum(
                matrix[..., i, m] * rows[m][j] for m in range(j, i)
            )
            row.append(known / matrix[..., i, i] if j <= i else zero)
        rows.append(row)
    return xp.stack([xp.stack(row, -1) for row in rows], -2)


def data_column(phi, *, blocks):
    """The coefficients [...] or [..., c] that multiply x0: phi itself, or the first column of its
    matrix.

    Source: definition.
    """
    return phi[..., :, 0] if blocks else phi


def channel(phi, chol, *, blocks):
    """The `Channel` of a transition (phi, chol), each [...] or [..., c, c].

    With Gaussian auxiliaries independent of x0 the law of x0 given z depends on z through `read .
    z` alone, whose signal-to-noise ratio is gamma = gain^2 = Phi_0^T Sigma^-1 Phi_0. For a scalar
    process gain = alpha / sigma. Source: derived (Gaussian conditioning).
    """
    xp = namespace(phi, chol)
    if not blocks:
        return Channel(phi / chol, 1 / chol, 1 / chol, xp.ones_like(1 / chol))
    whiten = lower_inverse(chol)
    signal = xp.einsum("...ij,...j->...i", whiten, data_column(phi, blocks=True))
    gain = xp.sqrt(xp.sum(signal**2, -1))
    noise = signal / gain[..., None]
    return Channel(gain, xp.einsum("...i,...ij->...j", noise, whiten), whiten, noise)


def channel_log_gain(phi, chol, *, blocks):
    """log(gain) [...] of the channel of a transition, half its log signal-to-noise ratio in nats.

    Source: as `channel`.
    """
    gain = channel(phi, chol, blocks=blocks).gain
    return namespace(gain).log(gain)


def apply(coefficient, z, *, entries=False):
    """coefficient @ z: [] scales any tree, [c, c] mixes the leading axis of z [c, *event], and [c]
    makes [c, *event] of an [*event].

    A [c] vector is told from a [c, c] matrix by its rank. With entries=True an [*event] coefficient
    multiplies z [*event] entry by entry; raises ValueError on another shape. The product is
    computed in at least float32 and handed back in the dtype of z. Source: definition.
    """
    multiply = _entrywise if entries else _apply
    return jax.tree.map(lambda leaf: multiply(coefficient, leaf), z)


def _entrywise(coefficient, z):
    z, dtype = jnp.asarray(z), working_dtype(z)
    coefficient = jnp.asarray(coefficient, dtype)
    if coefficient.ndim and coefficient.shape != z.shape:
        raise ValueError(
            "math.apply: a coefficient for each entry must have the shape of the event; "
            f"got {coefficient.shape} for {z.shape}"
        )
    return (coefficient * z.astype(dtype)).astype(z.dtype)


def _apply(coefficient, z):
    z = jnp.asarray(z)
    dtype = working_dtype(z)
    coefficient = jnp.asarray(coefficient, dtype)
    if coefficient.ndim == 2:
        out = jnp.tensordot(coefficient, z.astype(dtype), 1, precision="highest")
    elif coefficient.ndim == 1:
        out = coefficient.reshape(-1, *(1,) * z.ndim) * z.astype(dtype)[None]
    else:
        out = coefficient * z.astype(dtype)
    return out.astype(z.dtype)


def contract(row, z, *, entries=False):
    """Row . z: [] scales z, [c] sums the leading axis of z [c, *event] to [*event], and with
    entries=True [*event] multiplies z entry by entry.

    Raises ValueError as `apply`. Source: definition.
    """
    multiply = _entrywise if entries else _contract
    return jax.tree.map(lambda leaf: multiply(row, jnp.asarray(leaf)), z)


def _contract(row, z):
    dtype = working_dtype(z)
    row = jnp.asarray(row, dtype)
    out = (
        jnp.tensordot(row, z.astype(dtype), 1, precision="highest")
        if row.ndim
        else row * z.astype(dtype)
    )
    return out.astype(z.dtype)


def total(terms):
    """The sum of a list of trees of arrays [...] of one structure. Source: definition."""
    return jax.tree.map(lambda *leaves: sum(leaves[1:], leaves[0]), *terms)


def working_dtype(x):
    """The dtype in which coefficients meet the arrays [...] of the tree x: theirs, but at least
    float32.

    Source: definition.
    """
    return jnp.promote_types(jnp.result_type(*jax.tree.leaves(x)), jnp.float32)


def van_loan(matrix, noise, start, duration, *, doublings=6):
    """exp(A B) and the covariance [c, c] at duration B of dz = A z ds + sqrt(2 D) dw from
    covariance `start`.

    Args: A = matrix [c, c], D = noise [c, c], start [c, c], B = duration []. Van Loan's integral is
    taken over B / 2^doublings and doubled (Sigma <- Phi Sigma Phi^T + Sigma): one exponential loses
    every digit once |A| B exceeds about 10, this one none up to |A| B = 2^doublings. JAX arrays,
    differentiable.
    Source: Van Loan 1978, IEEE TAC 23(3); the doubling is derived.
    """
    c = matrix.shape[-1]
    upper = jnp.concatenate([-matrix, 2 * noise], 1)
    lower = jnp.concatenate([jnp.zeros_like(matrix), matrix.T], 1)
    whole = jax.scipy.linalg.expm(jnp.concatenate([upper, lower]) * (duration / 2.0**doublings))
    phi = whole[c:, c:].T
    sigma = phi @ whole[:c, c:]
    for _ in range(doublings):
        phi, sigma = phi @ phi, phi @ sigma @ phi.T + sigma
    return phi, sigma + phi @ start @ phi.T
