"""How training draws its times, and how it weighs them: laws of the noise level, as maps of a
uniform number.
"""

import jax
import jax.numpy as jnp
from jax.scipy.special import ndtr, ndtri

from jaxgen.math import invert, is_concrete, working_dtype
from jaxgen.processes import is_diagonal, log_snr, mean_log_snr


def uniform_time(process):
    """A time law u [] in [0, 1) -> t [], uniform between t_min and t_max, in the dtype of u.

    Source: Song et al. 2021, arXiv 2011.13456, equation 7.
    """

    def law(u):
        u = jnp.asarray(u)
        low, high = _ends(process, u.dtype)
        return low + (high - low) * u

    return law


def log_normal_noise(process, mean=-1.2, std=1.2):
    """A time law u [] in [0, 1) -> t []: log(sigma / alpha) is normal with this mean and std, cut
    to the process.

    For blocks sigma / alpha is gamma^(-1/2), for processes diagonal in a basis exp(-mean log-SNR /
    2). The defaults are EDM's for images with sigma_data =
    0.5. Raises ValueError when std is not positive. Source: Karras et al. 2022, arXiv 2206.00364,
    table 1 (P_mean, P_std).
    """
    if isinstance(std, float | int) and not std > 0:
        raise ValueError(f"losses.score.log_normal_noise: std must be positive; got {std}")

    def law(u):
        u = jnp.asarray(u)
        ends = _ends(process, u.dtype)
        low, high = (
            ndtr((-mean_log_snr(process, end) / 2 - mean) / std).astype(u.dtype) for end in ends
        )
        log_noise = mean + std * ndtri(low + (high - low) * u)
        t = invert(lambda t: mean_log_snr(process, t), -2 * log_noise, *ends)
        return jnp.clip(t, *ends).astype(u.dtype)

    return law


def likelihood_time(process, data_std=1.0):
    """A time law u [] in [0, 1) -> t [] for the likelihood weighting: the density of t is
    proportional to -d gamma/dt / (data_std^-2 + gamma), by its inverse distribution function.

    The second factor is E|x0 - x0hat|^2 of normal data of this standard deviation, so that their
    weighted loss is the same at all times. A large data_std spreads t evenly in log-SNR. Raises
    ValueError when data_std is not positive.
    Source: Song et al. 2021, arXiv 2101.09258, section 5.1 (times by importance); Kingma et al.
    2021, arXiv 2107.00630, equation 17 for the weighting; this density is derived.
    """
    _check_std("likelihood_time", data_std)

    def law(u):
        u = jnp.asarray(u)
        ends = _ends(process, u.dtype)
        at = lambda t: _loudness(process, data_std, t)
        clean, noisy = (at(end) for end in ends)
        t = invert(at, clean + (noisy - clean) * u, *ends)
        return jnp.clip(t, *ends).astype(u.dtype)

    return law


def likelihood_weight(process, data_std=None):
    """The weighting t [] -> [], or [*event], of the x0 error that makes a denoising loss the
    diffusion term of the ELBO, nats per dimension: -d gamma/dt / 2, over the density of t.

    Args: data_std: None for times drawn from `uniform_time`, else that of the `likelihood_time`
    they are drawn from. Raises ValueError when it is not positive.
    Source: Kingma et al. 2021, arXiv 2107.00630, equations 15 and 17; for blocks derived.
    """
    if data_std is None:

        def uniform(t):
            dtype = working_dtype(1.0 * t)
            t, (low, high) = jnp.asarray(t, dtype), _ends(process, dtype)
            level, slope = jax.jvp(lambda t: log_snr(process, t), (t,), (jnp.ones_like(t),))
            return -slope * jnp.exp(level) / 2 * (high - low)

        return uniform
    _check_std("likelihood_weight", data_std)

    def by_importance(t):
        clean, noisy = (_loudness(process, data_std, end) for end in (process.t_min, process.t_max))
        if not is_diagonal(process):
            return (jnp.exp(log_snr(process, t)) + data_std**-2.0) / 2 * (clean - noisy)
        both = lambda t: (jnp.exp(log_snr(process, t)), _loudness(process, data_std, t))
        t = jnp.asarray(t, working_dtype(1.0 * t))
        _, (slopes, density) = jax.jvp(both, (t,), (jnp.ones_like(t),))
        return slopes / density / 2 * (clean - noisy)

    return by_importance


def _loudness(process, data_std, t):
    """log(1 + data_std^2 gamma): its derivative by gamma is 1 / (data_std^-2 + gamma)."""
    return jax.nn.softplus(mean_log_snr(process, t) + 2 * jnp.log(data_std))


def _check_std(name, data_std):
    if is_concrete(data_std) and not data_std > 0:
        raise ValueError(f"losses.score.{name}: data_std must be positive; got {data_std}")


def _ends(process, dtype):
    return [jnp.asarray(end, dtype) for end in (process.t_min, process.t_max)]


def snr_weight(process, gain_power=1.0):
    """A weighting t [] -> []: gamma(t)^gain_power, so that an x0 error counts as an eps error (1),
    or as itself (0).

    Source: Kingma and Gao 2023, arXiv 2303.00848, table 1.
    """
    return lambda t: jnp.exp(gain_power * log_snr(process, t))


def edm_weight(process, sigma_data=0.5):
    """EDM's weighting t [] -> [] of the x0 error, (s^2 + sigma_data^2) / (s sigma_data)^2 with s =
    gamma^(-1/2).

    With it the error of the network's output F weighs the same at every noise level.
    Source: Karras et al. 2022, arXiv 2206.00364, table 1.
    """
    return lambda t: jnp.exp(log_snr(process, t)) + 1 / sigma_data**2


def min_snr_weight(process, cap=5.0):
    """The weighting t [] -> [] of the x0 error min(gamma(t), cap).

    Source: Hang et al. 2023, arXiv 2303.09556, section 3.4.
    """
    return lambda t: jnp.minimum(jnp.exp(log_snr(process, t)), cap)
