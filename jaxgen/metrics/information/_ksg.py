"""Mutual information from neighbours in the joint space, counted in the marginal spaces.

With distances max(|x - x'|, |y - y'|) in the max norm and eps_i that to the k-th neighbour,

    version 1:  ψ(k) + ψ(n) - <ψ(n_x + 1) + ψ(n_y + 1)>          n_x: others with |x - x'| < eps_i
    version 2:  ψ(k) - 1/k + ψ(n) - <ψ(n_x) + ψ(n_y)>            n_x: others within the rectangle
    given z:    ψ(k) - <ψ(n_xz + 1) + ψ(n_yz + 1) - ψ(n_z + 1)>

Copies: where eps_i = 0 the balls are closed and hold all m copies of the point, and ψ(k) becomes
ψ(m + 1); then discrete and mixed laws have their plug-in value and a sample of equal points has 0.

Sources: Kraskov, Stögbauer and Grassberger 2004, arXiv:cond-mat/0305641, equations 8 and 9; Frenzel
and Pompe 2007, Partial mutual information for coupling analysis; Gao et al. 2017,
arXiv:1709.06212, algorithm 1 (copies; it has log where ψ stands here).
"""

import jax
import jax.numpy as jnp

from jaxgen.metrics._mmd import Estimate
from jaxgen.metrics.information._balls import size_of, smallest
from jaxgen.metrics.information._points import each_row, mean_of, neighbours, paired

Array = jax.Array


def _gaps(i, point, parts):
    """The max-norm distances [n] in every part, infinite to the point itself."""
    itself = jnp.arange(parts[0].shape[0]) == i
    split, at = [], 0
    for part in parts:
        gap = size_of(point[None, at : at + part.shape[1]] - part, "max")
        split.append(jnp.where(itself, jnp.inf, gap))
        at += part.shape[1]
    return split


def _count(inside, dtype):
    return jnp.sum(inside.astype(dtype))


def _psi(count, dtype):
    return jax.scipy.special.digamma(jnp.asarray(count, dtype))


def _within(gaps, k):
    """The k neighbours in the joint space, the distance to the last, and the copies of a point."""
    joint = gaps[0]
    for gap in gaps[1:]:
        joint = jnp.maximum(joint, gap)
    values, nearest = smallest(joint, k)
    return nearest, values[-1], _count(joint == 0, joint.dtype)


def _inside(gap, reach):
    """How many points lie in the open ball, or in the closed one where it has radius 0."""
    return _count(jnp.where(reach > 0, gap < reach, gap == 0), gap.dtype)


def _first(gaps, k, n, dtype):
    _, reach, copies = _within(gaps, k)
    head = jnp.where(reach > 0, _psi(k, dtype), _psi(copies + 1, dtype))
    counts = [_psi(_inside(gap, reach) + 1, dtype) for gap in gaps]
    return head + _psi(n, dtype) - counts[0] - counts[1]


def _second(gaps, k, n, dtype):
    nearest, reach, copies = _within(gaps, k)
    sides = [jnp.max(gap[nearest]) for gap in gaps]
    # ψ(0) never occurs in the branch that is kept: the k-th neighbour is inside.
    counts = [
        _psi(jnp.maximum(_count(gap <= side, dtype), 1), dtype)
        for gap, side in zip(gaps, sides, strict=True)
    ]
    value = _psi(k, dtype) - 1 / k + _psi(n, dtype) - counts[0] - counts[1]
    shut = [_psi(_count(gap == 0, dtype) + 1, dtype) for gap in gaps]
    tied = _psi(copies + 1, dtype) + _psi(n, dtype) - shut[0] - shut[1]
    return jnp.where(reach > 0, value, tied)


def mi_ksg(xs: Array, ys: Array, *, k: int = 3, version: int = 1, chunk: int = 256) -> Estimate:
    """The mutual information in nats, an Estimate of two [], from counts of neighbours.

    It may be slightly negative. It counts, so its gradient is zero. Scales matter a little: give
    both sides like spreads. Information above about log n is not seen.

    Args:
        xs: [n, *event].
        ys: [n, *event], its own event.
        k: which neighbour in the joint space is read, 1 <= k < n.
        version: 1 (cubes, less noise) or 2 (rectangles, less bias in high dimensions).
        chunk: points treated at a time; memory grows as chunk · n.

    Raises ValueError on unequal numbers of points, fewer than two, or k, version out of range.
    Source: Kraskov et al. 2004, arXiv:cond-mat/0305641, equations 8 and 9.
    """
    xs, ys = paired("mi_ksg", xs, ys)
    n = xs.shape[0]
    neighbours("mi_ksg", k, n)
    if version not in (1, 2):
        raise ValueError(f"mi_ksg: version must be 1 or 2; got {version!r}")
    term = _first if version == 1 else _second
    both = jnp.concatenate([xs, ys], axis=1)
    return mean_of(each_row(lambda i, p: term(_gaps(i, p, (xs, ys)), k, n, xs.dtype), both, chunk))


def cmi_ksg(xs: Array, ys: Array, zs: Array, *, k: int = 3, chunk: int = 256) -> Estimate:
    """The information I(x; y | z) in nats, an Estimate of two [], from counts of neighbours.

    Args:
        xs: [n, *event].
        ys: [n, *event], its own event.
        zs: [n, *event], its own event.
        k: which neighbour in the joint space is read, 1 <= k < n.
        chunk: points treated at a time; memory grows as chunk · n.

    Raises ValueError on unequal numbers of points, fewer than two, or k out of range.
    Source: Frenzel and Pompe 2007, Partial mutual information for coupling analysis.
    """
    xs, ys, zs = paired("cmi_ksg", xs, ys, zs)
    n = xs.shape[0]
    neighbours("cmi_ksg", k, n)

    def term(i, point):
        gaps = _gaps(i, point, (xs, ys, zs))
        _, reach, copies = _within(gaps, k)
        dtype = xs.dtype
        x, y, z = gaps
        head = jnp.where(reach > 0, _psi(k, dtype), _psi(copies + 1, dtype))
        count = lambda gap: _psi(_inside(gap, reach) + 1, dtype)
        return head + count(z) - count(jnp.maximum(x, z)) - count(jnp.maximum(y, z))

    return mean_of(each_row(term, jnp.concatenate([xs, ys, zs], axis=1), chunk))
