"""Kernels made of kernels: sums, products, multiples.

Source: Rasmussen and Williams 2006, section 4.2.4 (each is positive definite where its parts are).
"""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxgen.kernels._gram import gram

Array = jax.Array
Kernel = Callable[[Array, Array], Array]


@functools.partial(jax.tree_util.register_dataclass, data_fields=["parts"], meta_fields=["how"])
@dataclasses.dataclass(frozen=True)
class Combined:
    """Values of several kernels, added or multiplied."""

    how: Callable  # of an iterator of arrays of one shape
    parts: tuple

    def __call__(self, x: Array, y: Array) -> Array:
        """The value [] at one pair of points [*event]."""
        return self.how(part(x, y) for part in self.parts)

    def matrix(self, xs: Array, ys: Array) -> Array:
        """The values [n, m] at all pairs of xs [n, *event] and ys [m, *event]."""
        return self.how(gram(part, xs, ys) for part in self.parts)


def _product(values):
    return functools.reduce(jnp.multiply, values)


def add(*kernels: Kernel) -> Kernel:
    """The sum of kernels: (x [*event], y [*event]) -> [].

    Raises ValueError without a kernel.
    Source: Rasmussen and Williams 2006, section 4.2.4.
    """
    if not kernels:
        raise ValueError("add: there must be a kernel; got none")
    return Combined(sum, kernels)


def multiply(*kernels: Kernel) -> Kernel:
    """The product of kernels: (x [*event], y [*event]) -> [].

    Raises ValueError without a kernel.
    Source: Rasmussen and Williams 2006, section 4.2.4.
    """
    if not kernels:
        raise ValueError("multiply: there must be a kernel; got none")
    return Combined(_product, kernels)


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["kernel", "factor"], meta_fields=[]
)
@dataclasses.dataclass(frozen=True)
class Scaled:
    """Values of a kernel, multiplied by a number."""

    kernel: Kernel
    factor: Array  # []

    def __call__(self, x: Array, y: Array) -> Array:
        """The value [] at one pair of points [*event]."""
        value = self.kernel(x, y)
        return jnp.asarray(self.factor, value.dtype) * value

    def matrix(self, xs: Array, ys: Array) -> Array:
        """The values [n, m] at all pairs of xs [n, *event] and ys [m, *event]."""
        values = gram(self.kernel, xs, ys)
        return jnp.asarray(self.factor, values.dtype) * values


def scale(kernel: Kernel, factor) -> Kernel:
    """A kernel times a number: (x [*event], y [*event]) -> factor · kernel(x, y) [].

    Raises ValueError unless the factor is a finite scalar >= 0.
    Source: Rasmussen and Williams 2006, section 4.2.4.
    """
    if jnp.ndim(factor) != 0:
        raise ValueError(f"scale: factor must be a scalar []; got shape {jnp.shape(factor)}")
    if not isinstance(factor, jax.core.Tracer) and not (0 <= float(factor) < float("inf")):
        raise ValueError(f"scale: factor must be finite and not negative; got {factor}")
    return Scaled(kernel, factor)
