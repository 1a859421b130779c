import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import kernels
from jaxgen.metrics import diversity
from jaxgen.metrics.diversity import _vendi

vendi_of_gram = jax.jit(diversity.vendi_of_gram, static_argnames="order")
vendi = jax.jit(diversity.vendi, static_argnames=("order", "chunk"))
INF = float("inf")
slow = functools.partial(pytest.param, marks=pytest.mark.slow)
ORDERS = (0, 0.5, 1, 1 + 1e-9, 2, INF)


def cloud(seed, n, *event):
    return jnp.asarray(np.random.RandomState(seed).randn(n, *event))


@pytest.mark.parametrize("order", ORDERS)
def test_blocks_for_every_order(order):
    blocks = lambda m, size: jnp.kron(jnp.eye(m), jnp.ones((size, size)))
    for m, size in ((12, 1), (1, 12), (3, 4), (4, 3)):
        got = vendi_of_gram(blocks(m, size), order=order)
        np.testing.assert_allclose(got, m, rtol=1e-12)


def test_two_points():
    gram = jnp.array([[1.0, 0.6], [0.6, 1.0]])
    exact = {0: 2, 1: 0.8**-0.8 * 0.2**-0.2, 2: 1 / (0.64 + 0.04), INF: 1.25}
    exact[0.5] = (0.8**0.5 + 0.2**0.5) ** 2
    for order, value in exact.items():
        np.testing.assert_allclose(vendi_of_gram(gram, order=order), value, rtol=1e-13)
    assert abs(vendi_of_gram(gram) - 1.64938) < 5e-6
    near = vendi_of_gram(gram, order=1 + 1e-9)
    np.testing.assert_allclose(near, exact[1], rtol=1e-8)


@pytest.mark.parametrize("order", [slow(0.5), 1, 2, slow(INF)])
def test_primal_is_dual(order):
    weight = jnp.arange(1.0, 16) / 120
    for d in (4, 30):
        xs = cloud(0, 15, d)
        unit = xs / jnp.linalg.norm(xs, axis=1, keepdims=True)
        for options in ({}, {"weights": weight}):
            both = (
                vendi(xs, order=order, **options),
                vendi_of_gram(unit @ unit.T, order=order, **options),
            )
            np.testing.assert_allclose(*both, rtol=1e-10)


def test_permuting_duplicating_and_weights_as_counts():
    xs, kernel = cloud(1, 12, 2, 3), kernels.rbf(1.5)
    value = vendi(xs, kernel, chunk=5)
    np.testing.assert_allclose(vendi(xs[::-1], kernel), value, rtol=1e-12)
    np.testing.assert_allclose(vendi(jnp.concatenate([xs, xs]), kernel), value, rtol=1e-12)
    counts = np.array([1, 3, 2, 1, 1, 4, 1, 1, 1, 2, 1, 2])
    weighted = vendi(xs, kernel, weights=jnp.asarray(counts / 20))
    np.testing.assert_allclose(vendi(jnp.repeat(xs, counts, axis=0), kernel), weighted, rtol=1e-11)
    assert abs(weighted - value) > 0.1


def test_quality_and_zero_weight():
    gram = jnp.eye(4)
    quality = jnp.array([1.0, 0.5, 0.0, 0.5])
    np.testing.assert_allclose(vendi_of_gram(gram, quality=quality), 4 * 0.5)
    weights = jnp.array([0.5, 0.5, 0.0, 0.0])
    np.testing.assert_allclose(vendi_of_gram(gram, weights=weights, quality=quality), 2 * 0.75)


@pytest.mark.parametrize("order", [0.5, 1, slow(2), slow(INF)])
def test_gradients(order):
    xs, direction = cloud(2, 6, 3), cloud(3, 6, 3)
    fn = jax.jit(jax.value_and_grad(lambda x: diversity.vendi(x, kernels.rbf(1.0), order=order)))
    near = (fn(xs + 1e-6 * direction)[0] - fn(xs - 1e-6 * direction)[0]) / 2e-6
    np.testing.assert_allclose(jnp.vdot(fn(xs)[1], direction), near, rtol=1e-6)
    # Duplicates: eigenvalues at 0 and equal ones.
    twice = jnp.concatenate([xs[:3], xs[:3]])
    for same in (twice, jnp.ones((6, 3)), jnp.zeros((6, 3))):
        assert jnp.all(jnp.isfinite(fn(same)[1]))
    cosine = jax.jit(jax.grad(lambda x: diversity.vendi(x, order=order)))(
        jnp.zeros((5, 2)).at[0].set(1.0)
    )
    assert jnp.all(jnp.isfinite(cosine))


def test_slopes_of_the_spectrum_for_every_order():
    """Along a change that keeps the sum, where only the slope's constant part is free."""
    values, change = jnp.asarray([0.5, 0.3, 0.196, 0.004]), jnp.asarray([0.3, 0.2, -0.49, -0.01])

    orders = (0, 0.5, 1, 2, INF)  # next to 1 the slope's constant part is large

    @jax.jit
    def both(values):
        slopes = [_vendi._entropy_slope(values, order) @ change for order in orders]
        ends = [
            [_vendi._entropy(values + h * change, order) for h in (1e-6, -1e-6)] for order in orders
        ]
        return slopes, [(up - down) / 2e-6 for up, down in ends]

    np.testing.assert_allclose(*both(values), rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(_vendi._entropy(values, 0), np.log(4), rtol=1e-12)


@pytest.mark.parametrize("order", [slow(0), 1, slow(2)])
def test_float32(order):
    xs = cloud(4, 30, 5)
    got = vendi(xs.astype(jnp.float32), order=order)
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, vendi(xs, order=order), rtol=1e-5)
    blocks = jnp.kron(jnp.eye(5, dtype=jnp.float32), jnp.ones((4, 4), jnp.float32))
    np.testing.assert_allclose(vendi_of_gram(blocks, order=order), 5, rtol=1e-5)


def test_internal_diversity():
    xs, kernel = cloud(5, 20, 2), kernels.rbf(1.0)
    square = np.sum((np.asarray(xs)[:, None] - np.asarray(xs)[None]) ** 2, axis=-1)
    exact = 1 - np.mean(np.exp(-square / 2))
    for chunk in (3, 100):
        got = diversity.internal_diversity(xs, kernel, chunk=chunk)
        np.testing.assert_allclose(got, exact, rtol=1e-12)


def test_bad_input():
    for fn, match in (
        (lambda: diversity.vendi_of_gram(jnp.ones((2, 3))), r"gram must be \[n, n\]; got \(2, 3\)"),
        (lambda: diversity.vendi_of_gram(2 * jnp.eye(3)), r"with 1 on its diagonal; off by 1.00"),
        (lambda: diversity.vendi_of_gram(jnp.eye(3), order=-1), r"order must be a number >= 0"),
        (lambda: diversity.vendi(cloud(0, 3, 2), weights=jnp.ones(3)), r"sum to 1; got .* sum 3"),
        (lambda: diversity.vendi(cloud(0, 3, 2), quality=jnp.ones(2)), r"quality must be \[3\]"),
        (lambda: diversity.vendi(cloud(0, 3, 2).at[0, 0].set(jnp.nan)), r"xs must be finite"),
    ):
        with pytest.raises(ValueError, match=match):
            fn()
