"""Learned reverse variances: the simple loss for the mean, a bound for the variance."""

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.math import is_concrete, on_host, working_dtype
from jaxgen.predictions import as_denoiser, target
from jaxgen.processes import corrupt, log_snr, noise_shape, reverse_kl


def hybrid(process, apply, *, kind, ts, weight=1e-3):
    """loss_fn(params, key, x0 [*event], t=None, **cond) -> []: L_simple + weight L_vlb of a chain
    along the falling stops ts [n + 1], for one example.

    `apply(params, z, t, **cond) -> (prediction [*event], v [*event])`: a prediction of this kind,
    and the fraction v of the log-variance exp(v log beta + (1 - v) log beta_tilde) of the step that
    leaves t. L_simple is the mean squared error of the prediction; L_vlb is n times the divergence
    of one random step, nats per dimension, whose gradient reaches v alone. ts may be any
    subsequence: beta and beta_tilde are those between its stops. t, when given, is moved to the
    nearest stop that a step leaves; `loss_fn.time` is the law of these. Sample with
    `solvers.sde.ancestral(variance=)`, and read the likelihood with `likelihoods.elbo(variance=)`.
    Raises ValueError on an unknown kind, or ts that do not fall.
    Source: Nichol and Dhariwal 2021, arXiv 2102.09672, equations 14-16; for any linear process, in
    terms of gamma, derived; their last step is the decoder of the bound and is not learned here.
    """
    if jnp.ndim(ts) != 1 or len(ts) < 2 or (is_concrete(ts) and not np.all(np.diff(ts) < 0)):
        raise ValueError(f"losses.score.hybrid: ts must be falling stops [n + 1]; got {ts}")
    as_denoiser(process, apply, kind=kind)
    steps, levels = len(ts) - 1, on_host(log_snr, process, ts)

    def law(u):
        u = jnp.asarray(u)
        index = jnp.clip((u * steps).astype(jnp.int32), 0, steps - 1)
        return jnp.asarray(ts, u.dtype)[index]

    def loss_fn(params, key, x0, t=None, **cond):
        key_time, key_noise = jax.random.split(key)
        dtype = working_dtype(x0)
        t = law(jax.random.uniform(key_time, (), dtype)) if t is None else t
        stops = jnp.asarray(ts, dtype)
        index = jnp.argmin(jnp.abs(stops[:-1] - t))
        t, (noisy, clean) = stops[index], (jnp.asarray(levels, dtype)[index + i] for i in (0, 1))
        eps = jax.random.normal(key_noise, noise_shape(process, x0.shape), x0.dtype)
        z = corrupt(process, x0, eps, t)
        prediction, v = apply(params, z, t, **cond)
        chex.assert_equal_shape([prediction, x0])
        chex.assert_equal_shape([v, x0])
        simple = jnp.mean((prediction - target(process, kind, x0, eps, t)).astype(dtype) ** 2)
        still = jax.lax.stop_gradient(prediction)
        x0hat = as_denoiser(process, lambda z, t: still, kind=kind)(z, t)
        square = (x0 - x0hat).astype(dtype) ** 2
        bound = steps * jnp.mean(reverse_kl(noisy, clean, square, v.astype(dtype)))
        return simple + weight * bound

    loss_fn.time = law
    return loss_fn
