import functools
import math

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest
from bessel import log_i

from jaxgen.math import iv_ratio, log_iv_normalised

X = np.array([1e-3, 0.5, 5.0, 10.9, 11.1, 24.9, 25.1, 300.0, 1e4, 1e6]).astype(np.float32)
TOLERANCE = {"float64": 2e-13, "float32": 4e-6}
FAST = {(0, "float64"), (0, "float32"), (1023, "float64")}


@functools.partial(jax.jit, static_argnums=0)
def everything(v, x):
    """The normalised logarithm, the ratio, its complement and slope, and the logarithm's slope."""
    ratio, slope = jax.jvp(lambda x: iv_ratio(v, x), (x,), (jnp.ones_like(x),))
    log, log_slope = jax.jvp(lambda x: log_iv_normalised(v, x), (x,), (jnp.ones_like(x),))
    return log, ratio, iv_ratio(v, x, complement=True), slope, log_slope


@functools.cache
def truth(v):
    """The normalised logarithm, the ratio, its complement and its slope [4, m] by mpmath."""
    rows = []
    for x in X.astype(float):
        with mp.workdps(30):
            first, second = (log_i(mp.mpf(v) + n, x) for n in (0, 1))
            ratio, v_, x_ = mp.exp(second - first), mp.mpf(v), mp.mpf(x)
            log = mp.loggamma(v_ + 1) + v_ * mp.log(2 / x_) - x_ + first
            rows.append((log, ratio, 1 - ratio, 1 - ratio**2 - (2 * v_ + 1) / x_ * ratio))
    return np.asarray(rows, float).T


CASES = [
    pytest.param(v, dtype, marks=() if (v, dtype) in FAST else pytest.mark.slow)
    for dtype in TOLERANCE
    for v in (0, 0.5, 6.5, 31, 1023)
]


@pytest.mark.parametrize(("v", "dtype"), CASES)
def test_against_mpmath(v, dtype):
    eps = TOLERANCE[dtype]
    log, ratio, gap, slope = truth(v)
    found = everything(v, jnp.asarray(X, dtype))
    assert {part.dtype for part in found} == {jnp.dtype(dtype)}
    np.testing.assert_allclose(found[0], log, rtol=eps, atol=eps)
    np.testing.assert_allclose(found[1], ratio, rtol=eps)
    np.testing.assert_allclose(found[2], gap, rtol=eps)
    np.testing.assert_allclose(found[3], slope, rtol=20 * eps)
    np.testing.assert_allclose(found[4], -gap, rtol=eps)


def test_at_zero():
    for v in (0, 1023):
        log, ratio, gap, slope, log_slope = everything(v, jnp.zeros(len(X)))
        np.testing.assert_allclose(log, 0, atol=1e-15)
        np.testing.assert_array_equal(ratio, 0)
        np.testing.assert_array_equal(gap, 1)
        np.testing.assert_array_equal(log_slope, -1)
        np.testing.assert_allclose(slope, 1 / (2 * v + 2), rtol=1e-12)


@pytest.mark.slow
def test_order_one_half_is_the_langevin_function():
    x = jnp.asarray(X, float)
    log, ratio, *_ = everything(0.5, x)
    np.testing.assert_allclose(ratio[1:], (1 / jnp.tanh(x) - 1 / x)[1:], rtol=1e-12)
    exact = np.log(-np.expm1(-2 * x) / (2 * x))  # sinh(x) exp(-x) / x
    np.testing.assert_allclose(log, exact, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("v", [-1, math.inf, "a"])
def test_other_orders_are_refused(v):
    with pytest.raises(ValueError, match="math.iv_ratio: v must be one Python number"):
        iv_ratio(v, 1.0)


def test_a_traced_order_is_refused():
    with pytest.raises(ValueError, match="math.log_iv_normalised: v must be one Python number"):
        jax.eval_shape(log_iv_normalised, 1.0, 1.0)
