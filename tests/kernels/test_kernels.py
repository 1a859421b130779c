import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import kernels

ALL = {
    "rbf": kernels.rbf(0.7),
    "laplace": kernels.laplace(0.7),
    "imq": kernels.imq(0.7, 0.5),
    "polynomial": kernels.polynomial(3),
}


def cloud(seed, n, *event):
    return jnp.asarray(np.random.RandomState(seed).randn(n, *event))


def test_values_by_hand():
    x, y = jnp.array([1.0, 2.0]), jnp.array([0.0, 4.0])  # |x-y|^2 = 5, |x-y|_1 = 3, <x,y> = 8
    np.testing.assert_allclose(kernels.rbf(2.0)(x, y), np.exp(-5 / 8), rtol=1e-15)
    np.testing.assert_allclose(kernels.laplace(2.0)(x, y), np.exp(-1.5), rtol=1e-15)
    np.testing.assert_allclose(kernels.imq(2.0)(x, y), (1 + 5 / 4) ** -0.5, rtol=1e-15)
    np.testing.assert_allclose(kernels.imq(2.0, 2.0)(x, y), (1 + 5 / 4) ** -2.0, rtol=1e-15)
    np.testing.assert_allclose(kernels.polynomial(3)(x, y), 5.0**3, rtol=1e-15)
    np.testing.assert_allclose(kernels.polynomial(2, 0.5, 2.0)(x, y), 36.0, rtol=1e-15)


@pytest.mark.parametrize("name", ALL)
def test_symmetric_positive_definite(name):
    xs = cloud(0, 12, 3)
    matrix = kernels.gram(ALL[name], xs, xs)
    np.testing.assert_allclose(matrix, matrix.T, rtol=1e-14)
    assert np.linalg.eigvalsh(matrix).min() > -1e-12 * np.abs(matrix).max()


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_keeps_dtype_and_any_event_shape(name, dtype):
    xs = cloud(1, 5, 2, 3).astype(dtype)
    matrix = kernels.gram(ALL[name], xs, xs[:4])
    assert matrix.dtype == dtype
    assert matrix.shape == (5, 4)
    flat = kernels.gram(ALL[name], xs.reshape(5, 6), xs[:4].reshape(4, 6))
    np.testing.assert_allclose(matrix, flat, rtol=20 * jnp.finfo(dtype).eps)


def test_a_numpy_float64_bandwidth_does_not_widen_float32():
    xs = cloud(1, 5, 2).astype(jnp.float32)
    assert kernels.gram(kernels.rbf(np.float64(0.3)), xs, xs).dtype == jnp.float32


@pytest.mark.parametrize("chunk", [1, 3, 7, 100])
def test_row_means_in_blocks(chunk):
    xs, ys = cloud(2, 7, 2), cloud(3, 5, 2)
    got = kernels.row_means(kernels.rbf(), xs, ys, chunk=chunk)
    np.testing.assert_allclose(got, kernels.gram(kernels.rbf(), xs, ys).mean(1), rtol=1e-14)


def test_crosses_jit_in_one_trace_and_differentiates():
    xs = cloud(4, 6, 2)
    traces = []

    @jax.jit
    def total(kernel):
        traces.append(1)
        return kernels.gram(kernel, xs, xs).sum()

    for bandwidth in (0.5, 1.0, 2.0):
        total(kernels.rbf(bandwidth))
    total(kernels.polynomial(3, 0.5, 1.0))
    total(kernels.polynomial(3, 0.7, 2.0))
    assert len(traces) == 2
    slope = jax.grad(lambda h: kernels.gram(kernels.rbf(h), xs, xs).sum())(0.8)
    step = 1e-6
    near = [kernels.gram(kernels.rbf(0.8 + s), xs, xs).sum() for s in (step, -step)]
    np.testing.assert_allclose(slope, (near[0] - near[1]) / (2 * step), rtol=1e-7)


@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan"), float("inf"), np.ones(2)])
@pytest.mark.parametrize("make", [kernels.rbf, kernels.laplace, kernels.imq])
def test_refuses_a_bandwidth_that_is_not_positive(make, bad):
    with pytest.raises(ValueError, match="bandwidth must be"):
        make(bad)


def test_refuses_a_degree():
    for bad in (0, 2.5):
        with pytest.raises(ValueError, match="degree must be an integer"):
            kernels.polynomial(bad)
