import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from jaxgen import math

harmonics = jax.jit(math.harmonics, static_argnames="degrees")


def sphere(seed, n, d):
    x = np.random.RandomState(seed).randn(n, d)
    return jnp.asarray(x / np.linalg.norm(x, axis=1, keepdims=True))


@pytest.mark.parametrize(("d", "degree"), [(2, 3), (3, 4), (4, 3), (8, 4)])
def test_addition_theorem(d, degree):
    # Sum_i Y_i(x) Y_i(y) = N C_l^{(d/2 - 1)}(x.y) / C_l(1): fixes the values up to a rotation of
    # the basis, and says they are orthonormal.
    x, y = sphere(0, 7, d), sphere(1, 7, d)
    got = jnp.sum(harmonics(x, (degree,)) * harmonics(y, (degree,)), axis=1)
    cosine = np.sum(x * y, axis=1)
    if d == 2:
        exact = 2 * np.cos(degree * np.arccos(cosine))
    else:
        zonal = functools.partial(scipy.special.eval_gegenbauer, degree, d / 2 - 1)
        exact = math.count_harmonics(d, degree) * zonal(cosine) / zonal(1.0)
    np.testing.assert_allclose(got, exact, rtol=1e-11, atol=1e-11)


def test_orthonormal_by_quadrature():
    # Exact product rule on the sphere in R^3: Gauss-Legendre in height, equal steps in longitude.
    height, weight = np.polynomial.legendre.leggauss(12)
    angle = 2 * np.pi * np.arange(24) / 24
    z, phi = (a.ravel() for a in np.meshgrid(height, angle, indexing="ij"))
    ring = np.sqrt(1 - z**2)
    x = jnp.asarray(np.stack([ring * np.cos(phi), ring * np.sin(phi), z], axis=1))
    values = np.asarray(harmonics(x, (0, 1, 2, 3, 6)))
    gram = np.einsum("i,ij,ik->jk", np.repeat(weight / 48, 24), values, values)
    assert values.shape[1] == 1 + 3 + 5 + 7 + 13
    np.testing.assert_allclose(gram, np.eye(29), atol=1e-13)


def test_known_ones_in_three_dimensions():
    x = sphere(2, 5, 3)
    values = harmonics(x, (0, 2))
    np.testing.assert_allclose(values[:, 0], 1.0)
    zonal = np.sqrt(5) * (3 * x[:, 2] ** 2 - 1) / 2
    assert min(np.abs(column - zonal).max() for column in values[:, 1:].T) < 1e-13


def test_count():
    assert [math.count_harmonics(3, l) for l in (0, 1, 2, 5)] == [1, 3, 5, 11]
    assert [math.count_harmonics(2, l) for l in (0, 1, 4)] == [1, 2, 2]
    assert math.count_harmonics(8, 2) + math.count_harmonics(8, 4) == 329


def test_float32_is_accurate_at_a_high_degree():
    x = sphere(3, 50, 3)
    exact, got = harmonics(x, (12,)), harmonics(x.astype(jnp.float32), (12,))
    assert got.dtype == jnp.float32
    assert jnp.abs(got - exact).max() < 2e-4


def test_bad_input():
    with pytest.raises(ValueError, match=r"math.harmonics: x must be \[n, d\] with d >= 2"):
        math.harmonics(jnp.ones((3, 1)), (2,))
    with pytest.raises(ValueError, match=r"degrees must not be negative; got \(2, -1\)"):
        math.harmonics(jnp.ones((3, 2)), (2, -1))
