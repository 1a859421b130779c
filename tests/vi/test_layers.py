"""Networks with Gaussian weights: the conjugate regression, draws, and what propagation misses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from jaxgen import vi

ACTIVATIONS = {
    "relu": (vi.relu_moments, lambda x: np.maximum(x, 0)),
    "gelu": (vi.gelu_moments, lambda x: x * scipy.stats.norm.cdf(x)),
}
X0 = np.array([0.4, -1.2, 0.9])


def layers(sizes, seed=0, spread=0.3):
    """Layers with random means and variances."""
    rng = np.random.default_rng(seed)

    def pair(*shape):
        return rng.normal(size=shape), np.log(spread * rng.uniform(0.5, 2.0, shape))

    return tuple((pair(m, n), pair(m)) for n, m in zip(sizes[:-1], sizes[1:], strict=True))


def drawn(params, x, fn, many, seed=1):
    """Outputs [many, m] of networks with drawn weights."""
    rng = np.random.default_rng(seed)
    draw = lambda pair: pair[0] + np.exp(pair[1] / 2) * rng.normal(size=(many, *pair[0].shape))
    h = np.broadcast_to(x, (many, len(x)))
    for index, (weights, bias) in enumerate(params):
        h = fn(h) if index else h
        h = np.einsum("nij,nj->ni", draw(weights), h) + draw(bias)
    return h


def test_mp_gelu_is_exact_for_its_own_gate_and_its_gap_is_known():
    mean, variance = np.meshgrid([-3.0, -1.0, 0.0, 0.5, 3.0], [0.0, 0.01, 1.0, 25.0])
    found, exact = vi.mp_gelu_moments(mean, variance), vi.gelu_moments(mean, variance)
    wide = np.sqrt(1 + variance)
    gap = variance / wide * scipy.stats.norm.pdf(mean / wide)
    np.testing.assert_allclose(exact[0] - found[0], gap, atol=1e-12)
    # The gate is E Phi(x); given it, the unit is linear.
    eps = np.linspace(-10, 10, 20_001)
    weights = scipy.stats.norm.pdf(eps) * (eps[1] - eps[0])
    gates = np.einsum(
        "e,ije->ij",
        weights,
        scipy.stats.norm.cdf(mean[..., None] + np.sqrt(variance)[..., None] * eps),
    )
    np.testing.assert_allclose(found[0], gates * mean, atol=1e-9)
    np.testing.assert_allclose(found[1], gates**2 * variance, atol=1e-8)
    share = (found[1] / exact[1])[1:, 2:]  # means from 0, some variance
    assert 0.6 < np.min(share) < 0.75
    assert np.max(share) < 1
    slope = jax.grad(lambda v: jnp.sum(vi.mp_gelu_moments(jnp.array(mean), v)[1]))(
        jnp.array(variance)
    )
    assert np.all(np.isfinite(slope))


@pytest.mark.parametrize("name", [pytest.param("relu", marks=pytest.mark.slow), "gelu"])
def test_two_layers_against_a_million_draws(name):
    """Exact: the hidden units of a known input are independent."""
    moments, fn = ACTIVATIONS[name]
    params, many = layers((3, 4, 2)), 1_000_000
    pass_on = lambda activation: jax.jit(
        lambda x: vi.network_moments(params, x, activation=activation)
    )(X0)
    found = pass_on(moments)
    ys = drawn(params, X0, fn, many)
    error = np.std(ys, 0) / np.sqrt(many)
    assert np.all(np.abs(np.mean(ys, 0) - found[0]) < 5 * error)
    squares = (ys - np.mean(ys, 0)) ** 2
    assert np.all(np.abs(np.mean(squares, 0) - found[1]) < 5 * np.std(squares, 0) / np.sqrt(many))
    rough = pass_on(vi.mp_gelu_moments)
    assert np.any(np.abs(np.mean(ys, 0) - rough[0]) > 50 * error)  # its mean is another


@pytest.mark.slow
def test_three_layers_miss_a_little():
    """The second layer's sums are correlated and not Gaussian: measured, in deviations."""
    moments, fn = ACTIVATIONS["relu"]
    params, many = layers((3, 16, 16, 1), spread=0.02), 40_000
    mean, variance = jax.jit(lambda x: vi.network_moments(params, x, activation=moments))(X0)
    ys = drawn(params, X0, fn, many)
    gap = abs(np.mean(ys) - mean[0]) / np.std(ys)
    assert gap < 0.05, gap
    ratio = variance[0] / np.var(ys)
    assert abs(ratio - 1) < 0.15, ratio
    assert abs(ratio - 1) > 5 * np.sqrt(2 / many), ratio  # and it is a bias, not noise


def regression():
    """Orthogonal inputs: the exact posterior of the weights has independent entries."""
    rng = np.random.default_rng(3)
    ones = np.ones(6) / np.sqrt(6)
    xs = np.linalg.qr(np.column_stack([ones, rng.normal(size=(6, 3))]))[0][:, 1:] * np.array(
        [1.0, 2.0, 0.7]
    )
    ys = xs @ np.array([0.5, -1.0, 2.0]) + 0.3 + 0.4 * rng.normal(size=6)
    return xs, ys


NOISE, PRIOR = 0.2, 1.5


def exact_layer(xs, ys):
    """The posterior of weights [1, 3] and bias [1], and the log-evidence."""
    design = np.column_stack([xs, np.ones(6)])
    precision = design.T @ design / NOISE + np.eye(4) / PRIOR
    np.testing.assert_allclose(precision, np.diag(np.diag(precision)), atol=1e-9)
    mean = np.linalg.solve(precision, design.T @ ys / NOISE)
    log_var = -np.log(np.diag(precision))
    cov = PRIOR * design @ design.T + NOISE * np.eye(6)
    evidence = scipy.stats.multivariate_normal.logpdf(ys, np.zeros(6), cov)
    return (((mean[None, :3], log_var[None, :3]), (mean[3:], log_var[3:])),), evidence


def test_one_layer_is_the_conjugate_regression():
    """At the exact posterior the bound is the log-evidence, level, and the best."""
    xs, ys = regression()
    params, evidence = exact_layer(xs, ys)
    loss_fn = vi.moment_elbo(6, noise=NOISE, prior=PRIOR)
    total = lambda p: jnp.sum(jax.vmap(lambda x, y: loss_fn(p, None, x, y=y))(xs, ys[:, None]))
    value, slope = jax.jit(jax.value_and_grad(total))(params)
    np.testing.assert_allclose(-value, evidence, rtol=1e-12)
    assert max(float(jnp.max(jnp.abs(leaf))) for leaf in jax.tree.leaves(slope)) < 1e-10
    for shift in (0.1, -0.1):
        moved = jax.tree.map(lambda leaf: leaf + shift, params)  # noqa: B023
        assert total(moved) > value + 1e-3
    # And its predictive law is that of the regression.
    mean, variance = vi.network_moments(params, X0)
    row = np.append(X0, 1.0)
    cov = np.diag(np.exp(np.concatenate([params[0][0][1][0], params[0][1][1]])))
    np.testing.assert_allclose(variance[0], row @ cov @ row, rtol=1e-12)
    np.testing.assert_allclose(mean[0], params[0][0][0][0] @ X0 + params[0][1][0][0], rtol=1e-12)


@pytest.mark.slow
def test_a_noisy_input_float32_and_the_start():
    params = vi.init_layers(jax.random.key(0), (3, 5, 2), variance=0.01)
    assert [leaf.shape for leaf in jax.tree.leaves(params)] == [
        (5, 3), (5, 3), (5,), (5,), (2, 5), (2, 5), (2,), (2,)
    ]  # fmt: skip
    moments = jax.jit(vi.network_moments)
    known, noisy = moments(params, X0), moments(params, X0, jnp.full(3, 0.5))
    assert np.all(noisy[1] > known[1])
    low = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), params)
    found = moments(low, X0.astype(np.float32))
    assert {each.dtype for each in found} == {jnp.dtype("float32")}
    np.testing.assert_allclose(found[0], known[0], rtol=1e-4, atol=1e-5)
    same = jax.tree.map(jnp.zeros_like, params)  # N(0, 1) against itself
    assert abs(vi.layers_divergence(same)) < 1e-12
    # One weight N(0.3, 0.5) against N(0, 2), by the textbook's formula.
    one = ((jnp.full((1, 1), 0.3), jnp.full((1, 1), np.log(0.5))), (jnp.zeros(0), jnp.zeros(0)))
    exact = (np.log(2 / 0.5) + (0.5 + 0.09) / 2 - 1) / 2
    np.testing.assert_allclose(vi.layers_divergence((one,), 2.0), exact, rtol=1e-10)


def test_wrong_input():
    with pytest.raises(ValueError, match="sizes must be"):
        vi.init_layers(jax.random.key(0), (3,))
    with pytest.raises(ValueError, match="variance must be positive"):
        vi.init_layers(jax.random.key(0), (3, 2), variance=0.0)
    with pytest.raises(ValueError, match="size must be"):
        vi.moment_elbo(0, noise=1.0)
    with pytest.raises(ValueError, match="noise must be positive"):
        vi.moment_elbo(3, noise=-1.0)
    params = layers((3, 2))
    with pytest.raises(ValueError, match="y must be"):
        vi.moment_elbo(3, noise=1.0)(params, None, X0, y=jnp.zeros(1))
    with pytest.raises(ValueError, match="must fit"):
        vi.network_moments(params, X0[:2])
