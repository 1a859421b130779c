"""Laws of the noise level, and weightings, from their formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import textbook
from scipy.stats import truncnorm

from jaxgen import processes
from jaxgen.losses import score

U = np.linspace(0.0, 1.0, 42)[:-1]
NAMES = ["edm", "vp", "linear_flow", "cld"]


def make(name):
    return getattr(processes.augmented if name == "cld" else processes.scalar, name)()


def log_noise(name, t):
    """log(sigma / alpha), or -log(gamma) / 2 for blocks, by the textbook."""
    column, cov = textbook.channel(name, float(t))
    return -np.log(column @ np.linalg.solve(cov, column)) / 2


@pytest.mark.parametrize("name", NAMES)
def test_log_normal_noise_has_the_quantiles_of_a_cut_normal(name):
    """log(sigma / alpha) at law(u) is SciPy's truncated normal quantile of u."""
    process = make(name)
    ends = np.array([log_noise(name, process.t_min), log_noise(name, process.t_max)])
    law = jax.jit(lambda u, mean, std: score.log_normal_noise(process, mean, std)(u))
    for mean, std in ((-1.2, 1.2), (0.5, 0.4)):
        ts = np.asarray(law(U, mean, std))
        assert np.all((ts >= process.t_min) & (ts <= process.t_max))
        assert np.all(np.diff(ts) > 0)
        low, high = (ends - mean) / std
        truth = truncnorm.ppf(U, low, high, mean, std)
        np.testing.assert_allclose([log_noise(name, t) for t in ts], truth, atol=2e-6)


@pytest.mark.usefixtures("x32")
@pytest.mark.parametrize("name", ["edm", pytest.param("cld", marks=pytest.mark.slow)])
def test_log_normal_noise_in_single_precision(name):
    """The same quantiles to 1e-3, never outside the process, also where the law is cut hard."""
    process = make(name)
    ends = np.array([log_noise(name, process.t_min), log_noise(name, process.t_max)])
    law = jax.jit(lambda u, mean: score.log_normal_noise(process, mean)(u))
    for mean in (-1.2, -6.0, 6.0):
        ts = law(U.astype(np.float32), mean)
        assert ts.dtype == jnp.float32
        assert np.all((ts >= np.float32(process.t_min)) & (ts <= np.float32(process.t_max)))
        low, high = (ends - mean) / 1.2
        truth = truncnorm.ppf(U.astype(np.float32), low, high, mean, 1.2)
        found = [log_noise(name, t) for t in np.asarray(ts, float)]
        np.testing.assert_allclose(found, truth, atol=2e-3)


def test_uniform_time_is_uniform_in_the_dtype_of_u():
    process = processes.scalar.vp(t_min=np.float64(0.25), t_max=np.float64(0.75))
    law = score.uniform_time(process)
    np.testing.assert_allclose(law(U), 0.25 + 0.5 * U, rtol=1e-15)
    assert law(jnp.float32(0.5)).dtype == jnp.float32
    assert score.log_normal_noise(process)(jnp.float32(0.5)).dtype == jnp.float32


@pytest.mark.parametrize("name", NAMES)
def test_weightings_from_the_signal_to_noise_ratio(name):
    process, sigma_data = make(name), 0.6
    for t in np.linspace(process.t_min, process.t_max, 5):
        gamma = np.exp(-2 * log_noise(name, t))
        s = gamma**-0.5
        found = [
            score.snr_weight(process)(t),
            score.snr_weight(process, 0.5)(t),
            score.min_snr_weight(process)(t),
            score.edm_weight(process, sigma_data)(t),
        ]
        edm = (s**2 + sigma_data**2) / (s * sigma_data) ** 2  # Karras et al. 2022, table 1
        np.testing.assert_allclose(found, [gamma, gamma**0.5, min(gamma, 5.0), edm], rtol=1e-6)


def test_refuses_what_makes_no_sense():
    with pytest.raises(ValueError, match=r"^losses\.score\.log_normal_noise: std must .*; got 0"):
        score.log_normal_noise(make("edm"), std=0)
