"""How training draws its times, and how it weighs them: laws of the noise level, as maps of a
uniform number.
"""

import jax.numpy as jnp
from jax.scipy.special import ndtr, ndtri

from jaxgen.math import invert
from jaxgen.processes import log_snr


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

    For blocks sigma / alpha is gamma^(-1/2). The defaults are EDM's for images with sigma_data =
    0.5. Raises ValueError when std is not positive. Source: Karras et al. 2022, arXiv 2206.00364,
    table 1 (P_mean, P_std).
    """
    if isinstance(std, float | int) and not std > 0:
        raise ValueError(f"losses.score.log_normal_noise: std must be positive; got {std}")

    def law(u):
        u = jnp.asarray(u)
        ends = _ends(process, u.dtype)
        low, high = (
            ndtr((-log_snr(process, end) / 2 - mean) / std).astype(u.dtype) for end in ends
        )
        log_noise = mean + std * ndtri(low + (high - low) * u)
        t = invert(lambda t: log_snr(process, t), -2 * log_noise, *ends)
        return jnp.clip(t, *ends).astype(u.dtype)

    return law


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
