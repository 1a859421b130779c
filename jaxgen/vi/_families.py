"""Gaussians with structure, mixtures of any family, and flows, as families.

Starts are drawn, so that the parts of a mixture differ: a mean from N(0, spread^2 I), and the
standard deviation `scale` in every direction.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.flows import as_distribution
from jaxgen.math import is_concrete
from jaxgen.vi._family import Family

_LOG_2PI = math.log(2 * math.pi)


def _positive(where, **numbers):
    for name, value in numbers.items():
        if is_concrete(value) and not (value > 0 and np.isfinite(value)):
            raise ValueError(f"{where}: {name} must be a positive number; got {value}")


def _counts(where, **counts):
    for name, value in counts.items():
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{where}: {name} must be a positive integer; got {value}")


def _family(init, sample, logdensity):
    """The Family of a law that is one stratum: its draws are one plain draw."""

    def draws(params, key):
        x = sample(params, key)
        return x[None], jnp.zeros(1, x.dtype)

    return Family(init, sample, logdensity, draws)


def block_gaussian(sizes, *, spread=1.0, scale=1.0):
    """The `Family` of Gaussians over x [d] whose covariance has full blocks of these sizes, which
    add to d, on its diagonal; (1, ..., 1) is the mean field, (d,) the full covariance.

    Parameters: mean [d], log_scale [d] and the strictly lower part of each block's Cholesky factor,
    flat. Raises ValueError on sizes that are not positive integers, or numbers out of range.
    Source: definition.
    """
    where, sizes = "vi.block_gaussian", tuple(sizes)
    if not sizes:
        raise ValueError(f"{where}: sizes must not be empty; got none")
    for size in sizes:
        _counts(where, sizes=size)
    _positive(where, spread=spread, scale=scale)
    d, ends = sum(sizes), np.cumsum(sizes)

    def init(key):
        mean = spread * jax.random.normal(key, (d,))
        lower = tuple(jnp.zeros(m * (m - 1) // 2, mean.dtype) for m in sizes)
        log_scale = jnp.broadcast_to(jnp.log(jnp.asarray(scale, mean.dtype)), (d,))
        return {"mean": mean, "log_scale": log_scale, "lower": lower}

    def factors(params):
        blocks = zip(sizes, jnp.split(params["log_scale"], ends[:-1]), params["lower"], strict=True)
        for m, log_scale, lower in blocks:
            yield jnp.diag(jnp.exp(log_scale)).at[np.tril_indices(m, -1)].set(lower)

    def sample(params, key):
        eps = jnp.split(jax.random.normal(key, (d,), params["mean"].dtype), ends[:-1])
        parts = [factor @ e for factor, e in zip(factors(params), eps, strict=True)]
        return params["mean"] + jnp.concatenate(parts)

    def logdensity(params, x):
        solve = jax.scipy.linalg.solve_triangular
        parts = zip(factors(params), jnp.split(x - params["mean"], ends[:-1]), strict=True)
        square = sum(jnp.sum(solve(factor, part, lower=True) ** 2) for factor, part in parts)
        return -(square + d * _LOG_2PI) / 2 - jnp.sum(params["log_scale"])

    return _family(init, sample, logdensity)


def low_rank_gaussian(d, rank, *, spread=1.0, scale=1.0):
    """The `Family` of Gaussians over x [d] with covariance diag(scale^2) + factor factor^T, of
    factor [d, rank]: O(d rank^2) instead of O(d^3).

    Parameters: mean [d], log_scale [d], factor [d, rank], which starts as small noise. Raises
    ValueError on a d or rank that is no positive integer, or numbers out of range.
    Source: Ong, Nott and Smith 2018, arXiv 1701.03208; density by Woodbury's identity.
    """
    where = "vi.low_rank_gaussian"
    _counts(where, d=d, rank=rank)
    _positive(where, spread=spread, scale=scale)

    def init(key):
        key_mean, key_factor = jax.random.split(key)
        mean = spread * jax.random.normal(key_mean, (d,))
        # Not zero: there the gradient of the factor vanishes.
        factor = 0.1 * scale / math.sqrt(rank) * jax.random.normal(key_factor, (d, rank))
        log_scale = jnp.broadcast_to(jnp.log(jnp.asarray(scale, mean.dtype)), (d,))
        return {"mean": mean, "log_scale": log_scale, "factor": factor}

    def sample(params, key):
        key_own, key_shared = jax.random.split(key)
        dtype = params["mean"].dtype
        own = jnp.exp(params["log_scale"]) * jax.random.normal(key_own, (d,), dtype)
        shared = params["factor"] @ jax.random.normal(key_shared, (rank,), dtype)
        return params["mean"] + own + shared

    def logdensity(params, x):
        white = (x - params["mean"]) / jnp.exp(params["log_scale"])
        factor = params["factor"] / jnp.exp(params["log_scale"])[:, None]
        root = jnp.linalg.cholesky(jnp.eye(rank, dtype=x.dtype) + factor.T @ factor)
        inner = jax.scipy.linalg.solve_triangular(root, factor.T @ white, lower=True)
        square = jnp.sum(white**2) - jnp.sum(inner**2)
        log_det = jnp.sum(params["log_scale"]) + jnp.sum(jnp.log(jnp.diagonal(root)))
        return -(square + d * _LOG_2PI) / 2 - log_det

    return _family(init, sample, logdensity)


def mixture(family, k):
    """The `Family` of mixtures of k laws of another family over x [*event].

    The log-density is the mixture's own, and each set of draws holds one from every part, weighted:
    gradients reach the weights, and no part is missed by chance. Parameters: logits [k] and parts,
    those of the family with a leading axis k. Raises ValueError unless k is a positive integer.
    Source: Morningstar et al. 2021, arXiv 2003.01687.
    """
    _counts("vi.mixture", k=k)

    def init(key):
        parts = jax.vmap(family.init)(jax.random.split(key, k))
        dtype = jax.tree.leaves(parts)[0].dtype
        return {"logits": jnp.zeros(k, dtype), "parts": parts}

    def sample(params, key):
        key_part, key_sample = jax.random.split(key)
        part = jax.random.categorical(key_part, params["logits"])
        return family.sample(jax.tree.map(lambda leaf: leaf[part], params["parts"]), key_sample)

    def logdensity(params, x):
        each = jax.vmap(family.logdensity, (0, None))(params["parts"], x)
        return jax.nn.logsumexp(jax.nn.log_softmax(params["logits"]) + each)

    def draws(params, key):
        xs, inner = jax.vmap(family.draws)(params["parts"], jax.random.split(key, k))
        log_weights = jax.nn.log_softmax(params["logits"])[:, None] + inner
        return xs.reshape(-1, *xs.shape[2:]), log_weights.reshape(-1)

    return Family(init, sample, logdensity, draws)


def flow(flow, base):
    """The `Family` of laws of x [*event] whose noise forward(params, x) follows `base`.

    Args: flow, a `flows.Flow`; base, a `Distribution` over z [*event]. A draw and its log-density
    cost an inverse and a forward pass. Source: Rezende and Mohamed 2015, arXiv 1505.05770.
    """
    return _family(
        flow.init,
        lambda params, key: as_distribution(flow, params, base).sample(key),
        lambda params, x: as_distribution(flow, params, base).logdensity(x),
    )
