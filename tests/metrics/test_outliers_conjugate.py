import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from jaxgen.metrics import outliers

MEAN = jnp.array([0.9, -1.4])


@jax.jit
def divergences(zs, mean, p):
    return jax.vmap(lambda z: outliers.norm_divergence(z, mean, p))(zs)


@functools.partial(jax.jit, static_argnames=("samples", "repeats"))
def partitions(key, mean, p, samples, repeats):
    each = lambda i: outliers.partition(jax.random.fold_in(key, i), mean, p, samples=samples)
    return jax.vmap(each)(jnp.arange(repeats))


def quadrature(mean, p, half_width=14.0, n=801):
    """Z on a grid: the integrand falls like exp(-|z|² / 4) or faster."""
    line = np.linspace(-half_width, half_width, n)
    grid = np.stack(np.meshgrid(*[line] * mean.size, indexing="ij"), -1).reshape(-1, mean.size)
    values = np.exp(-np.asarray(divergences(jnp.asarray(grid + np.asarray(mean)), mean, p)))
    return values.sum() * (line[1] - line[0]) ** mean.size


@pytest.mark.parametrize("p", [1.2, 1.5, 2.0, 3.0, 7.0])
def test_conjugate_norms_and_youngs_equality(p):
    q = outliers.conjugate_exponent(p)
    np.testing.assert_allclose(1 / p + 1 / q, 1, rtol=1e-14)
    np.testing.assert_allclose(outliers.conjugate_exponent(q), p, rtol=1e-12)
    dual = lambda x: outliers.half_square_norm(x, q)
    here = lambda x: outliers.half_square_norm(x, p)
    x = jnp.array([0.7, -1.3, 2.1])
    theta = jax.grad(dual)(x)
    # f(x) + f*(theta) = <x, theta> at theta = grad f(x), and the gradients are inverse maps.
    np.testing.assert_allclose(dual(x) + here(theta), x @ theta, rtol=1e-12)
    np.testing.assert_allclose(jax.grad(here)(theta), x, rtol=1e-11)
    for other in np.random.RandomState(0).randn(20, 3):
        assert dual(x) + here(jnp.asarray(other)) >= x @ other
    np.testing.assert_allclose(here(x), np.linalg.norm(x, p) ** 2 / 2, rtol=1e-13)


def test_divergences():
    zs = jnp.asarray(np.random.RandomState(1).randn(50, 2))
    exact = np.sum((np.asarray(zs) - np.asarray(MEAN)) ** 2, 1) / 2
    np.testing.assert_allclose(divergences(zs, MEAN, 2.0), exact, rtol=1e-12)
    for p in (1.5, 3.0):
        assert jnp.all(divergences(zs, MEAN, p) > 0)
        assert divergences(zs.at[0].set(MEAN), MEAN, p)[0] < 1e-15
        q = p / (p - 1)
        x, m = np.asarray(zs[0]), np.asarray(MEAN)
        norm = lambda a, q=q: np.sum(np.abs(a) ** q) ** (1 / q)
        slope = norm(m) ** (2 - q) * np.abs(m) ** (q - 1) * np.sign(m)
        byhand = norm(x) ** 2 / 2 - norm(m) ** 2 / 2 - slope @ (x - m)
        np.testing.assert_allclose(divergences(zs, MEAN, p)[0], byhand, rtol=1e-12)
    at_zero = jax.grad(outliers.half_square_norm)(jnp.zeros(2), 1.5)
    np.testing.assert_array_equal(at_zero, 0)
    edge = jax.grad(outliers.half_square_norm)(jnp.array([2.0, 0.0]), 1.5)
    np.testing.assert_allclose(edge, [2.0, 0.0], rtol=1e-14)
    assert jnp.isfinite(outliers.half_square_norm(jnp.array([1e200, 1e200]) * 1e-60, 40.0))


def test_two_is_the_normal_law():
    for mean in (MEAN, jnp.arange(7.0)):
        got = partitions(jax.random.key(2), mean, 2.0, samples=16, repeats=1)
        np.testing.assert_allclose(got.value, mean.size / 2 * np.log(2 * np.pi), rtol=1e-13)
        assert got.standard_error[0] < 1e-13
    make = jax.jit(outliers.norm_family, static_argnames="samples")
    means, weights = jnp.stack([MEAN, -MEAN]), jnp.array([3.0, 1.0])
    family = make(jax.random.key(3), means, 2.0, weights=weights, samples=8)
    z = jnp.array([0.3, 0.4])
    normal = lambda m: np.exp(-np.sum((np.asarray(z) - m) ** 2) / 2) / (2 * np.pi)
    exact = np.log(0.75 * normal(np.asarray(MEAN)) + 0.25 * normal(-np.asarray(MEAN)))
    np.testing.assert_allclose(outliers.norm_logdensity(family, z), exact, rtol=1e-12)


@pytest.mark.parametrize("p", [1.5, 3.0])
@pytest.mark.parametrize("mean", [jnp.array([1.7]), MEAN], ids=["line", "plane"])
def test_importance_sampling_is_unbiased(mean, p):
    exact = quadrature(mean, p)
    if mean.size == 1:  # all norms of one entry are its size
        np.testing.assert_allclose(exact, np.sqrt(2 * np.pi), rtol=1e-10)
    got = partitions(jax.random.key(4), mean, p, samples=32, repeats=4000)
    values = np.exp(np.asarray(got.value))
    spread = values.std(ddof=1) / np.sqrt(values.size)
    assert abs(values.mean() - exact) < 5 * spread + 1e-9 * exact
    assert spread < 0.01 * exact
    more = partitions(jax.random.key(5), mean, p, samples=1000, repeats=200)
    ratio = np.sqrt(np.mean(more.standard_error**2)) / np.std(np.asarray(more.value))
    if spread > 1e-9 * exact:  # on the line, p = 1.5 has constant weights
        assert 0.8 < ratio < 1.25


@pytest.mark.parametrize("p", [1.5, 3.0])
def test_the_closed_form_at_the_origin(p):
    """Z(0) = volume of the unit q-ball times 2^(d/2) Gamma(d/2 + 1), here in five dimensions."""
    d, q = 5, p / (p - 1)
    volume = d * np.log(2 * scipy.special.gamma(1 + 1 / q)) - scipy.special.gammaln(1 + d / q)
    exact = volume + d / 2 * np.log(2) + scipy.special.gammaln(d / 2 + 1)
    got = partitions(jax.random.key(6), jnp.zeros(d), p, samples=20_000, repeats=1)
    assert abs(got.value[0] - exact) < 5 * got.standard_error[0]
    assert got.standard_error[0] < 0.03


def test_a_family_crosses_jit_and_integrates_to_one():
    means = jnp.stack([MEAN, jnp.array([-2.0, 0.5])])
    weights = jnp.array([1.0, 2.0])
    make = jax.jit(
        lambda p: outliers.norm_family(jax.random.key(7), means, p, weights=weights, samples=20_000)
    )
    family = make(3.0)
    line = jnp.linspace(-12, 12, 161)
    grid = jnp.stack(jnp.meshgrid(line, line), -1).reshape(-1, 2)
    logs = jax.jit(jax.vmap(outliers.norm_logdensity, (None, 0)))(family, grid)
    total = jnp.sum(jnp.exp(logs)) * (line[1] - line[0]) ** 2
    np.testing.assert_allclose(total, 1, atol=0.03)
    single = jax.jit(outliers.norm_logdensity)(
        jax.tree.map(lambda a: a.astype(jnp.float32), family), jnp.zeros(2, jnp.float32)
    )
    assert single.dtype == jnp.float32


@pytest.mark.parametrize(("p", "variance"), [(3.0, 2.0), (1.5, 5 ** (1 / 3)), (2.0, 1.0)])
def test_the_proposal_is_wide_enough_for_finite_variance(p, variance):
    """1 / (q - 1) for q = 1.5, d^(1 - 2 / q) for q = 3: below it weights have no variance."""
    law = outliers.wide_normal(jnp.arange(5.0), p)
    at = lambda x: (
        -2.5 * np.log(2 * np.pi * variance) - np.sum((x - np.arange(5)) ** 2) / (2 * variance)
    )
    for x in (np.arange(5.0), np.ones(5)):
        np.testing.assert_allclose(law.logdensity(jnp.asarray(x)), at(x), rtol=1e-12)
