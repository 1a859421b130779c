"""Toy laws in the plane whose log-densities are exact: modes, squares and rings.

Every law is a pytree of its numbers, so it crosses jit. Unequal weights make a law asymmetric: a
flipped sign then shows. Source: Grathwohl et al. 2019, arXiv 1810.01367, figure 2 and the authors'
code; the densities follow from the definitions.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import i0e, logsumexp
from jax.tree_util import Partial

from jaxgen.data._numbers import check_number, check_whole, normalised
from jaxgen.types import Distribution


def _centres(radius, dtype=float):
    angles = 0.25 * math.pi * np.arange(8)
    circle = np.stack([np.cos(angles), np.sin(angles)], -1)
    return jnp.asarray(radius, dtype) * jnp.asarray(circle, dtype)


def _like(x, *numbers):
    """The numbers in the dtype of x, so that a log-density keeps it."""
    return [jnp.asarray(number, x.dtype) for number in numbers]


def _eight_sample(radius, noise, weights, key):
    key_mode, key_noise = jax.random.split(key)
    mode = jax.random.categorical(key_mode, jnp.log(jnp.asarray(weights, float)))
    return _centres(radius)[mode] + noise * jax.random.normal(key_noise, (2,))


def _eight_logdensity(radius, noise, weights, x):
    noise, weights = _like(x, noise, weights)
    square = jnp.sum((x[None, :] - _centres(radius, x.dtype)) ** 2, -1)
    return logsumexp(-0.5 * square / noise**2, b=weights) - jnp.log(2 * math.pi * noise**2)


def eight_gaussians(*, radius=8**0.5, noise=8**-0.5, weights=None) -> Distribution:
    """Eight Gaussians on a circle, as sample(key) -> x [2] and logdensity(x [2]) -> [], nats.

    Mode k lies at angle k pi/4 and has standard deviation `noise`; weights [8] are equal by
    default. For equal weights the mean is 0 and the covariance (radius²/2 + noise²) I.
    Raises ValueError unless radius >= 0, noise > 0 and the weights can be normalised.
    Source: Grathwohl et al. 2019, arXiv 1810.01367, figure 2 (radius 4, noise 0.5, over sqrt 2).
    """
    check_number("data.eight_gaussians", "radius", radius)
    check_number("data.eight_gaussians", "noise", noise, above=0)
    numbers = (radius, noise, normalised("data.eight_gaussians", weights, 8))
    return Distribution(Partial(_eight_sample, *numbers), Partial(_eight_logdensity, *numbers))


def _checker_sample(cells, side, key):
    key_column, key_row, key_place = jax.random.split(key, 3)
    column = jax.random.randint(key_column, (), 0, cells)
    row = 2 * jax.random.randint(key_row, (), 0, cells // 2) + column % 2
    place = jnp.stack([column, row]) + jax.random.uniform(key_place, (2,))
    return side * (place - 0.5 * cells)


def _checker_logdensity(cells, side, x):
    (side,) = _like(x, side)
    cell = jnp.floor(x / side + 0.5 * cells)
    inside = jnp.all((cell >= 0) & (cell < cells)) & (jnp.sum(cell) % 2 == 0)
    return jnp.where(inside, -jnp.log(0.5 * cells**2 * side**2), -jnp.inf)


def checkerboard(*, cells=4, side=2.0) -> Distribution:
    """A uniform law on the dark squares, as sample(key) -> x [2] and logdensity(x [2]) -> [], nats.

    The board has cells × cells squares of the given side around 0; the one with the smallest
    coordinates is dark. Mean 0; covariance side² [[cells²/12, 1/4], [1/4, cells²/12]]. Off the dark
    squares the log-density is -inf. Raises ValueError unless cells is even, at least 2, side > 0.
    Source: Grathwohl et al. 2019, arXiv 1810.01367, figure 2 (4 × 4 squares of side 2).
    """
    check_whole("data.checkerboard", "cells", cells, least=2, even=True)
    check_number("data.checkerboard", "side", side, above=0)
    return Distribution(
        Partial(_checker_sample, cells, side), Partial(_checker_logdensity, cells, side)
    )


def _rings_sample(radii, noise, weights, key):
    key_ring, key_angle, key_noise = jax.random.split(key, 3)
    ring = jax.random.categorical(key_ring, jnp.log(jnp.asarray(weights, float)))
    angle = jax.random.uniform(key_angle, maxval=2 * math.pi)
    point = jnp.asarray(radii, float)[ring] * jnp.stack([jnp.cos(angle), jnp.sin(angle)])
    return point + noise * jax.random.normal(key_noise, (2,))


def _rings_logdensity(radii, noise, weights, x):
    radii, noise, weights = _like(x, radii, noise, weights)
    square = jnp.sum(x**2)
    distance = jnp.sqrt(jnp.maximum(square, jnp.finfo(square.dtype).tiny))
    terms = -0.5 * ((distance - radii) / noise) ** 2 + jnp.log(i0e(distance * radii / noise**2))
    return logsumexp(terms, b=weights) - jnp.log(2 * math.pi * noise**2)


def rings(*, radii=(0.75, 1.5, 2.25, 3.0), noise=0.1, weights=None) -> Distribution:
    """Circles [k] blurred by a Gaussian, as sample(key) -> x [2] and logdensity(x [2]) -> [], nats.

    The blur is isotropic with standard deviation `noise`, so that one ring has the density
    exp(-(|x|² + r²) / (2 noise²)) I_0(|x| r / noise²) / (2 pi noise²). Weights [k] are equal by
    default. Mean 0; covariance (sum_k weights_k radii_k²/2 + noise²) I.
    Raises ValueError unless the radii [k] are above 0, noise > 0 and weights can be normalised.
    Source: Grathwohl et al. 2019, arXiv 1810.01367, code (rings: four circles, scaled by 3; noise
    0.08 × 3 there); the density is the Rice law of a blurred circle, Rice 1945.
    """
    if np.ndim(radii) != 1 or not len(radii):
        raise ValueError(f"data.rings: radii must be a row of numbers [k]; got {radii!r}")
    for radius in radii:
        check_number("data.rings", "every radius", radius, above=0)
    check_number("data.rings", "noise", noise, above=0)
    radii = radii if isinstance(radii, jax.Array) else np.asarray(radii, float)
    numbers = (radii, noise, normalised("data.rings", weights, len(radii)))
    return Distribution(Partial(_rings_sample, *numbers), Partial(_rings_logdensity, *numbers))
