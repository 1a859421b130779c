import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import kernels, metrics

ksd2, ksd_test = metrics.stein.ksd2, metrics.stein.ksd_test
standard = lambda x: -x  # the score of N(0, I)
# E k(x, x') for x, x' of N(m, I_2): x - x' is N(0, 2 I_2), |x - x'|² is exponential of mean 4.
E1 = 0.5963473623231941  # e ∫_1^∞ exp(-t) / t dt, scipy.special.exp1(1) * e
MEANS = {
    "rbf": (kernels.rbf(1.5), 1.5**2 / (1.5**2 + 2)),
    # imq of bandwidth 2 and power 1: E 1 / (1 + 4 v / 4) with v exponential of mean 1
    "imq": (kernels.imq(2.0, 1.0), E1),
}


def cloud(seed, n, *event):
    return jnp.asarray(np.random.RandomState(seed).randn(n, *event))


@pytest.mark.parametrize("name", MEANS)
def test_closed_form_under_a_shift(name):
    kernel, mean = MEANS[name]
    shift = jnp.array([0.7, -0.4])
    draws = jax.random.normal(jax.random.key(0), (4000, 8, 2))
    values = jax.jit(jax.vmap(lambda x: ksd2(x, standard, kernel)))
    for offset, exact in ((shift, 0.65 * mean), (jnp.zeros(2), 0.0)):
        got = np.asarray(values(draws + offset[None, None]))
        error = got.std(ddof=1) / np.sqrt(got.size)
        assert abs(got.mean() - exact) < 5 * error, (got.mean(), exact)
        assert error < 0.02


def twin(kernel, x, s, y, r):
    """The Stein kernel from full Jacobians."""
    mixed = jax.jacfwd(jax.grad(kernel, argnums=1), argnums=0)(x, y)
    dx, dy = jax.grad(kernel, argnums=(0, 1))(x, y)
    return kernel(x, y) * s @ r + s @ dy + r @ dx + jnp.trace(mixed)


@pytest.mark.parametrize("d", [3, 12])  # below and above where pairs go by matrix products
def test_fast_path_is_differentiation(d):
    xs, ys = cloud(1, 6, d) + 3, cloud(2, 5, d) + 3
    s, r = cloud(3, 6, d), cloud(4, 5, d)
    zs, ws = jnp.stack([xs, s], 1), jnp.stack([ys, r], 1)
    pairs = lambda fn: jax.vmap(lambda x, s: jax.vmap(lambda y, r: fn(x, s, y, r))(ys, r))(xs, s)
    for kernel in (kernels.imq(2.0), kernels.matern(2.5, 3.0)):
        plain = lambda x, y, kernel=kernel: kernel(x, y)  # not known to be radial
        want = jax.jit(lambda k=plain: pairs(functools.partial(twin, k)))()
        fast = kernels.gram(kernels.stein(kernel), zs, ws)
        slow = jax.jit(lambda k=plain: kernels.gram(kernels.stein(k), zs, ws))()
        np.testing.assert_allclose(fast, want, rtol=1e-9, atol=1e-11)
        np.testing.assert_allclose(slow, want, rtol=1e-9, atol=1e-11)


def test_biased_is_never_negative_and_adds_the_diagonal():
    xs = cloud(5, 20, 2, 2)
    u, n = kernels.stein(kernels.imq()), 20
    zs = jnp.stack([xs, -xs], axis=1)
    whole = kernels.gram(u, zs, zs)
    biased = ksd2(xs, standard, estimator="biased", chunk=6)
    np.testing.assert_allclose(biased, whole.mean(), rtol=1e-12)
    off = (whole.sum() - jnp.trace(whole)) / (n * (n - 1))
    np.testing.assert_allclose(ksd2(xs, -xs), off, rtol=1e-11)
    assert biased > 0


def test_bias_falls_as_one_over_n():
    # E u(x, x) = E |s|² + 2 * |slope at 0| d = 2 + 2 for d = 2 and rbf(1): the bias is 4 / n.
    value = jax.vmap(lambda x: ksd2(x, standard, kernels.rbf(1.0), estimator="biased"))
    for n in (5, 40):
        got = np.asarray(jax.jit(value)(jax.random.normal(jax.random.key(n), (2000, n, 2))))
        assert abs(n * got.mean() - 4) < 5 * n * got.std() / np.sqrt(got.size)


def test_bootstrap_size_and_power():
    @jax.jit
    @jax.vmap
    def p_values(key):
        key_x, key_test, key_far = jax.random.split(key, 3)
        xs = jax.random.normal(key_x, (40, 2))
        null = ksd_test(key_test, xs, standard, num_bootstrap=59)
        return null.p_value, ksd_test(key_far, xs + 1, standard, num_bootstrap=59).p_value

    null, far = p_values(jax.random.split(jax.random.key(8), 300))
    assert abs(np.mean(null <= 0.05) - 0.05) < 5 * np.sqrt(0.05 * 0.95 / 300) + 0.01
    assert np.mean(far <= 0.05) > 0.95


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_equal_points_have_finite_slopes(dtype):
    xs = jnp.ones((5, 3), dtype)
    for kernel in (None, kernels.matern(2.5)):
        value, slope = jax.jit(jax.value_and_grad(lambda x, k=kernel: ksd2(x, standard, k)))(xs)
        assert value.dtype == dtype
        assert jnp.isfinite(value)
        assert jnp.all(jnp.isfinite(slope))


def test_gradient_against_finite_differences():
    xs, direction = cloud(6, 12, 10), cloud(7, 12, 10)
    value = jax.jit(functools.partial(ksd2, score=standard, chunk=5))
    slope = jnp.vdot(jax.jit(jax.grad(value))(xs), direction)
    near = (value(xs + 1e-6 * direction) - value(xs - 1e-6 * direction)) / 2e-6
    np.testing.assert_allclose(slope, near, rtol=1e-6)


def test_bad_input():
    xs = cloud(0, 4, 2)
    with pytest.raises(ValueError, match="ksd2: xs must hold at least 2 points; got 1"):
        ksd2(xs[:1], standard)
    with pytest.raises(ValueError, match=r"ksd2: score must give one for each point, .*; got \(4,"):
        ksd2(xs, xs[:, :1])
    with pytest.raises(ValueError, match="ksd2: score must be finite"):
        ksd2(xs, lambda x: x / 0)
    with pytest.raises(ValueError, match="num_bootstrap must be an integer of at least 1"):
        ksd_test(jax.random.key(0), xs, standard, num_bootstrap=0)
    with pytest.raises(ValueError, match=r"ksd2: estimator must be"):
        ksd2(xs, standard, estimator="v")
