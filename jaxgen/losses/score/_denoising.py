"""Denoising score matching, in every parameterisation, on scalar and block processes."""

import chex
import jax
import jax.numpy as jnp

from jaxgen.losses.score._times import uniform_time
from jaxgen.math import working_dtype
from jaxgen.predictions import as_denoiser, target
from jaxgen.processes import corrupt, noise_shape


def denoising(process, apply, *, kind, weighting=None, time=None):
    """loss_fn(params, key, x0 [*event], t=None, **cond) -> []: the mean squared error of a
    prediction, for one example, in at least float32.

    Args: apply(params, z, t, **cond) -> [*event], whose outputs are of this `kind` (see
        `predictions.row_of`). weighting: None leaves the error of the output as it is (EDM's
        weighting for an `edm` row, the "simple" loss for eps); a function t [] -> [] weighs the
        squared error of the implied x0hat instead ([*event] for a process diagonal in a basis).
        time: the law u [] -> t [], uniform when None; the attribute `loss_fn.time` carries it, so
        that a trainer can stratify u over a batch.
    Raises ValueError on an unknown kind. Source: Vincent 2011; Song et al. 2021, arXiv 2011.13456,
    equation 7; for blocks the auxiliaries' start is inside the noise (hybrid score matching,
    Dockhorn et al. 2022, arXiv 2112.07068, section 3.2).
    """
    law = uniform_time(process) if time is None else time
    as_denoiser(process, apply, kind=kind)

    def loss_fn(params, key, x0, t=None, **cond):
        key_time, key_noise = jax.random.split(key)
        dtype = working_dtype(x0)
        t = jnp.asarray(law(jax.random.uniform(key_time, (), dtype)) if t is None else t, dtype)
        eps = jax.random.normal(key_noise, noise_shape(process, x0.shape), x0.dtype)
        z = corrupt(process, x0, eps, t)

        def predict(z, t):
            prediction = apply(params, z, t, **cond)
            chex.assert_equal_shape([prediction, x0])
            return prediction

        if weighting is None:
            error = predict(z, t) - target(process, kind, x0, eps, t)
            return jnp.mean(error.astype(dtype) ** 2)
        x0hat = as_denoiser(process, predict, kind=kind)(z, t)
        weight = jnp.asarray(weighting(t), dtype)
        return jnp.mean(weight * (x0hat - x0).astype(dtype) ** 2)

    loss_fn.time = law
    return loss_fn
