import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from jaxgen import metrics

frechet = jax.jit(metrics.frechet)  # compiled whole, which is several times faster to test
gaussian_distance = jax.jit(metrics.gaussian_distance)
A = jnp.array([[2.0, 0.5], [0.5, 1.0]])
B = jnp.array([[1.0, -0.3], [-0.3, 1.5]])
ZERO = jnp.zeros(2)


def cloud(seed, n, d):
    rng = np.random.RandomState(seed)
    return jnp.asarray(rng.randn(n, d) @ rng.randn(d, d) + rng.randn(d))


def by_square_root(xs, ys):
    """The textbook: scipy's matrix square root of the product of the covariances."""
    a, b = np.cov(xs, rowvar=False), np.cov(ys, rowvar=False)
    root = np.real(scipy.linalg.sqrtm(a @ b))
    gap = np.mean(xs, axis=0) - np.mean(ys, axis=0)
    return gap @ gap + np.trace(a + b - 2 * root)


def test_known_pair():
    assert abs(gaussian_distance(ZERO, A, ZERO, B) - 0.463471) < 5e-7


def test_two_dimensions_in_closed_form():
    # In 2-D, tr sqrt(M) = sqrt(tr M + 2 sqrt(det M)).
    cross = np.sqrt(np.trace(A @ B) + 2 * np.sqrt(np.linalg.det(A) * np.linalg.det(B)))
    mean = jnp.array([1.0, -2.0])
    exact = 5.0 + np.trace(A) + np.trace(B) - 2 * cross
    np.testing.assert_allclose(gaussian_distance(mean, A, ZERO, B), exact, rtol=1e-14)


def test_isotropic():
    # |m|^2 + d (s - r)^2
    mean = jnp.arange(5.0)
    got = gaussian_distance(mean, 4.0 * jnp.eye(5), jnp.zeros(5), 0.25 * jnp.eye(5))
    np.testing.assert_allclose(got, 30 + 5 * 1.5**2, rtol=1e-14)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_singular_covariances(dtype):
    # Rank one against rank one at an angle: tr A + tr B - 2 |<u, v>|.
    u, v = jnp.array([3.0, 4.0, 0.0], dtype), jnp.array([1.0, 0.0, 2.0], dtype)
    zero = jnp.zeros(3, dtype)
    got = gaussian_distance(zero, jnp.outer(u, u), zero, jnp.outer(v, v))
    assert got.dtype == dtype
    np.testing.assert_allclose(got, 25 + 5 - 2 * 3, rtol=100 * jnp.finfo(dtype).eps)
    none = jnp.zeros((3, 3), dtype)
    np.testing.assert_allclose(gaussian_distance(zero, none, zero, none), 0)
    got = gaussian_distance(zero, none, zero, jnp.outer(v, v))
    np.testing.assert_allclose(got, 5, rtol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_low_rank_covariances_and_their_gradient(dtype):
    # A = F^T F, B = G^T G of ranks 3 and 4 in 8-D: the cross term is the nuclear norm of F G^T, and
    # d/dc of the distance from c A at c = 1 is tr A - cross.
    rng, slope = np.random.RandomState(0), jax.jit(jax.grad(gaussian_distance, 1))
    for _ in range(5):
        f, g, zero = rng.randn(3, 8), rng.randn(4, 8), jnp.zeros(8, dtype)
        a, b = jnp.asarray(f.T @ f, dtype), jnp.asarray(g.T @ g, dtype)
        cross, scale = np.linalg.svd(f @ g.T, compute_uv=False).sum(), np.sum(f**2) + np.sum(g**2)
        tight = 100 * jnp.finfo(dtype).eps
        got = gaussian_distance(zero, a, zero, b)
        assert abs(got - (scale - 2 * cross)) < tight * scale
        grad = slope(zero, a, zero, b)
        assert abs(jnp.vdot(grad, a) - (np.sum(f**2) - cross)) < tight * scale


def test_gradient_of_covariances():
    f = lambda a, b: gaussian_distance(ZERO, a, ZERO, b)
    shift = jnp.array([[0.3, 0.2], [0.2, -0.4]])
    step = 1e-5
    for number, (a, b) in ((0, (A, B)), (1, (A, B)), (0, (jnp.eye(2), jnp.eye(2) * 2))):
        grad = jax.jit(jax.grad(f, number))(a, b)
        move = lambda s, n=number, a=a, b=b: f(
            *((a + s * shift, b) if n == 0 else (a, b + s * shift))
        )
        slope = (move(step) - move(-step)) / (2 * step)
        np.testing.assert_allclose(jnp.vdot(grad, shift), slope, rtol=1e-8)


def test_frechet_against_the_square_root():
    xs, ys = cloud(0, 300, 6), cloud(1, 200, 6)
    np.testing.assert_allclose(frechet(xs, ys), by_square_root(xs, ys), rtol=1e-10)


def test_frechet_is_gaussian_distance_of_the_fits():
    xs, ys = cloud(0, 30, 4), cloud(1, 33, 4)
    fit = lambda a: (np.mean(a, axis=0), np.cov(a, rowvar=False))
    np.testing.assert_allclose(frechet(xs, ys), gaussian_distance(*fit(xs), *fit(ys)), rtol=1e-12)


def test_frechet_of_a_scaled_and_shifted_copy():
    # ys = c xs + m: |gap|^2 + (1 - c)^2 tr A, whatever the covariance A; here of rank 9 in 40-D.
    xs = jnp.asarray(np.random.RandomState(2).randn(10, 40))
    for dtype in (jnp.float32, jnp.float64):
        x = xs.astype(dtype)
        ys = 1.5 * x + 2
        gap = np.mean(x, axis=0) - np.mean(ys, axis=0)
        exact = gap @ gap + 0.25 * np.var(x, axis=0, ddof=1).sum()
        got = frechet(x, ys)
        assert got.dtype == dtype
        np.testing.assert_allclose(got, exact, rtol=100 * jnp.finfo(dtype).eps)


def test_frechet_of_constant_columns_and_equal_points():
    xs = cloud(3, 20, 3).at[:, 1].set(7.0)
    assert frechet(xs, xs) < 1e-12
    same = jnp.ones((5, 3))
    np.testing.assert_allclose(frechet(same, same + 2), 12.0, rtol=1e-14)


@pytest.mark.parametrize(("n", "d"), [(30, 4), (6, 9)])
def test_gradient_of_frechet(n, d):
    xs, ys = cloud(4, n, d), cloud(5, n + 3, d)
    shift = cloud(6, n, d)
    grad = jax.jit(jax.grad(frechet))(xs, ys)
    step = 1e-5
    slope = (frechet(xs + step * shift, ys) - frechet(xs - step * shift, ys)) / (2 * step)
    np.testing.assert_allclose(jnp.vdot(grad, shift), slope, rtol=1e-7)
    flat = jax.jit(jax.grad(frechet))(xs.at[:, 0].set(1.0), ys)
    assert jnp.all(jnp.isfinite(flat))


def test_bias_falls_as_one_over_n():
    # Stated in the docstring; equal laws N(0, I_8), 40 pairs a size.
    key = jax.random.key(7)

    def mean_at(n):
        draws = jax.random.normal(jax.random.fold_in(key, n), (40, 2, n, 8))
        return np.mean([frechet(*pair) for pair in np.asarray(draws)])

    small, large = mean_at(100), mean_at(400)
    assert small > 0.1
    assert 3.6 < small / large < 4.4


def test_bad_input():
    with pytest.raises(ValueError, match=r"frechet: xs must hold at least 2 points; got 1"):
        metrics.frechet(jnp.ones((1, 2)), jnp.ones((5, 2)))
    with pytest.raises(ValueError, match=r"frechet: .* one event shape; got \(3, 2\) and \(5, 4\)"):
        metrics.frechet(jnp.ones((3, 2)), jnp.ones((5, 4)))
    with pytest.raises(ValueError, match=r"frechet: ys must be finite; got 1 nan"):
        metrics.frechet(jnp.ones((3, 2)), jnp.ones((5, 2)).at[0, 0].set(jnp.nan))
    with pytest.raises(ValueError, match=r"floating dtype; got uint8"):
        metrics.frechet(jnp.ones((3, 2), jnp.uint8), jnp.ones((5, 2)))
    with pytest.raises(ValueError, match=r"gaussian_distance: means must be \[d\]"):
        metrics.gaussian_distance(ZERO, A, ZERO, jnp.eye(3))
    with pytest.raises(ValueError, match=r"cov_y must be symmetric"):
        metrics.gaussian_distance(ZERO, A, ZERO, jnp.array([[1.0, 0.5], [0.0, 1.0]]))


def test_extrapolating_takes_the_bias_of_first_order():
    xs, ys = cloud(20, 9, 2), cloud(21, 7, 2)
    extrapolated = functools.partial(metrics.frechet, extrapolate=True)
    halves = by_square_root(xs[:4], ys[:3]) + by_square_root(xs[-4:], ys[-3:])
    exact = 2 * by_square_root(xs, ys) - halves / 2
    np.testing.assert_allclose(jax.jit(extrapolated)(xs, ys), exact, rtol=1e-9)
    # Of two samples of one law the distance is 0; that of 40 points is above it by a first order.
    pairs = np.random.RandomState(0).randn(2, 600, 40, 2)
    values = np.asarray(jax.jit(jax.vmap(extrapolated))(*pairs))
    plain = np.asarray(jax.jit(jax.vmap(metrics.frechet))(*pairs))
    errors = [v.std() / np.sqrt(600) for v in (values, plain)]
    assert plain.mean() > 30 * errors[1]
    assert abs(values.mean()) < 5 * errors[0]
    assert 5 * errors[0] < plain.mean() / 2
    with pytest.raises(ValueError, match=r"frechet: xs must hold at least 4 points; got 3"):
        metrics.frechet(xs[:3], ys, extrapolate=True)
