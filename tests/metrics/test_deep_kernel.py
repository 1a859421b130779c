"""Deep kernels: formulas by hand, variances by simulation, learning by what it gains."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats

from jaxgen import kernels, metrics
from jaxgen.metrics import two_sample

linear = two_sample.deep_kernel(lambda matrix, x: matrix @ x)


def numbers(d, f=3, mix=-1.0):
    matrix = jnp.asarray(np.random.RandomState(7).randn(f, d))
    return two_sample.DeepKernel(matrix, jnp.asarray(mix), jnp.asarray(0.3), jnp.asarray(0.8))


def cloud(seed, n, d, shift=0.0):
    return jnp.asarray(np.random.RandomState(seed).randn(n, d) + shift)


def test_kernel_by_hand():
    p = numbers(2)
    x, y = np.array([0.3, -1.0]), np.array([1.1, 0.4])
    eps = 1 / (1 + np.exp(1.0))
    near = np.exp(-0.5 * np.sum((p.network @ (x - y)) ** 2) / np.exp(0.6))
    points = np.exp(-0.5 * np.sum((x - y) ** 2) / np.exp(1.6))
    found = linear(p)(jnp.asarray(x), jnp.asarray(y))
    np.testing.assert_allclose(found, ((1 - eps) * near + eps) * points, rtol=1e-12)
    xs = cloud(0, 12, 2)
    matrix = kernels.gram(linear(p), xs, xs)
    np.testing.assert_allclose(jnp.diag(matrix), 1, rtol=1e-12)
    assert np.linalg.eigvalsh(matrix)[0] > 0


def test_unbiased_mmd_of_two_gaussians_in_closed_form():
    # Features x and eps = 0: a product of Gaussian kernels, 1/h² = 1/a² + 1/b².
    p = two_sample.DeepKernel(jnp.eye(2), jnp.asarray(-50.0), jnp.asarray(0.0), jnp.asarray(0.0))
    h2 = 0.5
    exact = 2 * h2 / (h2 + 2) * (1 - np.exp(-2 * 0.8**2 / (2 * (h2 + 2))))
    xs, ys = jax.random.normal(jax.random.key(0), (2, 3000, 6, 2))
    values = jax.jit(jax.vmap(lambda x, y: metrics.mmd2(x, y + 0.8, linear(p))))(xs, ys)
    assert abs(np.mean(values) - exact) < 5 * np.std(values) / np.sqrt(3000)


def by_hand(k_xx, k_yy, k_xy, drop):
    """MMD² or MPP, and n m / (n + m) times its variance, with loops."""
    n, m = k_xy.shape
    xx = np.array([(k_xx[i].sum() - k_xx[i, i]) / (n - 1) for i in range(n)])
    yy = np.array([(k_yy[j].sum() - k_yy[j, j]) / (m - 1) for j in range(m)]) * (not drop)
    value = xx.mean() + yy.mean() - 2 * k_xy.mean()
    variance = 4 * np.var(xx - k_xy.mean(1)) / n + 4 * np.var(yy - k_xy.mean(0)) / m
    return value, n * m / (n + m) * variance


@pytest.mark.parametrize("drop", [pytest.param(False, marks=pytest.mark.slow), True])
def test_objectives_by_loops(drop):
    xs, ys, p = cloud(1, 7, 2), cloud(2, 9, 2, 0.4), numbers(2)
    make = two_sample.multi_population_objective if drop else two_sample.power_objective
    parts = (np.asarray(kernels.gram(linear(p), a, b)) for a, b in ((xs, xs), (ys, ys), (xs, ys)))
    value, variance = by_hand(*parts, drop)
    np.testing.assert_allclose(
        make(linear, floor=1e-3)(p, xs, ys), value / np.sqrt(variance + 1e-3), rtol=1e-10
    )


def populations(key, n):
    """n points [n, 2] of three populations, away from 0, that differ in place and in spread."""
    key_which, key_noise = jax.random.split(key)
    which = jax.random.randint(key_which, (n,), 0, 3)
    centres = jnp.array([[3.0, 0.0], [0.0, 3.0], [-2.0, -2.0]])
    spread = jnp.array([0.2, 0.5, 1.2])
    return centres[which] + spread[which][:, None] * jax.random.normal(key_noise, (n, 2))


def values_and_variances(key, n, m):
    """MMD² and MPP [2] with their estimated variances [2], on one sample against populations."""
    key_x, key_y = jax.random.split(key)
    xs, ys = jax.random.normal(key_x, (n, 2)), populations(key_y, m)
    kernel_of, found = lambda _: kernels.rbf(1.0), []
    for make in (two_sample.power_objective, two_sample.multi_population_objective):
        # Two floors give the value and the variance back: J = V / sqrt(s + floor).
        low, high = (make(kernel_of, floor=f)(None, xs, ys) for f in (1e-12, 1.0))
        square = 1 / ((low / high) ** 2 - 1)
        found.append((high * jnp.sqrt(1 + square), square))
    return jnp.asarray(found)


@pytest.mark.slow
def test_variance_estimates_and_the_proxy_is_steadier():
    n, m = 90, 60
    keys = jax.random.split(jax.random.key(1), 600)
    found = jax.jit(jax.vmap(lambda k: values_and_variances(k, n, m)))(keys)
    true = n * m / (n + m) * np.var(found[:, :, 0], axis=0)
    claimed = np.mean(found[:, :, 1], axis=0)
    # A variance from 600 repeats is known to 6 %; the delta method leaves out O(1/n).
    np.testing.assert_allclose(claimed, true, rtol=0.3)
    assert true[1] < 0.8 * true[0], true
    assert claimed[1] < 0.8 * claimed[0], claimed


def test_score_of_one_instance():
    xs, kernel = cloud(3, 30, 2), kernels.rbf(1.0)
    y = jnp.array([0.4, 0.1])
    twice = jnp.stack([y, y])
    exact = metrics.mmd2(xs, twice, kernel, estimator="biased")
    np.testing.assert_allclose(two_sample.instance_score(xs, y, kernel), exact, rtol=1e-10)
    assert two_sample.instance_score(xs, y + 4, kernel) > 2 * exact


def test_equal_points_and_float32():
    ones, p = jnp.ones((4, 2)), numbers(2)
    for make in (two_sample.power_objective, two_sample.multi_population_objective):
        value, slope = jax.jit(jax.value_and_grad(make(linear)))(p, ones, ones)
        assert np.isfinite(value)
        assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(slope))
    single = jax.tree.map(
        lambda leaf: leaf.astype(jnp.float32), (p, cloud(1, 9, 2), cloud(2, 9, 2))
    )
    objective = jax.jit(two_sample.power_objective(linear))
    value = objective(*single)
    assert value.dtype == jnp.float32
    double = objective(*jax.tree.map(lambda leaf: leaf.astype(jnp.float64), single))
    np.testing.assert_allclose(value, double, rtol=1e-3, atol=1e-5)


def test_bad_input():
    objective = two_sample.power_objective(linear)
    with pytest.raises(ValueError, match="power_objective: xs must hold at least 3 points; got 2"):
        objective(numbers(2), cloud(0, 2, 2), cloud(1, 5, 2))
    with pytest.raises(ValueError, match="must have one event shape"):
        objective(numbers(2), cloud(0, 4, 2), cloud(1, 5, 3))
    with pytest.raises(ValueError, match="instance_score"):
        two_sample.instance_score(cloud(0, 4, 2), jnp.ones(3), kernels.rbf())


def rejects(key, xs, ys, kernel):
    """Whether the permutation test of the unbiased MMD² rejects at 5 %."""
    return two_sample.permutation_test(key, xs, ys, kernel, num_permutations=199).p_value <= 0.05


@pytest.mark.slow
def test_null_rejections():
    kernel = linear(numbers(4))

    def once(key):
        key_x, key_y, key_test = jax.random.split(key, 3)
        xs, ys = jax.random.normal(key_x, (40, 4)), jax.random.normal(key_y, (40, 4))
        return rejects(key_test, xs, ys, kernel)

    rate = np.mean(jax.lax.map(once, jax.random.split(jax.random.key(0), 3000), batch_size=50))
    assert abs(rate - 0.05) < 0.015, rate


@pytest.mark.slow
def test_power_against_simulation():
    # N(0, I) against N(0.2, I) in ten dimensions: the ratio foretells the rejections.
    d, n, kernel = 10, 150, kernels.rbf(4.0)

    def pair(key, n, shift):
        key_x, key_y = jax.random.split(key)
        return jax.random.normal(key_x, (n, d)), jax.random.normal(key_y, (n, d)) + shift

    mmd = lambda key, shift: metrics.mmd2(*pair(key, n, shift), kernel)
    keys = jax.random.split(jax.random.key(1), 1000)
    threshold = np.quantile(jax.lax.map(lambda k: mmd(k, 0.0), keys, batch_size=20), 0.95)
    objective = two_sample.power_objective(lambda _: kernel)
    xs, ys = pair(jax.random.key(2), 2000, 0.2)
    ratio, value = objective(None, xs, ys), metrics.mmd2(xs, ys, kernel)
    sigma = value / ratio
    foretold = scipy.stats.norm.cdf(np.sqrt(n / 2) * (value - threshold) / sigma)

    def once(key):
        key_pair, key_test = jax.random.split(key)
        return rejects(key_test, *pair(key_pair, n, 0.2), kernel)

    seen = np.mean(jax.lax.map(once, jax.random.split(jax.random.key(3), 200), batch_size=4))
    assert 0.3 < seen < 0.98  # a case where power can be told from chance and from certainty
    assert abs(seen - foretold) < 5 * np.sqrt(seen * (1 - seen) / 200) + 0.05, (seen, foretold)


def network(params, x):
    return params[1] @ jnp.tanh(params[0] @ x)


def learned(key, make, sample, steps=150):
    """A deep kernel fitted to samples by ascent of an objective."""
    key_in, key_out, key_data = jax.random.split(key, 3)
    d = jax.eval_shape(sample, key)[0].shape[1]
    weights = (
        jax.random.normal(key_in, (10, d)) / np.sqrt(d),
        jax.random.normal(key_out, (4, 10)) / np.sqrt(10),
    )
    kernel_of = two_sample.deep_kernel(network)
    start = two_sample.DeepKernel(weights, *jnp.array([-2.0, 0.0, 1.5]))
    objective, optimiser = make(kernel_of), optax.adam(0.02)
    xs, ys = sample(key_data)

    def step(carry, _):
        params, state = carry
        slope = jax.grad(lambda p: -objective(p, xs, ys))(params)
        update, state = optimiser.update(slope, state)
        return (optax.apply_updates(params, update), state), None

    (params, _), _ = jax.lax.scan(step, (start, optimiser.init(start)), None, steps)
    return start, params


@pytest.mark.slow
@pytest.mark.parametrize("name", ["power_objective", "multi_population_objective"])
def test_learning_raises_held_out_power(name):
    def sample(key, n=150):  # three populations in two of eight entries
        key_x, key_y, key_two = jax.random.split(key, 3)
        ys = jax.random.normal(key_y, (n, 8))
        return jax.random.normal(key_x, (n, 8)), ys.at[:, :2].set(0.6 * populations(key_two, n))

    make = getattr(two_sample, name)
    before, after = jax.jit(functools.partial(learned, make=make, sample=sample))(jax.random.key(0))
    held_out = jax.jit(two_sample.power_objective(two_sample.deep_kernel(network)))
    xs, ys = sample(jax.random.key(9), 800)
    first, last = (held_out(params, xs, ys) for params in (before, after))
    assert last > 1.3 * first, (first, last)
