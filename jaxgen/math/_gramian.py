"""Transitions of linear stochastic equations, with covariances kept as triangular factors.

A covariance at small times has entries of very different sizes, and its Cholesky factor would be
lost in rounding. Here the covariance is never formed: its factor comes from the noise impulses by
orthogonalisation, so that every row of it has full relative accuracy.
"""

import math

import numpy as np

from jaxgen.math._host import is_concrete, namespace
from jaxgen.math._quadrature import gauss_legendre

_TERMS = 27  # of the exponential of a matrix of norm below 2
_NODES = 20
_DOUBLINGS = 6


def factor_of_rows(rows):
    """The lower triangular L [..., c, c] with L L^T = rows^T rows, for rows [..., m, c], m >= c.

    Columns are scaled to unit length and made orthogonal one by one, each twice, which is as
    accurate as Householder's QR and, for few columns, a handful of sums over all leading axes
    instead of one call for each matrix. Source: Giraud et al. 2005, Numerische Mathematik 101
    (twice is enough).
    """
    xp = namespace(rows)
    c = rows.shape[-1]
    dot = lambda a, b: xp.sum(a * b, -1)
    basis, factor = [], []
    for i in range(c):
        norm = _length(xp, rows[..., i])
        column = rows[..., i] / xp.where(norm > 0, norm, 1.0)[..., None]
        shares = [0.0] * i
        for _ in range(2):
            for j in range(i):
                share = dot(basis[j], column)
                column = column - share[..., None] * basis[j]
                shares[j] = shares[j] + share
        left = _length(xp, column)
        basis.append(column / xp.where(left > 0, left, 1.0)[..., None])
        entries = [*shares, left] + [xp.zeros_like(left)] * (c - i - 1)
        factor.append(xp.stack(entries, -1) * norm[..., None])
    return xp.stack(factor, -2)


def _length(xp, vectors):
    """The norm [...] of vectors [..., m], with derivative 0 where it is 0."""
    square = xp.sum(vectors**2, -1)
    return xp.where(square > 0, xp.sqrt(xp.where(square > 0, square, 1.0)), 0.0)


def linear_transition(matrix, impulse, start, duration, *, doublings=_DOUBLINGS):
    """exp(A B) and the factor L [..., c, c] of the covariance at duration B of dz = A z ds + C dw.

    Args: A = matrix [c, c], C = impulse [c, m], start [c, k], a factor of the covariance at s = 0,
        B = duration [...], c at most 14; doublings, so many that |A| B / 2^doublings is below 2.
    The pair over B / 2^doublings comes from Taylor's series and Gauss-Legendre quadrature of the
    impulses, and is doubled, (Phi, L) <- (Phi^2, factor of [Phi L, L]). NumPy in, NumPy out.
    Source: Van Loan 1978, IEEE TAC 23(3), with the doubling of square-root filters; derived.
    """
    xp = namespace(matrix, impulse, start, duration)
    matrix, impulse, start = (xp.asarray(part) for part in (matrix, impulse, start))
    c = matrix.shape[0]
    short = xp.asarray(duration)[..., None, None] / 2.0**doublings
    power = xp.broadcast_to(xp.eye(c, dtype=matrix.dtype), (*short.shape[:-2], c, c))
    powers = [power]
    for k in range(1, _TERMS):
        power = short * (matrix @ power) / k
        powers.append(power)
    phi = sum(powers[1:], powers[0])
    nodes, weights = gauss_legendre(_NODES)
    monomials = nodes[:, None] ** np.arange(_TERMS) * np.sqrt(weights)[:, None]
    monomials = xp.asarray(monomials, matrix.dtype)
    moved = xp.einsum("qk,k...cm->...qmc", monomials, xp.stack(powers) @ impulse)
    rows = moved * xp.sqrt(short[..., None])
    chol = factor_of_rows(rows.reshape(*rows.shape[:-3], _NODES * impulse.shape[1], c))
    transposed = lambda part: xp.swapaxes(part, -1, -2)
    for _ in range(doublings):
        chol = factor_of_rows(xp.concatenate([transposed(phi @ chol), transposed(chol)], -2))
        phi = phi @ phi
    begun = transposed(phi @ start)
    return phi, factor_of_rows(xp.concatenate([transposed(chol), begun], -2))


def doublings_for(matrix, duration):
    """How often to halve so that |A| B is below 2, for matrix [c, c] and duration [].

    A multiple of 3, so that similar numbers share compiled code; 6 (|A| B up to 128) when they are
    traced. Source: definition.
    """
    if not is_concrete(matrix, duration):
        return _DOUBLINGS
    size = np.linalg.norm(np.asarray(matrix, float), 1) * float(duration)
    return 3 * math.ceil(math.log2(max(size / 2, 1.0)) / 3)


def semidefinite_factor(matrix):
    """The lower triangular square root [..., c, c] of a positive semidefinite [..., c, c]; pivots
    that rounding has made negative count as zero.

    Source: Cholesky's algorithm; Higham 2002, section 10.3.
    """
    xp = namespace(matrix)
    c = matrix.shape[-1]
    zero = xp.zeros_like(matrix[..., 0, 0])
    rows = [[zero] * c for _ in range(c)]
    for j in range(c):
        pivot = matrix[..., j, j] - sum(rows[j][m] ** 2 for m in range(j))
        rows[j][j] = square_root(pivot)
        sound = pivot > 0
        safe = xp.where(sound, rows[j][j], 1.0)
        for i in range(j + 1, c):
            left = matrix[..., i, j] - sum(rows[i][m] * rows[j][m] for m in range(j))
            rows[i][j] = xp.where(sound, left / safe, 0.0)
    return xp.stack([xp.stack(row, -1) for row in rows], -2)


def square_root(x):
    """The square root [...] of x [...], 0 where x <= 0, with derivative 0 there.

    Source: definition.
    """
    xp = namespace(x)
    return xp.where(x > 0, xp.sqrt(xp.where(x > 0, x, 1.0)), 0.0)
