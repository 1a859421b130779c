import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from jaxgen import kernels, metrics

options = {"static_argnames": ("estimator", "chunk")}
mmd2 = jax.jit(metrics.mmd2, **options)  # compiled whole, which is several times faster to test
energy_distance = jax.jit(metrics.energy_distance, **options)
kernel_distance = jax.jit(metrics.kernel_distance, static_argnames="chunk")
EXACT = 2 / 3 * (1 - np.exp(-1 / 3))  # N(0, I_2) against N((1, 1), I_2), rbf of bandwidth 1


def cloud(seed, n, *event):
    return jnp.asarray(np.random.RandomState(seed).randn(n, *event))


def pairs(seed, repeats, n, m, d, shift):
    key_x, key_y = jax.random.split(jax.random.key(seed))
    xs = jax.random.normal(key_x, (repeats, n, d))
    return xs, jax.random.normal(key_y, (repeats, m, d)) + shift


def within(values, exact, count=5.0):
    """The mean of independent estimates is within `count` of its standard errors of the truth."""
    values = np.asarray(values)
    error = values.std(ddof=1) / np.sqrt(values.size)
    assert abs(values.mean() - exact) < count * error, (values.mean(), exact, error)
    return error


def test_the_closed_form_is_the_known_number():
    assert abs(EXACT - 0.188979) < 5e-7


def test_unbiased_at_small_samples():
    xs, ys = pairs(0, 4000, 7, 5, 2, 1.0)
    kernel = kernels.rbf(1.0)
    values = jax.jit(jax.vmap(lambda x, y: mmd2(x, y, kernel)))(xs, ys)
    error = within(values, EXACT)
    biased = functools.partial(mmd2, kernel=kernel, estimator="biased")
    # Points paired with themselves add (1 - E k) / n on each side: E k = 1/3.
    within(jax.jit(jax.vmap(biased))(xs, ys), EXACT + (1 - 1 / 3) * (1 / 7 + 1 / 5))
    assert error < 0.01


def test_by_loops():
    xs, ys = cloud(1, 5, 2), cloud(2, 4, 2) + 0.5
    kernel = kernels.imq(0.8)
    k = lambda a, b: float(kernel(a, b))
    xx = np.mean([k(a, b) for i, a in enumerate(xs) for j, b in enumerate(xs) if i != j])
    yy = np.mean([k(a, b) for i, a in enumerate(ys) for j, b in enumerate(ys) if i != j])
    xy = np.mean([k(a, b) for a in xs for b in ys])
    np.testing.assert_allclose(mmd2(xs, ys, kernel), xx + yy - 2 * xy, rtol=1e-13)


def test_biased_is_zero_on_a_copy_and_never_negative():
    xs = cloud(3, 30, 3)
    for kernel in (kernels.rbf(), kernels.laplace(), kernels.imq(), kernels.polynomial(2)):
        biased = jax.jit(functools.partial(mmd2, kernel=kernel, estimator="biased"))
        assert abs(biased(xs, xs[::-1])) < 1e-12 * abs(kernel(xs[0], xs[0]))
        assert biased(xs, cloud(4, 20, 3)) > 0


def test_cubic_kernel_in_closed_form():
    # d = 1: k = (xy + 1)^3 = sum over moments; N(0, 1) against N(1, 1) has moments
    # (0, 1, 0) and (1, 2, 4): MMD^2 = 3 (1)^2 + 3 (1)^2 + (4)^2 = 22.
    xs, ys = pairs(5, 4000, 20, 20, 1, 1.0)
    within(jax.jit(jax.vmap(lambda x, y: kernel_distance(x, y).value))(xs, ys), 22.0)


def test_kernel_distance_value_is_mmd2():
    xs, ys = cloud(6, 40, 2, 3), cloud(7, 30, 2, 3) + 0.2
    got = kernel_distance(xs, ys).value
    np.testing.assert_allclose(got, mmd2(xs, ys, kernels.polynomial(3)), rtol=1e-13)


def test_standard_error_is_the_jackknife():
    xs, ys = cloud(8, 9, 2), cloud(9, 7, 2) + 1
    value = jax.jit(lambda a, b: mmd2(a, b, kernels.polynomial(3)))
    spread = 0.0
    for fn, a in ((lambda x: value(x, ys), xs), (lambda y: value(xs, y), ys)):
        left = np.array([fn(np.delete(a, i, axis=0)) for i in range(len(a))])
        spread += (len(a) - 1) / len(a) * np.sum((left - left.mean()) ** 2)
    got = kernel_distance(xs, ys).standard_error
    np.testing.assert_allclose(got, np.sqrt(spread), rtol=1e-12)


@pytest.mark.parametrize(("shift", "low", "high"), [(1.0, 0.95, 1.15), (0.0, 0.95, 1.5)])
def test_standard_error_covers(shift, low, high):
    # Right where laws differ; where they are equal, too large by at most sqrt(2).
    xs, ys = pairs(10, 2000, 40, 30, 3, shift)
    distance = functools.partial(kernel_distance, kernel=kernels.rbf())
    estimate = jax.jit(jax.vmap(distance))(xs, ys)
    ratio = np.sqrt(np.mean(estimate.standard_error**2)) / np.std(estimate.value)
    assert low < ratio < high, ratio


def test_energy_distance_agrees_with_scipy_on_the_line():
    xs, ys = cloud(11, 50), cloud(12, 35) * 2 + 1
    got = energy_distance(xs, ys, estimator="biased")
    np.testing.assert_allclose(got, scipy.stats.energy_distance(xs, ys) ** 2, rtol=1e-12)


def test_energy_distance_of_normals():
    # E|N(m, 2)| = 2 exp(-m^2/4)/sqrt(pi) + m erf(m/2)
    mean_abs = lambda m: 2 * np.exp(-(m**2) / 4) / np.sqrt(np.pi) + m * scipy.special.erf(m / 2)
    xs, ys = pairs(13, 4000, 10, 8, 1, 1.5)
    values = jax.jit(jax.vmap(metrics.energy_distance))(xs, ys)
    within(values, 2 * mean_abs(1.5) - 2 * mean_abs(0.0))


def test_energy_gradient_is_finite_on_duplicates():
    xs = jnp.ones((4, 2))
    assert jnp.all(jnp.isfinite(jax.jit(jax.grad(metrics.energy_distance))(xs, xs)))


@pytest.mark.parametrize("chunk", [3, 16, 1000])
def test_chunks_change_nothing(chunk):
    xs, ys = cloud(14, 25, 2), cloud(15, 19, 2)
    got = jax.jit(functools.partial(mmd2, kernel=kernels.rbf(), chunk=chunk))(xs, ys)
    np.testing.assert_allclose(got, mmd2(xs, ys, kernels.rbf()), rtol=1e-12, atol=1e-15)


def test_bad_input():
    xs = cloud(0, 4, 2)
    with pytest.raises(ValueError, match=r'estimator must be "unbiased" or "biased"; got .linear.'):
        metrics.mmd2(xs, xs, kernels.rbf(), estimator="linear")
    with pytest.raises(ValueError, match=r"kernel_distance: xs must hold at least 3 points; got 2"):
        metrics.kernel_distance(xs[:2], xs)
