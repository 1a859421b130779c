"""How a schedule t -> (alpha, sigma) becomes a process: drift and diffusion follow by
differentiation.
"""

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from jaxgen.math import namespace, working_dtype
from jaxgen.processes._record import check_snr, check_times
from jaxgen.types import LinearForward


def from_schedule(schedule, *numbers, t_min, t_max, name="processes.scalar.from_schedule"):
    """The process x_t = alpha x0 + sigma eps of a schedule, a LinearForward with scalar
    coefficients [].

    Args: schedule(t, *numbers) -> (alpha [...], sigma [...]), a module-level function that acts
        element by element and takes NumPy to NumPy (see `math.namespace`); `numbers` cross jit and
        can be learned.
    f = alpha'/alpha and g^2 = 2 sigma (sigma' - f sigma) are derived by jvp. Raises ValueError when
    t_min and t_max are not ordered or the signal-to-noise ratio does not fall between them
    (concrete numbers only).
    Source: Kingma et al. 2021, arXiv 2107.00630, equations 1-3; Song et al. 2021, arXiv 2011.13456,
    section 3.
    """
    check_times(name, t_min, t_max)
    transition = Partial(_time_last, Partial(schedule), *numbers)
    process = LinearForward(
        Partial(_drift, transition), Partial(_diffusion, transition), transition, t_min, t_max
    )
    check_snr(name, process)
    return process


def _time_last(schedule, *args):
    return schedule(namespace(args).asarray(args[-1]), *args[:-1])


def _drift(transition, t):
    (alpha, _), (d_alpha, _) = _with_derivative(transition, t)
    return d_alpha / alpha


def _diffusion(transition, t):
    (alpha, sigma), (d_alpha, d_sigma) = _with_derivative(transition, t)
    return jnp.sqrt(jnp.maximum(2 * sigma * (d_sigma - sigma * d_alpha / alpha), 0))


def _with_derivative(transition, t):
    t = jnp.asarray(t, working_dtype(1.0 * t))
    return jax.jvp(transition, (t,), (jnp.ones_like(t),))
