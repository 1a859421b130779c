"""Learning a denoiser with a latent: the bound of a chain whose steps are mixtures."""

import math

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.math import is_concrete, on_host, working_dtype
from jaxgen.predictions import as_denoiser
from jaxgen.processes import corrupt, log_snr, noise_shape, snr_gap


def soft_mixture(process, apply, *, kind, ts, latent, draws=8):
    """loss_fn(params, key, x0 [*event], t=None, **cond) -> []: an upper bound on the path's share
    of the negative log-likelihood of `solvers.sde.soft_mixture` along the falling stops ts
    [n + 1], nats per dimension; one random step stands for all n.

    E log q(z_s) - log mean_j p_j(z_s) for z_s from the posterior q(z_s | z_t, x0) and k = `draws`
    latents of the step: a bound for every k that falls to the divergence from the mixture itself.
    With draws=1 it is the published loss, the mean over latents of a denoising loss; its best
    denoiser is E[x0 | z] whatever the latent, since latents are drawn without knowing x0, so that
    only draws > 1 can teach what the latent is for.
    Args: apply(params, z, t, latent, **cond) -> [*event], whose outputs are of this `kind`;
    latent(key, z, t) -> any tree, as in the solver. t, when given, is moved to the nearest stop
    that a step leaves; `loss_fn.time` is the law of these. Raises ValueError on an unknown kind, ts
    that do not fall, or draws < 1.
    Source: Li et al. 2024, arXiv 2309.14068; several draws: Burda et al. 2016, arXiv 1509.00519,
    theorem 1; in terms of gamma derived.
    """
    if jnp.ndim(ts) != 1 or len(ts) < 2 or (is_concrete(ts) and not np.all(np.diff(ts) < 0)):
        raise ValueError(f"losses.score.soft_mixture: ts must be falling stops [n + 1]; got {ts}")
    if draws < 1:
        raise ValueError(f"losses.score.soft_mixture: draws must be at least 1; got {draws}")
    as_denoiser(process, apply, kind=kind)
    steps, levels = len(ts) - 1, on_host(log_snr, process, ts)

    def law(u):
        u = jnp.asarray(u)
        return jnp.asarray(ts, u.dtype)[jnp.minimum((u * steps).astype(jnp.int32), steps - 1)]

    def loss_fn(params, key, x0, t=None, **cond):
        key_time, key_noise, key_latent, key_step = jax.random.split(key, 4)
        dtype = working_dtype(x0)
        t = law(jax.random.uniform(key_time, (), dtype)) if t is None else t
        stops = jnp.asarray(ts, dtype)
        index = jnp.argmin(jnp.abs(stops[:-1] - t))
        t, (noisy, clean) = stops[index], (jnp.asarray(levels, dtype)[index + i] for i in (0, 1))
        eps = jax.random.normal(key_noise, noise_shape(process, x0.shape), x0.dtype)
        z = corrupt(process, x0, eps, t)

        # The step's own noise along the channel; one draw has its mean in closed form, without.
        step_noise = jax.random.normal(key_step, x0.shape, dtype) * (draws > 1)
        scale = jnp.sqrt(snr_gap(noisy, clean))

        def log_ratio(key):
            chosen = latent(key, z, t)
            predict = lambda z, t: apply(params, z, t, chosen, **cond)
            x0hat = as_denoiser(process, predict, kind=kind)(z, t)
            chex.assert_equal_shape([x0hat, x0])
            needed = step_noise + scale * (x0 - x0hat).astype(dtype)
            return jnp.sum(step_noise**2 - needed**2) / 2

        found = jax.vmap(log_ratio)(jax.random.split(key_latent, draws))
        return steps * (math.log(draws) - jax.nn.logsumexp(found)) / x0.size

    loss_fn.time = law
    return loss_fn
