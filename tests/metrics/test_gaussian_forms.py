import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.special
import scipy.stats

from jaxgen import metrics

FORMS = {
    name: jax.jit(getattr(metrics, f"gaussian_{name}"))
    for name in ("kl", "hellinger2", "mmd2", "energy_distance", "sliced")
}
SLOPES = {
    name: jax.jit(jax.value_and_grad(getattr(metrics, f"gaussian_{name}"), argnums=(0, 1, 3)))
    for name in FORMS
}
slow = functools.partial(pytest.param, marks=pytest.mark.slow)
A = jnp.array([[2.0, 0.5], [0.5, 1.0]])
B = jnp.array([[1.0, -0.3], [-0.3, 1.5]])
ZERO, MEAN = jnp.zeros(2), jnp.array([1.0, -2.0])
S, R = 1.3, 0.6  # standard deviations on the line


def line(name, mean, *, x=S, y=R):
    one = lambda v: jnp.full((1, 1), v**2)
    return float(FORMS[name](jnp.array([mean]), one(x), jnp.zeros(1), one(y)))


def test_known_values():
    np.testing.assert_allclose(FORMS["kl"](ZERO, A, ZERO, B), 0.416810, atol=5e-7)
    eye, ones = jnp.eye(2), jnp.ones(2)
    np.testing.assert_allclose(FORMS["mmd2"](ZERO, eye, ones, eye), 0.188979, atol=5e-7)


def test_densities_on_the_line():
    p, q = scipy.stats.norm(0.7, S), scipy.stats.norm(0, R)
    integral = lambda f: scipy.integrate.quad(f, -12, 12, epsabs=1e-12, limit=200)[0]
    kl = integral(lambda x: p.pdf(x) * (p.logpdf(x) - q.logpdf(x)))
    np.testing.assert_allclose(line("kl", 0.7), kl, rtol=1e-9)
    hellinger = 1 - integral(lambda x: np.sqrt(p.pdf(x) * q.pdf(x)))
    np.testing.assert_allclose(line("hellinger2", 0.7), hellinger, rtol=1e-9)
    energy = 2 * integral(lambda x: (p.cdf(x) - q.cdf(x)) ** 2)  # its form on the line
    np.testing.assert_allclose(line("energy_distance", 0.7), energy, rtol=1e-8)
    np.testing.assert_allclose(line("sliced", 0.7), 0.49 + (S - R) ** 2, rtol=1e-7)


def test_one_kl_in_two_ways_in_two_dimensions():
    # A product law: divergences add, affinities multiply.
    a, b = jnp.diag(jnp.array([S**2, 4.0])), jnp.diag(jnp.array([R**2, 1.0]))
    both = FORMS["kl"](MEAN, a, ZERO, b), FORMS["hellinger2"](MEAN, a, ZERO, b)
    parts = [(line(name, 1.0), line(name, -2.0, x=2.0, y=1.0)) for name in ("kl", "hellinger2")]
    np.testing.assert_allclose(both[0], sum(parts[0]), rtol=1e-12)
    np.testing.assert_allclose(both[1], 1 - np.prod(1 - np.array(parts[1])), rtol=1e-12)


def test_the_kernel_by_samples():
    bandwidth, number = 0.8, 20_000
    normal = np.random.RandomState(0).randn(2, number, 2)
    x = normal[0] @ np.linalg.cholesky(A).T + np.asarray(MEAN)
    y = normal[1] @ np.linalg.cholesky(B).T
    kernel = lambda a, b: np.exp(-np.sum((a - b) ** 2, axis=1) / (2 * bandwidth**2))
    half = number // 2  # independent copies: the other half, not the neighbour
    values = kernel(x[:half], x[half:]) + kernel(y[:half], y[half:])
    values = values - kernel(x[:half], y[half:]) - kernel(x[half:], y[:half])
    got = metrics.gaussian_mmd2(MEAN, A, ZERO, B, bandwidth=bandwidth)
    assert values.std() / np.sqrt(half) < 0.008
    assert abs(values.mean() - got) < 5 * values.std() / np.sqrt(half)


@pytest.mark.parametrize("d", [slow(1), 3, slow(8)])
def test_energy_of_isotropic_ones(d):
    # E|z| for z ~ N(0, I) is √2 Γ((d + 1)/2) / Γ(d/2).
    root = np.sqrt(2) * np.exp(scipy.special.gammaln((d + 1) / 2) - scipy.special.gammaln(d / 2))
    eye, zero = jnp.eye(d), jnp.zeros(d)
    got = FORMS["energy_distance"](zero, 9 * eye, zero, eye / 4)
    exact = root * (2 * np.sqrt(9.25) - np.sqrt(18) - np.sqrt(0.5))
    np.testing.assert_allclose(got, exact, rtol=1e-8)
    # Point masses: 2 |gap|.
    gap = jnp.arange(1.0, d + 1)
    got = FORMS["energy_distance"](gap, 0 * eye, zero, 0 * eye)
    np.testing.assert_allclose(got, 2 * np.linalg.norm(gap), rtol=1e-8)


@pytest.mark.parametrize("d", [slow(1), slow(3), 8, slow(30)])
def test_sliced_of_isotropic_ones(d):
    mean, eye = jnp.arange(1.0, d + 1), jnp.eye(d)
    got = FORMS["sliced"](mean, 4 * eye, 0 * mean, eye / 4)
    np.testing.assert_allclose(got, mean @ mean / d + 1.5**2, rtol=1e-7)


UNIT = jnp.diag(jnp.array([1.0, 0.0]))


@pytest.mark.parametrize(
    ("a", "b"),
    [(A, B), (UNIT, B), (UNIT, jnp.eye(2)[::-1] @ UNIT @ jnp.eye(2)[::-1]), (1e4 * A, 1e-4 * B)],
    ids=["full", "one singular", "orthogonal lines", "far scales"],
)
def test_sliced_in_two_dimensions_by_angles(a, b):
    angle = np.pi * (np.arange(200_000) + 0.5) / 200_000
    u = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    root = lambda c: np.sqrt(np.sum((u @ np.asarray(c)) * u, axis=1))
    exact = np.mean((root(a) - root(b)) ** 2)
    np.testing.assert_allclose(FORMS["sliced"](MEAN, a, ZERO, b) - 2.5, exact, rtol=1e-7)


@pytest.mark.parametrize("name", FORMS)
def test_equal_laws_are_at_zero_with_finite_gradients(name):
    distance = SLOPES[name]
    value, slopes = distance(MEAN, A, MEAN, A)
    assert abs(value) < 1e-7
    for slope in slopes:
        np.testing.assert_allclose(slope, 0, atol=1e-6)
    if name not in ("kl", "hellinger2"):  # those need a density
        none = jnp.zeros((2, 2))
        for cov_x, cov_y in ((none, none), (none, B), (UNIT, B)):
            value, slopes = distance(MEAN, cov_x, ZERO, cov_y)
            assert value > 0
            assert all(jnp.all(jnp.isfinite(slope)) for slope in slopes)


@pytest.mark.parametrize("name", FORMS)
def test_gradient_and_float32(name):
    shift = jnp.array([[0.3, 0.2], [0.2, -0.4]])
    fn, step = FORMS[name], 1e-4
    slopes = SLOPES[name](MEAN, A, ZERO, B)[1]
    for number, base, grad in ((1, A, slopes[1]), (3, B, slopes[2])):
        ends = []
        for sign in (1, -1):
            laws = [MEAN, A, ZERO, B]
            laws[number] = base + sign * step * shift
            ends.append(fn(*laws))
        np.testing.assert_allclose(
            jnp.vdot(grad, shift), (ends[0] - ends[1]) / (2 * step), rtol=1e-6
        )
    single = fn(*(x.astype(jnp.float32) for x in (MEAN, A, ZERO, B)))
    assert single.dtype == jnp.float32
    np.testing.assert_allclose(single, fn(MEAN, A, ZERO, B), rtol=1e-5)


def test_bad_input():
    with pytest.raises(ValueError, match=r"gaussian_kl: cov_y must be positive definite; got 0.00"):
        metrics.gaussian_kl(ZERO, A, ZERO, UNIT)
    with pytest.raises(ValueError, match=r"gaussian_sliced: cov_x must be symmetric"):
        metrics.gaussian_sliced(ZERO, jnp.array([[1.0, 0.5], [0.0, 1.0]]), ZERO, B)
    with pytest.raises(ValueError, match=r"gaussian_mmd2: bandwidth must be positive; got 0"):
        metrics.gaussian_mmd2(ZERO, A, ZERO, B, bandwidth=0)
    with pytest.raises(ValueError, match=r"gaussian_energy_distance: means must be \[d\]"):
        metrics.gaussian_energy_distance(ZERO, A, ZERO, jnp.eye(3))
