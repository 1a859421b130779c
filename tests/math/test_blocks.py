from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.linalg

from jaxgen.math import (
    apply,
    channel,
    channel_log_gain,
    contract,
    data_column,
    lower_inverse,
    total,
    van_loan,
    working_dtype,
)

DRIFT = np.array([[0.0, 2.0, 0.0], [-2.0, -1.0, 0.5], [0.0, -0.5, -0.8]])
NOISE = np.diag([0.0, 0.1, 0.7])
START = np.diag([0.0, 0.04, 0.3])
VAN_LOAN = jax.jit(van_loan)


def test_van_loan_is_its_integral():
    for duration in (1e-3, 0.4, 2.0):
        phi, sigma = VAN_LOAN(DRIFT, NOISE, START, duration)
        age = lambda s: scipy.linalg.expm(DRIFT * s) @ (2 * NOISE) @ scipy.linalg.expm(DRIFT.T * s)
        integral = scipy.integrate.quad_vec(age, 0, duration, epsabs=1e-15, epsrel=1e-14)[0]
        exact = scipy.linalg.expm(DRIFT * duration)
        np.testing.assert_allclose(phi, exact, atol=1e-14)
        np.testing.assert_allclose(sigma, integral + exact @ START @ exact.T, atol=1e-14)


def test_van_loan_of_an_ornstein_uhlenbeck_process():
    rate, noise, start = 0.7, 0.3, 2.0
    for duration in (1e-6, 1.0, 30.0):
        phi, sigma = VAN_LOAN(
            *(np.full((1, 1), number) for number in (-rate, noise, start)), duration
        )
        decay = np.exp(-2 * rate * duration)
        assert float(phi[0, 0]) == pytest.approx(np.sqrt(decay), rel=1e-13)
        exact = -noise / rate * np.expm1(-2 * rate * duration) + start * decay
        assert float(sigma[0, 0]) == pytest.approx(exact, rel=1e-13)


def test_van_loan_keeps_its_digits_over_long_times():
    # One matrix exponential has lost all of them here.
    phi, sigma = VAN_LOAN(DRIFT, NOISE, START, 40.0)
    stationary = scipy.linalg.solve_continuous_lyapunov(DRIFT, -2 * NOISE)
    exact = scipy.linalg.expm(DRIFT * 40.0)
    np.testing.assert_allclose(
        sigma, stationary + exact @ (START - stationary) @ exact.T, atol=1e-13
    )


def test_van_loan_has_gradients():
    fn = lambda duration, scale: jnp.sum(VAN_LOAN(scale * DRIFT, NOISE, START, duration)[1])
    at, step = (jnp.asarray(0.9), jnp.asarray(1.1)), 1e-6
    slopes = jax.jit(jax.grad(fn, (0, 1)))(*at)
    for i, slope in enumerate(slopes):
        up, down = (fn(*(a + s * step * (i == j) for j, a in enumerate(at))) for s in (1, -1))
        assert float(slope) == pytest.approx(float(up - down) / (2 * step), rel=1e-7)


def test_inverse_of_a_badly_scaled_triangle_is_accurate_entry_by_entry():
    matrix = np.array([[1e-9, 0, 0], [3e-4, 2e-5, 0], [1.0, -0.3, 0.7]])
    exact = np.zeros((3, 3))
    entries = [[Fraction(value) for value in row] for row in matrix]
    for j in range(3):
        column = []
        for i in range(3):
            known = Fraction(i == j) - sum(entries[i][m] * column[m] for m in range(i))
            column.append(known / entries[i][i])
        exact[:, j] = [float(value) for value in column]
    np.testing.assert_allclose(lower_inverse(matrix), exact, rtol=1e-14)
    stacked = lower_inverse(jnp.asarray(np.stack([matrix, 2 * matrix])))
    np.testing.assert_allclose(stacked, np.stack([exact, exact / 2]), rtol=1e-14)


def block_transition():
    phi = np.array([[0.9, 0.4], [-0.3, 0.2]])
    return phi, np.linalg.cholesky(np.array([[0.5, 0.1], [0.1, 0.3]]))


def test_channel_of_blocks_is_gaussian_conditioning():
    phi, chol = block_transition()
    part = channel(phi, chol, blocks=True)
    column = phi[:, 0]
    precision = np.linalg.inv(chol @ chol.T)
    gamma = column @ precision @ column
    assert float(part.gain) == pytest.approx(np.sqrt(gamma), rel=1e-14)
    np.testing.assert_allclose(part.read, column @ precision / np.sqrt(gamma), rtol=1e-14)
    np.testing.assert_allclose(part.whiten @ chol, np.eye(2), atol=1e-15)
    # read . (Phi_0 x0 + L eps) = gain x0 + noise . eps, with noise of unit length.
    assert float(part.read @ column) == pytest.approx(float(part.gain), rel=1e-14)
    np.testing.assert_allclose(part.read @ chol, part.noise, rtol=1e-14)
    assert float(np.sum(part.noise**2)) == pytest.approx(1, rel=1e-14)
    assert float(channel_log_gain(phi, chol, blocks=True)) == pytest.approx(
        np.log(gamma) / 2, rel=1e-13
    )


def test_channel_of_a_scalar():
    part = channel(np.array([0.8, 0.2]), np.array([0.6, 0.9]), blocks=False)
    np.testing.assert_allclose(part.gain, [0.8 / 0.6, 0.2 / 0.9], rtol=1e-15)
    np.testing.assert_allclose(part.read, [1 / 0.6, 1 / 0.9], rtol=1e-15)
    np.testing.assert_array_equal(part.noise, [1, 1])


def test_channel_broadcasts():
    phi, chol = block_transition()
    stacked = channel(np.stack([phi, phi]), np.stack([chol, 2 * chol]), blocks=True)
    alone = channel(phi, chol, blocks=True)
    for many, one in zip(stacked, alone, strict=True):
        np.testing.assert_allclose(many[0], one, rtol=1e-15)
    np.testing.assert_allclose(stacked.gain[1], alone.gain / 2, rtol=1e-14)


def test_data_column():
    phi, _ = block_transition()
    np.testing.assert_array_equal(data_column(phi, blocks=True), phi[:, 0])
    np.testing.assert_array_equal(data_column(np.array([1.0, 2.0]), blocks=False), [1, 2])


def test_apply_and_contract_by_rank():
    z = jnp.arange(12.0).reshape(2, 2, 3)
    matrix, row = np.array([[1.0, 2.0], [0.5, -1.0]]), np.array([3.0, -2.0])
    np.testing.assert_allclose(apply(matrix, z), np.einsum("ij,jkl->ikl", matrix, z), rtol=1e-15)
    np.testing.assert_allclose(apply(row, z[0]), np.einsum("i,kl->ikl", row, z[0]), rtol=1e-15)
    np.testing.assert_allclose(apply(2.5, z), 2.5 * z, rtol=1e-15)
    np.testing.assert_allclose(contract(row, z), np.einsum("i,ikl->kl", row, z), rtol=1e-15)
    np.testing.assert_allclose(contract(2.5, z), 2.5 * z, rtol=1e-15)
    tree = {"a": z, "b": (z[:, 0],)}
    assert jax.tree.structure(apply(matrix, tree)) == jax.tree.structure(tree)
    np.testing.assert_allclose(contract(row, tree)["b"][0], row @ z[:, 0], rtol=1e-15)
    np.testing.assert_allclose(total([tree, tree, tree])["a"], 3 * z, rtol=1e-15)


def test_products_are_made_in_at_least_float32():
    # 1 + 2^-9 is no bfloat16: rounding the coefficient first would lose it.
    z = jnp.asarray([256.0, 3.0], jnp.bfloat16)
    product = apply(1 + 2.0**-7 + 2.0**-9, z)
    assert product.dtype == jnp.bfloat16
    assert float(product[0]) == float(jnp.asarray(258.5, jnp.bfloat16))
    mixed = apply(
        np.array([[1.0, 2.0**-9], [0.0, 1.0]]), jnp.asarray([[1.0], [512.0]], jnp.bfloat16)
    )
    assert float(mixed[0, 0]) == 2.0
    assert working_dtype(z) == jnp.float32
    assert working_dtype(jnp.ones(2)) == jnp.float64
    assert working_dtype({"a": z, "b": jnp.ones(2)}) == jnp.float64
