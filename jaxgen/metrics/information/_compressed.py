"""Information of long vectors: after compression to a few coordinates, or averaged over lines.

I(x; y) is kept by maps that are injective on each side, and nearest neighbours want few
dimensions: so compress first, then estimate. A map that is not injective loses information, never
adds any.

Sources: Butakov et al. 2024, arXiv:2305.08013, section 3 (compression); Goldfeld and
Greenewald 2021, arXiv:2110.05279, definition 1 (sliced).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from jaxgen.metrics._mmd import Estimate
from jaxgen.metrics.information._ksg import mi_ksg
from jaxgen.metrics.information._points import mean_of, paired, points

Array = jax.Array


def _project(mean, directions, x):
    return jnp.matmul((x - mean).reshape(-1), directions, precision="highest")


def pca(xs: Array, num: int) -> Callable[[Array], Array]:
    """An encoder x [*event] -> [num], the coordinates of largest variance, a pytree of its numbers.

    Coordinates keep their scale; each direction's largest entry is positive.

    Args:
        xs: [n, *event].
        num: of coordinates, at most the smaller of n and the entries of an event.

    Raises ValueError on fewer than two points or num out of range.
    Source: Jolliffe 2002, section 3.1.
    """
    rows = points("pca", "xs", xs)
    most = min(rows.shape)
    if not isinstance(num, int) or not 1 <= num <= most:
        raise ValueError(f"pca: num must be an integer between 1 and {most}; got {num!r}")
    mean = jnp.mean(rows, axis=0)
    directions = jnp.linalg.svd(rows - mean[None], full_matrices=False)[2][:num].T
    largest = jnp.argmax(jnp.abs(directions), axis=0)
    sign = jnp.sign(jnp.take_along_axis(directions, largest[None], axis=0))
    return Partial(_project, mean.reshape(jnp.shape(xs)[1:]), directions * sign)


def compressed(
    encode_x: Callable[[Array], Array],
    encode_y: Callable[[Array], Array] | None = None,
    *,
    estimator: Callable[[Array, Array], Estimate] = mi_ksg,
) -> Callable[[Array, Array], Estimate]:
    """An estimator (xs [n, *event], ys [n, *event]) -> Estimate of two [], of encoded points.

    Equal to the information of the points themselves, but for the error of the estimate, when the
    encoders are injective on the data; at most that otherwise. The standard error is the
    estimator's: it does not know what compression lost, nor that an encoder was fitted to the data.

    Args:
        encode_x: x [*event] -> [*code], such as `pca(xs, 2)`.
        encode_y: y [*event] -> [*code], or None: y is left as it is.
        estimator: (codes, codes) -> Estimate.

    Source: Butakov et al. 2024, arXiv:2305.08013, section 3.
    """

    def estimate(xs, ys):
        codes = jax.vmap(encode_x)(xs)
        return estimator(codes, ys if encode_y is None else jax.vmap(encode_y)(ys))

    return estimate


def mi_sliced(
    key: Array,
    xs: Array,
    ys: Array,
    *,
    num_slices: int = 64,
    estimator: Callable[[Array, Array], Estimate] = mi_ksg,
) -> Estimate:
    """The sliced mutual information in nats, an Estimate of two []: the mean of I(a·x; b·y).

    a and b are uniform on spheres. It is at most I(x; y), and zero only for independent x and y.
    The standard error adds that of the slices drawn to the mean error of one slice, which is an
    upper bound for the part they share.

    Args:
        key: of the directions.
        xs: [n, *event].
        ys: [n, *event], its own event.
        num_slices: pairs of directions, at least 2.
        estimator: (a·x [n, 1], b·y [n, 1]) -> Estimate.

    Raises ValueError on unequal numbers of points or num_slices below 2.
    Source: Goldfeld and Greenewald 2021, arXiv:2110.05279, definition 1.
    """
    xs, ys = paired("mi_sliced", xs, ys)
    if not isinstance(num_slices, int) or num_slices < 2:
        raise ValueError(f"mi_sliced: num_slices must be at least 2; got {num_slices!r}")
    key_x, key_y = jax.random.split(key)
    draw = lambda key, d: jax.random.normal(key, (num_slices, d), xs.dtype)
    unit = lambda v: v / jnp.linalg.norm(v, axis=1, keepdims=True)
    line = lambda points, direction: jnp.matmul(points, direction, precision="highest")[:, None]

    def slice_of(pair):
        return estimator(line(xs, pair[0]), line(ys, pair[1]))

    values, errors = jax.lax.map(
        slice_of, (unit(draw(key_x, xs.shape[1])), unit(draw(key_y, ys.shape[1])))
    )
    over_slices = mean_of(values)
    within = jnp.mean(errors)
    return Estimate(over_slices.value, jnp.hypot(over_slices.standard_error, within))
