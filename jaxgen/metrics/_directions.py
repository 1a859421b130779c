"""Directions for sliced distances: unit vectors, each uniform on the sphere, in blocks that are
independent of each other.

Inside a block they may be spread more evenly than chance would: an orthonormal frame, or quasi-
Monte Carlo points. A slice is an even function of the direction, so half a sphere is enough.

Sources: Rowland et al. 2019, Orthogonal estimation of Wasserstein distances (frames); Nguyen et al.
2024, arXiv:2309.11713, Quasi-Monte Carlo for 3D sliced Wasserstein (spiral points, random
rotations); Cranley and Patterson 1976 (shifted lattices, made normal and divided by their length).
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.math import quasi_uniform

KINDS = ("independent", "orthogonal", "quasi")


def _unit(x):
    return x / jnp.linalg.norm(x, axis=-1, keepdims=True)


def _frames(key, number, d, k, dtype):
    """Uniformly random orthonormal k-frames, k <= d: rows of [number, k, d]."""
    q, r = jnp.linalg.qr(jax.random.normal(key, (number, d, k), dtype))
    signs = jnp.where(jnp.diagonal(r, axis1=1, axis2=2) < 0, -1, 1).astype(dtype)
    return jnp.swapaxes(q * signs[:, None, :], 1, 2)


def _even(key, n, d, dtype):
    """Points [n, d] that fill half a sphere evenly, moved at random so that each is uniform."""
    if d == 1:
        return jnp.ones((n, 1), dtype)
    if d == 2:
        angle = jnp.pi * (jnp.arange(n, dtype=dtype) + jax.random.uniform(key, (), dtype)) / n
        return jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=1)
    if d == 3:
        rows = np.arange(n)
        height, turn = (rows + 0.5) / n, rows * math.pi * (3 - math.sqrt(5))
        ring = np.sqrt(1 - height**2)
        spiral = np.stack([ring * np.cos(turn), ring * np.sin(turn), height], axis=1)
        return jnp.dot(
            jnp.asarray(spiral, dtype), _frames(key, 1, 3, 3, dtype)[0], precision="highest"
        )
    u = quasi_uniform(key, n, d, dtype)
    tiny = jnp.finfo(dtype).eps / 2
    return _unit(jax.scipy.special.ndtri(jnp.clip(u, tiny, 1 - tiny)))


def draw(key, num, d, kind, groups, dtype):
    """Directions [num, d], and the number of the block of each, a NumPy array [num].

    `groups` is how many independent sets of quasi-Monte Carlo points are wanted; it divides num.
    """
    if kind == "quasi":
        each = functools.partial(_even, n=num // groups, d=d, dtype=dtype)
        sets = [each(key) for key in jax.random.split(key, groups)]
        return jnp.concatenate(sets), np.repeat(np.arange(groups), num // groups)
    if kind == "orthogonal":
        k = min(num, d)
        frames = _frames(key, -(-num // k), d, k, dtype)
        return frames.reshape(-1, d)[:num], np.arange(num) // k
    return _unit(jax.random.normal(key, (num, d), dtype)), np.arange(num)
