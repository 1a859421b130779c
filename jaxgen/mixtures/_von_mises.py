"""Mixtures of von Mises laws on the circle or the torus, fitted by EM; angles in radians.

Sources: Mardia and Jupp 2000, Directional Statistics, section 5.5; Swanson et al. 2023,
arXiv:2306.07472, for torsions of molecules (there the parameters come from a network).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.densities import von_mises as von_mises_law
from jaxgen.densities import von_mises_fit
from jaxgen.mixtures._em import EM, EMInfo
from jaxgen.types import Array


class VonMisesMixture(NamedTuple):
    """Parameters of a mixture of k von Mises laws over angles [*event]; a pytree. Source:
    definition.
    """

    log_weights: Any  # [k], normalised
    means: Any  # [k, *event], radians
    concentrations: Any  # [k, *event]


def von_mises(k: int, *, start: float = 4.0, largest: float = 1e6) -> EM:
    """EM for a mixture of k von Mises laws over angles [*event]; on a torus, of products of them.

    Args:
        k: components, at least 1.
        start: the concentration they all start from, > 0.
        largest: what concentrations are held below. The likelihood of a component that collapses on
            one angle has no bound; this bounds it.

    `init` takes k of the angles, each far from those before it with probability proportional to the
    sum of 1 - cos (k-means++); a component that loses all data keeps its mean and becomes uniform.
    Raises ValueError on k < 1 or numbers that are not positive; `init` on data that are not [n,
    *event] with n >= 1.
    Source: Dempster, Laird and Rubin 1977; Mardia and Jupp 2000, section 5.5; Arthur and
    Vassilvitskii 2007 for the start.
    """
    if k < 1 or not 0 < start < np.inf or not 0 < largest < np.inf:
        raise ValueError(
            "mixtures.von_mises: k must be at least 1, start and largest positive; got "
            f"{k}, {start} and {largest}"
        )

    def init(key, xs):
        xs = _angles(xs)
        means = _spread(key, xs, k)
        kappas = jnp.full_like(means, start)
        return VonMisesMixture(jnp.full((k,), -np.log(k), xs.dtype), means, kappas)

    def step(params, xs, weights=None):
        xs = _angles(xs)
        weights = jnp.ones(xs.shape[:1], xs.dtype) if weights is None else weights
        weights = weights / jnp.sum(weights)
        joint = _joint(params, xs)
        evidence = jax.nn.logsumexp(joint, 1)
        shares = weights[:, None] * jnp.exp(joint - evidence[:, None])
        counts = jnp.sum(shares, 0)
        fit = lambda weights: von_mises_fit(xs, weights, largest=largest)
        means, kappas = jax.vmap(fit, 1)(shares)
        alive = jnp.reshape(counts > 0, (-1, *[1] * (means.ndim - 1)))
        means = jnp.where(alive, means, params.means)
        found = VonMisesMixture(jnp.log(counts), means, kappas)
        return found, EMInfo(jnp.sum(weights * evidence), counts)

    return EM(init, step)


def von_mises_responsibilities(params: VonMisesMixture, xs: Array) -> Array:
    """The probabilities [n, k] of each component given each of the angles xs [n, *event].

    Source: definition (Bayes' rule).
    """
    return jax.nn.softmax(_joint(params, _angles(xs)), 1)


def _angles(xs):
    xs = jnp.asarray(xs, jnp.result_type(float, xs))
    if xs.ndim < 1 or xs.shape[0] < 1:
        raise ValueError(f"mixtures.von_mises: xs must be [n, *event], n >= 1; got {xs.shape}")
    return xs


def _joint(params, xs):
    """log weight plus log-density [n, k]."""
    each = lambda mean, kappa, x: von_mises_law(mean, kappa).logdensity(x)
    inner = jax.vmap(each, (0, 0, None))
    table = jax.vmap(lambda x: inner(params.means, params.concentrations, x))(xs)
    return params.log_weights.astype(table.dtype)[None] + table


def _spread(key, xs, k):
    """k of the angles xs, by k-means++ in 1 - cos summed over the event."""
    key_first, key_more = jax.random.split(key)
    n = xs.shape[0]

    def away(i):
        gaps = 2 * jnp.sin((xs - xs[i][None]) / 2) ** 2
        return jnp.sum(jnp.reshape(gaps, (n, -1)), 1)

    def add(nearest, turn):
        key = jax.random.fold_in(key_more, turn)
        i = jax.random.categorical(key, jnp.log(nearest + jnp.finfo(xs.dtype).tiny))
        return jnp.minimum(nearest, away(i)), i

    first = jax.random.randint(key_first, (), 0, n)
    _, more = jax.lax.scan(add, away(first), jnp.arange(1, k))
    return xs[jnp.concatenate([first[None], more])]
