"""Kernels: how alike two points are.

The door's signature is `f(*numbers) -> kernel`, and `kernel(x [*event], y [*event]) -> []` reads
one pair. A kernel is a pytree of its numbers, so it crosses `jit`, `vmap` and `grad` as an
argument. `gram(kernel, xs, ys)` makes the matrix of all pairs; `row_means` keeps its row means
only.
"""

from jaxgen.kernels._gram import gram, row_means
from jaxgen.kernels._polynomial import polynomial
from jaxgen.kernels._radial import imq, laplace, rbf

__all__ = ["gram", "imq", "laplace", "polynomial", "rbf", "row_means"]
