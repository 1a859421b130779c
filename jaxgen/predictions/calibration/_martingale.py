"""Phi(t)^T s(z_t, t) is a martingale of the reverse process: a test of scores without a truth.

s(z_t, t) = E[Psi^-T s(z_u, u) | z_t] for u < t and the forward kernel z_t = Psi z_u + noise, since
the kernel's derivative by z_t is that by Psi z_u, sign changed, and moves onto the density by
parts. With Psi = Phi(t) Phi(u)^-1 that is the martingale property; for scalars alpha(t) s.
Source: Pang et al. 2023, arXiv 2302.10688, theorem 1; for blocks derived.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.math import (
    apply,
    lower_inverse,
    namespace,
    on_host,
    semidefinite_factor,
    square_root,
    total,
    working_dtype,
)
from jaxgen.predictions._read import as_score
from jaxgen.processes import corrupt, is_diagonal, noise_shape, num_blocks


class Drift(NamedTuple):
    """How Phi^T s drifts over m steps of falling time, and how well that is known; all zero in
    expectation for the exact score. Source: definition.
    """

    t: Any  # [m] where the steps begin
    t_next: Any  # [m] where they end, at less noise
    mean: Any  # [m, *event] or [m, c, *event] of the change
    standard_error: Any  # the same shape
    slope: Any  # the same shape: mean of the change times z_t, less its mean, over its deviation
    slope_error: Any  # the same shape


def martingale(process, denoiser, paths, ts):
    """The `Drift` of a denoiser's score along paths [n, m + 1, *event] or [n, m + 1, c, *event],
    independent of each other, at falling times ts [m + 1].

    Paths of the data (`forward_paths`) test the score where data are; those of a stochastic sampler
    (trajectories of `solve`) test it where samples are, up to the error of their steps. The mean
    sees what `calibrate` mends, the slope also what changes with z. n (m + 1) evaluations. Raises
    ValueError on shapes that do not fit.
    Source: Pang et al. 2023, arXiv 2302.10688, theorem 1.
    """
    if jnp.ndim(ts) != 1 or len(ts) < 2 or jnp.shape(paths)[1:2] != jnp.shape(ts) or len(paths) < 2:
        raise ValueError(
            "predictions.calibration.martingale: paths [n, m + 1, ...], n >= 2, must have a state "
            f"for each of ts [m + 1]; got {jnp.shape(paths)} and {jnp.shape(ts)}"
        )
    score_fn, entries = as_score(process, denoiser), is_diagonal(process)
    ts = jnp.asarray(ts, working_dtype(paths))

    def at(indexed):
        t, zs = indexed
        phi = jnp.asarray(process.transition(t)[0], t.dtype)
        turned = phi if num_blocks(process) is None else phi.T
        return jax.vmap(lambda z: apply(turned, score_fn(z, t), entries=entries))(zs)

    zs = jnp.moveaxis(jnp.asarray(paths), 1, 0).astype(ts.dtype)  # [m + 1, n, ...]
    values = jax.lax.map(at, (ts, zs))
    change = values[1:] - values[:-1]
    away = zs[:-1] - jnp.mean(zs[:-1], 1, keepdims=True)
    away = away / jnp.std(zs[:-1], 1, keepdims=True)
    return Drift(ts[:-1], ts[1:], *_mean(change), *_mean(change * away))


def _mean(values):
    """Mean and standard error over axis 1."""
    n = values.shape[1]
    return jnp.mean(values, 1), jnp.std(values, 1, ddof=1) / n**0.5


def forward_paths(key, process, x0, ts):
    """Paths [n, m + 1, *event] or [n, m + 1, c, *event] of the forward process from data x0
    [n, *event], at falling times ts [m + 1]: in law those of the exact reverse SDE.

    Source: definition; Anderson 1982 for the reversal.
    """
    entries, dtype = is_diagonal(process), working_dtype(x0)
    x0 = jnp.asarray(x0)
    rising = np.asarray(ts)[::-1] if not isinstance(ts, jax.Array) else ts[::-1]
    kernels = on_host(_kernels, process, rising)
    kernels = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), kernels)
    key_start, key_path = jax.random.split(key)
    shape = (len(x0), *noise_shape(process, x0.shape[1:]))
    eps = jax.random.normal(key_start, shape, x0.dtype)
    first = jax.vmap(lambda x0, eps: corrupt(process, x0, eps, jnp.asarray(rising[0], dtype)))
    start = first(x0, eps)

    def step(zs, indexed):
        index, (psi, noise) = indexed
        eps = jax.random.normal(jax.random.fold_in(key_path, index), shape, x0.dtype)
        move = lambda z, e: total(
            [apply(psi, z, entries=entries), apply(noise, e, entries=entries)]
        )
        zs = jax.vmap(move)(zs, eps)
        return zs, zs

    _, rest = jax.lax.scan(step, start, (jnp.arange(len(rising) - 1), kernels))
    return jnp.moveaxis(jnp.concatenate([start[None], rest])[::-1], 0, 1)


def _kernels(process, ts):
    """Psi and F [m, ...] of z_b = Psi z_a + F noise between the rising times ts [m + 1]."""
    xp = namespace(process, ts)
    phi, chol = process.transition(ts)
    if num_blocks(process) is None:
        ratio = phi[1:] / phi[:-1]
        return ratio, chol[1:] * square_root(1 - (ratio * chol[:-1] / chol[1:]) ** 2)
    psi = phi[1:] @ xp.linalg.inv(phi[:-1])
    spread = lower_inverse(chol[1:]) @ psi @ chol[:-1]
    eye = np.eye(spread.shape[-1])[None]
    left = semidefinite_factor(eye - spread @ xp.swapaxes(spread, -1, -2))
    return psi, chol[1:] @ left
