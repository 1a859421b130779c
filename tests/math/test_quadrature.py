import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.math import gauss_legendre, invert, lagrange


@pytest.mark.parametrize("n", [1, 2, 5, 20])
def test_gauss_legendre_is_exact_to_degree_2n_minus_1_and_no_further(n):
    nodes, weights = gauss_legendre(n)
    assert ((nodes > 0) & (nodes < 1)).all()
    for degree in range(2 * n):
        assert np.sum(weights * nodes**degree) == pytest.approx(1 / (degree + 1), rel=1e-13)
    if n <= 5:
        assert abs(np.sum(weights * nodes ** (2 * n)) - 1 / (2 * n + 1)) > 1e-8


def test_lagrange_reproduces_polynomials_and_their_derivatives():
    nodes = np.array([[0.0, 0.7, 1.1, 2.0], [1.0, -0.5, 0.3, 4.0]])
    u = np.array([0.4, 2.5])
    polynomial = np.polynomial.Polynomial([0.3, -1.2, 0.5, 2.0])
    values, slopes = lagrange(nodes, u)
    at_nodes = polynomial(nodes)
    np.testing.assert_allclose(np.sum(values * at_nodes, -1), polynomial(u), rtol=1e-13)
    np.testing.assert_allclose(np.sum(slopes * at_nodes, -1), polynomial.deriv()(u), rtol=1e-13)
    np.testing.assert_allclose(np.sum(values, -1), 1, rtol=1e-13)
    np.testing.assert_allclose(np.sum(slopes, -1), 0, atol=1e-12)


def test_lagrange_at_its_nodes_and_with_one_node():
    nodes = np.array([0.2, 0.5, 1.5])
    values, _ = lagrange(nodes, nodes[:, None] * np.ones(1))
    np.testing.assert_array_equal(values[:, 0] if values.ndim == 3 else values, np.eye(3))
    values, slopes = lagrange(np.array([[3.0]]), np.array([7.0]))
    np.testing.assert_array_equal(values, [[1.0]])
    np.testing.assert_array_equal(slopes, [[0.0]])


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("xp", [np, jnp])
def test_invert_finds_roots_of_rising_and_falling_functions(xp, sign):
    fn = lambda u: sign * u**3
    roots = xp.asarray([0.0, 0.1, 1.3, 2.0])
    found = invert(fn, fn(roots), xp.asarray(0.0), xp.asarray(2.0))
    np.testing.assert_allclose(found, roots, rtol=1e-15, atol=1e-15)
    assert isinstance(found, np.ndarray if xp is np else jax.Array)


def test_invert_clips_to_the_nearer_end():
    for xp in (np, jnp):
        found = invert(lambda u: -u, xp.asarray([-5.0, 5.0]), xp.asarray(1.0), xp.asarray(2.0))
        np.testing.assert_allclose(found, [2.0, 1.0], rtol=1e-15)


def test_invert_has_the_gradients_of_the_implicit_function():
    # rate u^2 = target: du/dtarget = 1 / (2 rate u), du/drate = -u / (2 rate).
    root = lambda target, rate: invert(
        lambda u: rate * u**2, target, jnp.asarray(0.0), jnp.asarray(9.0)
    )
    target, rate = jnp.asarray(4.5), jnp.asarray(2.0)
    by_target, by_rate = jax.jit(jax.grad(root, (0, 1)))(target, rate)
    assert float(root(target, rate)) == pytest.approx(1.5, rel=1e-15)
    assert float(by_target) == pytest.approx(1 / 6, rel=1e-13)
    assert float(by_rate) == pytest.approx(-1.5 / 4, rel=1e-13)


def test_invert_outside_has_no_gradient():
    slope = jax.grad(
        lambda target: invert(lambda u: u, target, jnp.asarray(0.0), jnp.asarray(1.0))
    )(jnp.asarray(3.0))
    assert float(slope) == 0


def test_invert_under_vmap_and_in_float32():
    targets = jnp.asarray([0.2, 0.9, 1.7], jnp.float32)
    one, two = jnp.float32(0.0), jnp.float32(2.0)
    found = jax.vmap(lambda target: invert(jnp.sin, target / 2, one, one + 1.5))(targets)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, np.arcsin(np.asarray(targets, float) / 2), rtol=3e-7)
    assert invert(lambda u: u, targets, one, two).dtype == jnp.float32
