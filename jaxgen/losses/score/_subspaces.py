"""Denoising with a union of subspaces: the loss is subspace clustering."""

import jax
import jax.numpy as jnp

from jaxgen.losses.score._times import uniform_time
from jaxgen.math import working_dtype
from jaxgen.processes import log_snr, refuse_diagonal


def subspaces(process, *, time=None):
    """loss_fn(bases [k, d, r], key, x0 [d], t=None) -> []: the denoising loss of the denoiser that
    projects onto the subspace nearest to x0, averaged over the noise in closed form.

    For a = gamma / (1 + gamma) and orthonormal U_k the denoiser is a U_k U_k^T (x0 + noise of
    variance 1 / gamma), k the subspace with the largest |U_k^T x0|, and the mean over the noise of
    |x0hat - x0|^2 / d is (|x0|^2 - (2 a - a^2) max_k |U_k^T x0|^2 + r a (1 - a)) / d: at any times,
    minimising it is subspace clustering, and for one subspace PCA. The params are raw bases, made
    orthonormal here. Raises ValueError on a process diagonal in a basis.
    Source: Wang et al. 2024, arXiv 2409.02426; any linear process derived.
    """
    refuse_diagonal("losses.score.subspaces", process)
    law = uniform_time(process) if time is None else time

    def loss_fn(params, key, x0, t=None):
        dtype = working_dtype(x0)
        t = jnp.asarray(law(jax.random.uniform(key, (), dtype)) if t is None else t, dtype)
        bases = jnp.linalg.qr(jnp.asarray(params, dtype))[0]
        x0 = x0.astype(dtype)
        kept = jnp.max(jnp.sum(jnp.einsum("kdr,d->kr", bases, x0) ** 2, 1))
        a = jax.nn.sigmoid(log_snr(process, t))
        rank = bases.shape[-1]
        return (jnp.sum(x0**2) - a * (2 - a) * kept + rank * a * (1 - a)) / x0.size

    loss_fn.time = law
    return loss_fn
