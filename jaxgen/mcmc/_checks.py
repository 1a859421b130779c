"""What every kernel of this room asks for before it starts. Errors say where, what must hold, what
came; traced numbers pass.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.math import is_concrete


def positive(where, **numbers):
    """Raises ValueError unless every concrete number [] is positive and finite."""
    for name, value in numbers.items():
        if is_concrete(value):
            held = np.asarray(value)
            if held.ndim or not (held > 0 and np.isfinite(held)):
                raise ValueError(f"{where}: {name} must be a positive number; got {value}")


def fraction(where, **numbers):
    """Raises ValueError unless every concrete number [] lies in (0, 1]."""
    for name, value in numbers.items():
        if is_concrete(value) and not 0 < value <= 1:
            raise ValueError(f"{where}: {name} must lie in (0, 1]; got {value}")


def valid_start(where, logdensity, gradient=()):
    """Raises ValueError when a concrete log-density [] is NaN or +inf, or its gradient not finite.

    -inf is a legal start for a kernel that needs no gradient: its first finite proposal is taken.
    """
    if jnp.shape(logdensity) != ():
        raise ValueError(
            f"{where}: logdensity_fn must return one number []; got shape {jnp.shape(logdensity)}"
        )
    if not is_concrete(logdensity, gradient):
        return
    value = float(logdensity)
    if np.isnan(value) or value == np.inf:
        raise ValueError(
            f"{where}: the log-density must not be NaN or +inf at the start; got {value}"
        )
    if not all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(gradient)):
        raise ValueError(f"{where}: the gradient must be finite at the start; got one that is not")


def is_bad(logdensity):
    """Whether a log-density [] is NaN or +inf: no point of a distribution."""
    return jnp.isnan(logdensity) | (logdensity == jnp.inf)
