import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from jaxgen.metrics import diversity

copying_test = jax.jit(diversity.copying_test, static_argnames="chunk")
copy_rate = jax.jit(diversity.copy_rate, static_argnames="chunk")


def cloud(seed, n, *event):
    return jnp.asarray(np.random.RandomState(seed).gamma(2.0, size=(n, *event)))


@pytest.mark.parametrize("chunk", [7, pytest.param(1000, marks=pytest.mark.slow)])
def test_the_test_is_mann_whitney(chunk):
    training, held_out, samples = cloud(0, 30, 3), cloud(1, 25, 3), cloud(2, 40, 3)
    samples = samples.at[:10].set(training[:10])  # ten ties, at distance 0
    got = copying_test(training, held_out, samples, chunk=chunk)
    reach = lambda x: np.linalg.norm(x[:, None] - training[None], axis=-1).min(1)
    exact = scipy.stats.mannwhitneyu(
        reach(samples), reach(held_out), alternative="less", use_continuity=False
    )
    np.testing.assert_allclose(got.p_value, exact.pvalue, rtol=1e-9)
    np.testing.assert_allclose(got.closer, 1 - exact.statistic / (40 * 25), rtol=1e-12)
    np.testing.assert_allclose(scipy.stats.norm.cdf(got.z), exact.pvalue, rtol=1e-9)


def test_copies_are_found_and_fresh_samples_are_not():
    training, held_out, fresh = (cloud(seed, 200, 2, 2) for seed in (13, 14, 15))
    noise = 0.01 * jax.random.normal(jax.random.key(0), (60, 2, 2))
    copied = fresh.at[:60].set(training[:60] + noise)
    assert copying_test(training, held_out, fresh).p_value > 0.05
    assert copying_test(training, held_out, copied).p_value < 1e-4
    clean, found = copy_rate(training, held_out, fresh), copy_rate(training, held_out, copied)
    assert abs(clean.value - 0.5) < 2 * clean.standard_error
    assert found.value > 0.5 + 3 * found.standard_error
    assert copy_rate(training, held_out, training).value == 1
    assert copy_rate(training, held_out, held_out).value == 0


def test_the_error_of_the_copy_rate_by_hand():
    """Counts of samples by their nearest point of either set, with divisors n - 1 and m - 1."""
    training, held_out, samples = (cloud(seed, n, 2) for seed, n in ((5, 4), (6, 3), (7, 9)))
    apart = lambda x: np.linalg.norm(np.asarray(samples)[:, None] - np.asarray(x)[None], axis=-1)
    near, fresh = apart(training), apart(held_out)
    copies = near.min(1) < fresh.min(1)
    rate = copies.mean()
    to_training = [np.sum(copies & (near.argmin(1) == i)) for i in range(4)]
    to_held_out = [np.sum(~copies & (fresh.argmin(1) == i)) for i in range(3)]
    variance = 4 * np.var(to_training, ddof=1) * (1 - rate) ** 2
    variance += 3 * np.var(to_held_out, ddof=1) * rate**2
    got = copy_rate(training, held_out, samples)
    assert min(np.var(to_training), np.var(to_held_out)) > 0
    np.testing.assert_allclose(got, (rate, np.sqrt(variance) / 9), rtol=1e-12)


def null(number, n, m, k):
    """Both answers on fresh samples of a skewed law, `number` times."""

    def one(key):
        x = jax.random.exponential(key, (n + m + k, 2))
        sets = x[:n], x[n : n + m], x[n + m :]
        return diversity.copying_test(*sets), diversity.copy_rate(*sets)

    keys = jax.random.split(jax.random.key(6), number)
    return jax.tree.map(np.asarray, jax.jit(lambda keys: jax.lax.map(one, keys))(keys))


def test_calibrated_on_fresh_samples():
    number, (n, m, k) = 1000, (30, 20, 60)
    test, rate = null(number, n, m, k)
    for level in (0.01, 0.05, 0.3):
        error = np.sqrt(level * (1 - level) / number)
        assert abs(np.mean(test.p_value < level) - level) < 5 * error
    spread = rate.value.std()
    assert abs(rate.value.mean() - n / (n + m)) < 5 * spread / np.sqrt(number)
    honest = np.sqrt(np.mean(rate.standard_error**2)) / spread
    assert 0.89 < honest < 1.11  # 1 / √2000 is 0.022
    assert np.sqrt(n * m / (n + m) ** 2 / k) < 0.85 * spread  # a binomial error is too small


def test_equal_points():
    same = jnp.ones((5, 2), jnp.float32)
    got = copying_test(same, same, same)
    assert (got.z, got.p_value, got.closer) == (0, 0.5, 0.5)
    assert got.z.dtype == jnp.float32
    rate = copy_rate(same, same, same)
    assert rate.value == 0.5
    assert jnp.isfinite(rate.standard_error)


def test_bad_input():
    xs = cloud(0, 4, 2)
    with pytest.raises(ValueError, match=r"copy_rate: held_out must hold at least 2 points; got 1"):
        diversity.copy_rate(xs, xs[:1], xs)
    with pytest.raises(ValueError, match=r"copying_test: .* one event shape"):
        diversity.copying_test(xs, xs[:, :1], xs)
