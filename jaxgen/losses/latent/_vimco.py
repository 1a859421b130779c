"""The importance-weighted bound for latents that are not reparametrised, such as discrete ones."""

import jax
import jax.numpy as jnp

from jaxgen.losses.latent._encoder import check_draws, draw, hold, log_mean, log_ratios


def vimco(encoder, logdensity_fn, *, draws):
    """loss_fn(params, key, x0 [*event], t=None, **cond) -> [] nats: the value of `iwae`, with the
    score-function gradient and a leave-one-out baseline.

    The credit of a draw is the bound minus the bound in which the geometric mean of the other
    weights stands for its own; it does not depend on that draw, so the gradient has the mean of
    `iwae`'s. Arguments as `elbo`, but draws of the encoder need no gradient; draws >= 2, as others
    must be left. Raises ValueError on fewer.
    Source: Mnih and Rezende 2016, arXiv 1602.06725, equations 7 to 10.
    """
    check_draws("losses.latent.vimco", draws, 2)

    def loss_fn(params, key, x0, t=None, **cond):
        zs = hold(draw(encoder, params, key, x0, draws, cond))
        ratios = log_ratios(encoder, logdensity_fn, params, params, zs, x0, cond)
        log_q = jax.vmap(encoder(params, x0, **cond).logdensity)(zs)
        bound, credits = log_mean(ratios), hold(_credits(ratios))
        surrogate = jnp.sum(credits * log_q)
        return -bound - (surrogate - hold(surrogate))

    return loss_fn


def _credits(ratios):
    """The bound minus each leave-one-out bound [n]."""
    n = len(ratios)
    others = ~jnp.eye(n, dtype=bool)
    rest = jnp.sum(jnp.where(others, ratios[None], 0), 1) / (n - 1)
    replaced = jnp.where(others, ratios[None], rest[:, None])
    return jax.nn.logsumexp(ratios) - jax.nn.logsumexp(replaced, 1)
