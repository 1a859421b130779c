"""One reverse step in its channel, against the posterior of a joint normal law."""

import numpy as np
import pytest
import textbook

from jaxgen import processes


@pytest.mark.parametrize("name", ["vp", "edm", "cld"])
def test_divergence_of_a_step(name):
    """KL(q(z_s | z_t, x0) || q(z_s | z_t, x0hat)) by full covariances, for one entry."""
    door = processes.augmented if name == "cld" else processes.scalar
    process, (t, s), (x0, guess) = getattr(door, name)(), (0.6, 0.35), (0.7, -0.2)
    (column_t, cov_t), (column_s, cov_s) = (textbook.channel(name, u) for u in (t, s))
    psi = textbook.propagator_cld(t, s) if name == "cld" else (column_t / column_s)[:, None]
    gain = cov_s @ psi.T @ np.linalg.inv(cov_t)
    cov = cov_s - gain @ psi @ cov_s
    move = (column_s - gain @ column_t) * (x0 - guess)
    truth = move @ np.linalg.solve(cov, move) / 2
    levels = [float(processes.log_snr(process, np.float64(u))) for u in (t, s)]
    np.testing.assert_allclose(processes.reverse_kl(*levels, (x0 - guess) ** 2), truth, rtol=1e-9)


@pytest.mark.parametrize("fraction", [0.0, 0.3, 1.0, 1.7])
def test_variances_of_ddpm(fraction):
    """On VP the two ends are beta and beta_tilde of the step between any two times."""
    process, (t, s), missed = processes.scalar.vp(), (0.5, 0.2), 0.4
    (alpha_t, sigma_t), (alpha_s, sigma_s) = (textbook.SCHEDULES["vp"](u) for u in (t, s))
    beta = 1 - (alpha_t / alpha_s) ** 2
    tilde = sigma_s**2 / sigma_t**2 * beta
    variance = np.exp(fraction * np.log(beta) + (1 - fraction) * np.log(tilde))
    move = alpha_s * beta / sigma_t**2 * missed
    truth = (np.log(variance / tilde) + (tilde + move**2) / variance - 1) / 2
    levels = [float(processes.log_snr(process, np.float64(u))) for u in (t, s)]
    found = processes.reverse_kl(*levels, missed**2, fraction)
    np.testing.assert_allclose(found, truth, rtol=1e-9)
    assert processes.log_widening(*levels) == pytest.approx(np.log(beta / tilde), rel=1e-9)
    gap = (alpha_s / sigma_s) ** 2 - (alpha_t / sigma_t) ** 2
    assert processes.snr_gap(*levels) == pytest.approx(gap, rel=1e-9)
