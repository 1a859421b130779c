"""Noise-contrastive estimation: telling data from noise whose density is known."""

import jax
import jax.numpy as jnp

from jaxgen.losses.energy._contrastive import check_at_least


def noise_contrastive(log_prob, noise, *, ratio=1):
    """loss_fn(params, key, x0 [*event], **cond) -> []: logistic loss of telling x0 from `ratio`
    draws of the noise, nats.

    With G = log p - log q - log ratio it is -log sigmoid(G(x0)) - sum_j log sigmoid(-G(y_j)). The
    scale of p is learned like any parameter: log_prob(params, x, **cond) is the model's log-density
    *minus a parameter* for log Z, which the minimum sets right. Its landscape is flat where model
    and noise do not overlap; see `compositional`.

    Args: noise, any record with sample(key) -> [*event] and logdensity(y) -> [], normalised;
    ratio >= 1, an integer. Raises ValueError below. Source: Gutmann and Hyvarinen 2012, equation 8.
    """
    check_at_least("noise_contrastive", ratio=(ratio, 1))

    def loss_fn(params, key, x0, **cond):
        def logit(x):
            return log_prob(params, x, **cond) - noise.logdensity(x) - jnp.log(float(ratio))

        fakes = jax.vmap(noise.sample)(jax.random.split(key, ratio))
        return jax.nn.softplus(-logit(x0)) + jnp.sum(jax.nn.softplus(jax.vmap(logit)(fakes)))

    return loss_fn


def conditional_noise_contrastive(logdensity_fn, perturb, *, ratio=1, log_ratio=None):
    """loss_fn(params, key, x0 [*event], **cond) -> []: 2 mean_j log(1 + exp(-G(x0, y_j))) with
    G = log p(x0) - log p(y) + log q(y | x0) - log q(x0 | y): telling which of a point and its
    perturbation is data, nats.

    The normaliser cancels: logdensity_fn(params, x, **cond) stays unnormalised. Small symmetric
    noise makes it score matching: its excess over 2 log 2 is then sigma^2 / 2 times the implicit
    score matching objective.

    Args: perturb(key, x) -> [*event]; log_ratio(x, y) -> [] = log q(y | x) - log q(x | y), zero (a
    symmetric perturbation) when None; ratio >= 1 perturbations of each point. Raises ValueError
    below. Source: Ceylan and Gutmann 2018, arXiv 1806.03664, equations 6-8.
    """
    check_at_least("conditional_noise_contrastive", ratio=(ratio, 1))

    def loss_fn(params, key, x0, **cond):
        def one(key):
            y = perturb(key, x0)
            gap = logdensity_fn(params, x0, **cond) - logdensity_fn(params, y, **cond)
            return jax.nn.softplus(-gap - (0.0 if log_ratio is None else log_ratio(x0, y)))

        return 2 * jnp.mean(jax.vmap(one)(jax.random.split(key, ratio)))

    return loss_fn


def ranking_noise_contrastive(logdensity_fn, noise, *, ratio=1):
    """loss_fn(params, key, x0 [*event], **cond) -> []: minus the log-probability that x0 is the
    data among itself and `ratio` draws of the noise, nats.

    -log softmax of log p - log q; the normaliser cancels, given cond too, and as the ratio grows
    the gradient tends to that of maximum likelihood. Args: as `noise_contrastive`, with an
    unnormalised logdensity_fn(params, x, **cond). Raises ValueError on a ratio below 1.
    Source: Ma and Collins 2018, arXiv 1809.01812, equation 2.
    """
    check_at_least("ranking_noise_contrastive", ratio=(ratio, 1))

    def loss_fn(params, key, x0, **cond):
        def logit(x):
            return logdensity_fn(params, x, **cond) - noise.logdensity(x)

        fakes = jax.vmap(noise.sample)(jax.random.split(key, ratio))
        own = logit(x0)
        return jax.nn.logsumexp(jnp.append(jax.vmap(logit)(fakes), own)) - own

    return loss_fn
