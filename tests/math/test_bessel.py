import functools

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest
from bessel import log_i, log_k, split

from jaxgen.math import log_iv, log_kv

ZERO = 0.6627434193491816  # where v asinh(v / x) = sqrt(v^2 + x^2), over v
LENGTH = 256  # of every call: one compilation a dtype


@jax.jit
def both(v, x):
    return log_iv(v, x), log_kv(v, x)


@jax.jit
def all_slopes(v, x):
    """d/dv log I, d/dx log I, d/dv log K, d/dx log K, each [m]."""
    one, slopes = (jnp.ones_like(x),), []
    for fn in (log_iv, log_kv):
        slopes.append(jax.jvp(lambda v, fn=fn: fn(v, x), (v,), one)[1])
        slopes.append(jax.jvp(lambda x, fn=fn: fn(v, x), (x,), one)[1])
    return slopes


def padded(fn, v, x):
    """fn(v [m], x [m]) in pieces of one length, as NumPy arrays [m]."""
    v, x = jnp.asarray(v), jnp.asarray(x)
    parts = []
    for start in range(0, len(x), LENGTH):
        piece = [part[start : start + LENGTH] for part in (v, x)]
        spare = LENGTH - len(piece[0])
        parts.append(fn(*(jnp.pad(part, (0, spare), constant_values=1) for part in piece)))
    return [np.concatenate(rows)[: len(x)] for rows in zip(*parts, strict=True)]


def IV(v, x):
    return padded(both, v, x)[0]


def KV(v, x):
    return padded(both, v, x)[1]


TOLERANCE = {"float64": 1e-13, "float32": 2e-6}
ENDS_V, ENDS_X = (14.5, 7.5), (25.0, 11.0, 1.5)  # the regions of either dtype


def few():
    """Pairs (v, x) [m, 2], each exact in float32, in every region and on both sides of borders."""
    r = np.random.default_rng(0)
    pairs = [(v, x) for v in (0.0, 0.5, 3.0, 1e5) for x in (1e-6, 1.0, 1e6)]
    pairs += [(v, v * ZERO) for v in (3.0, 40.0, 2e3, 1e5)]  # where the logarithm vanishes
    pairs += [(v, v) for v in (2.5, 13.0, 1e3)]
    pairs += [(v + d, 0.68 * v) for v in ENDS_V for d in (-1e-3, 0.0)]  # the worst of Debye
    pairs += [(2.3, x + d) for x in ENDS_X for d in (-1e-3, 0.0)]
    pairs += list(zip(r.uniform(0, 20, 20), np.exp(r.uniform(-4, 4, 20)), strict=True))
    return np.asarray(pairs, np.float32).astype(float)


def many():
    """As `few`, denser, with half of them of 53 bits."""
    r = np.random.default_rng(1)
    log = lambda a, b, n: np.exp(r.uniform(np.log(a), np.log(b), n))
    orders = (0.0, 0.5, 1.0, 1.5, 7.5, 14.5, 15.0, 100.0, 1000.5, 1e4, 1e5)
    pairs = [(v, x) for v in orders for x in np.logspace(-6, 6, 13)]
    pairs += list(zip(log(1e-3, 1e5, 250), log(1e-6, 1e6, 250), strict=True))
    pairs += list(zip(r.uniform(0, 16, 300), log(1e-2, 60, 300), strict=True))
    v = log(3, 1e5, 250)
    pairs += list(zip(v, v * (ZERO + r.normal(0, 1, 250) / v), strict=True))
    pairs += list(zip(v, v * r.uniform(0.9, 1.1, 250), strict=True))
    pairs += [(v + d, x) for v in ENDS_V for d in (-0.3, -1e-9, 0.2) for x in log(1e-3, 40, 8)]
    pairs += [(v, x + d) for x in ENDS_X for d in (-0.1, -1e-9, 0.2) for v in r.uniform(0, 15, 8)]
    pairs += [(n + d, x) for n in range(9) for d in (-1e-7, 0.49999) for x in (0.01, 1.2, 1.7, 9.0)]
    pairs = np.abs(pairs)
    short = r.uniform(size=len(pairs)) < 0.5
    pairs[short] = pairs[short].astype(np.float32)
    return pairs


def errors(fn, true, pairs, dtype):
    """Errors [m], relative where the true value is above 1 and absolute below."""
    found = fn(*jnp.asarray(pairs.T, dtype)).astype(float)
    return np.abs(found - true[:, 0] - true[:, 1]) / np.maximum(1, np.abs(true[:, 0]))


@functools.cache
def table(grid):
    pairs = grid()
    rows = [(*split(log_i(v, x)), *split(log_k(v, x))) for v, x in pairs]
    return pairs, np.asarray(rows)


def check(grid, dtype):
    pairs, true = table(grid)
    if dtype == "float32":
        exact = (pairs.astype(np.float32) == pairs).all(1)
        pairs, true = pairs[exact], true[exact]
    for fn, columns in ((IV, slice(0, 2)), (KV, slice(2, 4))):
        error = errors(fn, true[:, columns], pairs, dtype)
        worst = np.argmax(np.nan_to_num(error, nan=np.inf))
        assert error[worst] < TOLERANCE[dtype], (pairs[worst], error[worst])


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_values_on_a_few_points(dtype):
    check(few, dtype)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_values_on_many_points(dtype):
    check(many, dtype)


@pytest.mark.slow
def test_the_reference_is_mpmath_where_both_can():
    for v, x in [(0.3, 1e-3), (2.5, 3.0), (14.4, 24.0), (100.7, 50.0), (30.0, 1e5), (2e4, 1.5e4)]:
        with mp.workdps(60 + int(v + x) % 500):
            other = mp.log(mp.besseli(mp.mpf(v), mp.mpf(x)))
            assert abs(log_i(v, x) / other - 1) < 1e-24
            if v < 1e3:
                assert abs(log_k(v, x) / mp.log(mp.besselk(mp.mpf(v), mp.mpf(x))) - 1) < 1e-24


def test_half_integers():
    # I_1/2 = sqrt(2 / (pi x)) sinh x, K_1/2 = sqrt(pi / (2 x)) exp(-x), K_3/2 = K_1/2 (1 + 1 / x).
    x = jnp.asarray(np.geomspace(1e-6, 1e6, 60))
    log_sinh = x + jnp.log(-jnp.expm1(-2 * x)) - np.log(2)
    log_root = np.log(2 / (np.pi * x)) / 2
    close = functools.partial(np.testing.assert_allclose, rtol=1e-14, atol=1e-14)
    half = jnp.full_like(x, 0.5)
    close(IV(half, x), log_root + log_sinh)
    close(KV(half, x), log_root + np.log(np.pi / 2) - x)
    close(KV(3 * half, x), log_root + np.log(np.pi / 2) - x + jnp.log1p(1 / x))


def orders_and_arguments():
    """v, x [m] over all regions where x stays below 100, so that logarithms are good to 1e-13."""
    r = np.random.default_rng(2)
    v, x = r.uniform(0, 40, 200), np.exp(r.uniform(-3, np.log(100), 200))
    return jnp.asarray(v), jnp.asarray(x)


def test_wronskian():
    # I_v K_{v+1} + I_{v+1} K_v = 1 / x
    v, x = orders_and_arguments()
    both = jnp.logaddexp(IV(v, x) + KV(v + 1, x), IV(v + 1, x) + KV(v, x))
    np.testing.assert_allclose(both + jnp.log(x), 0, atol=1e-12)


def test_recurrences():
    # I_{v-1} = I_{v+1} + (2 v / x) I_v, K_{v+1} = K_{v-1} + (2 v / x) K_v
    v, x = orders_and_arguments()
    for fn, sign in ((IV, -1), (KV, 1)):
        right = jnp.logaddexp(fn(v + 1 - sign, x), jnp.log(2 * (v + 1) / x) + fn(v + 1, x))
        np.testing.assert_allclose(fn(v + 1 + sign, x), right, rtol=1e-13, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_limits_and_signs(dtype):
    inf, nan = np.inf, np.nan
    v = jnp.asarray([0, 0.5, 3, 20, 0, 30, 1, -2, -0.5, nan, 1, 0], dtype)
    x = jnp.asarray([0, 0, 0, 0, inf, inf, -1, 2, 2, 1, nan, 1e-30], dtype)
    i2, k2, k05 = float(log_i(2, 2)), float(log_k(2, 2)), float(log_k(0.5, 2))
    k_small = float(log_k(0, float(x[-1])))
    exact_i = [0, -inf, -inf, -inf, inf, inf, nan, i2, nan, nan, nan, 0]
    exact_k = [inf, inf, inf, inf, -inf, -inf, nan, k2, k05, nan, nan, k_small]
    found_i, found_k = IV(v, x), KV(v, x)
    assert found_i.dtype == found_k.dtype == dtype
    for found, exact in ((found_i, exact_i), (found_k, exact_k)):
        np.testing.assert_allclose(found, exact, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


def test_shapes_and_dtypes():
    shape = jax.eval_shape(log_iv, jnp.zeros((3, 1)), jnp.ones((1, 2), jnp.float32))
    assert (shape.shape, shape.dtype) == ((3, 2), jnp.float64)
    assert jax.eval_shape(log_kv, 1, 2).dtype == jnp.float64
    assert jax.eval_shape(log_iv, jnp.float32(1), 2.0).dtype == jnp.float32
    assert jax.eval_shape(log_kv, jnp.bfloat16(1), jnp.bfloat16(2)).dtype == jnp.bfloat16
    with pytest.raises(ValueError, match="math.log_kv: v and x must be real; got complex"):
        log_kv(1j, 1.0)


SLOPES = {(fn, a): jax.jit(jax.vmap(jax.grad(fn, a))) for fn in (log_iv, log_kv) for a in (0, 1)}


def slope_errors(pairs):
    """Errors [4, m] of d/dv and d/dx of both, against central differences with 45 digits."""
    rows = []
    for v, x in pairs:
        with mp.workdps(45):
            h = mp.mpf(10) ** -9
            row = []
            for fn in (log_i, log_k):
                for dv, dx in ((h, 0), (0, h * mp.mpf(x))):
                    up, down = (fn(mp.mpf(v) + s * dv, mp.mpf(x) + s * dx) for s in (1, -1))
                    row.append(float((up - down) / (2 * (dv + dx))))
            rows.append(row)
    true = np.asarray(rows).T
    found = np.stack(padded(all_slopes, *pairs.T))
    return np.abs(found - true) / np.maximum(1, np.abs(true))


FEW_SLOPES = np.array(
    [(0.5, 1.0), (2.3, 1.7), (3.7, 0.01), (13.0, 24.0), (1.0, 30.0), (60.0, 40.0)]
)


def test_slopes_on_a_few_points():
    assert slope_errors(FEW_SLOPES).max() < 1e-10


@pytest.mark.slow
def test_slopes_on_many_points():
    pairs = many()
    pairs = pairs[pairs[:, 0] > 1e-3][::9]
    assert slope_errors(pairs).max() < 1e-10


def test_slopes_at_order_zero_and_at_zero():
    # d/dv log I_v = -K_0 / I_0 and d/dv log K_v = 0 at v = 0 (DLMF 10.38.4).
    x = jnp.asarray([1e-3, 0.5, 1.4, 3.0, 20.0, 30.0, 1e4])
    nil = jnp.zeros_like(x)
    slope_i, _, slope_k, _ = padded(all_slopes, nil, x)
    exact = -np.exp(KV(nil, x) - IV(nil, x))
    np.testing.assert_allclose(slope_i, exact, rtol=1e-9, atol=1e-13)
    np.testing.assert_allclose(slope_k, 0, atol=1e-13)
    v, x = jnp.asarray([0.0, 2.0, -1.0]), jnp.asarray([0.0, 0.0, 1.0])
    in_v, in_x, _, in_x_k = padded(all_slopes, v, x)
    np.testing.assert_array_equal(in_x[:2], [0, np.inf])
    np.testing.assert_array_equal(in_x_k[:2], [-np.inf, -np.inf])
    assert np.isnan(in_v[2])
    assert np.isfinite(in_x[2])


@pytest.mark.slow
def test_reverse_mode_is_forward_mode():
    v, x = jnp.asarray([0.7, 20.0]), jnp.asarray([1.1, 9.0])
    total = lambda v, x: jnp.sum(log_iv(v, x) + 2 * log_kv(v, x))
    back_v, back_x = jax.jit(jax.grad(total, (0, 1)))(v, x)
    iv, ix, kv, kx = padded(all_slopes, v, x)
    np.testing.assert_allclose(back_v, iv + 2 * kv, rtol=1e-13)
    np.testing.assert_allclose(back_x, ix + 2 * kx, rtol=1e-13)


@pytest.mark.slow
def test_second_derivatives_solve_bessels_equation():
    # x^2 y'' + x y' = (x^2 + v^2) y, so f = log y has f'' + f'^2 + f' / x = 1 + v^2 / x^2.
    v, x = jnp.asarray([0.3, 2.5, 9.9, 40.0]), jnp.asarray([0.7, 3.0, 30.0, 11.0])
    for fn in (log_iv, log_kv):
        first = jax.jit(jax.vmap(jax.grad(fn, 1)))(v, x)
        second = jax.jit(jax.vmap(jax.grad(jax.grad(fn, 1), 1)))(v, x)
        left = second + first**2 + first / x
        np.testing.assert_allclose(left, 1 + (v / x) ** 2, rtol=1e-10)


@pytest.mark.slow
def test_float32_slopes():
    v, x = jnp.asarray(few()[12:], jnp.float32).T
    found = padded(all_slopes, v, x)
    exact = padded(all_slopes, v.astype(float), x.astype(float))
    for one, other in zip(found, exact, strict=True):
        assert one.dtype == np.float32
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
