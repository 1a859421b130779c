"""Kernel means against numerical integrals; weights against what they promise."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from jaxgen import kernels, metrics
from jaxgen.math import quasi_uniform
from jaxgen.metrics import weighted

EMBEDDINGS = {
    f"{name}-{base}": functools.partial(make, base=base)
    for base in ("uniform", "normal")
    for name, make in {
        "rbf": weighted.rbf,
        "matern12": functools.partial(weighted.matern, order=0.5),
        "matern32": functools.partial(weighted.matern, order=1.5),
        "matern52": functools.partial(weighted.matern, order=2.5),
    }.items()
}
PROFILES = {  # of r / bandwidth, from the textbook
    "rbf": lambda r: np.exp(-(r**2) / 2),
    "matern12": lambda r: np.exp(-r),
    "matern32": lambda r: (1 + 3**0.5 * r) * np.exp(-(3**0.5) * r),
    "matern52": lambda r: (1 + 5**0.5 * r + 5 * r**2 / 3) * np.exp(-(5**0.5) * r),
}


def average(fn, base, kink):
    """The mean of fn under the base law on a line, from both sides of its kink."""
    low, high, density = (0, 1, lambda v: 1.0) if base == "uniform" else (-9, 9, stats.norm.pdf)
    part = lambda a, b: integrate.quad(lambda v: fn(v) * density(v), a, b, epsabs=1e-12)[0]
    return part(low, kink) + part(kink, high)


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_means_are_the_integrals(name):
    kind, base = name.split("-")
    h = np.array([0.4, 1.3])
    embedding = EMBEDDINGS[name](jnp.asarray(h))
    u = np.array([0.3, 0.9]) if base == "uniform" else np.array([-1.7, 0.6])
    k = lambda a, b, s: PROFILES[kind](abs(a - b) / s)
    mean = lambda a, s: average(lambda v: k(a, v, s), base, a)
    np.testing.assert_allclose(
        embedding.kernel(jnp.zeros(2), jnp.asarray(u)), np.prod(k(0, u, h)), rtol=1e-13
    )
    exact = np.prod([mean(a, s) for a, s in zip(u, h, strict=True)])
    np.testing.assert_allclose(embedding.mean(jnp.asarray(u)), exact, rtol=1e-9)
    nodes, w = np.polynomial.legendre.leggauss(24)
    x, w = (nodes + 1) / 2, w / 2
    if base == "normal":
        x, w = np.polynomial.hermite_e.hermegauss(24)
        w = w / w.sum()
    exact = np.prod([w @ np.array([mean(a, s) for a in x]) for s in h])
    np.testing.assert_allclose(embedding.energy(jnp.zeros(2)), exact, rtol=2e-5)


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_float32_and_gradients(name):
    u = np.linspace(0.05, 0.95, 3) if name.endswith("uniform") else np.linspace(-2, 2, 3)

    def value(h, u):
        e = EMBEDDINGS[name](h)
        return e.mean(u) + e.energy(u) + e.kernel(u, u)

    fn = jax.jit(jax.value_and_grad(value, argnums=(0, 1)))
    h = 1.0 if name == "matern52-normal" else 0.5  # it loses digits below, as it says
    single, grads = fn(jnp.float32(h), jnp.asarray(u, jnp.float32))
    double, exact = fn(jnp.asarray(h), jnp.asarray(u))
    assert single.dtype == jnp.float32
    np.testing.assert_allclose(single, double, rtol=3e-5)
    np.testing.assert_allclose(grads[0], exact[0], rtol=2e-3)
    assert np.all(np.isfinite(grads[1]))


def bend(u):
    return jnp.sin(4 * u) + u**2


def embedding_error(kernel, grid):
    """(ys, w) -> the distance [] between the law of bend(u) and weighted points."""
    ref = jax.vmap(bend)(grid)
    own = jnp.mean(kernels.row_means(kernel, ref, ref))

    def error(ys, w):
        cross = w @ kernels.row_means(kernel, ys, ref)
        return jnp.sqrt(jnp.maximum(own - 2 * cross + w @ kernels.gram(kernel, ys, ys) @ w, 0))

    return error


def test_error_falls_faster_than_the_plain_average():
    kernel, embedding = kernels.rbf(0.5), weighted.matern(0.5)
    error = embedding_error(kernel, (jnp.arange(2000.0)[:, None] + 0.5) / 2000)

    def pair(key, m):
        us = jax.random.uniform(key, (m, 1))
        ys = jax.vmap(bend)(us)
        w = weighted.weights(embedding, us).weights
        trust = weighted.explained(embedding, us, ys, kernel)
        return error(ys, w), error(ys, jnp.full(m, 1 / m)), trust

    means, sizes = [], (8, 16, 32, 64)
    for m in sizes:
        keys = jax.random.split(jax.random.key(m), 40)
        means.append(np.mean(jax.jit(jax.vmap(functools.partial(pair, m=m)))(keys), axis=1))
    ours, plain, trust = np.array(means).T
    slope = lambda e: np.polyfit(np.log(sizes), np.log(e), 1)[0]
    assert slope(ours) < -2  # a kernel of smoothness 5/2 on a line
    assert abs(slope(plain) + 0.5) < 0.1
    assert ours[-1] < plain[-1] / 30
    assert trust[0] < 0.95 < trust[-1]


def test_weights_integrate_their_own_space_exactly():
    # The sum over weights of a section k(., u_j) is its mean at u_j.
    us = jax.random.uniform(jax.random.key(0), (6, 2))
    embedding = weighted.matern(0.7, order=1.5)
    found = weighted.weights(embedding, us, exact_constants=False)
    z = jax.vmap(embedding.mean)(us)
    np.testing.assert_allclose(kernels.gram(embedding.kernel, us, us) @ found.weights, z, rtol=1e-9)
    # ... and the error is that of the textbook: energy - zᵀ K⁻¹ z.
    worst = embedding.energy(us[0]) - z @ found.weights
    np.testing.assert_allclose(found.error**2, worst, rtol=1e-9)
    constant = weighted.weights(embedding, us)
    np.testing.assert_allclose(jnp.sum(constant.weights), 1, rtol=1e-12)
    assert found.error < constant.error < constant.plain_error


def test_explained_is_leaving_one_out():
    us = jax.random.uniform(jax.random.key(1), (7, 1))
    ys, kernel, embedding = jax.vmap(bend)(us), kernels.rbf(0.5), weighted.rbf(0.3)
    values = np.asarray(kernels.gram(kernel, ys, ys))
    k = np.asarray(kernels.gram(embedding.kernel, us, us)) + 1e-6 * np.eye(7)
    left, plain = 0.0, 0.0
    for i in range(7):
        keep = np.arange(7) != i
        inner, f = np.linalg.inv(k[np.ix_(keep, keep)]), values[keep]
        centre = inner.sum(0) @ f / inner.sum()  # the constant, by generalised least squares
        guess = centre + k[i, keep] @ inner @ (f - centre)
        left += np.sum((values[i] - guess) ** 2)
        plain += np.sum((values[i] - f.mean(0)) ** 2)
    got = weighted.explained(embedding, us, ys, kernel, jitter=1e-6)
    np.testing.assert_allclose(got, 1 - left / plain, rtol=1e-6)


def test_equal_weights_are_the_biased_mmd():
    rng = np.random.RandomState(0)
    xs, ys = jnp.asarray(rng.randn(9, 2, 2)), jnp.asarray(rng.randn(5, 2, 2) + 0.3)
    equal, kernel = jnp.full(5, 0.2), kernels.rbf(1.1)
    plain = metrics.mmd2(xs, ys, kernel, estimator="biased")
    np.testing.assert_allclose(weighted.mmd2(xs, ys, equal, kernel), plain, rtol=1e-12)
    shift = weighted.mmd2(xs, ys, equal, kernel, estimator="unbiased") - plain
    k = np.asarray(kernels.gram(kernel, xs, xs))
    np.testing.assert_allclose(shift, (k.sum() - 9) / 72 - k.mean(), rtol=1e-10)


def test_an_uneven_weight_is_a_repeated_point():
    rng = np.random.RandomState(1)
    xs, ys = jnp.asarray(rng.randn(6, 2)), jnp.asarray(rng.randn(2, 2))
    repeated = metrics.mmd2(xs, ys[jnp.array([0, 0, 0, 1])], kernels.rbf(), estimator="biased")
    got = weighted.mmd2(xs, ys, jnp.array([0.75, 0.25]), kernels.rbf())
    np.testing.assert_allclose(got, repeated, rtol=1e-12)


def recovered(key, m, optimal, data, kernel):
    """The minimiser over theta of the distance from data to theta + bend(u), by Newton's steps."""
    us = jax.random.uniform(key, (m, 1))
    w = weighted.weights(weighted.rbf(0.3), us).weights if optimal else jnp.full(m, 1 / m)
    points = jax.vmap(bend)(us)
    loss = lambda theta: weighted.mmd2(data, theta + points, w, kernel)
    newton = lambda _, theta: theta - jax.grad(loss)(theta) / jax.hessian(loss)(theta)
    return jax.lax.fori_loop(0, 6, newton, jnp.asarray(0.9))


@pytest.mark.slow
def test_a_parameter_is_recovered_from_32_points_where_plain_needs_512():
    kernel = kernels.rbf(1.0)
    data = 1.0 + jax.vmap(bend)((jnp.arange(1000.0)[:, None] + 0.5) / 1000)

    def spread(m, optimal, repeats):
        keys = jax.random.split(jax.random.key(m), repeats)
        run = lambda key: recovered(key, m, optimal, data, kernel)
        return np.std(jax.lax.map(jax.jit(run), keys))

    ours, plain = spread(32, True, 60), spread(512, False, 60)
    assert ours < plain / 2, (ours, plain)


def test_duplicates_are_finite():
    us, ys = jnp.full((5, 1), 0.4), jnp.ones((5, 2))
    found = jax.jit(lambda u: weighted.weights(weighted.rbf(0.3), u))(us)
    np.testing.assert_allclose(found.weights, 0.2, atol=0.02)
    trust = jax.jit(lambda u, y: weighted.explained(weighted.rbf(0.3), u, y, kernels.rbf()))
    assert trust(us, ys) == 1
    slope = jax.jit(jax.grad(lambda y: weighted.mmd2(ys, y, found.weights, kernels.rbf())))(ys)
    assert np.all(np.isfinite(slope))


def test_even_points_beat_random_ones():
    embedding = weighted.matern(0.5)
    error = jax.jit(lambda us: weighted.weights(embedding, us).error)
    keys = jax.random.split(jax.random.key(3), 20)
    even = np.mean([error(quasi_uniform(key, 64, 2)) for key in keys])
    drawn = np.mean([error(jax.random.uniform(jax.random.fold_in(k, 1), (64, 2))) for k in keys])
    assert even < 0.6 * drawn, (even, drawn)


def test_bad_input():
    us, ys = jnp.linspace(0, 1, 4)[:, None], jnp.ones((3, 1))
    with pytest.raises(ValueError, match="base must be one of"):
        weighted.rbf(base="cauchy")
    with pytest.raises(ValueError, match="bandwidth must be positive and finite; got 0"):
        weighted.matern(0.0)
    with pytest.raises(ValueError, match="order must be one of"):
        weighted.matern(order=2.0)
    with pytest.raises(ValueError, match=r"us must be floating \[m, d\]"):
        weighted.weights(weighted.rbf(), us[:, 0])
    with pytest.raises(ValueError, match="us must be finite"):
        weighted.weights(weighted.rbf(), us / 0)
    with pytest.raises(ValueError, match="jitter must be positive"):
        weighted.weights(weighted.rbf(), us, jitter=0.0)
    with pytest.raises(ValueError, match="one number m >= 3 of points"):
        weighted.explained(weighted.rbf(), us, ys, kernels.rbf())
    with pytest.raises(ValueError, match=r"weights must be \[m\] with ys"):
        weighted.mmd2(us, ys, jnp.ones(4), kernels.rbf())
    with pytest.raises(ValueError, match="weights must be finite"):
        weighted.mmd2(us, ys, jnp.full(3, jnp.nan), kernels.rbf())
