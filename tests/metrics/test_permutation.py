import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import kernels, metrics

permutation_test = metrics.two_sample.permutation_test
KERNEL = kernels.rbf(1.5)


def cloud(seed, n, *event):
    return jnp.asarray(np.random.RandomState(seed).randn(n, *event))


@pytest.mark.parametrize("estimator", ["unbiased", "biased"])
def test_one_gram_pass_is_the_statistic_on_every_permutation(estimator):
    xs, ys, key = cloud(0, 7, 2), cloud(1, 5, 2) + 0.5, lambda: jax.random.key(3)
    value = functools.partial(metrics.mmd2, kernel=KERNEL, estimator=estimator)
    options = {"num_permutations": 20}
    fast = jax.jit(
        lambda: permutation_test(key(), xs, ys, KERNEL, estimator=estimator, **options)
    )()
    slow = jax.jit(lambda: permutation_test(key(), xs, ys, statistic=value, **options))()
    for a, b in zip(fast, slow, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(fast.statistic, value(xs, ys), rtol=1e-11)
    assert fast.p_value == (1 + np.sum(fast.null >= fast.statistic)) / 21


def test_exact_size_by_all_deals():
    # Without ties p is uniform on the multiples of 1 / (1 + B): its mean is (2 + B) / (2 + 2B).
    count = 19

    def p_value(key):
        key_x, key_y, key_test = jax.random.split(key, 3)
        xs, ys = jax.random.normal(key_x, (6, 1)), jax.random.normal(key_y, (9, 1))
        return permutation_test(key_test, xs, ys, KERNEL, num_permutations=count).p_value

    values = np.asarray(jax.jit(jax.vmap(p_value))(jax.random.split(jax.random.key(0), 2000)))
    exact = (2 + count) / (2 + 2 * count)
    assert abs(values.mean() - exact) < 5 * values.std() / np.sqrt(values.size)
    for level in (0.05, 0.2, 0.5):
        assert abs(np.mean(values <= level + 1e-9) - level) < 5 * np.sqrt(level / values.size)


def test_far_laws_are_told_apart_and_p_is_never_zero():
    xs, ys = cloud(2, 20, 3), cloud(3, 25, 3) + 2
    options = {"static_argnames": ("num_permutations", "chunk")}
    test = jax.jit(permutation_test, **options)
    got = test(jax.random.key(0), xs, ys, KERNEL, num_permutations=99)
    assert got.p_value == 1 / 100
    energy = test(
        jax.random.key(0), xs, ys, kernels.minus_distance(), num_permutations=99, chunk=16
    )
    assert energy.p_value == 1 / 100
    np.testing.assert_allclose(energy.statistic, metrics.energy_distance(xs, ys), rtol=1e-10)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_equal_points_tie(dtype):
    ones = jnp.full((9, 2), 0.3, dtype)
    for options in ({"kernel": KERNEL}, {"statistic": metrics.energy_distance}):
        test = functools.partial(permutation_test, num_permutations=30, **options)
        got = jax.jit(test)(jax.random.key(0), ones, ones[:6])
        assert got.p_value == 1
        assert got.p_value.dtype == dtype


def rejections(n, d, shift, tests, count, seed):
    def p_value(key):
        key_x, key_y, key_test = jax.random.split(key, 3)
        xs = jax.random.normal(key_x, (n, d))
        ys = jax.random.normal(key_y, (n, d)) + shift
        kernel = kernels.rbf(kernels.median_bandwidth(xs, ys))
        return permutation_test(key_test, xs, ys, kernel, num_permutations=count).p_value

    keys = jax.random.split(jax.random.key(seed), tests)
    return np.asarray(jax.jit(lambda keys: jax.lax.map(p_value, keys))(keys)) <= 0.05


@pytest.mark.slow
def test_type_one_error_over_a_thousand_tests_and_power():
    null = rejections(50, 10, 0.0, 1000, 199, 1).mean()
    assert abs(null - 0.05) < 0.015, null
    power = rejections(100, 10, 0.2, 200, 199, 2).mean()
    assert power > 0.5, power


def test_bad_input():
    xs, key = cloud(0, 4, 2), jax.random.key(0)
    with pytest.raises(ValueError, match="exactly one of kernel and statistic must be given"):
        permutation_test(key, xs, xs)
    with pytest.raises(
        ValueError, match="num_permutations must be an integer of at least 1; got 0"
    ):
        permutation_test(key, xs, xs, KERNEL, num_permutations=0)
    with pytest.raises(ValueError, match="permutation_test: xs must hold at least 2 points; got 1"):
        permutation_test(key, xs[:1], xs, KERNEL)
    with pytest.raises(ValueError, match="permutation_test: .* one event shape"):
        permutation_test(key, xs, xs[:, :1], KERNEL)
    with pytest.raises(ValueError, match="permutation_test: ys must be finite"):
        permutation_test(key, xs, xs.at[0].set(jnp.inf), KERNEL)
