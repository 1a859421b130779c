import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.neighbors

from jaxgen import metrics

precision, recall, density, coverage = (
    jax.jit(fn, static_argnames=("k", "chunk"))
    for fn in (metrics.precision, metrics.recall, metrics.density, metrics.coverage)
)
nearest = jax.jit(metrics.nearest, static_argnames="chunk")


def cloud(seed, n, *event):
    return jnp.asarray(np.random.RandomState(seed).randn(n, *event))


def twin(xs, ys, k):
    """Precision, recall, density, coverage from scikit-learn's distances and plain loops."""
    xs, ys = np.asarray(xs), np.asarray(ys)
    reach = lambda a: (
        sklearn.neighbors.NearestNeighbors(n_neighbors=k + 1).fit(a).kneighbors(a)[0][:, -1]
    )
    between = np.linalg.norm(xs[:, None] - ys[None], axis=-1)
    in_x, in_y = between <= reach(xs)[:, None], between <= reach(ys)[None]
    return in_x.any(0).mean(), in_y.any(1).mean(), in_x.sum(0).mean() / k, in_x.any(1).mean()


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize("chunk", [7, 1000])
def test_against_plain_loops(k, chunk):
    xs, ys = cloud(0, 60, 2), cloud(1, 40, 2) * 1.5 + 0.5
    ours = [fn(xs, ys, k=k, chunk=chunk) for fn in (precision, recall, density, coverage)]
    np.testing.assert_allclose(ours, twin(xs, ys, k), rtol=1e-12)
    assert ours[0] != ours[1]


def test_identical_clouds():
    for xs in (cloud(2, 30, 3), jnp.ones((30, 3)), cloud(2, 30, 3).astype(jnp.float32)):
        for fn in (precision, recall, coverage):
            assert fn(xs, xs) == 1
    np.testing.assert_allclose(density(cloud(2, 30, 3), cloud(2, 30, 3), k=5), 6 / 5)


def test_far_clouds():
    xs, ys = cloud(2, 30, 3), cloud(3, 30, 3) + 100
    for fn in (precision, recall, density, coverage):
        assert fn(xs, ys) == 0


def test_a_mode_lost_shows_in_recall_and_one_invented_in_precision():
    two = jnp.concatenate([cloud(4, 50, 2), cloud(5, 50, 2) + 50])
    one = cloud(6, 50, 2)
    assert precision(two, one) > 0.8 > 0.55 > recall(two, one)
    assert recall(one, two) > 0.8 > 0.55 > precision(one, two)


def test_means_on_equal_laws():
    # Density: exactly 1.  Coverage: 1 - prod_{i<k} (n - 1 - i) / (n + m - 1 - i).
    n, m, k = 20, 12, 3
    draws = jax.random.normal(jax.random.key(0), (3000, n + m, 2))
    for fn, exact in (
        (density, 1.0),
        (coverage, 1 - np.prod([(n - 1 - i) / (n + m - 1 - i) for i in range(k)])),
    ):
        values = jax.jit(jax.vmap(lambda z, fn=fn: fn(z[:n], z[n:], k=k)))(draws)
        error = values.std() / np.sqrt(len(values))
        assert error < 0.005
        assert abs(values.mean() - exact) < 5 * error


@pytest.mark.parametrize("chunk", [3, 1000])
def test_nearest_against_scikit_learn(chunk):
    xs, ys = cloud(7, 20, 2, 3), cloud(8, 50, 2, 3)
    got = nearest(xs, ys, chunk=chunk)
    tree = sklearn.neighbors.NearestNeighbors(n_neighbors=1).fit(ys.reshape(50, 6))
    distance, index = tree.kneighbors(xs.reshape(20, 6))
    np.testing.assert_array_equal(got.index, index[:, 0])
    np.testing.assert_allclose(got.distance, distance[:, 0], rtol=1e-12)


def test_a_copy_far_from_the_origin_is_at_distance_zero_in_float32():
    ys = (cloud(9, 50, 784) * 0.01 + 1000).astype(jnp.float32)
    got = nearest(ys[::7], ys, chunk=4)
    np.testing.assert_array_equal(got.index, np.arange(50)[::7])
    np.testing.assert_array_equal(got.distance, 0)


def test_bad_input():
    xs = cloud(0, 5, 2)
    for k in (0, 5, 2.0):
        with pytest.raises(ValueError, match=r"precision: k must be an integer between 1 and .* 4"):
            metrics.precision(xs, xs, k=k)
    with pytest.raises(ValueError, match=r"recall: k must be .* 2; got 3"):
        metrics.recall(xs, xs[:3], k=3)
    with pytest.raises(ValueError, match=r"nearest: .* one event shape"):
        metrics.nearest(xs, xs[:, :1])


@pytest.mark.parametrize("dtype", [pytest.param(jnp.float32, marks=pytest.mark.slow), jnp.float64])
def test_ties_and_near_copies_are_those_of_differences(dtype):
    # Steps of 1e-3 at 300 are lost in an expanded square of float32; differences keep them.
    rng = np.random.RandomState(3)
    ys = jnp.asarray(rng.randint(0, 3, (300, 20)) * (rng.rand(300, 1) < 0.1) * 2.0**-10, dtype)
    ys = ys + jnp.asarray(300.0 * (np.arange(300)[:, None] % 2), dtype)
    xs = ys[::-2] + jnp.asarray(2.0**-12, dtype)
    square = np.sum((np.asarray(xs)[:, None] - np.asarray(ys)[None]) ** 2, axis=-1)
    got = nearest(xs, ys, chunk=40)
    np.testing.assert_array_equal(got.index, square.argmin(axis=1))  # the first of many ties
    np.testing.assert_allclose(got.distance, np.sqrt(square.min(axis=1)), rtol=1e-6)
    reach = np.sort(np.sum((np.asarray(ys)[:, None] - np.asarray(ys)[None]) ** 2, -1), axis=1)[:, 4]
    held = reach[:, None] >= square.T
    np.testing.assert_allclose(density(ys, xs, k=4, chunk=64), held.sum() / 4 / len(xs), rtol=1e-6)
    np.testing.assert_allclose(precision(ys, xs, k=4, chunk=64), held.any(0).mean(), rtol=1e-6)
    np.testing.assert_allclose(coverage(ys, xs, k=4), held.any(1).mean(), rtol=1e-6)


def test_the_distance_has_a_slope_and_a_copy_none():
    xs, ys = cloud(10, 6, 3), cloud(11, 9, 3)
    ys = ys.at[4].set(xs[2])
    slope = jax.jit(jax.grad(lambda x: metrics.nearest(x, ys).distance.sum()))(xs)
    index = nearest(xs, ys).index
    away = xs - ys[index]
    length = jnp.linalg.norm(away, axis=1, keepdims=True)
    np.testing.assert_allclose(slope, away / jnp.where(length > 0, length, 1), atol=1e-12)
    assert index[2] == 4
    np.testing.assert_array_equal(slope[2], 0)
