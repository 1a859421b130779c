"""Data mollification: noise added to the data and annealed to nothing early in training.

At a large noise level the data fill the space and their likelihood is easy to climb; the model then
follows the law of the noised data down to that of the data themselves.
"""

import jax
import jax.numpy as jnp

from jaxgen.losses.likelihood._plain import negative_log_likelihood


def sigmoid_mollification(progress, *, start=0.0, end=3.0, tau=0.7):
    """sigma [...] at progress [...] in [0, 1]: sigma^2 falls from 1 to exactly 0 along a piece of a
    sigmoid.

    sigma^2 = (s(v) - s(start)) / (s(end) - s(start)), v = end + progress (start - end), with
    s(v) = 1 / (1 + exp(-v / tau)). Source: Chen 2023, arXiv 2301.10972 (the sigmoid schedule),
    as used by Tran et al. 2023, arXiv 2305.18900 (defaults recalled).
    """
    sigmoid = lambda v: jax.nn.sigmoid(jnp.asarray(v) / tau)
    low, high = sigmoid(start), sigmoid(end)
    fall = sigmoid(end + jnp.asarray(progress) * (start - end))
    return jnp.sqrt(jnp.clip((fall - low) / (high - low), 0.0, 1.0))


def mollifier(steps, *, schedule=sigmoid_mollification):
    """transform(key, x [...], step []) -> x [...]: sqrt(1 - sigma^2) x + sigma eps, for data x of
    unit scale, one example or a batch.

    From `steps` on the data come back bit for bit. Args: steps, how long noise is added (the paper
    takes half of the training); schedule: progress [] in [0, 1] -> sigma [] in [0, 1], decreasing.
    Raises ValueError on steps < 1. Source: Tran et al. 2023, arXiv 2305.18900.
    """
    if steps < 1:
        raise ValueError(f"losses.likelihood.mollifier: steps must be at least 1; got {steps}")

    def transform(key, x, step):
        sigma = schedule(jnp.clip(jnp.asarray(step, x.dtype) / steps, 0.0, 1.0)).astype(x.dtype)
        noised = jnp.sqrt(1 - sigma**2) * x + sigma * jax.random.normal(key, x.shape, x.dtype)
        return jnp.where(step >= steps, x, noised)

    return transform


def mollified(log_prob, transform):
    """loss_fn(params, key, x0 [*event], t=None, *, step, **cond) -> []: the negative log-likelihood
    of transform(key, x0, step), nats.

    A batch for the trainer is {"x0": x0 [n, *event], "step": jnp.full(n, i)}; the transform may as
    well be applied to batches by hand, with `negative_log_likelihood`.
    Args: transform, of `mollifier`. Source: Tran et al. 2023, arXiv 2305.18900.
    """
    plain = negative_log_likelihood(log_prob)

    def loss_fn(params, key, x0, t=None, *, step, **cond):
        return plain(params, key, transform(key, x0, step), **cond)

    return loss_fn
