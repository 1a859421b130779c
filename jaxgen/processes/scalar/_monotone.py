"""A schedule that can be learned: log-SNR as a monotone Bernstein polynomial."""

import math

import numpy as np

from jaxgen.math import namespace
from jaxgen.processes.scalar._schedule import from_schedule


def monotone(logits, log_snr_max=10.0, log_snr_min=-10.0, *, t_min=0.0, t_max=1.0):
    """A learnable variance preserving process whose log-SNR falls from log_snr_max to log_snr_min
    over [0, 1].

    Args: logits [m], the free numbers: their softmax gives the m drops between the m + 1 Bernstein
        coefficients of the log-SNR, so it is smooth and strictly falling for any logits; equal
        logits give a straight line.
    alpha^2 = sigmoid(log-SNR) [], sigma^2 = sigmoid(-log-SNR). Raises ValueError on no logits or
    ends out of order.
    Source: Kingma et al. 2021, arXiv 2107.00630, section 3.2 (a monotone learned gamma); deviation:
    a Bernstein polynomial instead of a monotone network, whose ends are exact and whose
    variance-minimising fit has the same freedom.
    """
    if np.ndim(logits) != 1 or np.shape(logits)[0] < 1:
        raise ValueError(
            f"processes.scalar.monotone: logits must have shape [m], m >= 1; got {np.shape(logits)}"
        )
    return from_schedule(
        _monotone,
        logits,
        log_snr_max,
        log_snr_min,
        t_min=t_min,
        t_max=t_max,
        name="processes.scalar.monotone",
    )


def _monotone(t, logits, log_snr_max, log_snr_min):
    xp = namespace(t, logits, log_snr_max, log_snr_min)
    t = xp.asarray(t)
    logits = xp.asarray(logits)
    drops = xp.exp(logits - xp.max(logits))
    degree = logits.shape[0]
    falls = xp.concatenate([0 * drops[:1], xp.cumsum(drops) / xp.sum(drops)])
    basis = [math.comb(degree, k) * t**k * (1 - t) ** (degree - k) for k in range(degree + 1)]
    log_snr = log_snr_max + (log_snr_min - log_snr_max) * sum(
        falls[k] * basis[k] for k in range(degree + 1)
    )
    return 1 / xp.sqrt(1 + xp.exp(-log_snr)), 1 / xp.sqrt(1 + xp.exp(log_snr))
