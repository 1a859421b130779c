import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.math import phi

ARGUMENTS = np.array(
    [
        -30.0,
        -5.0,
        -1.5,
        -1.0,
        -0.999,
        -0.3,
        -1e-3,
        -1e-12,
        0.0,
        1e-12,
        1e-3,
        0.3,
        0.999,
        1.0,
        1.5,
        5.0,
    ]
)


def by_definition(k, h):
    """int_0^1 exp((1 - u) h) u^(k-1) / (k-1)! du, by 60-point Gauss-Legendre quadrature."""
    nodes, weights = np.polynomial.legendre.leggauss(60)
    u, weights = (nodes + 1) / 2, weights / 2
    return np.exp((1 - u) * h[:, None]) @ (weights * u ** (k - 1) / math.factorial(k - 1))


@pytest.mark.parametrize("k", range(1, 7))
def test_phi_is_its_integral(k):
    # The quadrature is good to 1e-13; just outside |h| = 1 the recursion subtracts numbers of
    # size 1 to leave 1 / k!.
    np.testing.assert_allclose(
        phi(k, ARGUMENTS), by_definition(k, ARGUMENTS), rtol=1e-13 + 1e-15 * math.factorial(k)
    )


def test_closed_forms():
    h = np.array([-700.0, -40.0, 3.0])
    np.testing.assert_allclose(phi(0, h), np.exp(h), rtol=1e-15)
    np.testing.assert_allclose(phi(1, h), (np.exp(h) - 1) / h, rtol=1e-15)
    np.testing.assert_allclose(phi(2, h), (np.exp(h) - 1 - h) / h**2, rtol=1e-14)


@pytest.mark.parametrize("k", range(1, 7))
def test_values_and_derivatives_at_zero(k):
    first = jax.grad(lambda h: phi(k, h))
    assert float(phi(k, 0.0)) == pytest.approx(1 / math.factorial(k), rel=1e-15)
    assert float(first(0.0)) == pytest.approx(1 / math.factorial(k + 1), rel=1e-15)
    assert float(jax.grad(first)(0.0)) == pytest.approx(2 / math.factorial(k + 2), rel=1e-15)


def test_derivatives_are_finite_everywhere():
    h = jnp.asarray([-80.0, -1.0, 0.0, 1.0, 80.0])
    for k in range(5):
        assert bool(jnp.all(jnp.isfinite(jax.vmap(jax.grad(lambda h, k=k: phi(k, h)))(h))))


def test_float32_stays_float32_and_accurate():
    h = jnp.asarray(ARGUMENTS, jnp.float32)
    for k in range(1, 4):
        values = phi(k, h)
        assert values.dtype == jnp.float32
        np.testing.assert_allclose(values, by_definition(k, np.asarray(h, float)), rtol=20 * 1.2e-7)


def test_library_of_the_argument_speaks():
    assert isinstance(phi(2, np.ones(3)), np.ndarray)
    assert isinstance(phi(2, jnp.ones(3)), jax.Array)


def test_negative_k_is_refused():
    with pytest.raises(ValueError, match=r"math.phi: k must be at least 0; got -1"):
        phi(-1, 0.5)
