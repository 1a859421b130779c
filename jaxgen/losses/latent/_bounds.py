"""Bounds on log p(x0) whose draws are reparametrised: the ELBO, and its importance-weighted kin."""

import jax
import jax.numpy as jnp

from jaxgen.losses.latent._encoder import check_draws, draw, hold, log_mean, log_ratios


def elbo(encoder, logdensity_fn, *, draws=1, divergence=None, landing=False):
    """loss_fn(params, key, x0 [*event], t=None, **cond) -> [] nats, minus the evidence lower bound.

    With the exact posterior as encoder every draw gives -log p(x0).

    Args: encoder(params, x0, **cond) -> `Distribution` of z, whose draws carry gradients;
        logdensity_fn(params, z, x0, **cond) -> [], log p(x0, z); draws to average; divergence
        (params, x0, **cond) -> [], KL(q || p(z)) where it is known: logdensity_fn is then the
        likelihood log p(x0 | z) alone; landing: log q is differentiated through z only, an unbiased
        gradient without noise at the exact posterior.
    Raises ValueError on draws that are not a positive integer, or landing with a divergence.
    Source: Kingma and Welling 2014, arXiv 1312.6114, equations 6 and 7; landing, Roeder, Wu and
    Duvenaud 2017, arXiv 1703.09194.
    """
    check_draws("losses.latent.elbo", draws)
    if landing and divergence is not None:
        raise ValueError("losses.latent.elbo: landing needs a sampled divergence; got a known one")

    def loss_fn(params, key, x0, t=None, **cond):
        zs = draw(encoder, params, key, x0, draws, cond)
        if divergence is not None:
            fits = jax.vmap(lambda z: logdensity_fn(params, z, x0, **cond))(zs)
            return divergence(params, x0, **cond) - jnp.mean(fits)
        law_params = hold(params) if landing else params
        return -jnp.mean(log_ratios(encoder, logdensity_fn, params, law_params, zs, x0, cond))

    return loss_fn


def iwae(encoder, logdensity_fn, *, draws):
    """loss_fn(params, key, x0 [*event], t=None, **cond) -> [] nats, minus the importance-weighted
    bound E log mean_i p(x0, z_i) / q(z_i | x0).

    One draw is the ELBO; the bound rises with draws, to log p(x0). The gradient of the encoder
    drowns in noise as they grow: see `dreg`. Arguments and errors as `elbo`.
    Source: Burda, Grosse and Salakhutdinov 2016, arXiv 1509.00519, equation 8.
    """
    check_draws("losses.latent.iwae", draws)

    def loss_fn(params, key, x0, t=None, **cond):
        zs = draw(encoder, params, key, x0, draws, cond)
        return -log_mean(log_ratios(encoder, logdensity_fn, params, params, zs, x0, cond))

    return loss_fn


def dreg(encoder, logdensity_fn, *, draws):
    """loss_fn(params, key, x0 [*event], t=None, **cond) -> [] nats: the value of `iwae`, with the
    doubly reparametrised gradient, of the same mean, and less noise where the encoder is good.

    What the encoder's parameters do through log q is replaced by what it does through z; those of
    the model keep the gradient of `iwae`, and parameters may be shared. Costs two passes through
    logdensity_fn. Arguments and errors as `elbo`.
    Source: Tucker et al. 2019, arXiv 1810.04152, equation 8.
    """
    check_draws("losses.latent.dreg", draws)

    def loss_fn(params, key, x0, t=None, **cond):
        zs = draw(encoder, params, key, x0, draws, cond)
        held = hold(params)
        through_z = log_ratios(encoder, logdensity_fn, held, held, zs, x0, cond)
        of_model = jax.vmap(lambda z: logdensity_fn(params, z, x0, **cond))(hold(zs))
        share = jax.nn.softmax(hold(through_z))
        surrogate = jnp.sum(share * of_model + share**2 * through_z)
        return -hold(log_mean(through_z)) - (surrogate - hold(surrogate))

    return loss_fn
