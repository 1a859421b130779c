"""The metrics door: f(xs [n, *event], ys [m, *event], ...) -> []."""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import kernels, metrics


def sliced(xs, ys, **options):
    return metrics.sliced_wasserstein(jax.random.key(11), xs, ys, **options)


def on_a_line(xs, ys):
    return metrics.wasserstein_1d(xs.ravel(), ys.ravel(), p=2)


def kernel_value(xs, ys):
    return metrics.kernel_distance(xs, ys, kernel=kernels.rbf(2.0)).value


def bures(xs, ys):
    fit = lambda a: a.reshape(a.shape[0], -1)
    xs, ys = fit(xs), fit(ys)
    return metrics.gaussian_distance(
        jnp.mean(xs, axis=0),
        jnp.cov(xs, rowvar=False),
        jnp.mean(ys, axis=0),
        jnp.cov(ys, rowvar=False),
    )


SHIFT = 3.0
D = 6  # event (2, 3)
RBF = 2.0  # bandwidth: MMD^2 = 2 (h^2/(h^2+2))^(d/2) (1 - exp(-d shift^2 / (2 (h^2 + 2))))
MMD = 2 * (RBF**2 / (RBF**2 + 2)) ** (D / 2) * (1 - np.exp(-D * SHIFT**2 / (2 * (RBF**2 + 2))))

# name: (metric, value on equal laws, value on laws N(0, I) and N(SHIFT, I), symmetric).
# None where there is no closed form: then only "far above the equal one" is asked.
DOOR = {
    "frechet": (metrics.frechet, 0.0, D * SHIFT**2, True),
    "gaussian_distance": (bures, 0.0, D * SHIFT**2, True),
    "mmd2": (functools.partial(metrics.mmd2, kernel=kernels.rbf(RBF)), 0.0, MMD, True),
    "mmd2_biased": (
        functools.partial(metrics.mmd2, kernel=kernels.rbf(RBF), estimator="biased"),
        0.0,
        MMD,
        True,
    ),
    "kernel_distance": (kernel_value, 0.0, MMD, True),
    "energy_distance": (metrics.energy_distance, 0.0, None, True),
    "sliced_wasserstein": (
        functools.partial(sliced, num_projections=3000),
        0.0,
        SHIFT**2,
        True,
    ),
    "wasserstein_1d": (on_a_line, 0.0, SHIFT**2, True),
    "precision": (metrics.precision, None, 0.0, False),
    "recall": (metrics.recall, None, 0.0, False),
    "density": (metrics.density, 1.0, 0.0, False),
    "coverage": (metrics.coverage, None, 0.0, False),
}


# Two Gaussians in place of two samples, or an answer that is not one number: tested in their rooms.
OTHER_SIGNATURES = {
    "Estimate",
    "Nearest",
    "gaussian_energy_distance",
    "gaussian_hellinger2",
    "gaussian_kl",
    "gaussian_mmd2",
    "gaussian_sliced",
    "nearest",
    "sliced_wasserstein_estimate",
}

# Shared, so that tests compile a metric once.
JITTED = {name: jax.jit(row[0]) for name, row in DOOR.items()}


def clouds(n=240, m=240, shift=0.0, dtype=None):
    rng = np.random.RandomState(5)
    dtype = dtype or jnp.result_type(float)
    return (
        jnp.asarray(rng.randn(n, 2, 3), dtype),
        jnp.asarray(rng.randn(m, 2, 3) + shift, dtype),
    )


def test_the_list_is_the_door():
    doors = {name for name in metrics.__all__ if inspect.ismodule(getattr(metrics, name))}
    values = set(metrics.__all__) - doors - OTHER_SIGNATURES
    assert values == set(DOOR) - {"mmd2_biased"}


@pytest.mark.parametrize("name", DOOR)
def test_equal_laws_and_shifted_ones(name):
    _, equal, shifted, _ = DOOR[name]
    metric = JITTED[name]
    on_equal, on_shifted = metric(*clouds()), metric(*clouds(shift=SHIFT))
    scale = max(abs(float(on_shifted)), abs(float(on_equal)))
    if equal is not None:
        assert abs(on_equal - equal) < 0.1 * scale
    if shifted is not None:
        assert abs(on_shifted - shifted) < 0.1 * scale
    assert abs(on_shifted - on_equal) > 0.5 * scale


@pytest.mark.parametrize("name", DOOR)
def test_symmetric_where_claimed(name):
    metric, symmetric = JITTED[name], DOOR[name][3]
    xs, ys = clouds(shift=0.7)
    ys = 0.5 * ys
    there, back = metric(xs, ys), metric(ys, xs)
    if symmetric:
        np.testing.assert_allclose(there, back, rtol=1e-11)
    else:
        assert there != back


@pytest.mark.parametrize("name", DOOR)
def test_jit_is_eager(name):
    metric = DOOR[name][0]
    xs, ys = clouds(shift=0.5)
    eager = metric(xs, ys)
    assert eager.shape == ()
    np.testing.assert_allclose(JITTED[name](xs, ys), eager, rtol=1e-11)


@pytest.mark.parametrize("name", DOOR)
def test_float32_keeps_its_dtype_and_accuracy(name):
    metric = JITTED[name]
    single = clouds(shift=0.5, dtype=jnp.float32)
    value = metric(*single)
    assert value.dtype == jnp.float32
    exact = metric(*(x.astype(jnp.float64) for x in single))
    if name == "sliced_wasserstein":  # its directions differ between dtypes
        assert jnp.isfinite(value)
        return
    scale = float(jnp.maximum(jnp.abs(exact), 0.1))
    assert abs(value - exact) < 300 * jnp.finfo(jnp.float32).eps * scale


@pytest.mark.parametrize("name", DOOR)
def test_without_x64(name, x32):
    value = jax.jit(DOOR[name][0])(*clouds(shift=0.5))
    assert value.dtype == jnp.float32
    assert jnp.isfinite(value)


@pytest.mark.parametrize("name", set(DOOR) - {"precision", "recall", "density", "coverage"})
def test_gradient_against_finite_differences(name):
    metric = DOOR[name][0]
    xs, ys = clouds(shift=0.5)
    direction = jnp.asarray(np.random.RandomState(1).randn(*xs.shape))
    slope = jnp.vdot(jax.jit(jax.grad(metric))(xs, ys), direction)
    step, metric = 1e-7, JITTED[name]
    near = (metric(xs + step * direction, ys) - metric(xs - step * direction, ys)) / (2 * step)
    np.testing.assert_allclose(slope, near, rtol=1e-4)  # ties in sorting bend sliced distances


@pytest.mark.parametrize("name", DOOR)
def test_a_metric_does_not_see_the_order_of_points(name):
    metric, (xs, ys) = JITTED[name], clouds(shift=0.5)
    np.testing.assert_allclose(metric(xs[::-1], ys[::-1]), metric(xs, ys), rtol=1e-11)
