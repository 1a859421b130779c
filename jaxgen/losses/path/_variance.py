"""Losses that look at paths but not through them: what a sampler's weights lack of being equal.

At the right drift log w is log Z on every path, whatever law drew the path. So any spread of log w
is a loss: its variance, or its distance from a number that is learned. Paths are drawn by any drift
and held fixed: `run` must be a solver with `along`, such as `solvers.sde.foellmer(drift,
along=drift)`; along the drift itself (on policy), along an older one, a wider one, or none.
Sources: Nüsken and Richter 2021, arXiv 2005.05409 (log-variance and moment losses); Richter et al.
2020, arXiv 2010.10436 (the identity with the divergence's gradient); Richter and Berner 2024, arXiv
2307.01198 (diffusions); Malkin et al. 2022, arXiv 2201.13259 (trajectory balance).
"""

import jax
import jax.numpy as jnp

from jaxgen.losses.path._weights import weighted_path


def log_variance(run, prior, logdensity_fn, *, draws):
    """loss_fn(params, key) -> [], nats squared: half the unbiased variance of the log-weights of
    `draws` paths, ends [draws, *event]; log Z cancels.

    On policy, and where the backward process has no parameters (all but `controlled`), the mean of
    its gradient is that of `reverse_kl`; it is the score-function estimate with the other paths'
    mean for a baseline. At the right drift the gradient of every draw is 0, that of `reverse_kl` is
    0 on average only. Off policy it is another loss with the same minimum.
    Args and errors as `weighted_path`; draws >= 2, else ValueError. Source: Richter and Berner
    2024, arXiv 2307.01198, equation 19; Richter et al. 2020, arXiv 2010.10436, proposition 1.
    Deviation: half of it.
    """
    if not isinstance(draws, int) or draws < 2:
        raise ValueError(f"losses.path.log_variance: draws must be at least 2; got {draws}")
    weigh = weighted_path(run, prior, logdensity_fn)

    def loss_fn(params, key):
        keys = jax.random.split(key, draws)
        logs = jax.vmap(lambda one: weigh(params, one).log_weight)(keys)
        return jnp.var(logs, ddof=1) / 2

    return loss_fn


def trajectory_balance(run, prior, logdensity_fn, normaliser):
    """loss_fn(params, key) -> [], nats squared: half the square of one path's log-weight less
    normaliser(params) [], the learned log Z; x [*event].

    0 on every path at the right drift and log Z. With the drift held, its minimum is the mean
    log-weight of the paths drawn; there the loss is half their variance and its gradient
    `log_variance`'s. Args and errors as `weighted_path`, and ValueError (when traced) when the
    normaliser is not one number. Source: Malkin et al. 2022, arXiv 2201.13259, equation 14; the
    moment loss of Nüsken and Richter 2021, arXiv 2005.05409. Deviation: half of it.
    """
    weigh = weighted_path(run, prior, logdensity_fn)

    def loss_fn(params, key):
        level = normaliser(params)
        if jnp.shape(level):
            raise ValueError(
                "losses.path.trajectory_balance: normaliser must be one number []; got shape "
                f"{jnp.shape(level)}"
            )
        return (weigh(params, key).log_weight - level) ** 2 / 2

    return loss_fn
