"""Orthonormal bases of an event, in whose coordinates a process is diagonal."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from jaxgen.math import is_concrete, working_dtype


class Basis(NamedTuple):
    """An orthonormal change of coordinates of x [*event], and its inverse; a pytree.

    Source: definition.
    """

    to: Callable  # x [*event] -> coordinates [*event]
    back: Callable  # coordinates [*event] -> x [*event]


def no_basis():
    """The `Basis` in which coordinates are x [*event] itself. Source: definition."""
    return _along_axes(())


def dct(shape, *, axes=None):
    """The `Basis` of the type-II discrete cosine transform along `axes` (all when None) of an
    event of this shape [*event], orthonormal: the modes of heat that does not leave the image.

    Raises ValueError on axes outside the event. Source: Ahmed et al. 1974; Rissanen et al. 2023,
    arXiv 2206.13397.
    """
    return _along_axes(_matrices("dct", cosines, shape, axes))


def fourier(shape, *, axes=None):
    """The real Fourier `Basis` along `axes` (all when None) of an event of this shape [*event]:
    constant, then cosine and sine of each frequency, then (even lengths) the alternating sign.

    Raises ValueError on axes outside the event. Source: definition.
    """
    return _along_axes(_matrices("fourier", _waves, shape, axes))


def matrix_basis(matrix):
    """The `Basis` of an orthonormal matrix [d, d] for events [d]: coordinates are matrix @ x, rows
    the basis vectors (principal axes, wavelets, ...).

    Raises ValueError unless matrix @ matrix.T is the identity to 1e-5. Source: definition.
    """
    if np.ndim(matrix) != 2 or np.shape(matrix)[0] != np.shape(matrix)[1]:
        raise ValueError(
            f"processes.diagonal.matrix_basis: matrix must be [d, d]; got {np.shape(matrix)}"
        )
    if is_concrete(matrix):
        product = np.asarray(matrix, float) @ np.asarray(matrix, float).T
        if not np.allclose(product, np.eye(len(product)), atol=1e-5):
            raise ValueError(
                "processes.diagonal.matrix_basis: matrix must be orthonormal; got products of "
                f"its rows off by {np.abs(product - np.eye(len(product))).max():.2g}"
            )
    return _along_axes((matrix,))


def axes_of(name, shape, axes):
    """`axes` of an event of this shape [*event] as numbers from 0. Raises ValueError on others.

    Source: definition.
    """
    rank = len(shape)
    wanted = tuple(range(rank)) if axes is None else tuple(axes)
    if any(not -rank <= axis < rank for axis in wanted):
        raise ValueError(
            f"processes.diagonal.{name}: axes must be among those of {tuple(shape)}; got {axes}"
        )
    return tuple(axis % rank for axis in wanted)


def cosines(n):
    """The matrix [n, n] of the orthonormal type-II cosine transform; row k has frequency k / 2.

    Source: Ahmed et al. 1974.
    """
    places, ks = np.arange(n) + 0.5, np.arange(n)[:, None]
    scale = np.where(ks == 0, 1.0, 2.0)
    return np.sqrt(scale / n) * np.cos(np.pi * ks * places / n)


def _waves(n):
    places, rows = np.arange(n), []
    for k in range(n // 2 + 1):
        angle = 2 * np.pi * k * places / n
        rows.append(np.cos(angle))
        if 0 < k < n / 2:
            rows.append(np.sin(angle))
    return np.stack([row / np.linalg.norm(row) for row in rows])


def _matrices(name, make, shape, axes):
    chosen = axes_of(name, shape, axes)
    return tuple(make(n) if axis in chosen else None for axis, n in enumerate(shape))


def _along_axes(matrices):
    back = tuple(None if matrix is None else matrix.T for matrix in matrices)
    return Basis(Partial(_multiplied, matrices), Partial(_multiplied, back))


def _multiplied(matrices, x):
    x = jnp.asarray(x)
    out = x.astype(working_dtype(x))
    for axis, matrix in enumerate(matrices):
        if matrix is not None:
            moved = jnp.tensordot(
                jnp.asarray(matrix, out.dtype), out, (1, axis), precision="highest"
            )
            out = jnp.moveaxis(moved, 0, axis)
    return out.astype(x.dtype)
