"""Residuals, compositions and annealing paths."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.stats import multivariate_normal, norm

from jaxgen import energies

PAIR = lambda x: x**2, lambda x: 3 - x


def test_a_hybrid_is_the_base_times_the_residual():
    """N(1, 1) corrected by x^2 / 2 - x is N(1, 1/2) up to a constant."""
    mixed = energies.hybrid(lambda x: norm.logpdf(x, 1.0, 1.0), lambda x: x**2 / 2 - x)
    xs = jnp.array([-1.0, 0.3, 2.0])
    gaps = jax.vmap(mixed)(xs) - norm.logpdf(xs, 1.0, np.sqrt(0.5))
    np.testing.assert_allclose(gaps, gaps[0], rtol=1e-12)


def test_composition_goes_from_the_smallest_to_the_largest():
    for x in (0.5, 2.0):
        values = [fn(x) for fn in PAIR]
        for beta, bound in [(np.inf, max), (-np.inf, min)]:
            assert energies.composed(*PAIR, beta=beta)(x) == bound(values)
            near = energies.composed(*PAIR, beta=np.sign(beta) * 2e3)(x)
            assert near == pytest.approx(bound(values), abs=4e-4)
        mixture = -np.log(np.exp(-values[0]) + np.exp(-values[1]))
        assert energies.composed(*PAIR)(x) == pytest.approx(mixture)


def test_calibrated_energies_have_one_scale():
    xs = jax.random.normal(jax.random.key(0), (50,)) * 3 + 1
    values = jax.vmap(energies.calibrated(lambda x: 40 * x**2 - 7, xs))(xs)
    assert np.mean(values) == pytest.approx(0, abs=1e-12)
    assert np.std(values) == pytest.approx(1, abs=1e-12)
    assert energies.calibrated(lambda x: 0 * x + 3.0, xs)(2.0) == 0  # constant: only shifted


def test_paths_end_where_they_should():
    """The geometric path of two Gaussians averages precisions; the other one moments."""
    start, end = norm.logpdf, lambda x: norm.logpdf(x, 3.0, 0.5)
    path = energies.geometric_path(start, end)
    xs = jnp.linspace(-1, 3, 5)
    np.testing.assert_array_equal(jax.vmap(path(0.0))(xs), jax.vmap(start)(xs))
    np.testing.assert_array_equal(jax.vmap(path(1.0))(xs), jax.vmap(end)(xs))
    precision = 0.75 * 1 + 0.25 * 4
    middle = norm.logpdf(xs, 0.25 * 4 * 3 / precision, precision**-0.5)
    gaps = jax.vmap(path(0.25))(xs) - middle
    np.testing.assert_allclose(gaps, gaps[0], rtol=1e-12)
    swollen = energies.moment_path(np.zeros(1), np.eye(1), 3 * np.ones(1), 0.25 * np.eye(1))
    variance = 0.75 + 0.25 * 0.25 + 0.25 * 0.75 * 9
    expected = norm.logpdf(xs, 0.75, np.sqrt(variance))
    found = jax.vmap(swollen(0.25))(xs[:, None])
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    cov = np.array([[2.0, 0.5], [0.5, 1.0]])
    ends = energies.moment_path(np.zeros(2), np.eye(2), np.array([1.0, -2.0]), cov)
    x = jnp.array([0.2, 0.9])
    truth = multivariate_normal.logpdf(x, jnp.array([1.0, -2.0]), cov)
    np.testing.assert_allclose(ends(1.0)(x), truth, rtol=1e-12)


def test_an_end_without_support_is_left_out():
    inside = lambda x: jnp.where(jnp.abs(x) < 1, 0.0, -jnp.inf)
    path = energies.geometric_path(norm.logpdf, inside)
    assert path(0.0)(2.0) == norm.logpdf(2.0)
    assert path(0.5)(2.0) == -np.inf
    assert jax.grad(path(0.0))(2.0) == -2.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: energies.composed(), "at least one energy"),
        (lambda: energies.composed(*PAIR, beta=0.0), "other than zero"),
        (lambda: energies.calibrated(jnp.sum, np.ones((1, 2))), "at least two points"),
        (lambda: energies.calibrated(lambda x: x / 0, np.ones(3)), "must be finite"),
        (lambda: energies.moment_path(np.zeros(2), np.eye(2), np.zeros(3), np.eye(2)), "must fit"),
        (
            lambda: energies.moment_path(np.zeros(2), np.eye(2), np.zeros(2), -np.eye(2)),
            "positive definite",
        ),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
