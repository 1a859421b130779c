"""The velocity of a probability current, and the residual of the stationary equation.

The density obeys ∂ρ = -∇·(b ρ) + ∂_i ∂_j (D_ij ρ) = -∇·(ρ v) with v = b - ∇·D - D s, since
∂_j (D_ij ρ) = ρ (∂_j D_ij + D_ij s_j). Stationary, ∇·(ρ v) = 0, or ∇·v + v · s = 0.

Source: Boffi and Vanden-Eijnden 2024, arXiv 2309.12991. Deviation: any D(x), derived.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.math import divergence, is_concrete

Array = jax.Array
Field = Callable[[Array], Array]


def at(where: str, diffusion, x: Array) -> Array:
    """D at x [*event]: [], [*event] or [d, d]. Raises ValueError on another shape."""
    value = jnp.asarray(diffusion(x) if callable(diffusion) else diffusion)
    if value.shape not in ((), x.shape, (x.size, x.size)):
        raise ValueError(
            f"currents.{where}: diffusion must be [], {list(x.shape)} or [{x.size}, {x.size}]; "
            f"got shape {value.shape}"
        )
    return value.astype(x.dtype)


def positive(where: str, diffusion) -> None:
    """Nothing; raises ValueError where a concrete diffusion is not positive (definite)."""
    if callable(diffusion) or not is_concrete(diffusion):
        return
    value = np.asarray(diffusion, float)
    square = value.ndim == 2 and value.shape[0] == value.shape[1]
    # [d, d] is a matrix, but for events that are square themselves, with positive entries.
    sound = np.all(value > 0)
    if square and not sound:
        sound = np.allclose(value, value.T) and np.min(np.linalg.eigvalsh(value)) > 0
    if not (sound and np.all(np.isfinite(value))):
        raise ValueError(f"currents.{where}: diffusion must be positive definite; got {value}")


def times(spread: Array, v: Array) -> Array:
    """D v, [*event]."""
    if spread.shape in ((), v.shape):
        return spread * v
    return (spread @ v.reshape(-1)).reshape(v.shape)


def over(spread: Array, v: Array) -> Array:
    """D⁻¹ v, [*event]."""
    if spread.shape in ((), v.shape):
        return v / spread
    return jnp.linalg.solve(spread, v.reshape(-1)).reshape(v.shape)


def ito_free(where: str, drift: Field, diffusion) -> Field:
    """x -> b - ∇·D, [*event], what is left of the drift once D's own push is taken away."""

    def field(x):
        value = drift(x)
        if jnp.shape(value) != x.shape:
            raise ValueError(
                f"currents.{where}: drift must be x -> {list(x.shape)}; got {jnp.shape(value)}"
            )
        if not callable(diffusion):
            return value
        spread = lambda x: at(where, diffusion, x)
        shape = jax.eval_shape(spread, x).shape
        if shape == ():
            return value - jax.grad(spread)(x)
        if shape == x.shape:
            return value - divergence.exact()(spread, x, entries=True)[1]
        slopes = jax.jacfwd(spread)(x).reshape(x.size, x.size, x.size)
        return value - jnp.einsum("ijj->i", slopes).reshape(x.shape)

    return field


def current_velocity(drift: Field, diffusion, score_fn: Field) -> Field:
    """The velocity field of the probability current, x [*event] -> [*event].

    b - ∇·D - D s; the current is the density times it. It is also the right-hand side of the
    probability-flow equation.

    Args: drift, diffusion and score_fn as at the door. Raises ValueError on other shapes.
    Source: Boffi and Vanden-Eijnden 2024, arXiv 2309.12991.
    """
    rest = ito_free("current_velocity", drift, diffusion)

    def velocity(x):
        x = jnp.asarray(x)
        score = score_fn(x)
        if jnp.shape(score) != x.shape:
            got = jnp.shape(score)
            raise ValueError(
                f"currents.current_velocity: score_fn must be x -> {list(x.shape)}; got {got}"
            )
        return rest(x) - times(at("current_velocity", diffusion, x), score)

    return velocity


def stationary_residual(drift: Field, diffusion, score_fn: Field, *, trace=None) -> Field:
    """The residual ∇·v + v · s of the stationary equation, x [*event] -> [] ([k] with k probes).

    Minus the rate at which log-density changes where x is, ∂ log ρ: zero for the stationary score.

    Args:
        drift: as at the door.
        diffusion: as at the door.
        score_fn: as at the door.
        trace: an estimator of `math.divergence`, `hutchinson(probes)` in many dimensions; None is
            `exact()`.

    Raises ValueError on other shapes.
    Source: Boffi and Vanden-Eijnden 2024, arXiv 2309.12991.
    """
    trace = divergence.exact() if trace is None else trace
    velocity = current_velocity(drift, diffusion, score_fn)

    def residual(x):
        x = jnp.asarray(x)
        value, spreading = trace(velocity, x)
        return spreading + jnp.sum(value * score_fn(x))

    return residual
