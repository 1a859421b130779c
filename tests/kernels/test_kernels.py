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


MORE = {
    "matern_half": kernels.matern(0.5, 0.7),
    "matern_three_halves": kernels.matern(1.5, 0.7),
    "matern_five_halves": kernels.matern(2.5, 0.7),
    "rational_quadratic": kernels.rational_quadratic(0.7, 1.5),
    "sum": kernels.add(kernels.rbf(0.7), kernels.scale(kernels.laplace(2.0), 0.3)),
    "product": kernels.multiply(kernels.imq(0.7), kernels.polynomial(2)),
}


def test_more_values_by_hand():
    x, y = jnp.array([1.0, 2.0]), jnp.array([0.0, 4.0])  # |x-y|^2 = 5, |x-y|_1 = 3, <x,y> = 8
    r = np.sqrt(5) / 2
    by_hand = {
        kernels.matern(0.5, 2.0): np.exp(-r),
        kernels.matern(1.5, 2.0): (1 + np.sqrt(3) * r) * np.exp(-np.sqrt(3) * r),
        kernels.matern(2.5, 2.0): (1 + np.sqrt(5) * r + 5 / 3 * r**2) * np.exp(-np.sqrt(5) * r),
        kernels.rational_quadratic(2.0, 3.0): (1 + 5 / 24) ** -3,
        kernels.minus_distance(): -np.sqrt(5),
        kernels.add(kernels.rbf(2.0), kernels.laplace(2.0)): np.exp(-5 / 8) + np.exp(-1.5),
        kernels.multiply(kernels.rbf(2.0), kernels.polynomial(3)): np.exp(-5 / 8) * 125,
        kernels.scale(kernels.rbf(2.0), 0.25): np.exp(-5 / 8) / 4,
    }
    for kernel, value in by_hand.items():
        np.testing.assert_allclose(kernel(x, y), value, rtol=2e-15)


@pytest.mark.parametrize("name", ALL | MORE)
def test_the_matrix_is_the_kernel_on_every_pair(name):
    kernel, d = (ALL | MORE)[name], 20  # axes enough for a matrix product
    xs, ys = cloud(10, 6, d) / np.sqrt(d), cloud(11, 5, d) / np.sqrt(d)
    ys = ys.at[0].set(xs[3])
    one_by_one = jax.jit(jax.vmap(lambda x: jax.vmap(lambda y: kernel(x, y))(ys)))(xs)
    matrix = jax.jit(lambda: kernels.gram(kernel, xs, ys))()
    np.testing.assert_allclose(matrix, one_by_one, rtol=1e-12)
    if name not in ("product", "sum", "polynomial"):
        assert matrix[3, 0] == 1
    own = jax.jit(lambda: kernels.gram(kernel, xs, xs))()
    assert np.linalg.eigvalsh(own).min() > -1e-12 * np.abs(own).max()


def test_matern_slopes():
    # Order 5/2, a² = 5 q: the profile's own two derivatives in q = |x - y|² are
    # -5/6 (1 + a) exp(-a) and 25/12 exp(-a); order 3/2, a² = 3 q: -3/2 exp(-a).
    q = jnp.array([0.0, 0.2, 1.7])
    slope = lambda order: jax.vmap(jax.grad(kernels.matern(order).profile))
    curve = jax.vmap(jax.grad(jax.grad(kernels.matern(2.5).profile)))
    a, b = jnp.sqrt(5 * q), jnp.sqrt(3 * q)
    np.testing.assert_allclose(slope(2.5)(q), -5 / 6 * (1 + a) * jnp.exp(-a), rtol=1e-13)
    np.testing.assert_allclose(curve(q), 25 / 12 * jnp.exp(-a), rtol=1e-13)
    np.testing.assert_allclose(slope(1.5)(q), -1.5 * jnp.exp(-b), rtol=1e-13)
    near = (kernels.matern(2.5).profile(q[1:] + 1e-6) - kernels.matern(2.5).profile(q[1:])) / 1e-6
    np.testing.assert_allclose(slope(2.5)(q[1:]), near, rtol=1e-5)


def test_far_from_the_origin_in_float32():
    # 1000 in every axis: the square of a point is 2e7, one distance 40; centring keeps them apart.
    exact = cloud(12, 30, 20)
    xs = (exact + 1000).astype(jnp.float32)
    want = kernels.gram(kernels.rbf(4.0), xs.astype(float), xs.astype(float))
    got = kernels.gram(kernels.rbf(4.0), xs, xs)
    np.testing.assert_allclose(got, want, rtol=2e-5)
    np.testing.assert_array_equal(jnp.diag(got), 1)


def test_near_copies_keep_their_distance():
    xs = cloud(13, 8, 20)
    ys = xs + 1e-9 * cloud(14, 8, 20)
    got = jnp.diag(kernels.gram(kernels.minus_distance(), xs, ys))
    np.testing.assert_allclose(got, -jnp.linalg.norm(xs - ys, axis=1), rtol=1e-12)


@pytest.mark.parametrize("chunk", [4, 5])  # even and odd rings of tiles
@pytest.mark.parametrize("own", [lambda x, y: jnp.vdot(x, y) ** 2, kernels.matern(1.5)])
def test_sums_over_the_matrix(chunk, own):
    xs, ys, rng = cloud(15, 23, 9), cloud(16, 17, 9), np.random.RandomState(17)
    weights, columns = jnp.asarray(rng.randn(23)), jnp.asarray(rng.randn(17, 2))
    matrix, inner = kernels.gram(own, xs, ys), kernels.gram(own, xs, xs)

    @jax.jit
    def sums(xs, ys, weights, columns):
        return (
            kernels.weighted_sums(own, xs, ys, columns, chunk=chunk),
            kernels.quadratic(own, xs, weights, chunk=chunk),
            kernels.quadratic(own, xs, chunk=chunk),
            kernels.moments(own, xs, ys, chunk=chunk),
        )

    product, form, mean, found = sums(xs, ys, weights, columns)
    np.testing.assert_allclose(product, matrix @ columns, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(form, weights @ inner @ weights, rtol=1e-10)
    np.testing.assert_allclose(mean, inner.mean(), rtol=1e-12)
    for got, want in zip(found, (matrix.mean(1), matrix.mean(0), (matrix**2).mean()), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-12)


def test_slopes_in_tiles_are_slopes_of_the_whole():
    xs, ys = cloud(18, 23, 9), cloud(19, 17, 9)
    xs = xs.at[1].set(xs[0])

    def total(xs, ys, h, chunk):
        kernel = kernels.add(kernels.matern(1.5, h), kernels.minus_distance())
        own = kernels.quadratic(kernel, xs, chunk=chunk)
        return own + jnp.sum(kernels.moments(kernel, xs, ys, chunk=chunk).rows ** 2)

    slopes = jax.jit(jax.grad(total, argnums=(0, 1, 2)), static_argnums=3)
    for got, want in zip(slopes(xs, ys, 2.0, 5), slopes(xs, ys, 2.0, 100), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-12)
        assert np.abs(want).max() > 1e-3


def test_reverse_mode_keeps_no_tile():
    xs = jax.ShapeDtypeStruct((4000, 16), jnp.float32)
    kernel = kernels.rbf()
    total = lambda x: (
        kernels.quadratic(kernel, x, chunk=250)
        + jnp.sum(kernels.weighted_sums(kernel, x, x, jnp.ones(4000, x.dtype), chunk=250))
    )
    memory = jax.jit(jax.grad(total)).lower(xs).compile().memory_analysis()
    assert memory.temp_size_in_bytes < 4000 * 4000 * 4 / 8  # an eighth of one Gram matrix


def test_median_bandwidth():
    xs = cloud(20, 40, 3)
    plain = np.asarray(xs)
    from_pairs = [np.linalg.norm(a - b) for i, a in enumerate(plain) for b in plain[:i]]
    np.testing.assert_allclose(kernels.median_bandwidth(xs), np.median(from_pairs), rtol=1e-12)
    both = kernels.median_bandwidth(xs[:25], xs[25:])
    np.testing.assert_allclose(both, np.median(from_pairs), rtol=1e-12)
    assert kernels.median_bandwidth(jnp.ones((5, 2))) == 1
    many = kernels.median_bandwidth(cloud(21, 5000, 1), most=500)
    assert abs(many - 0.954) < 0.1  # the median of |N(0, 2)|
    assert jnp.all(jax.grad(lambda x: kernels.median_bandwidth(x))(xs) == 0)
    with pytest.raises(ValueError, match="median_bandwidth: there must be at least 2 points"):
        kernels.median_bandwidth(xs[:1])
    with pytest.raises(ValueError, match="median_bandwidth: .* one event shape"):
        kernels.median_bandwidth(xs, xs[:, :1])


def test_refuses_other_numbers():
    for make, match in [
        (lambda: kernels.matern(1.0), r"matern: order must be 0.5, 1.5 or 2.5; got 1.0"),
        (lambda: kernels.matern(0.5, 0.0), "matern: bandwidth must be positive"),
        (lambda: kernels.rational_quadratic(1.0, 0.0), "mixture must be positive"),
        (lambda: kernels.scale(kernels.rbf(), -1.0), "scale: factor must be finite and not neg"),
        (lambda: kernels.add(), "add: there must be a kernel; got none"),
        (lambda: kernels.multiply(), "multiply: there must be a kernel; got none"),
    ]:
        with pytest.raises(ValueError, match=match):
            make()
    xs = cloud(0, 4, 2)
    with pytest.raises(ValueError, match=r"weights must be \[m\] or \[m, p\] with m = 4; got \(3,"):
        kernels.weighted_sums(kernels.rbf(), xs, xs, jnp.ones(3))
    with pytest.raises(ValueError, match=r"quadratic: weights must be \[n\] with n = 4; got \(3,"):
        kernels.quadratic(kernels.rbf(), xs, jnp.ones(3))
    with pytest.raises(
        ValueError, match="row_means: chunk must be an integer of at least 1; got 0"
    ):
        kernels.row_means(kernels.rbf(), xs, xs, chunk=0)
