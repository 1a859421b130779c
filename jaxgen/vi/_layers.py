"""Networks with Gaussian weights: their output's moments layer by layer, and the bound that trains
them without draws.

Parameters are a tuple of layers, each two pairs ((mean [m, n], log_variance [m, n]), (mean [m],
log_variance [m])) of weights and biases. Given a known input the sums of the first layer are
independent Gaussians, so with exact activation moments everything up to the second layer's sums is
exact; from there on these are taken for independent Gaussians, which they are not.
Sources: Hernandez-Lobato and Adams 2015, arXiv 1502.05336; Wu et al. 2019, arXiv 1810.03958
(deterministic variational inference).
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.math import is_concrete
from jaxgen.vi._moments import gelu_moments, linear_moments


def init_layers(key, sizes, *, variance=1e-3):
    """Parameters of a network of sizes (n, ..., m): a tuple of layers of weights [m, n] and biases
    [m], means from N(0, 2 / n) and 0, every variance the same.

    Raises ValueError on fewer than two sizes, a size below 1, or a variance that is not positive.
    Source: He et al. 2015, arXiv 1502.01852, for the means.
    """
    sizes = tuple(sizes)
    if len(sizes) < 2 or not all(isinstance(each, int) and each > 0 for each in sizes):
        raise ValueError(
            f"vi.init_layers: sizes must be two positive integers or more; got {sizes}"
        )
    _positive("init_layers", variance=variance)
    layers = []
    keys = jax.random.split(key, len(sizes) - 1)
    for one, n, m in zip(keys, sizes[:-1], sizes[1:], strict=True):
        mean = jax.random.normal(one, (m, n)) * (2 / n) ** 0.5
        fill = lambda like: jnp.full(like.shape, jnp.log(variance), like.dtype)
        bias = jnp.zeros(m, mean.dtype)
        layers.append(((mean, fill(mean)), (bias, fill(bias))))
    return tuple(layers)


def network_moments(params, x, variance=None, *, activation=gelu_moments):
    """(mean [m], variance [m]) of a network's output at x [n], known or of independent entries with
    this variance [n]; the activation stands between layers, none after the last.

    Args: params as `init_layers` makes them; activation(mean, variance) -> (mean, variance), such
    as `relu_moments`, `gelu_moments` or `mp_gelu_moments`. Exact for one layer, and for two at a
    known x. Raises ValueError as `linear_moments`. Source: Hernandez-Lobato and Adams 2015, arXiv
    1502.05336, section 3.2.
    """
    mean, spread = x, jnp.zeros_like(x) if variance is None else variance
    for index, (weights, bias) in enumerate(params):
        if index:
            mean, spread = activation(mean, spread)
        pairs = [(each[0], jnp.exp(each[1])) for each in (weights, bias)]
        mean, spread = linear_moments(*pairs, mean, spread)
    return mean, spread


def layers_divergence(params, prior=1.0):
    """KL(q || N(0, prior I)) [] of all weights and biases of layers [m, n], nats.

    Source: definition (Kingma and Welling 2014, arXiv 1312.6114, appendix B).
    """
    _positive("layers_divergence", prior=prior)
    log_prior = jnp.log(prior)
    return sum(
        jnp.sum(mean**2 / prior + jnp.exp(log - log_prior) - 1 - log + log_prior) / 2
        for layer in params
        for mean, log in layer
    )


def moment_elbo(size, *, noise, prior=1.0, activation=gelu_moments):
    """loss_fn(params, key, x0 [n], *, y [m]) -> [] nats: minus the expected log-likelihood of one
    of `size` examples, y = network(x0) + N(0, noise), plus its share of the weights' divergence.

    The sum over the data is minus the evidence lower bound, with no draws: for one layer exactly,
    for more by `network_moments`. The key is not used.
    Args: size, how many examples there are, a positive integer; noise, a variance [] or [m]; prior,
        the variance [] of every weight; activation as `network_moments`.
    Raises ValueError on numbers out of range. Source: Wu et al. 2019, arXiv 1810.03958, equation 9
    (homoscedastic).
    """
    if not isinstance(size, int) or size < 1:
        raise ValueError(f"vi.moment_elbo: size must be a positive integer; got {size}")
    _positive("moment_elbo", noise=noise, prior=prior)

    def loss_fn(params, key, x0, *, y):
        mean, variance = network_moments(params, x0, activation=activation)
        if jnp.shape(y) != jnp.shape(mean):
            raise ValueError(f"vi.moment_elbo: y must be {jnp.shape(mean)}; got {jnp.shape(y)}")
        level = jnp.broadcast_to(jnp.asarray(noise, mean.dtype), mean.shape)
        fit = ((y - mean) ** 2 + variance) / level + jnp.log(level) + math.log(2 * math.pi)
        return jnp.sum(fit) / 2 + layers_divergence(params, prior) / size

    return loss_fn


def _positive(where, **numbers):
    for name, value in numbers.items():
        if is_concrete(value) and not np.all((np.asarray(value) > 0) & np.isfinite(value)):
            raise ValueError(f"vi.{where}: {name} must be positive; got {value}")
