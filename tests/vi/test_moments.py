"""Moments through layers, against quadrature and sums over independent entries."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import vi

ACTIVATIONS = {
    "relu": (vi.relu_moments, lambda x: np.maximum(x, 0)),
    "gelu": (vi.gelu_moments, lambda x: x * np.asarray(jax.scipy.stats.norm.cdf(x))),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_against_quadrature(name):
    moments, fn = ACTIVATIONS[name]
    mean, root = np.meshgrid([-4.0, -1.3, 0.0, 0.4, 5.0], [0.02, 0.5, 1.0, 3.0, 10.0])
    found = jax.jit(moments)(mean.ravel(), root.ravel() ** 2)
    eps = np.linspace(-12, 12, 240_001 if name == "relu" else 12_001)  # relu has a kink
    weights = np.exp(-(eps**2) / 2) / np.sqrt(2 * np.pi) * (eps[1] - eps[0])
    for i, (m, s) in enumerate(zip(mean.ravel(), root.ravel(), strict=True)):
        values = fn(m + s * eps)
        first = weights @ values
        np.testing.assert_allclose(found[0][i], first, atol=2e-9 * (1 + s))
        spread = weights @ (values - first) ** 2
        np.testing.assert_allclose(found[1][i], spread, atol=2e-8 * (1 + s**2))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_known_entry_passes_through(name):
    moments, fn = ACTIVATIONS[name]
    x = jnp.array([-2.0, 0.0, 1.5])
    total = lambda v: sum(jnp.sum(each) for each in moments(x, v))
    both = jax.jit(lambda v: (moments(x, v), jax.grad(total)(v)))
    (mean, variance), slope = both(jnp.zeros(3))
    np.testing.assert_allclose(mean, fn(np.asarray(x)), atol=1e-15)
    np.testing.assert_allclose(variance, 0, atol=1e-15)
    assert np.all(np.isfinite(slope))
    low = jax.jit(moments)(x.astype(jnp.float32), jnp.ones(3, jnp.float32))
    assert {each.dtype for each in low} == {jnp.dtype("float32")}


def test_a_linear_layer_against_draws_and_a_bayesian_regression():
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(2, 3)), rng.uniform(0.1, 0.5, (2, 3))
    bias = rng.normal(size=2), rng.uniform(0.1, 0.5, 2)
    mean, variance = rng.normal(size=3), rng.uniform(0.2, 1.0, 3)
    found = vi.linear_moments(weights, bias, mean, variance)
    many = 200_000
    draw = lambda pair: pair[0] + np.sqrt(pair[1]) * rng.normal(size=(many, *pair[0].shape))
    ys = np.einsum("nij,nj->ni", draw(weights), draw((mean, variance))) + draw(bias)
    error = np.std(ys, 0) / np.sqrt(many)
    assert np.all(np.abs(np.mean(ys, 0) - found[0]) < 5 * error)
    squares = (ys - np.mean(ys, 0)) ** 2
    error = np.std(squares, 0) / np.sqrt(many)
    assert np.all(np.abs(np.mean(squares, 0) - found[1]) < 5 * error)
    # A known input: the predictive law of Bayesian linear regression with independent weights.
    _, predictive = vi.linear_moments(weights, bias, mean, np.zeros(3))
    np.testing.assert_allclose(predictive, weights[1] @ mean**2 + bias[1], rtol=1e-14)
    with pytest.raises(ValueError, match="linear_moments: .* must fit"):
        vi.linear_moments(weights, bias, mean[:2], variance)
