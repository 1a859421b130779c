"""Each scalar process against the numbers of its paper."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.processes import log_snr, scalar

T = np.array([0.01, 0.3, 0.9])
INTEGRAL = 0.1 * T + 19.9 * T**2 / 2
ANGLE = np.pi / 2 * (T + 0.008) / 1.008
START_ANGLE = np.pi / 2 * 0.008 / 1.008
BETA = 0.1 + 19.9 * T
SIGMA_VE = 0.01 * 5000.0**T
# alpha, sigma, f and g^2 as printed, or differentiated by hand.
PAPERS = {
    "vp": (np.exp(-INTEGRAL / 2), np.sqrt(1 - np.exp(-INTEGRAL)), -BETA / 2, BETA),
    "subvp": (
        np.exp(-INTEGRAL / 2),
        1 - np.exp(-INTEGRAL),
        -BETA / 2,
        BETA * (1 - np.exp(-2 * INTEGRAL)),
    ),
    "ve": (np.ones(3), SIGMA_VE, np.zeros(3), 2 * SIGMA_VE**2 * np.log(5000.0)),
    "edm": (np.ones(3), T, np.zeros(3), 2 * T),
    "cosine": (
        np.cos(ANGLE) / np.cos(START_ANGLE),
        np.sqrt(1 - (np.cos(ANGLE) / np.cos(START_ANGLE)) ** 2),
        -np.pi / 2 / 1.008 * np.tan(ANGLE),
        np.pi / 1.008 * np.tan(ANGLE),
    ),
    "linear_flow": (1 - T, T, -1 / (1 - T), 2 * T / (1 - T)),
}


@pytest.mark.parametrize("name", list(PAPERS))
def test_schedule_drift_and_diffusion_are_the_papers(name):
    process = getattr(scalar, name)()
    alpha, sigma, drift, noise = PAPERS[name]
    ours = process.transition(T)
    np.testing.assert_allclose(ours[0], alpha, rtol=1e-14)
    np.testing.assert_allclose(ours[1], sigma, rtol=1e-11)
    np.testing.assert_allclose(process.drift(T), drift, rtol=1e-13)
    np.testing.assert_allclose(process.diffusion(T) ** 2, noise, rtol=1e-12)


@pytest.mark.parametrize("name", ["vp", "cosine"])
def test_small_noise_keeps_its_digits(name):
    # sigma^2 ~ beta t: 1 - alpha^2 would have lost eight digits at t = 1e-9.
    t, rate = 1e-9, {"vp": 0.1, "cosine": np.pi / 1.008 * np.tan(START_ANGLE)}[name]
    sigma = float(getattr(scalar, name)(t_min=0.0).transition(np.float64(t))[1])
    assert sigma**2 == pytest.approx(rate * t, rel=1e-6)


def test_default_ends():
    ends = {name: (getattr(scalar, name)().t_min, getattr(scalar, name)().t_max) for name in PAPERS}
    assert ends["vp"] == ends["subvp"] == (1e-3, 1.0)
    assert ends["ve"] == (0.0, 1.0)
    assert ends["edm"] == (0.002, 80.0)
    assert ends["cosine"] == ends["linear_flow"] == (1e-3, 1 - 1e-3)


@pytest.mark.parametrize("seed", range(4))
def test_monotone_falls_for_any_logits_and_keeps_its_ends(seed):
    logits = np.random.default_rng(seed).normal(size=7) * 4
    process = scalar.monotone(logits, 9.0, -8.0)
    ts = np.linspace(0, 1, 501)
    found = log_snr(process, ts)
    assert found[0] == pytest.approx(9, rel=1e-14)
    assert found[-1] == pytest.approx(-8, rel=1e-14)
    assert (np.diff(found) < 0).all()
    alpha, sigma = process.transition(ts)
    np.testing.assert_allclose(alpha**2 + sigma**2, 1, rtol=1e-14)


def test_monotone_with_equal_logits_is_a_straight_line():
    ts = np.linspace(0, 1, 11)
    for count in (1, 5):
        found = log_snr(scalar.monotone(np.zeros(count)), ts)
        np.testing.assert_allclose(found, 10 - 20 * ts, atol=1e-13)


def test_monotone_learns():
    # Gradient descent on the logits moves log-SNR(1/2) to where it is wanted.
    @jax.jit
    def loss(logits):
        return (log_snr(scalar.monotone(logits), jnp.asarray(0.5)) - 3) ** 2

    logits, slope = jnp.zeros(5), jax.jit(jax.grad(loss))
    for _ in range(200):
        logits -= 0.02 * slope(logits)
    assert float(loss(logits)) < 1e-6


def bent(t, height):
    return 1 + 0 * t, t + height * np.sin(9 * t)


def test_from_schedule_refuses_a_ratio_that_does_not_fall():
    scalar.from_schedule(bent, 0.1, t_min=0.1, t_max=1.0)
    with pytest.raises(
        ValueError, match=r"from_schedule: the signal-to-noise ratio must fall strictly"
    ):
        scalar.from_schedule(bent, 0.3, t_min=0.1, t_max=1.0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: scalar.vp(20.0, 0.1, t_min=-0.1),
            "scalar.vp: 0 <= t_min < t_max must hold; got t_min=-0.1",
        ),
        (lambda: scalar.vp(-1.0, 0.5), "scalar.vp: the signal-to-noise ratio must fall strictly"),
        (lambda: scalar.ve(50.0, 0.01), "scalar.ve: the signal-to-noise ratio must fall strictly"),
        (lambda: scalar.ve(-1.0, 50.0), "scalar.ve: the signal-to-noise ratio must fall strictly"),
        (
            lambda: scalar.cosine(-2.0),
            "scalar.cosine: the signal-to-noise ratio must fall strictly",
        ),
        (
            lambda: scalar.monotone(np.zeros(0)),
            r"scalar.monotone: logits must have shape \[m\], m >= 1; got \(0,\)",
        ),
        (
            lambda: scalar.monotone(1.0),
            r"scalar.monotone: logits must have shape \[m\], m >= 1; got \(\)",
        ),
        (
            lambda: scalar.monotone(np.zeros(3), -5.0, 5.0),
            "scalar.monotone: the signal-to-noise ratio must fall",
        ),
        (
            lambda: scalar.linear_flow(t_max=1.5),
            "scalar.linear_flow: the signal-to-noise ratio must fall strictly",
        ),
    ],
)
def test_numbers_that_make_no_process_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_checks_leave_tracers_alone():
    out = jax.jit(lambda beta: scalar.vp(beta, 0.5).transition(jnp.asarray(0.5))[0])(-1.0)
    assert float(out) == pytest.approx(np.exp(-(-1.0 * 0.5 + 1.5 * 0.125) / 2), rel=1e-14)
