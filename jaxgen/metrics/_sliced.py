"""Wasserstein distances that need only sorting: on the line, and averaged over lines.

On the line the optimal coupling is the monotone one, W_p^p = ∫ |F⁻¹(u) - G⁻¹(u)|^p du. Quantile
functions of samples are steps at i/n and j/m; the merged steps are counted in integers, so the
value is exact for unequal n and m. With weights the steps are at their running sums.

Sources: Peyré and Cuturi 2019, arXiv:1803.00567, remark 2.30 (line); Bonneel et al. 2015, Sliced
and Radon Wasserstein barycenters of measures (sliced); `_controls` and `_directions` name theirs.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.metrics import _controls, _directions
from jaxgen.metrics._clouds import finite, flat
from jaxgen.metrics._mmd import Estimate

Array = jax.Array


def _steps(n, m):
    """Where both quantile functions are constant: index in x, index in y, and length, each [r]."""
    ends = np.union1d(np.arange(1, n + 1) * m, np.arange(1, m + 1) * n)  # in units of 1 / (n m)
    return (ends - 1) // m, (ends - 1) // n, np.diff(ends, prepend=0) / (n * m)


def _line(xs, ys, p):
    xs, ys = jnp.sort(xs), jnp.sort(ys)
    if xs.shape == ys.shape:
        return jnp.mean(jnp.abs(xs - ys) ** p)
    i, j, length = _steps(xs.shape[0], ys.shape[0])
    return jnp.sum(jnp.asarray(length, xs.dtype) * jnp.abs(xs[i] - ys[j]) ** p)


def _weighted_line(xs, ys, weights, p):
    """W_p^p of xs [n] and ys [m] with weights [n] and [m] that sum to 1."""
    orders = jnp.argsort(xs), jnp.argsort(ys)
    xs, ys = xs[orders[0]], ys[orders[1]]
    to_x, to_y = (jnp.cumsum(w[order]) for w, order in zip(weights, orders, strict=True))
    ends = jnp.sort(jnp.concatenate([to_x, to_y]))
    length = jnp.diff(ends, prepend=jnp.zeros(1, ends.dtype))
    i = jnp.minimum(jnp.searchsorted(to_x, ends), xs.shape[0] - 1)
    j = jnp.minimum(jnp.searchsorted(to_y, ends), ys.shape[0] - 1)
    return jnp.sum(length * jnp.abs(xs[i] - ys[j]) ** p)


def _power(where, p):
    if not isinstance(p, jax.core.Tracer) and not 1 <= p < float("inf"):
        raise ValueError(f"{where}: p must be at least 1 and finite; got {p}")


def _weights(where, xs, ys, weights_x, weights_y):
    """Both weights as arrays, where one is given; else two of None."""
    if weights_x is None and weights_y is None:
        return None, None
    pair = []
    for name, x, weight in (("weights_x", xs, weights_x), ("weights_y", ys, weights_y)):
        n = x.shape[0]
        weight = jnp.full(n, 1 / n, x.dtype) if weight is None else jnp.asarray(weight, x.dtype)
        if weight.shape != (n,):
            raise ValueError(f"{where}: {name} must be [{n}], one a point; got {weight.shape}")
        finite(where, name, weight)
        if not isinstance(weight, jax.core.Tracer):
            host = np.asarray(weight)
            if host.min() < 0 or abs(host.sum() - 1) > 1e-4:
                raise ValueError(
                    f"{where}: {name} must not be negative and must sum to 1; "
                    f"got least {host.min():.3g} and sum {host.sum():.6g}"
                )
        pair.append(weight)
    return tuple(pair)


def wasserstein_1d(
    xs: Array,
    ys: Array,
    *,
    p: float = 1,
    weights_x: Array | None = None,
    weights_y: Array | None = None,
) -> Array:
    """W_p^p, the p-th power of the Wasserstein distance of two samples on the line, [].

    Args:
        xs: [n], floating.
        ys: [m]; n and m may differ.
        p: at least 1; the unit of the result is that of x to the p.
        weights_x: [n], not negative, sum 1; None is 1/n.
        weights_y: [m], as weights_x.

    Raises ValueError unless xs and ys are [n] and [m], p >= 1 and weights are what they must be.
    Source: Peyré and Cuturi 2019, arXiv:1803.00567, remark 2.30.
    """
    _power("wasserstein_1d", p)
    if jnp.ndim(xs) != 1 or jnp.ndim(ys) != 1:
        shapes = jnp.shape(xs), jnp.shape(ys)
        raise ValueError(f"wasserstein_1d: xs [n] and ys [m] must be on the line; got {shapes}")
    xs, ys = flat("wasserstein_1d", xs, ys)
    weights = _weights("wasserstein_1d", xs, ys, weights_x, weights_y)
    if weights[0] is None:
        return _line(xs[:, 0], ys[:, 0], p)
    return _weighted_line(xs[:, 0], ys[:, 0], weights, p)


def _check(where, num_projections, p, directions, control, split, groups):
    _power(where, p)
    if num_projections < 1:
        raise ValueError(f"{where}: num_projections must be at least 1; got {num_projections}")
    if directions not in _directions.KINDS:
        raise ValueError(f"{where}: directions must be of {_directions.KINDS}; got {directions!r}")
    if control is not None and control not in _controls.KINDS:
        raise ValueError(f"{where}: control must be None or of {_controls.KINDS}; got {control!r}")
    if split and control is None:
        raise ValueError(f"{where}: split must be False without a control; got {split}")
    if directions == "quasi" and num_projections % groups:
        raise ValueError(
            f"{where}: num_projections must be a multiple of {groups}, the number of independent "
            f"sets of quasi directions; got {num_projections}"
        )


def _slices(key, xs, ys, num_projections, p, directions, control, degree, weights, groups):
    """Slices [l], controls [l, k] with their means [k], and the block of each, [l]."""
    theta, block = _directions.draw(key, num_projections, xs.shape[1], directions, groups, xs.dtype)
    on_x, on_y = (jnp.dot(theta, x.T, precision="highest") for x in (xs, ys))
    if weights[0] is None:
        slices = jax.vmap(lambda a, b: _line(a, b, p))(on_x, on_y)
    else:
        slices = jax.vmap(lambda a, b: _weighted_line(a, b, weights, p))(on_x, on_y)
    if control is None:
        return slices, None, block
    if control == "harmonics":
        return slices, _controls.of_sphere(theta, degree), block
    return slices, _controls.of_clouds(control, theta, xs, ys, weights, p), block


def _mean(slices, controls, folds):
    """The controlled mean of slices, [], and what is left of each slice, [l]."""
    if controls is None:
        return jnp.mean(slices), slices - jnp.mean(slices)
    (values, mean), left, answers = controls, [], []
    fit_on = folds[::-1] if len(folds) > 1 else folds
    for fold, other in zip(folds, fit_on, strict=True):
        beta = _controls.coefficients(slices[other], values[other])
        rest = slices[fold] - (values[fold] - mean[None]) @ beta
        answers.append(jnp.mean(rest) * (len(fold) / len(slices)))
        left.append(rest - jnp.mean(rest))
    return sum(answers), jnp.concatenate(left)


def _folds(block, split):
    """Indices of directions, whole blocks together: one array, or two halves."""
    if not split:
        return [np.arange(len(block))]
    first = block <= block[(len(block) - 1) // 2]
    if np.all(first):  # one block only
        raise ValueError("sliced_wasserstein: split needs two independent blocks of directions")
    return [np.flatnonzero(first), np.flatnonzero(~first)]


def _standard_error(left, block, k, split):
    """Of the mean, from what is left of the slices [l] after k coefficients were fitted."""
    n, blocks = left.shape[0], int(block[-1]) + 1
    totals = jax.ops.segment_sum(left, jnp.asarray(block), blocks)
    variance = jnp.sum(totals**2) / n**2 * (blocks / (blocks - 1))
    if k and not split:  # degrees of freedom, and the mean's move with the fitted coefficients
        variance = variance * ((n - 1) / (n - 1 - k)) * ((n - 2) / (n - 2 - k))
    return jnp.sqrt(variance)


def _sliced(
    where,
    key,
    xs,
    ys,
    *,
    num_projections=128,
    p=2,
    directions="independent",
    control=None,
    degree=None,
    split=False,
    weights_x=None,
    weights_y=None,
    groups=1,
):
    """The value, what is left of the slices, their blocks and the number of controls."""
    _check(where, num_projections, p, directions, control, split, groups)
    xs, ys = flat(where, xs, ys)
    weights = _weights(where, xs, ys, weights_x, weights_y)
    if control == "harmonics":
        fitted = num_projections // (2 if split else 1)
        degree = _controls.harmonic_degree(where, xs.shape[1], fitted, degree)
    slices, controls, block = _slices(
        key, xs, ys, num_projections, p, directions, control, degree, weights, groups
    )
    folds = _folds(block, split)
    value, left = _mean(slices, controls, folds)
    return value, left, block, 0 if controls is None else controls[0].shape[1]


def sliced_wasserstein(
    key: Array,
    xs: Array,
    ys: Array,
    *,
    num_projections: int = 128,
    p: float = 2,
    directions: str = "independent",
    control: str | None = None,
    degree: int | None = None,
    split: bool = False,
    weights_x: Array | None = None,
    weights_y: Array | None = None,
) -> Array:
    """SW_p^p, the mean over random directions of W_p^p of the projected samples, [].

    For a translation by m and p = 2 its mean over directions is |m|² / d. All options are static.

    Args:
        key: draws the directions, uniform on the unit sphere of the flattened event.
        xs: [n, *event].
        ys: [m, *event]; n and m may differ.
        num_projections: how many directions, L.
        p: at least 1.
        directions: "independent": the error falls as L^-½; "orthogonal": in frames of d, no worse;
            "quasi": spread evenly (equal angles in 2-D, a spiral in 3-D, a lattice above), the
            error falls faster in few dimensions. All unbiased.
        control: a control variate: None; "lower": the distance of the means along θ, exact on a
            translation; "upper": that and both variances; "gaussian": the distance of the Gaussians
            of equal moments along θ (costs 37 eigendecompositions [d, d]); "harmonics": all
            spherical harmonics of even degree up to `degree`.
        degree: of the harmonics; None is the highest with four directions a harmonic.
        split: take coefficients from the other half of the directions: no bias of order 1/L, more
            spread.
        weights_x: [n], not negative, sum 1; None is 1/n.
        weights_y: [m], as weights_x.

    Raises ValueError on unequal event shapes, num_projections < 1, p < 1, a wrong name, weights
    that are no probabilities, or more harmonics than half the directions.
    Source: Bonneel et al. 2015; Nguyen and Ho 2024, arXiv:2305.00402; Leluc et al. 2024,
    arXiv:2402.01493; Nguyen et al. 2024, arXiv:2309.11713.
    """
    return _sliced(
        "sliced_wasserstein",
        key,
        xs,
        ys,
        num_projections=num_projections,
        p=p,
        directions=directions,
        control=control,
        degree=degree,
        split=split,
        weights_x=weights_x,
        weights_y=weights_y,
        groups=2 if split else 1,
    )[0]


def sliced_wasserstein_estimate(
    key: Array, xs: Array, ys: Array, *, repeats: int = 8, **options
) -> Estimate:
    """`sliced_wasserstein` and its standard error over directions, an Estimate of two [].

    The samples are held fixed: the error says how far the value is from all directions, not from
    the laws.

    Args:
        key: draws the directions.
        xs: [n, *event].
        ys: [m, *event].
        repeats: how many independent sets "quasi" directions come in (2 or more; it divides
            num_projections). Others know their spread from one set, and ignore it.
        **options: of `sliced_wasserstein`.

    Raises ValueError as `sliced_wasserstein`, and on directions that make fewer than two
    independent blocks. Source: as `sliced_wasserstein`.
    """
    where = "sliced_wasserstein_estimate"
    value, left, block, k = _sliced(where, key, xs, ys, groups=repeats, **options)
    if block[-1] < 1 or left.shape[0] < k + 3:
        raise ValueError(
            f"{where}: directions must make two independent blocks and three more than there are "
            f"controls; got {block[-1] + 1} blocks and {left.shape[0]} directions"
        )
    return Estimate(value, _standard_error(left, block, k, options.get("split", False)))
