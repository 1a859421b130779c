"""Training on fewer particles where noise has made them independent."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.math import is_concrete, working_dtype


def subdivided(process, loss_fn, sizes, times):
    """batch_loss(params, key, x0 [b, n, d], t=None) -> []: a loss of particles that keeps a random
    subset of sizes[k] of them at times from times[k - 1] to times[k]; a batch loss.

    A whole batch is of one stage, drawn by the length of its interval of time, so that over batches
    t is uniform and only that stage's subset is computed. The interaction of particles is of order
    alpha^2 / n: near t_max a small subset has nearly the score of all, and the error left is of
    that order; the smallest times should keep all.
    Args: loss_fn(params, key, x0 [m, d], t) -> [], an average over its entries, so that stages
        weigh alike, as `denoising`; sizes [k] falling, times [k - 1] rising inside the process.
    Raises ValueError on sizes that do not fall, times that do not rise inside, or (when traced) a t
    handed in or fewer than sizes[0] particles.
    Source: Park et al. 2024, arXiv 2406.05396, the subdivision of training; deviation: subsets of
    the data at hand, without the paper's bound on their error.
    """
    edges = np.array([process.t_min, *times, process.t_max]) if is_concrete(process) else None
    _check(sizes, times, edges)

    def batch_loss(params, key, x0, t=None):
        if t is not None or x0.shape[1] < sizes[0]:
            raise ValueError(
                f"losses.score.subdivided: x0 must be [b, n, d] with n >= {sizes[0]}, and t None; "
                f"got {x0.shape}, t={t}"
            )
        key_stage, key_time, key_each = jax.random.split(key, 3)
        ends = [process.t_min, *times, process.t_max]
        ends = jnp.stack([jnp.asarray(end, working_dtype(x0)) for end in ends])
        stage = jax.random.categorical(key_stage, jnp.log(jnp.diff(ends)))
        count = x0.shape[0]
        u = (jnp.arange(count) + jax.random.uniform(key_time, dtype=ends.dtype)) / count
        t = ends[stage] + (ends[stage + 1] - ends[stage]) * u

        def with_size(size):
            def one(key, x0, t):
                key_subset, key_loss = jax.random.split(key)
                kept = jax.random.permutation(key_subset, x0.shape[0])[:size]
                return loss_fn(params, key_loss, x0[kept], t)

            return lambda keys: jnp.mean(jax.vmap(one)(keys, x0, t))

        return jax.lax.switch(
            stage, [with_size(size) for size in sizes], jax.random.split(key_each, count)
        )

    return batch_loss


def _check(sizes, times, edges):
    name = "losses.score.subdivided"
    if len(sizes) != len(times) + 1 or np.any(np.diff(sizes) >= 0) or sizes[-1] < 1:
        raise ValueError(
            f"{name}: sizes must fall, from all particles to at least 1, with one more of them "
            f"than times; got {sizes}, {times}"
        )
    if edges is not None and np.any(np.diff(edges) <= 0):
        raise ValueError(f"{name}: times must rise between t_min and t_max; got {edges}")
