"""Exchangeable particles with a Gaussian mean-field coupling, exact for any number of them."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from jaxgen.math import channel
from jaxgen.types import DiagonalForward, Distribution


def mean_field(n, mean, pull=1.0, coupling=1.0):
    """The `Distribution` of n exchangeable particles [n, d] with energy sum_i pull |x_i - mean|^2 /
    2 + coupling / (4 n) sum_ij |x_i - x_j|^2, nats for all of them: divide by n to compare numbers.

    Two particles have covariance (1 / pull - 1 / (pull + coupling)) / n in each direction, and as n
    grows each follows N(mean, 1 / (pull + coupling)): propagation of chaos.
    Args: mean [d]; pull > 0, pull + coupling > 0.
    Raises ValueError on n < 1 or numbers outside. Source: derived; the example of mean-field theory
    (Sznitman 1991).
    """
    if n < 1:
        raise ValueError(f"densities.mean_field: n must be at least 1; got {n}")
    _check("mean_field", mean, pull, coupling)
    like = np.zeros((n, 1))
    return Distribution(
        Partial(_sample, like, mean, pull, coupling), Partial(_logdensity, mean, pull, coupling)
    )


def mean_field_denoiser(mean, pull, coupling, process):
    """The exact denoiser (z, t) -> E[x0 | z_t = z] [n, d] of `mean_field` particles of any number n
    under a linear process; z is [n, d] or [c, n, d].

    Each particle's answer is affine in its own place and in the mean of all. Raises ValueError on
    numbers outside the range of `mean_field`, or a process diagonal in a basis. Source: derived
    (Gaussian conditioning in the mean of the particles and in what differs from it).
    """
    _check("mean_field_denoiser", mean, pull, coupling)
    if isinstance(process, DiagonalForward):
        raise ValueError(
            "densities.mean_field_denoiser: the process must be scalar or of blocks; got one "
            "diagonal in a basis"
        )

    def exact(z, t):
        phi, chol = process.transition(t)
        part = channel(phi, chol, blocks=jnp.ndim(phi) == 2)
        heard, gain = jnp.tensordot(part.read, z, part.read.ndim), part.gain
        common = jnp.mean(heard, 0, keepdims=True)
        together, apart = 1 / pull, 1 / (pull + coupling)
        centre = (together * gain * common + mean[None]) / (together * gain**2 + 1)
        return centre + apart * gain / (apart * gain**2 + 1) * (heard - common)

    return exact


def _check(name, mean, pull, coupling):
    if np.ndim(mean) != 1:
        raise ValueError(f"densities.{name}: mean must be [d]; got shape {np.shape(mean)}")
    numbers = (pull, coupling)
    if not any(isinstance(number, jax.core.Tracer) for number in numbers) and not (
        pull > 0 and pull + coupling > 0
    ):
        raise ValueError(
            f"densities.{name}: pull and pull + coupling must be positive; got {pull}, {coupling}"
        )


def _sample(like, mean, pull, coupling, key):
    noise = jax.random.normal(key, (like.shape[0], len(mean)))
    common = jnp.mean(noise, 0, keepdims=True)
    return mean[None] + common / jnp.sqrt(pull) + (noise - common) / jnp.sqrt(pull + coupling)


def _logdensity(mean, pull, coupling, x):
    n, d = x.shape
    common = jnp.mean(x, 0)
    together = pull * n * jnp.sum((common - mean) ** 2)
    apart = (pull + coupling) * jnp.sum((x - common[None]) ** 2)
    volume = jnp.log(pull) + (n - 1) * jnp.log(pull + coupling) - n * jnp.log(2 * jnp.pi)
    return (d * volume - together - apart) / 2
