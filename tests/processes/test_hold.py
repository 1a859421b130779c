"""High-order Langevin dynamics: coefficients, the second-order case, and Van Loan's integral."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.math import van_loan
from jaxgen.processes import augmented, log_snr

ORDERS = (2, 3, 4, 5)


@pytest.mark.parametrize("order", ORDERS)
def test_all_eigenvalues_are_equal(order):
    """Read from the characteristic polynomial: defective eigenvalues lose half their digits."""
    process = augmented.hold(order, 1.0)
    matrix = process.drift(np.asarray(0.5))
    found = np.poly(matrix)
    rate = found[1] / order
    np.testing.assert_allclose(found, np.poly(np.full(order, -rate)), rtol=1e-13)
    assert matrix[0, 1] == -matrix[1, 0] == 1
    np.testing.assert_allclose(matrix + matrix.T, np.diag(2 * np.diag(matrix)), atol=1e-15)


def test_the_third_order_of_the_paper():
    matrix = augmented.hold(3, 1.0).drift(np.asarray(0.0))
    truth = [[0, 1, 0], [-1, 0, 2 * np.sqrt(2)], [0, -2 * np.sqrt(2), -3 * np.sqrt(3)]]
    np.testing.assert_allclose(matrix, truth, atol=1e-15)


def test_the_second_order_is_cld():
    ts = np.geomspace(1e-3, 1.0, 9)
    ours, theirs = augmented.hold(2, 4.0, 1.0, 0.04), augmented.cld(4.0, 1.0, 0.04)
    for fn in ("drift", "diffusion", "transition"):
        np.testing.assert_allclose(
            getattr(ours, fn)(ts), getattr(theirs, fn)(ts), rtol=1e-12, atol=1e-14
        )


@pytest.mark.parametrize("order", ORDERS[:3])
@pytest.mark.parametrize("inverse_mass", [1.0, 2.5])
def test_transition_is_van_loans_integral(order, inverse_mass):
    process = augmented.hold(order, 6.0, inverse_mass, 0.3)
    drift, noise = process.drift(np.asarray(0.0)), process.diffusion(np.asarray(0.0))
    start = np.diag([0.0] + [0.3 / inverse_mass] * (order - 1))
    for t in (0.01, 0.3, 1.0):
        phi, chol = process.transition(np.asarray(t))
        whole, sigma = van_loan(*(jnp.asarray(m) for m in (drift, noise @ noise.T / 2, start)), t)
        np.testing.assert_allclose(phi, whole, atol=1e-13)
        np.testing.assert_allclose(chol @ chol.T, sigma, atol=1e-12)


def test_the_noise_of_the_position_grows_as_its_power():
    process = augmented.hold(4, t_min=1e-6, start=1e-30)
    size = [process.transition(np.asarray(t))[1][0, 0] for t in (1e-5, 2e-5)]
    assert np.log2(size[1] / size[0]) == pytest.approx(3.5, abs=0.01)
    assert np.all(np.isfinite(log_snr(process, np.geomspace(1e-6, 1.0, 50))))


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ({"order": 1}, "order must be an integer from 2 to 8; got 1"),
        ({"order": 2.0}, "order must be an integer"),
        ({"beta": -1.0}, "beta must be positive; got -1.0"),
        ({"inverse_mass": 0.0}, "inverse_mass must be positive"),
        ({"start": -0.1}, "start must be positive"),
        ({"t_min": 1.0}, "t_min < t_max"),
    ],
)
def test_bad_numbers_are_refused(words, part):
    with pytest.raises(ValueError, match=r"processes\.augmented\.hold: .*") as caught:
        augmented.hold(**words)
    assert part in str(caught.value)
