"""Score matching without a noise target: the score's own divergence stands in for it."""

import chex
import jax
import jax.numpy as jnp

from jaxgen.losses.score._times import uniform_time
from jaxgen.math import divergence, working_dtype
from jaxgen.predictions import as_score
from jaxgen.processes import corrupt, noise_shape


def implicit(process, apply, *, kind, weighting=None, time=None, estimator=None):
    """loss_fn(params, key, x0 [*event], t=None, **cond) -> []: weight (|s|^2 / 2 + div s) at a
    noised x0, in at least float32.

    Its minimum is the score of p_t, of all blocks for z [c, *event]. At each t its expectation is
    that of |s - grad log p(z | x0)|^2 / 2 less a constant of the process: no mean over the event is
    taken. Args: apply, kind, time as in `denoising`; weighting: t [] -> [], one when None;
    estimator: of `math.divergence`, exact when None. Raises ValueError on an unknown kind.
    Source: Hyvarinen 2005, JMLR 6, theorem 1; Vincent 2011, equation 11, for the constant.
    """

    def divergence_of(key, score_fn, z):
        value, trace = (divergence.exact() if estimator is None else estimator)(score_fn, z)
        return value, jnp.mean(trace)

    return _without_target(process, apply, kind, weighting, time, divergence_of)


def sliced(process, apply, *, kind, weighting=None, time=None, num_probes=1):
    """loss_fn(params, key, x0 [*event], t=None, **cond) -> []: implicit score matching along random
    directions.

    The divergence is estimated with num_probes Rademacher probes, |s|^2 is exact (the
    variance-reduced form). Raises ValueError on an unknown kind or num_probes < 1. Source: Song et
    al. 2019, arXiv 1905.07088, equation 8 (SSM-VR).
    """
    if num_probes < 1:
        raise ValueError(f"losses.score.sliced: num_probes must be at least 1; got {num_probes}")

    def divergence_of(key, score_fn, z):
        probes = jax.random.rademacher(key, (num_probes, *z.shape), z.dtype)
        value, traces = divergence.hutchinson(probes)(score_fn, z)
        return value, jnp.mean(traces)

    return _without_target(process, apply, kind, weighting, time, divergence_of)


def _without_target(process, apply, kind, weighting, time, divergence_of):
    law = uniform_time(process) if time is None else time
    as_score(process, apply, kind=kind)

    def loss_fn(params, key, x0, t=None, **cond):
        key_time, key_noise, key_probe = jax.random.split(key, 3)
        dtype = working_dtype(x0)
        t = jnp.asarray(law(jax.random.uniform(key_time, (), dtype)) if t is None else t, dtype)
        eps = jax.random.normal(key_noise, noise_shape(process, x0.shape), x0.dtype)
        z = corrupt(process, x0, eps, t)

        def predict(z, t):
            prediction = apply(params, z, t, **cond)
            chex.assert_equal_shape([prediction, x0])
            return prediction

        score_fn = as_score(process, predict, kind=kind)
        score, trace = divergence_of(key_probe, lambda z: score_fn(z, t), z)
        weight = 1.0 if weighting is None else jnp.asarray(weighting(t), dtype)
        return weight * (jnp.sum(score.astype(dtype) ** 2) / 2 + trace.astype(dtype))

    loss_fn.time = law
    return loss_fn
