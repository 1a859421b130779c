"""Pairwise models on spins +-1, and the periodic grid."""

import jax.numpy as jnp
import numpy as np

from jaxgen.math import is_concrete


def ising(couplings, fields=None, *, inverse_temperature=1.0):
    """logdensity_fn(s [*event]) -> [] = beta (s^T J s / 2 + h^T s), nats, unnormalised, of spins
    s in {-1, +1}, s flattened.

    Any real s is taken, so that gradients by the spins exist; the diagonal of J adds beta tr(J) / 2
    and is left out. Args: couplings J [n, n], symmetric; fields h [n], none when None;
    inverse_temperature beta [], of any sign. Raises ValueError on shapes that do not fit, or
    couplings that are not symmetric and finite.
    Source: Ising 1925; Hopfield 1982.
    """
    couplings = jnp.asarray(couplings, float) if is_concrete(couplings) else couplings
    n = couplings.shape[0] if jnp.ndim(couplings) == 2 else -1
    if jnp.shape(couplings) != (n, n) or (fields is not None and jnp.shape(fields) != (n,)):
        raise ValueError(
            "energies.ising: couplings [n, n] and fields [n] must fit; got "
            f"{jnp.shape(couplings)} and {jnp.shape(fields)}"
        )
    if is_concrete(couplings):
        held = np.asarray(couplings)
        if not np.all(np.isfinite(held)) or not np.allclose(held, held.T):
            raise ValueError("energies.ising: couplings must be symmetric and finite; got others")
    pairs = couplings * (1 - jnp.eye(n, dtype=couplings.dtype))

    def logdensity_fn(s):
        s = jnp.ravel(s)
        if s.shape != (n,):
            raise ValueError(f"energies.ising: s must have {n} spins; got {s.shape[0]}")
        value = s @ pairs.astype(s.dtype) @ s / 2
        value = value if fields is None else value + jnp.asarray(fields, s.dtype) @ s
        return inverse_temperature * value

    return logdensity_fn


def periodic_grid(shape):
    """Couplings [n, n] of nearest neighbours on a periodic grid of the given shape, n its product.

    Each site has a bond to the next one along every axis: an axis of length 2 has two bonds between
    the same sites, coupling 2, and one of length 1 has none. Raises ValueError on lengths below 1.
    Source: Onsager 1944.
    """
    if not len(shape) or min(shape) < 1:
        raise ValueError(f"energies.periodic_grid: lengths must be at least 1; got {shape}")
    sites = np.arange(np.prod(shape)).reshape(shape)
    couplings = np.zeros((sites.size, sites.size))
    for axis, length in enumerate(shape):
        if length > 1:
            np.add.at(couplings, (sites.ravel(), np.roll(sites, -1, axis).ravel()), 1.0)
    return jnp.asarray(couplings + couplings.T)
