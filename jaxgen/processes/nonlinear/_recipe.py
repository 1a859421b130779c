"""Processes with a given stationary law: the complete recipe, and Langevin dynamics as its simplest
case.
"""

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from jaxgen.math import is_concrete
from jaxgen.processes._record import check_times
from jaxgen.processes.nonlinear._coefficient import multiply, row_divergence, squared, turned
from jaxgen.types import NonlinearForward


def langevin(law, beta_min=0.1, beta_max=20.0, *, t_min=1e-3, t_max=1.0):
    """Langevin dynamics dz = beta/2 grad log pi(z) dt + sqrt(beta) dw, which forget z [*event] into
    the `Distribution` pi = law, beta(t) linear between t = 0 and 1.

    With pi a standard normal it is `scalar.vp`. Raises ValueError as `recipe`. Source: Roberts and
    Tweedie 1996; as a noising process Singhal et al. 2024, arXiv 2407.07998.
    """
    return _with_law("langevin", law, 1.0, None, beta_min, beta_max, t_min=t_min, t_max=t_max)


def recipe(law, diffusion=1.0, curl=None, beta_min=1.0, beta_max=1.0, *, t_min=1e-3, t_max=1.0):
    """The complete recipe: every diffusion of z [*event] that leaves pi = exp(-H) = law invariant,
    dz = beta [-(D + Q) grad H + Gamma] dt + sqrt(2 beta D) dw, Gamma_i = sum_j d_j (D_ij + Q_ij).

    Args: law, a `Distribution` with logdensity = -H up to a constant; its sample starts samplers.
        diffusion: G with D = G G^T / 2, a coefficient (see `NonlinearForward`) or a function z ->
        coefficient; so every D >= 0 is allowed, singular ones too. curl: None, a matrix [c, c] or
        [d, d], or a function z -> matrix, of which the skew part Q = (K - K^T) / 2 enters.
        beta_min, beta_max: the rate beta(t), linear between t = 0 and 1.
    Gamma is found by forward mode, at the cost of d products for each function given. With a
    quadratic H and constants the process is linear: `processes.augmented` then knows its
    transition. Raises ValueError on a law without log-density, times out of order, or rates that
    are not positive.
    Source: Ma et al. 2015, arXiv 1506.04696, equation 3; Pandey and Mandt 2023, arXiv 2303.01748,
    section 2.2, equations 2-4.
    """
    return _with_law("recipe", law, diffusion, curl, beta_min, beta_max, t_min=t_min, t_max=t_max)


def _with_law(name, law, diffusion, curl, beta_min, beta_max, *, t_min, t_max):
    name = f"processes.nonlinear.{name}"
    check_times(name, t_min, t_max)
    if getattr(law, "logdensity", None) is None:
        raise ValueError(f"{name}: law must have a logdensity; got {law}")
    for label, number in {"beta_min": beta_min, "beta_max": beta_max}.items():
        if is_concrete(number) and not number > 0:
            raise ValueError(f"{name}: {label} must be positive; got {number}")
    return NonlinearForward(
        Partial(_drift, law, diffusion, curl, beta_min, beta_max),
        Partial(_diffusion, diffusion, beta_min, beta_max),
        law,
        t_min,
        t_max,
    )


def _rate(beta_min, beta_max, t):
    return beta_min + (beta_max - beta_min) * t


def _drift(law, diffusion, curl, beta_min, beta_max, z, t):
    pull = jax.grad(law.logdensity)(z)
    along = squared(_at(diffusion, z), pull) / 2
    if callable(diffusion):
        along += row_divergence(lambda z, v: squared(diffusion(z), v), z) / 2
    if curl is not None:
        along += _turn(_at(curl, z), pull)
    if callable(curl):
        along += row_divergence(lambda z, v: _turn(curl(z), v), z)
    return jnp.asarray(_rate(beta_min, beta_max, t), z.dtype) * along


def _diffusion(diffusion, beta_min, beta_max, z, t):
    return jnp.sqrt(_rate(beta_min, beta_max, t)) * jnp.asarray(_at(diffusion, z))


def _at(coefficient, z):
    return coefficient(z) if callable(coefficient) else coefficient


def _turn(matrix, v):
    if jnp.ndim(matrix) != 2:
        raise ValueError(
            "processes.nonlinear.recipe: curl must be a matrix [c, c] or [d, d]; got shape "
            f"{jnp.shape(matrix)}"
        )
    return (multiply(matrix, v) - multiply(turned(matrix), v)) / 2
