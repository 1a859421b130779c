import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from jaxgen import metrics

wasserstein_1d = jax.jit(metrics.wasserstein_1d, static_argnames="p")
sliced_wasserstein = jax.jit(metrics.sliced_wasserstein, static_argnames=("num_projections", "p"))


def cloud(seed, n, *event):
    return jnp.asarray(np.random.RandomState(seed).randn(n, *event))


@pytest.mark.parametrize(("n", "m"), [(50, 50), (50, 35), (1, 9)])
def test_first_power_agrees_with_scipy(n, m):
    xs, ys = cloud(0, n), cloud(1, m) * 2 + 1
    exact = scipy.stats.wasserstein_distance(xs, ys)
    np.testing.assert_allclose(wasserstein_1d(xs, ys), exact, rtol=1e-13)


@pytest.mark.parametrize("p", [1, 1.5, 2, 3])
def test_unequal_sizes_by_repeating_points(p):
    xs, ys = cloud(2, 6), cloud(3, 4) + 1
    exact = np.mean(np.abs(np.sort(np.repeat(xs, 2)) - np.sort(np.repeat(ys, 3))) ** p)
    np.testing.assert_allclose(wasserstein_1d(xs, ys, p=p), exact, rtol=1e-13)


def test_translation_on_the_line():
    xs = cloud(4, 30)
    np.testing.assert_allclose(wasserstein_1d(xs[::-1], xs + 0.7, p=2), 0.49, rtol=1e-12)


def test_sliced_translation():
    # SW_2^2 = mean over directions of <theta, m>^2 = |m|^2 / d; a direction's value has variance
    # |m|^4 2 (d - 1) / (d^2 (d + 2)).
    xs, shift = cloud(5, 20, 3), jnp.array([1.0, -2.0, 0.5])
    square, d, number = float(shift @ shift), 3, 4000
    got = sliced_wasserstein(jax.random.key(0), xs, xs + shift[None], num_projections=number)
    error = square * np.sqrt(2 * (d - 1) / (d**2 * (d + 2)) / number)
    assert abs(got - square / d) < 5 * error


def test_sliced_in_one_dimension_is_the_line():
    xs, ys = cloud(6, 20, 1), cloud(7, 15, 1)
    got = sliced_wasserstein(jax.random.key(0), xs, ys, num_projections=3, p=2)
    np.testing.assert_allclose(got, wasserstein_1d(xs[:, 0], ys[:, 0], p=2), rtol=1e-12)


def test_sliced_of_a_scaled_copy():
    # ys = c xs about 0 with one point at distance r on each axis end: (1 - c)^2 E|x|^2 / d.
    xs = jnp.concatenate([jnp.eye(4), -jnp.eye(4)])
    got = sliced_wasserstein(jax.random.key(1), xs, 3 * xs, num_projections=3)
    np.testing.assert_allclose(got, 4 * 1 / 4, rtol=1e-12)  # exact for every direction


def test_bad_input():
    xs = cloud(0, 4, 2)
    with pytest.raises(
        ValueError, match=r"wasserstein_1d: p must be at least 1 and finite; got 0.5"
    ):
        metrics.wasserstein_1d(xs[:, 0], xs[:, 0], p=0.5)
    with pytest.raises(ValueError, match=r"wasserstein_1d: .* on the line"):
        metrics.wasserstein_1d(xs, xs)
    with pytest.raises(ValueError, match=r"num_projections must be at least 1; got 0"):
        metrics.sliced_wasserstein(jax.random.key(0), xs, xs, num_projections=0)
