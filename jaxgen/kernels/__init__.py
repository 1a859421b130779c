"""Kernels: how alike two points are.

The door's signature is `f(*numbers) -> kernel`, and `kernel(x [*event], y [*event]) -> []` reads
one pair. A kernel is a pytree of its numbers, so it crosses `jit`, `vmap` and `grad` as an
argument. `add`, `multiply` and `scale` make kernels of kernels, `median_bandwidth` reads a
bandwidth from points, `stein` makes a kernel of points with scores. `gram(kernel, xs, ys)` makes
the matrix of all pairs; `row_means`, `weighted_sums`, `quadratic` and `moments` sum over it without
ever holding it.
"""

from jaxgen.kernels._algebra import add, multiply, scale
from jaxgen.kernels._bandwidth import median_bandwidth
from jaxgen.kernels._gram import Moments, gram, moments, quadratic, row_means, weighted_sums
from jaxgen.kernels._polynomial import polynomial
from jaxgen.kernels._radial import (
    Radial,
    imq,
    laplace,
    matern,
    minus_distance,
    rational_quadratic,
    rbf,
)
from jaxgen.kernels._stein import stein

__all__ = [
    "Moments",
    "Radial",
    "add",
    "gram",
    "imq",
    "laplace",
    "matern",
    "median_bandwidth",
    "minus_distance",
    "moments",
    "multiply",
    "polynomial",
    "quadratic",
    "rational_quadratic",
    "rbf",
    "row_means",
    "scale",
    "stein",
    "weighted_sums",
]
