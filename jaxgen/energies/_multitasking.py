"""Diluted Hebbian memories, which retrieve several patterns at once.

Source: Agliari et al. 2012, Physical Review Letters 109; Agliari et al. 2023, arXiv 2308.04106.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.math import is_concrete


def multitasking(patterns, *, inverse_temperature=1.0):
    """logdensity_fn(s [n]) -> [] = beta / (2 n) sum_k (xi_k . s)^2, nats, unnormalised, of spins
    s in {-1, +1}.

    Cost k n: no coupling matrix is formed, and the constant of the diagonal stays. Entries of a
    pattern are 0 where it is blank (diluted), else +-1. Args: patterns xi [k, n];
    inverse_temperature beta []. Raises ValueError on other shapes.
    Source: Agliari et al. 2023, arXiv 2308.04106.
    """
    n = _size("multitasking", patterns)

    def logdensity_fn(s):
        return inverse_temperature * n / 2 * jnp.sum(overlaps(patterns, s) ** 2)

    return logdensity_fn


def overlaps(patterns, s):
    """Mattis overlaps m [k] = xi_k . s / n of a state s [n] with patterns [k, n]. Raises ValueError
    on shapes that do not fit. Source: Mattis 1976.
    """
    n = _size("overlaps", patterns)
    if jnp.shape(s) != (n,):
        raise ValueError(f"energies.overlaps: s must be [{n}]; got {jnp.shape(s)}")
    dtype = jnp.result_type(patterns, float)
    return jnp.asarray(patterns, dtype) @ jnp.asarray(s, dtype) / n


def multitasking_step(patterns, s):
    """All spins of s [n] along their fields, at temperature zero: [n]; a spin without a field
    keeps its value.

    Raises ValueError on shapes that do not fit. Source: Hopfield 1982, all spins at once.
    """
    field = overlaps(patterns, s) @ patterns
    return jnp.where(field == 0, jnp.asarray(s, field.dtype), jnp.sign(field))


def multitasking_overlaps(dilution, k, *, inverse_temperature=jnp.inf, start=None, steps=400):
    """Overlaps m [k] that solve m_j = E xi_j tanh(beta xi . m) for many spins and few patterns, by
    fixed-point iteration from `start`.

    xi has k independent entries, 0 with probability `dilution` and else +-1 alike; all 3^k of them
    are enumerated. The default start is the hierarchy (1 - d) d^(j - 1), which at infinite beta is
    itself a solution while (1 - d) d^(j-1) exceeds the sum of those after it: one pattern is held
    in full, the next on the blanks it left, and so on.

    Args: dilution in [0, 1]; k patterns, at most 8. Raises ValueError outside these.
    Source: Agliari et al. 2012; derived at low load as the mean-field equation.
    """
    if not 1 <= k <= 8 or (is_concrete(dilution) and not 0 <= dilution <= 1):
        raise ValueError(
            "energies.multitasking_overlaps: k in 1..8 and dilution in [0, 1] must hold; got "
            f"{k} and {dilution}"
        )
    xi = jnp.asarray(np.array(list(itertools.product([-1.0, 0.0, 1.0], repeat=k))))
    weights = jnp.prod(jnp.where(xi == 0, dilution, (1 - dilution) / 2), axis=1)
    hierarchy = (1 - dilution) * dilution ** jnp.arange(k, dtype=xi.dtype)
    m = hierarchy if start is None else jnp.asarray(start, xi.dtype)
    if m.shape != (k,):
        raise ValueError(f"energies.multitasking_overlaps: start must be [{k}]; got {m.shape}")

    def body(m, _):
        field = xi @ m
        # Fields that cancel in exact arithmetic are rounded to 1e-17: no sign is theirs
        field = jnp.where(jnp.abs(field) < 1e-9, 0.0, field)
        return (
            weights * jnp.where(field == 0, 0.0, _direction(inverse_temperature, field))
        ) @ xi, 0

    return jax.lax.scan(body, m, None, length=steps)[0]


def _direction(beta, field):
    return jnp.where(jnp.isinf(beta), jnp.sign(field), jnp.tanh(jnp.minimum(beta, 1e6) * field))


def _size(name, patterns):
    if jnp.ndim(patterns) != 2 or 0 in jnp.shape(patterns):
        raise ValueError(f"energies.{name}: patterns must be [k, n]; got {jnp.shape(patterns)}")
    return patterns.shape[1]
