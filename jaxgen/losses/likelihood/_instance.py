"""Instance noise: the likelihood of data near a manifold, made bounded by a fixed perturbation."""

import jax

from jaxgen.losses.likelihood._plain import negative_log_likelihood


def instance_noise(log_prob, sigma):
    """loss_fn(params, key, x0 [*event], t=None, **cond) -> []: the negative log-likelihood of
    x0 + sigma eps, with fresh unit noise eps for every key, nats.

    The model learns the law of the data convolved with N(0, sigma^2): a latent model f(Z) + noise
    is then sampled without its noise, another one by removing noise of this level. Fresh noise in
    every step is the expectation of the paper's objective, which perturbs each point once.
    Args: sigma, a number [] of at least 0, such as `instance_scale`. Raises ValueError when it is
    below 0. Source: Chae et al. 2023, arXiv 2105.04046.
    """
    if isinstance(sigma, float | int) and sigma < 0:
        raise ValueError(f"losses.likelihood.instance_noise: sigma must be at least 0; got {sigma}")
    plain = negative_log_likelihood(log_prob)

    def loss_fn(params, key, x0, t=None, **cond):
        return plain(params, key, x0 + sigma * jax.random.normal(key, x0.shape, x0.dtype), **cond)

    return loss_fn


def instance_scale(n, dim, *, smoothness=1.0, scale=1.0):
    """The noise level sigma [] for n points near a set of intrinsic dimension dim, in units of
    `scale`: n^(-b / (2 (b + d))), b the smoothness.

    It balances the two errors of the fit: the noise itself, sigma, and the estimation of a law
    convolved with it, n^(-b / (2 b + d)) sigma^(-d / (2 b + d)). Raises ValueError on numbers that
    are not positive. Source: derived from the rate of Chae et al. 2023, arXiv 2105.04046
    (recalled), up to logarithms.
    """
    numbers = {"n": n, "dim": dim, "smoothness": smoothness, "scale": scale}
    for name, number in numbers.items():
        if not number > 0:
            raise ValueError(
                f"losses.likelihood.instance_scale: {name} must be positive; got {number}"
            )
    return scale * n ** (-smoothness / (2 * (smoothness + dim)))
