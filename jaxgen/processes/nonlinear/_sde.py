"""A process as its user states it."""

from jax.tree_util import Partial

from jaxgen.processes._record import check_times
from jaxgen.types import NonlinearForward


def from_sde(drift, diffusion, prior, *, t_min=1e-3, t_max=1.0):
    """The NonlinearForward dz = drift(z, t) dt + diffusion(z, t) dw, z [*event], in Ito's sense.

    Args: drift(z [*event], t []) -> [*event]; diffusion, a function (z, t) -> coefficient, or a
        coefficient (see `NonlinearForward`); prior, the `Distribution` of z at t_max, or one near
        it. Raises ValueError on a drift that is not a function, or times out of order.
    Source: definition.
    """
    name = "processes.nonlinear.from_sde"
    check_times(name, t_min, t_max)
    if not callable(drift):
        raise ValueError(f"{name}: drift must be a function (z, t) -> [*event]; got {drift!r}")
    if not callable(diffusion):
        diffusion = Partial(_constant, diffusion)
    return NonlinearForward(drift, diffusion, prior, t_min, t_max)


def _constant(coefficient, z, t):
    return coefficient
