"""Coefficients of nonlinear processes: [], a vector [d] for z [d], or a matrix, [c, c] on the
leading axis of z or [d, d] on all its entries, flat.
"""

import jax
import jax.numpy as jnp


def multiply(coefficient, v):
    """coefficient @ v, of the shape of v [*event]; raises ValueError on shapes that do not fit.

    Source: definition.
    """
    coefficient = jnp.asarray(coefficient, v.dtype)
    if coefficient.ndim == 0 or (coefficient.ndim == 1 and coefficient.shape == v.shape):
        return coefficient * v
    if coefficient.ndim == 2:
        if coefficient.shape == (v.size, v.size):
            return (coefficient @ v.reshape(-1)).reshape(v.shape)
        if v.ndim and coefficient.shape == (v.shape[0], v.shape[0]):
            return jnp.tensordot(coefficient, v, 1)
    raise ValueError(
        "processes.nonlinear: a coefficient must be [], [d] for a vector z [d], [c, c] on the "
        f"leading axis of z or [d, d] on its entries; got {coefficient.shape} for z {v.shape}"
    )


def turned(coefficient):
    """The transpose of a coefficient [], [d] or [c, c]. Source: definition."""
    return jnp.swapaxes(coefficient, 0, 1) if jnp.ndim(coefficient) == 2 else coefficient


def squared(coefficient, v):
    """G G^T v, of the shape of v [*event]. Source: definition."""
    return multiply(coefficient, multiply(turned(coefficient), v))


def dense(act, z):
    """The matrix [d, d] of a linear map act(v [*event]) -> [*event] on the entries of z, flat.

    Source: definition.
    """
    eye = jnp.eye(z.size, dtype=z.dtype)
    return jax.vmap(lambda e: act(e.reshape(z.shape)).reshape(-1), out_axes=1)(eye)


def row_divergence(act, z):
    """sum_j d M_ij / dz_j, of the shape of z [*event], for act(z, v) = M(z) v.

    Forward mode, one product for each of the d entries. Source: definition.
    """

    def column(e):
        e = e.reshape(z.shape)
        return jax.jvp(lambda z: act(z, e), (z,), (e,))[1]

    return jnp.sum(jax.vmap(column)(jnp.eye(z.size, dtype=z.dtype)), 0)
