"""The diffusions of the score-SDE papers: variance preserving, variance exploding, sub-VP, cosine,
EDM.
"""

import math

from jaxgen.math import namespace
from jaxgen.processes.scalar._schedule import from_schedule


def vp(beta_min=0.1, beta_max=20.0, *, t_min=1e-3, t_max=1.0):
    """Variance preserving diffusion: alpha = exp(-B/2) [], sigma^2 = 1 - exp(-B), B = int beta,
    beta linear in t.

    Raises ValueError as `from_schedule`. Source: Song et al. 2021, arXiv 2011.13456, equations 29
    and 33.
    """
    return from_schedule(
        _vp, beta_min, beta_max, t_min=t_min, t_max=t_max, name="processes.scalar.vp"
    )


def _vp(t, beta_min, beta_max):
    xp = namespace(t, beta_min, beta_max)
    log_alpha = -(beta_min * t + (beta_max - beta_min) * t**2 / 2) / 2
    return xp.exp(log_alpha), xp.sqrt(-xp.expm1(2 * log_alpha))


def subvp(beta_min=0.1, beta_max=20.0, *, t_min=1e-3, t_max=1.0):
    """Sub-VP diffusion: alpha = exp(-B/2) [], sigma = 1 - exp(-B), with VP's B.

    Raises ValueError as `from_schedule`. Source: Song et al. 2021, arXiv 2011.13456, equation 29
    (appendix B).
    """
    return from_schedule(
        _subvp, beta_min, beta_max, t_min=t_min, t_max=t_max, name="processes.scalar.subvp"
    )


def _subvp(t, beta_min, beta_max):
    xp = namespace(t, beta_min, beta_max)
    log_alpha = -(beta_min * t + (beta_max - beta_min) * t**2 / 2) / 2
    return xp.exp(log_alpha), -xp.expm1(2 * log_alpha)


def ve(sigma_min=0.01, sigma_max=50.0, *, t_min=0.0, t_max=1.0):
    """Variance exploding diffusion: alpha = 1 [], sigma = sigma_min (sigma_max / sigma_min)^t.

    Raises ValueError as `from_schedule`. Source: Song et al. 2021, arXiv 2011.13456, equation 30;
    deviation: sigma is the whole noise at t, so that data at t = 0 carry noise sigma_min as in the
    paper's experiments.
    """
    return from_schedule(
        _ve, sigma_min, sigma_max, t_min=t_min, t_max=t_max, name="processes.scalar.ve"
    )


def _ve(t, sigma_min, sigma_max):
    xp = namespace(t, sigma_min, sigma_max)
    sigma = xp.exp((1 - t) * xp.log(sigma_min) + t * xp.log(sigma_max))
    return xp.ones_like(sigma), sigma


def edm(*, t_min=0.002, t_max=80.0):
    """The EDM process: alpha = 1 [], sigma = t.

    Raises ValueError as `from_schedule`. Source: Karras et al. 2022, arXiv 2206.00364, table 1.
    """
    return from_schedule(_edm, t_min=t_min, t_max=t_max, name="processes.scalar.edm")


def _edm(t):
    return namespace(t).ones_like(t), t


def cosine(s=0.008, *, t_min=1e-3, t_max=1 - 1e-3):
    """Cosine diffusion: alpha = cos(a(t)) / cos(a(0)) [] with a(t) = pi/2 (t + s)/(1 + s), variance
    preserving.

    alpha(1) = 0, hence the default t_max; sigma^2 = sin(a - a0) sin(a + a0) / cos^2 a0 keeps its
    digits at small t.
    Raises ValueError as `from_schedule`. Source: Nichol and Dhariwal 2021, arXiv 2102.09672,
    equation 17.
    """
    return from_schedule(_cosine, s, t_min=t_min, t_max=t_max, name="processes.scalar.cosine")


def _cosine(t, s):
    xp = namespace(t, s)
    start, angle = math.pi / 2 * s / (1 + s), math.pi / 2 * (t + s) / (1 + s)
    step = math.pi / 2 * t / (1 + s)
    return xp.cos(angle) / xp.cos(start), xp.sqrt(xp.sin(step) * xp.sin(angle + start)) / xp.cos(
        start
    )
