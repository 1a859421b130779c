"""A bandwidth read from the points: the median of their distances."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.kernels._pairs import rows, squares

Array = jax.Array


def median_bandwidth(xs: Array, ys: Array | None = None, *, most: int = 1000) -> Array:
    """The median distance, [] in units of x, over the pairs of points of xs and ys together.

    Of more than `most` points, as many evenly spaced ones are used. Where the median is 0, as when
    all points are equal, 1 is returned. No gradient goes through it.

    Args:
        xs: [n, *event].
        ys: [m, *event], or None.
        most: how many points at most; time and memory grow as its square.

    Raises ValueError on fewer than two points, unequal event shapes, or most below 2.
    Source: Gretton et al. 2012, A kernel two-sample test, section 8 (the median heuristic).
    """
    if most < 2:
        raise ValueError(f"median_bandwidth: most must be at least 2; got {most}")
    if ys is not None:
        if xs.shape[1:] != ys.shape[1:]:
            raise ValueError(
                f"median_bandwidth: xs and ys must have one event shape; got {xs.shape}, {ys.shape}"
            )
        xs = jnp.concatenate([xs, ys])
    n = xs.shape[0]
    if n < 2:
        raise ValueError(f"median_bandwidth: there must be at least 2 points; got {n}")
    xs = jax.lax.stop_gradient(rows(xs))
    if n > most:
        xs = xs[np.arange(most) * n // most]
    upper = jnp.triu_indices(xs.shape[0], 1)
    median = jnp.median(jnp.sqrt(squares(xs, xs)[upper]))
    return jnp.where(median > 0, median, 1)
