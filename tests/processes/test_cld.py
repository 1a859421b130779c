import jax
import numpy as np
import pytest

from jaxgen.math import van_loan
from jaxgen.processes import augmented, log_snr, num_blocks

VAN_LOAN = jax.jit(van_loan)
NUMBERS = [(4.0, 0.25, 0.04), (1.0, 1.0, 1.0), (9.0, 0.1, 0.5)]


def parts(mass):
    """A and D of dz = A z ds + sqrt(2 D) dw in the clock beta t, critically damped."""
    friction = 2 * np.sqrt(mass)
    return np.array([[0, 1 / mass], [-1, -friction / mass]]), np.diag([0.0, friction])


@pytest.mark.parametrize("numbers", NUMBERS)
def test_transition_is_van_loans(numbers):
    beta, mass, start = numbers
    process = augmented.cld(*numbers)
    drift, noise = parts(mass)
    for t in (1e-3, 0.02, 0.3, 1.0):
        phi, chol = process.transition(np.asarray(t))
        expected = VAN_LOAN(drift, noise, np.diag([0.0, start * mass]), beta * t)
        np.testing.assert_allclose(phi, expected[0], atol=1e-12)
        np.testing.assert_allclose(chol @ chol.T, expected[1], atol=1e-12, rtol=1e-11)


@pytest.mark.parametrize("numbers", NUMBERS)
def test_drift_and_diffusion_are_the_papers(numbers):
    beta, mass, _ = numbers
    drift, noise = parts(mass)
    process = augmented.cld(*numbers)
    np.testing.assert_allclose(process.drift(np.asarray(0.3)), beta * drift, rtol=1e-15)
    diffusion = process.diffusion(np.asarray(0.3))
    np.testing.assert_allclose(diffusion @ diffusion.T, 2 * beta * noise, rtol=1e-14)


def test_phi_solves_its_equation_and_starts_at_one():
    process = augmented.cld()
    phi = lambda t: process.transition(t)[0]
    np.testing.assert_allclose(phi(np.asarray(1e-15)), np.eye(2), atol=1e-13)
    t, step = 0.4, 1e-5
    slope = (phi(np.asarray(t + step)) - phi(np.asarray(t - step))) / (2 * step)
    np.testing.assert_allclose(slope, process.drift(np.asarray(t)) @ phi(np.asarray(t)), rtol=1e-8)


def test_stationary_law():
    # Data of unit variance and velocities of variance M stay as they are in the long run.
    chol = augmented.cld(beta=30.0).transition(np.asarray(1.0))[1]
    np.testing.assert_allclose(chol @ chol.T, np.diag([1, 0.25]), atol=1e-10)


def test_small_times_keep_their_digits():
    # Sigma_xx = start B^2 / M + 4 Gamma-noise B^3 / 3 M^2 + ..., while Sigma_vv = start M: the
    # textbook Cholesky subtracts numbers B^2 apart. Ages in (0, B) have the variance B^2 / 12.
    beta, mass, start = 4.0, 0.25, 1e-12
    for t in (1e-7, 1e-5):
        clock = beta * t
        _, chol = augmented.cld(beta, mass, start, t_min=1e-8).transition(np.asarray(t))
        total = 4 * np.sqrt(mass) * clock
        assert chol[0, 0] ** 2 == pytest.approx(total * clock**2 / 3 / mass**2, rel=1e-3)
        assert chol[1, 1] ** 2 == pytest.approx(total / 4, rel=1e-3)


def test_signal_to_noise_of_blocks():
    process = augmented.cld()
    phi, chol = process.transition(np.asarray(0.3))
    gamma = phi[:, 0] @ np.linalg.solve(chol @ chol.T, phi[:, 0])
    assert float(log_snr(process, np.asarray(0.3))) == pytest.approx(np.log(gamma), rel=1e-12)
    assert num_blocks(process) == 2


@pytest.mark.parametrize("number", ["beta", "mass", "start"])
def test_numbers_must_be_positive(number):
    with pytest.raises(ValueError, match=rf"augmented.cld: {number} must be positive; got -0.5"):
        augmented.cld(**{number: -0.5})
