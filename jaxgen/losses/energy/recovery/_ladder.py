"""A ladder of noise levels, and the law of one rung given the next."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.math import is_concrete


class Ladder(NamedTuple):
    """Levels z_k = alpha_k x0 + sigma_k eps, k = 0 .. T; rungs z_{k+1} = keep_k z_k + noise_k eps.
    A pytree of numbers. Source: definition.
    """

    alpha: Any  # [T + 1]
    sigma: Any  # [T + 1]
    keep: Any  # [T]
    noise: Any  # [T]


def ladder(process, ts):
    """The `Ladder` of a scalar process at rising times ts [T + 1], ts[0] the level of the samples.

    Raises ValueError unless the times rise and the process is scalar. Source: Gao et al. 2021,
    arXiv 2012.08125, equations 8-9.
    """
    if np.ndim(ts) != 1 or len(ts) < 2 or (is_concrete(ts) and np.any(np.diff(ts) <= 0)):
        raise ValueError(f"losses.energy.recovery.ladder: ts [T + 1] must rise; got {ts}")
    alpha, sigma = jax.vmap(process.transition)(jnp.asarray(ts, float))
    if alpha.ndim != 1:
        raise ValueError(
            f"losses.energy.recovery.ladder: the process must be scalar; got {alpha.shape[1:]}"
        )
    keep = alpha[1:] / alpha[:-1]
    return Ladder(alpha, sigma, keep, jnp.sqrt(sigma[1:] ** 2 - (keep * sigma[:-1]) ** 2))


def conditional(ladder, logdensity_fn):
    """log p(z | noisy) of level k given level k + 1, nats, unnormalised: f(params, z [*event],
    noisy [*event], level [], **cond) -> [].

    The energy of the level plus -|noisy - keep z|^2 / (2 noise^2): the more local, the closer the
    rungs, and easy for a Markov chain. Args: logdensity_fn(params, z, level, **cond) -> [], for
    level 0 .. T - 1. Source: Gao et al. 2021, arXiv 2012.08125, equation 5.
    """

    def f(params, z, noisy, level, **cond):
        gap = noisy - ladder.keep[level].astype(z.dtype) * z
        bond = jnp.sum(gap**2) / (2 * ladder.noise[level].astype(z.dtype) ** 2)
        return logdensity_fn(params, z, level, **cond) - bond

    return f


def rung(ladder, key, x0, level):
    """(z, noisy): x0 [*event] at a level and at the next, with that level's own fresh noise."""
    key_z, key_noisy = jax.random.split(key)
    alpha, sigma, keep, noise = (
        leaf[level].astype(x0.dtype)
        for leaf in (ladder.alpha, ladder.sigma, ladder.keep, ladder.noise)
    )
    z = alpha * x0 + sigma * jax.random.normal(key_z, x0.shape, x0.dtype)
    return z, keep * z + noise * jax.random.normal(key_noisy, x0.shape, x0.dtype)


def shared(ladder, x0, noisy, level):
    """z [*event] with the noise that noisy has, rather than a part of it: the level's law again."""
    eps = (noisy - _at(ladder.alpha, level + 1, x0) * x0) / _at(ladder.sigma, level + 1, x0)
    return _at(ladder.alpha, level, x0) * x0 + _at(ladder.sigma, level, x0) * eps


def centre(ladder, x0, noisy, level):
    """Mean [*event] of z given noisy and x0, by Gaussian conditioning; `spread` its deviation."""
    back = _at(ladder.keep, level, x0) * _at(ladder.sigma, level, x0) ** 2
    back = back / _at(ladder.sigma, level + 1, x0) ** 2
    return _at(ladder.alpha, level, x0) * x0 + back * (
        noisy - _at(ladder.alpha, level + 1, x0) * x0
    )


def _at(leaf, level, like):
    return leaf[level].astype(like.dtype)


def scale(ladder, level):
    """The variance [] of z given noisy when z has unit variance: a kernel's natural step."""
    noise, keep = ladder.noise[level] ** 2, ladder.keep[level] ** 2
    return noise / (noise + keep)


def spread(ladder, level):
    """Deviation [] of z given noisy and x0: that of the initialiser."""
    return ladder.sigma[level] * ladder.noise[level] / ladder.sigma[level + 1]
