"""Toy laws: moments within five standard errors, densities that integrate to 1 and fit samples."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import data

PI = math.pi
A = 3 * PI  # the spirals' last angle
N = 200_000
SKEWED = np.arange(1.0, 9.0)


def moments(mean, second):
    """Mean and covariance from a mean and second moments about 0."""
    mean = np.asarray(mean)
    return mean, np.asarray(second) - np.outer(mean, mean)


def skewed_octagon():
    weights = SKEWED / SKEWED.sum()
    angles = np.arange(8) * PI / 4
    centres = 2 * np.stack([np.cos(angles), np.sin(angles)], -1)
    second = np.einsum("k,ki,kj->ij", weights, centres, centres) + 0.3**2 * np.eye(2)
    return moments(weights @ centres, second)


ROLL = 39 * PI**2 / 8
ARM = A / 2 - 3 / (4 * A)
LAWS = {  # law, mean, covariance
    "two_moons": (
        data.two_moons(noise=0.1),
        [0.5, 0.25],
        np.array([[0.75, 0.125 - 1 / PI], [0.125 - 1 / PI, 0.5625 - 1 / PI]]) + 0.01 * np.eye(2),
    ),
    "swiss_roll": (
        data.swiss_roll(scale=0.5, noise=0.3),
        *moments(
            [1.0, 1 / (3 * PI)],
            0.25 * np.array([[ROLL - 0.25, 1.5 * PI], [1.5 * PI, ROLL + 0.25]]) + 0.09 * np.eye(2),
        ),
    ),
    "spirals": (
        data.spirals(scale=0.5, noise=0.2),
        [0.0, 0.0],
        0.25 * np.array([[A**2 / 4 + 0.75, ARM], [ARM, A**2 / 4 - 0.75]]) + 0.04 * np.eye(2),
    ),
    "pinwheel": (
        data.pinwheel(arms=3, radial=0.5, tangential=0.2, scale=3.0),
        [0.0, 0.0],
        4.5 * (1 + 0.25 + 0.04) * np.eye(2),
    ),
    "eight_gaussians": (data.eight_gaussians(), [0.0, 0.0], (4 + 1 / 8) * np.eye(2)),
    "eight_gaussians_skewed": (
        data.eight_gaussians(radius=2.0, noise=0.3, weights=SKEWED),
        *skewed_octagon(),
    ),
    "checkerboard": (
        data.checkerboard(cells=6, side=0.5),
        [0.0, 0.0],
        0.25 * np.array([[3.0, 0.25], [0.25, 3.0]]),
    ),
    "rings": (
        data.rings(radii=(1.0, 2.0), noise=0.3, weights=[0.25, 0.75]),
        [0.0, 0.0],
        (0.125 + 1.5 + 0.09) * np.eye(2),
    ),
}
EXACT = [name for name, (law, _, _) in LAWS.items() if law.logdensity is not None]


def draw(law, n=N):
    return np.asarray(jax.jit(jax.vmap(law.sample))(jax.random.split(jax.random.key(7), n)))


@pytest.mark.parametrize("name", LAWS)
def test_moments_are_the_exact_ones(name):
    law, mean, covariance = LAWS[name]
    xs = draw(law)
    assert xs.shape == (N, 2)
    error = xs.std(0) / math.sqrt(N)
    np.testing.assert_array_less(np.abs(xs.mean(0) - mean), 5 * error)
    centred = xs - mean
    products = np.einsum("ni,nj->nij", centred, centred)
    error = products.std(0) / math.sqrt(N)
    np.testing.assert_array_less(np.abs(products.mean(0) - covariance), 5 * error)


@pytest.mark.parametrize("name", EXACT)
def test_density_integrates_to_one_with_the_same_moments(name):
    law, mean, covariance = LAWS[name]
    # The midpoint rule converges at once for smooth laws, and is exact for the squares.
    edge, n = 6.0, 1200
    line = (np.arange(n) + 0.5) * (2 * edge / n) - edge
    xs = np.stack(np.meshgrid(line, line, indexing="ij"), -1).reshape(-1, 2)
    p = np.exp(jax.jit(jax.vmap(law.logdensity))(xs)) * (2 * edge / n) ** 2
    assert abs(p.sum() - 1) < 1e-7
    np.testing.assert_allclose(p @ xs, mean, atol=1e-6)
    exact = 1e-6 if name != "checkerboard" else 1e-3  # a midpoint has no variance in its cell
    centred = xs - np.asarray(mean)
    np.testing.assert_allclose(
        np.einsum("n,ni,nj->ij", p, centred, centred), covariance, atol=exact
    )


@pytest.mark.parametrize("name", EXACT)
def test_samples_follow_the_density(name):
    """Expected counts in 8 × 8 boxes, from the density on a fine grid, against sampled counts."""
    law, _, _ = LAWS[name]
    boxes, inner, edge = 8, 150, 4.0
    n = boxes * inner
    line = (np.arange(n) + 0.5) * (2 * edge / n) - edge
    xs = np.stack(np.meshgrid(line, line, indexing="ij"), -1).reshape(-1, 2)
    p = np.exp(jax.jit(jax.vmap(law.logdensity))(xs)) * (2 * edge / n) ** 2
    p = np.asarray(p).reshape(boxes, inner, boxes, inner).sum((1, 3))
    counts, _, _ = np.histogram2d(*draw(law).T, bins=np.linspace(-edge, edge, boxes + 1))
    error = np.sqrt(p * (1 - p) / N) + 1e-5
    np.testing.assert_array_less(np.abs(counts / N - p), 5 * error)


def test_ring_density_is_a_blurred_circle():
    """A slow twin: the Gaussian blur averaged over 4,000 points of the circle."""
    law = data.rings(radii=[1.5], noise=0.2)
    angles = np.arange(4000) * 2 * PI / 4000
    circle = 1.5 * np.stack([np.cos(angles), np.sin(angles)], -1)
    for x in ([0.0, 0.0], [1.5, 0.0], [-0.4, 1.1], [2.0, 2.0]):
        square = np.sum((np.asarray(x) - circle) ** 2, -1)
        expected = np.log(np.mean(np.exp(-square / 0.08)) / (0.08 * PI))
        np.testing.assert_allclose(law.logdensity(jnp.asarray(x)), expected, rtol=1e-12)


@pytest.mark.parametrize("name", EXACT)
def test_gradients_are_finite(name):
    law = LAWS[name][0]
    xs = jnp.asarray([[0.0, 0.0], [1.3, -0.7], [3.0, 0.1]])
    assert np.all(np.isfinite(jax.jit(jax.vmap(jax.grad(law.logdensity)))(xs)))


@pytest.mark.parametrize("name", LAWS)
def test_float32_without_x64(name, x32):
    law = LAWS[name][0]
    xs = jax.jit(jax.vmap(law.sample))(jax.random.split(jax.random.key(0), 100))
    assert xs.dtype == jnp.float32
    assert np.all(np.isfinite(xs))
    if law.logdensity is not None:
        values = jax.jit(jax.vmap(law.logdensity))(xs)
        assert values.dtype == jnp.float32
        with jax.enable_x64(True):
            double = jax.jit(jax.vmap(law.logdensity))(np.asarray(xs, np.float64))
        np.testing.assert_allclose(values, double, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", EXACT)
def test_logdensity_keeps_float32_under_x64(name):
    assert LAWS[name][0].logdensity(jnp.zeros(2, jnp.float32)).dtype == jnp.float32


def test_a_law_crosses_jit_in_one_trace():
    traces = []

    @jax.jit
    def value(law, key):
        traces.append(1)
        return law.logdensity(law.sample(key))

    for noise in (0.1, 0.2, 0.3):
        law = data.eight_gaussians(noise=noise)
        key = jax.random.key(1)
        expected = law.logdensity(law.sample(jax.random.key(1)))
        np.testing.assert_allclose(value(law, key), expected, rtol=1e-12)
    assert len(traces) == 1


@pytest.mark.parametrize("name", LAWS)
def test_eager_is_jit_is_vmap(name):
    law = LAWS[name][0]
    eager = law.sample(jax.random.key(3))
    np.testing.assert_allclose(jax.jit(law.sample)(jax.random.key(3)), eager, rtol=1e-12)
    batch = jax.jit(jax.vmap(law.sample))(jax.random.split(jax.random.key(4), 3))
    single = [law.sample(key) for key in jax.random.split(jax.random.key(4), 3)]
    np.testing.assert_allclose(batch, single, rtol=1e-12)


def test_gradient_with_respect_to_the_noise():
    x = jnp.array([1.1, 0.4])
    for law in (data.eight_gaussians, data.rings):
        value = lambda noise, law=law: law(noise=noise).logdensity(x)
        slope = (value(0.5 + 1e-5) - value(0.5 - 1e-5)) / 2e-5
        np.testing.assert_allclose(jax.grad(value)(0.5), slope, rtol=1e-7)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: data.two_moons(noise=-1.0), "data.two_moons: noise must be one finite number"),
        (lambda: data.swiss_roll(scale=0.0), "data.swiss_roll: scale must be .* above 0; got 0"),
        (lambda: data.spirals(noise=math.nan), "data.spirals: noise must be .*; got nan"),
        (lambda: data.pinwheel(arms=2), "data.pinwheel: arms must be .* at least 3; got 2"),
        (lambda: data.pinwheel(radial=[1, 2]), "data.pinwheel: radial must be one finite number"),
        (lambda: data.checkerboard(cells=3), "data.checkerboard: cells must be an even .*; got 3"),
        (lambda: data.eight_gaussians(weights=[1, 2]), r"must have shape \(8,\); got \(2,\)"),
        (lambda: data.eight_gaussians(weights=[-1] + 7 * [1]), "weights must be finite, non-neg"),
        (lambda: data.rings(radii=[]), "data.rings: radii must be a row"),
        (lambda: data.rings(radii=[0.0]), "data.rings: every radius must be .* above 0; got 0"),
    ],
)
def test_wrong_numbers_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
