"""Energies as log-densities: the form in which blackjax and every sampler of ours reads them."""

import jax.numpy as jnp


def log_density(energy_fn, *, temperature=1.0):
    """logdensity_fn(x [*event]) -> [] = -energy_fn(x) / temperature, in nats, unnormalised.

    Args: energy_fn(x) -> []; temperature, a positive number [], possibly traced. Raises ValueError
    when it is a number that is not positive. Source: Gibbs 1902; LeCun et al. 2006, section 1.
    """
    if isinstance(temperature, float | int) and not temperature > 0:
        raise ValueError(f"energies.log_density: temperature must be positive; got {temperature}")
    return lambda x: -energy_fn(x) / temperature


def product(*logdensity_fns, weights=None):
    """logdensity_fn(x [*event]) -> [] = sum_j weights_j logdensity_j(x), nats, unnormalised.

    Args: weights [n], all one when None: a product of experts, or with weights (1 - s, s) one stop
    of a geometric annealing path. Raises ValueError on no densities, or weights that do not fit.
    Source: Hinton 2002, equation 1; Neal 2001, equation 3.
    """
    shape = (len(logdensity_fns),) if weights is None else jnp.shape(weights)
    if not logdensity_fns or shape != (len(logdensity_fns),):
        raise ValueError(
            "energies.product: at least one log-density, and a weight for each; got "
            f"{len(logdensity_fns)} and weights of shape {shape}"
        )
    scales = [1.0] * len(logdensity_fns) if weights is None else weights
    return lambda x: sum(s * fn(x) for s, fn in zip(scales, logdensity_fns, strict=True))
