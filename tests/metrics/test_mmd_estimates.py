"""metrics.mmd: linear, block, weighted and with the standard error of its own terms."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import kernels, metrics

EXACT = 2 / 3 * (1 - np.exp(-1 / 3))  # N(0, I_2) against N((1, 1), I_2), rbf of bandwidth 1
KERNEL = kernels.rbf(1.0)
ESTIMATES = {
    "linear": functools.partial(metrics.mmd.linear, kernel=KERNEL),
    "block": functools.partial(metrics.mmd.block, kernel=KERNEL, size=5),
    "unbiased": functools.partial(metrics.mmd.unbiased, kernel=KERNEL),
}


def pairs(seed, repeats, n, m, d, shift):
    key_x, key_y = jax.random.split(jax.random.key(seed))
    xs = jax.random.normal(key_x, (repeats, n, d))
    return xs, jax.random.normal(key_y, (repeats, m, d)) + shift


@functools.cache
def many(name, shift):
    return jax.jit(jax.vmap(ESTIMATES[name]))(*pairs(0, 3000, 24, 24, 2, shift))


@pytest.mark.parametrize("name", ESTIMATES)
def test_unbiased_and_errors_cover(name):
    for shift, exact in ((1.0, EXACT), (0.0, 0.0)):
        value, error = (np.asarray(a) for a in many(name, shift))
        spread = value.std(ddof=1)
        assert abs(value.mean() - exact) < 5 * spread / np.sqrt(value.size)
        ratio = np.mean(error**2) / spread**2
        # 3000 values give their variance to 5 %; "unbiased" says how far it is off on equal laws.
        high = 1.45 if name == "unbiased" and shift == 0 else 1.15
        assert 0.87 < ratio < high, ratio


def test_variance_of_the_linear_estimator_falls_as_one_over_n():
    value = lambda x, y: metrics.mmd.linear(x, y, KERNEL).value
    sizes = np.array([16, 64, 256])
    spread = [np.var(jax.jit(jax.vmap(value))(*pairs(1, 2000, n, n, 2, 1.0))) for n in sizes]
    slope = np.polyfit(np.log(sizes), np.log(spread), 1)[0]
    assert abs(slope + 1) < 0.08, slope  # a variance of 2000 normals is good to 3 %


def test_exact_variance_by_enumeration():
    # On two points {0, 1} every term of Hoeffding's decomposition is a finite sum.
    n, m, p, q = 5, 4, 0.3, 0.6
    kernel = lambda x, y: 1.0 + 2.0 * x * y + jnp.where(x == y, 0.5, 0.0)
    xs = np.array(list(np.ndindex(*[2] * n)), float)
    ys = np.array(list(np.ndindex(*[2] * m)), float)
    weight = lambda a, law: np.prod(np.where(a == 1, law, 1 - law), axis=1)
    both = jax.jit(
        jax.vmap(jax.vmap(lambda x, y: metrics.mmd2(x, y, kernel), (None, 0)), (0, None))
    )
    value = np.asarray(both(jnp.asarray(xs), jnp.asarray(ys)))
    mass = weight(xs, p)[:, None] * weight(ys, q)[None]
    mean = np.sum(mass * value)
    variance = np.sum(mass * (value - mean) ** 2)

    k = np.array([[float(kernel(a, b)) for b in (0.0, 1.0)] for a in (0.0, 1.0)])
    px, py = np.array([1 - p, p]), np.array([1 - q, q])
    centred = lambda a, b: k - (k @ b)[:, None] - (a @ k)[None] + a @ k @ b
    square = lambda a, b: a @ centred(a, b) ** 2 @ b
    witness = k @ px - k @ py
    spread = lambda law: law @ witness**2 - (law @ witness) ** 2
    terms = 4 * spread(px) / n + 4 * spread(py) / m + 4 * square(px, py) / (n * m)
    terms += 2 * square(px, px) / (n * (n - 1)) + 2 * square(py, py) / (m * (m - 1))
    np.testing.assert_allclose(variance, terms, rtol=1e-10)
    np.testing.assert_allclose(mean, px @ k @ px + py @ k @ py - 2 * px @ k @ py, rtol=1e-10)


def test_block_of_everything_is_the_unbiased_value():
    xs, ys = pairs(2, 2, 9, 9, 3, 0.5)
    xs, ys = xs.reshape(18, 3), ys.reshape(18, 3)
    got = jax.jit(lambda x, y: metrics.mmd.block(x, y, KERNEL, size=9))(xs, ys)
    mmd2 = jax.jit(metrics.mmd2)
    halves = [mmd2(xs[s], ys[s], KERNEL) for s in (slice(9), slice(9, 18))]
    np.testing.assert_allclose(got.value, np.mean(halves), rtol=1e-12)
    np.testing.assert_allclose(got.standard_error, abs(halves[0] - halves[1]) / 2, rtol=1e-10)
    whole = jax.jit(lambda x, y: metrics.mmd.unbiased(x, y, KERNEL, chunk=4).value)(xs, ys[:11])
    np.testing.assert_allclose(whole, mmd2(xs, ys[:11], KERNEL), rtol=1e-11)


def test_weights_are_copies():
    rng = np.random.RandomState(3)
    xs, ys = jnp.asarray(rng.randn(4, 2)), jnp.asarray(rng.randn(3, 2) + 1)
    copies = jnp.array([1, 3, 2, 1])
    weighted = jax.jit(metrics.mmd.weighted, static_argnames=("estimator", "chunk"))
    mmd2 = jax.jit(metrics.mmd2, static_argnames="estimator")
    got = weighted(xs, ys, KERNEL, x_weights=copies.astype(float), chunk=2)
    again = jnp.repeat(xs, copies, axis=0)
    np.testing.assert_allclose(got, mmd2(again, ys, KERNEL, estimator="biased"), rtol=1e-12)
    for estimator in ("biased", "unbiased"):
        equal = weighted(xs, ys, KERNEL, estimator=estimator)
        np.testing.assert_allclose(equal, mmd2(xs, ys, KERNEL, estimator=estimator), rtol=1e-11)


def test_weights_of_importance_move_the_law():
    # Points of N(0, 1), weighted by exp(x - 1/2), are points of N(1, 1).
    xs, ys = pairs(4, 200, 300, 200, 1, 1.0)
    value = lambda x, y: metrics.mmd.weighted(
        x, y, KERNEL, x_weights=jnp.exp(x[:, 0]), estimator="unbiased"
    )
    values = np.asarray(jax.jit(jax.vmap(value))(xs, ys))
    plain = 2 / np.sqrt(3) * (1 - np.exp(-1 / 6))
    assert abs(values.mean()) < 0.05 * plain


@pytest.mark.parametrize("name", ESTIMATES)
def test_equal_points_and_duplicates(name):
    fn = ESTIMATES[name]
    ones = jnp.ones((12, 2))
    total = lambda x, y: sum(fn(x, y))
    both = jax.jit(jax.value_and_grad(total))
    value, slope = both(ones, ones)
    np.testing.assert_allclose(value, 0, atol=1e-7)
    assert jnp.all(jnp.isfinite(slope))
    twice = jnp.repeat(jax.random.normal(jax.random.key(0), (6, 2)), 2, axis=0)
    value, slope = both(twice, ones)
    assert jnp.isfinite(value)
    assert jnp.all(jnp.isfinite(slope))


def test_bad_input():
    xs = jnp.zeros((8, 2))
    with pytest.raises(ValueError, match="linear: xs and ys must hold as many points; got 8 and 7"):
        metrics.mmd.linear(xs, xs[:7], KERNEL)
    with pytest.raises(ValueError, match="block: xs must hold at least 4 points; got 3"):
        metrics.mmd.block(xs[:3], xs[:3], KERNEL)
    with pytest.raises(ValueError, match="block: size must be an integer between 2 and 4; got 5"):
        metrics.mmd.block(xs, xs, KERNEL, size=5)
    with pytest.raises(ValueError, match="unbiased: xs must be finite; got 1 nan or infinite"):
        metrics.mmd.unbiased(xs.at[0, 0].set(jnp.nan), xs, KERNEL)
    with pytest.raises(ValueError, match="weighted: x_weights must not sum to 0"):
        metrics.mmd.weighted(xs, xs, KERNEL, x_weights=jnp.zeros(8))
    with pytest.raises(ValueError, match="weighted: y_weights must be one for each point"):
        metrics.mmd.weighted(xs, xs, KERNEL, y_weights=jnp.ones(7))
    with pytest.raises(ValueError, match="one event shape"):
        metrics.mmd.linear(xs, xs[:, :1], KERNEL)
