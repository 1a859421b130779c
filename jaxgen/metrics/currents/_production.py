"""Rates of entropy production: from a score, from the drift alone, and from paths.

At a stationary law ∫ ρ v · ∇f = 0 for every f. With f = log ρ, E[v · s] = 0, so that
E[v · D⁻¹ v] = E[v · D⁻¹ a] for a = b - ∇·D (the heat, by D), and partial integration removes the
score: E[a · D⁻¹ a + ∇·a]. Along paths the heat is ∫ D⁻¹ a ∘ dX in Stratonovich's sense, which is
the logarithm of the ratio of a path's density to that of its reversal, up to its ends.

Sources: Boffi and Vanden-Eijnden 2024, arXiv 2309.12991; Seifert 2012, arXiv 1205.4176 (paths).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxgen.math import divergence
from jaxgen.metrics._clouds import finite
from jaxgen.metrics._mmd import Estimate
from jaxgen.metrics.currents._velocity import at, current_velocity, ito_free, over, positive

Array = jax.Array
Field = Callable[[Array], Array]


def _points(where, xs, least_rank=1):
    xs = jnp.asarray(xs)
    if xs.ndim < least_rank or xs.shape[0] < 2 or xs.size == 0:
        raise ValueError(f"currents.{where}: at least two points are needed; got shape {xs.shape}")
    if not jnp.issubdtype(xs.dtype, jnp.floating):
        raise ValueError(f"currents.{where}: points must be of a floating dtype; got {xs.dtype}")
    finite(f"currents.{where}", "points", xs)
    return xs


def _mean(values):
    """The mean over the leading axis [n, ...] and its standard error."""
    n = values.shape[0]
    return Estimate(jnp.mean(values, 0), jnp.std(values, 0, ddof=1) / jnp.sqrt(n))


def _shares(where, by, event):
    """Sums shares [*event] as `by` says."""
    if by not in ("total", "particle", "entry"):
        raise ValueError(f'currents.{where}: by must be "total", "particle" or "entry"; got {by!r}')
    if by == "particle" and len(event) < 2:
        raise ValueError(
            f"currents.{where}: events must be [particles, ...] to be split; got {list(event)}"
        )
    return {
        "total": jnp.sum,
        "particle": lambda share: jnp.sum(share.reshape(event[0], -1), 1),
        "entry": lambda share: share,
    }[by]


def entropy_production(
    drift: Field, diffusion, score_fn: Field, xs: Array, *, by: str = "total"
) -> Estimate:
    """The rate of entropy production E[v · D⁻¹ v] and its standard error, an Estimate of two [].

    A mean of squares: errors e of the score add E[e · D e], whatever their sign.

    Args:
        drift: as at the door.
        diffusion: as at the door.
        score_fn: as at the door.
        xs: [n, *event], n >= 2, independent points of the stationary law.
        by: "total"; "particle", [p] for events [p, ...]; or "entry", [*event]. Shares are
            v_i (D⁻¹ v)_i, and sum to the total.

    Raises ValueError on too few points, other shapes, or a diffusion that is concrete and not
    positive definite.
    Source: Boffi and Vanden-Eijnden 2024, arXiv 2309.12991.
    """
    where = "entropy_production"
    xs = _points(where, xs)
    positive(where, diffusion)
    add = _shares(where, by, xs.shape[1:])
    velocity = current_velocity(drift, diffusion, score_fn)

    def rate(x):
        v = velocity(x)
        return add(v * over(at(where, diffusion, x), v))

    return _mean(jax.vmap(rate)(xs))


def heat_production(drift: Field, diffusion, xs: Array, *, by: str = "total") -> Estimate:
    """The same rate without a score, E[a · D⁻¹ a + ∇·a] with a = b - ∇·D: an Estimate of two [].

    In total it is the entropy production, of a stationary law; its shares are the heat of each
    degree of freedom, E[v_i (D⁻¹ a)_i] for diagonal D, which differ from those of
    `entropy_production` by E[∂_i v_i]. It may come out negative.

    Args:
        drift: as at the door.
        diffusion: as at the door.
        xs: [n, *event], n >= 2, independent points of the stationary law.
        by: as in `entropy_production`.

    Raises ValueError as `entropy_production` does.
    Source: Seifert 2012, arXiv 1205.4176 (heat); partial integration, derived.
    """
    where = "heat_production"
    xs = _points(where, xs)
    positive(where, diffusion)
    add = _shares(where, by, xs.shape[1:])
    rest = ito_free(where, drift, diffusion)

    def rate(x):
        value, slopes = divergence.exact()(rest, x, entries=True)
        return add(value * over(at(where, diffusion, x), value) + slopes)

    return _mean(jax.vmap(rate)(xs))


def path_entropy_production(drift: Field, diffusion, paths: Array, duration) -> Estimate:
    """The same rate from time reversal, an Estimate of two []: the mean heat of paths over time.

    The log-ratio of a path's density to its reversal's, less that of its ends, which have equal
    laws. By the trapezoidal rule: the bias is of first order in the time step, also where the
    paths' transitions are exact.

    Args:
        drift: as at the door.
        diffusion: as at the door.
        paths: [n, steps + 1, *event], n >= 2, independent stationary paths at even times.
        duration: [], of one path.

    Raises ValueError on too few paths or points, other shapes, or a concrete diffusion that is not
    positive definite.
    Source: Seifert 2012, arXiv 1205.4176, section 2; Sekimoto 1998 (heat as a Stratonovich
    integral).
    """
    where = "path_entropy_production"
    paths = _points(where, paths, least_rank=2)
    positive(where, diffusion)
    if paths.shape[1] < 2:
        raise ValueError(f"currents.{where}: a path must have two points; got {paths.shape}")
    rest = ito_free(where, drift, diffusion)
    force = jax.vmap(lambda x: over(at(where, diffusion, x), rest(x)))

    def heat(path):
        push = force(path)
        return jnp.sum(0.5 * (push[1:] + push[:-1]) * (path[1:] - path[:-1])) / duration

    return _mean(jax.vmap(heat)(paths))
