"""One step of a Gaussian reverse chain z_t -> z_s, s < t, seen in the channel that speaks of x0.

The posterior q(z_s | z_t, x0) of any linear process moves with x0 along one direction, by
sqrt(gamma(s) - gamma(t)) of its own standard deviations for each unit of x0; across it nothing
depends on the data. So a model step that follows a guess x0hat, and is wider along that direction
only, is described by the squared error of the guess and the log of the widening.
"""

from jaxgen.math import namespace


def log_widening(log_snr_t, log_snr_s):
    """log((1 + gamma(s)) / (1 + gamma(t))) [...], nats: how much wider the reverse step is, as a
    variance along the channel, when x0 is standard normal than when it is known.

    For VP the two variances are the beta and beta_tilde of DDPM, of any subsequence of its steps.
    Source: Nichol and Dhariwal 2021, arXiv 2102.09672, equation 15 and section 4 (subsequences); in
    terms of gamma derived.
    """
    xp = namespace(log_snr_t, log_snr_s)
    log_sum = lambda level: xp.logaddexp(xp.zeros_like(level), level)  # pure noise is -inf
    return log_sum(log_snr_s) - log_sum(log_snr_t)


def snr_gap(log_snr_t, log_snr_s):
    """Gamma(s) - gamma(t) [...] from the two log signal-to-noise ratios. Source: definition."""
    xp = namespace(log_snr_t, log_snr_s)
    return -xp.exp(log_snr_s) * xp.expm1(log_snr_t - log_snr_s)


def reverse_kl(log_snr_t, log_snr_s, square, fraction=0.0):
    """KL(q(z_s | z_t, x0) || p(z_s | z_t)) [...] in nats, one for each entry of the event.

    Args: square [...], the squared error (x0 - x0hat)^2 of the guess that p follows; fraction
    [...], v of the variance exp(v log beta + (1 - v) log beta_tilde) of p along the channel; 0 is
    the posterior's own, for which the divergence is (gamma(s) - gamma(t)) square / 2.
    Source: Kingma et al. 2021, arXiv 2107.00630, equation 13; Nichol and Dhariwal 2021, arXiv
    2102.09672, equation 15; for blocks derived.
    """
    xp = namespace(log_snr_t, log_snr_s, square, fraction)
    wider = fraction * log_widening(log_snr_t, log_snr_s)
    moved = snr_gap(log_snr_t, log_snr_s) * square
    return (wider + xp.expm1(-wider) + moved * xp.exp(-wider)) / 2
