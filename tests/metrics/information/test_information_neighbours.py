import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from jaxgen.metrics import information

STATIC = ("k", "norm", "weighted", "chunk", "version")
entropy_knn, mi_knn, mi_ksg, cmi_ksg = (
    jax.jit(fn, static_argnames=[s for s in STATIC if s in fn.__code__.co_varnames])
    for fn in (
        information.entropy_knn,
        information.mi_knn,
        information.mi_ksg,
        information.cmi_ksg,
    )
)
UNIT = 0.5 * math.log(2 * math.pi * math.e)  # the entropy of N(0, 1)


def normals(seed, n, d):
    return jax.random.normal(jax.random.key(seed), (n, d))


def correlated(seed, n, r):
    a, b = normals(seed, 2 * n, 1).reshape(2, n, 1)
    return a, r * a + np.sqrt(1 - r**2) * b


def within(estimate, exact, count=5.0):
    value, error = float(estimate.value), float(estimate.standard_error)
    assert abs(value - exact) < count * error, (value, exact, error)


def entropy_by_loops(xs, k, norm):
    """Kozachenko and Leonenko's estimate, from sorted distances."""
    xs = np.asarray(xs)
    n, d = xs.shape
    gaps = np.abs(xs[:, None] - xs[None])
    far = np.sqrt((gaps**2).sum(-1)) if norm == "euclidean" else gaps.max(-1)
    reach = np.sort(far, axis=1)[:, k]
    ball = 2.0**d if norm == "max" else np.pi ** (d / 2) / math.gamma(d / 2 + 1)
    psi = scipy.special.digamma
    return psi(n) - psi(k) + np.log(ball) + d * np.log(reach).mean()


@pytest.mark.parametrize(("norm", "k", "chunk"), [("euclidean", 1, 16), ("max", 5, 1000)])
def test_entropy_by_loops(norm, k, chunk):
    xs = normals(0, 60, 3) * jnp.array([[1.0, 2.0, 0.5]])
    got = entropy_knn(xs.reshape(60, 3, 1), k=k, norm=norm, chunk=chunk).value
    np.testing.assert_allclose(got, entropy_by_loops(xs, k, norm), rtol=1e-12)


def test_many_neighbours_of_a_long_sample_by_loops():
    xs = normals(1, 700, 2)  # long enough for the two short sorts
    got = entropy_knn(xs, k=9).value
    np.testing.assert_allclose(got, entropy_by_loops(xs, 9, "euclidean"), rtol=1e-12)


def test_entropy_of_a_line():
    xs = 3.0 * normals(2, 1000, 1) + 7
    within(entropy_knn(xs), UNIT + math.log(3))
    uniform = jax.random.uniform(jax.random.key(3), (1000, 1)) * 5
    within(entropy_knn(uniform), math.log(5))


def test_entropy_scales_and_moves():
    xs = normals(4, 100, 3)
    base = entropy_knn(xs).value
    np.testing.assert_allclose(entropy_knn(8 * xs + 1).value, base + 3 * math.log(8), rtol=1e-11)


def test_gradient_pushes_neighbours_apart():
    xs = jnp.array([[0.0, 0.0], [0.1, 0.0], [5.0, 1.0], [5.0, 3.0], [-4.0, 2.0]])
    push = jax.jit(jax.grad(lambda x: information.entropy_knn(x, k=1).value))(xs)
    # Each of the nearest pair is the other's neighbour: d/n (1/r + 1/r) = 2/5 * 2/0.1, plus the
    # pull of the point at (-4, 2), whose neighbour is the origin.
    pull = 2 / 5 * np.array([4.0, -2.0]) / 20
    np.testing.assert_allclose(push[1], [8.0, 0.0], atol=1e-12)
    np.testing.assert_allclose(push[0], np.array([-8.0, 0.0]) + pull, atol=1e-12)
    direction, step = normals(5, 5, 2), 1e-6
    value = lambda x: information.entropy_knn(x, k=1).value
    slope = (value(xs + step * direction) - value(xs - step * direction)) / (2 * step)
    np.testing.assert_allclose(jnp.vdot(push, direction), slope, rtol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_copies_are_finite(dtype):
    xs = jnp.ones((6, 2), dtype)
    value, slope = jax.jit(jax.value_and_grad(lambda x: information.entropy_knn(x, k=2).value))(xs)
    assert value.dtype == dtype
    assert np.isfinite(value)
    np.testing.assert_array_equal(slope, 0)
    some = jnp.concatenate([normals(6, 6, 2).astype(dtype), xs])
    slope = jax.jit(jax.grad(lambda x: information.entropy_knn(x, k=2).value))(some)
    assert np.all(np.isfinite(slope))


@pytest.mark.parametrize(("k", "d", "terms"), [(10, 3, 0), (20, 4, 1), (40, 9, 2), (80, 12, 3)])
def test_weights_cancel_the_leading_bias(k, d, terms):
    w = np.asarray(information.neighbour_weights(k, d, terms=terms))
    j = np.arange(1, k + 1)
    np.testing.assert_allclose(w.sum(), 1, rtol=1e-10)
    for order in range(1, terms + 1):
        factor = np.exp(scipy.special.gammaln(j + 2 * order / d) - scipy.special.gammaln(j))
        assert abs(w @ factor) < 1e-9 * np.abs(w * factor).sum()


def test_weights_have_least_noise():
    # log of the volume to the j-th neighbour is the log of a sum of j exponentials.
    w = np.asarray(information.neighbour_weights(15, 8))
    j = np.arange(1, 16)
    rows = np.stack(
        [np.exp(scipy.special.gammaln(j + t / 4) - scipy.special.gammaln(j)) for t in (0, 1, 2)]
    )
    shortest = np.linalg.pinv(rows) @ np.eye(3)[0]
    noise = np.random.RandomState(0).exponential(size=(20000, 15)).cumsum(1)
    assert np.std(np.log(noise) @ w) < 0.95 * np.std(np.log(noise) @ shortest)


def mi_by_loops(parts, k, version=1):
    """Counts in plain loops; with three parts, given the last."""
    parts = [np.asarray(part) for part in parts]
    n = len(parts[0])
    psi = scipy.special.digamma
    far = [np.abs(p[:, None] - p[None]).max(-1) for p in parts]
    total = 0.0
    for i in range(n):
        rows = [np.delete(f[i], i) for f in far]
        joint = np.max(rows, axis=0)
        order = np.argsort(joint)[:k]
        reach = joint[order[-1]]
        count = lambda r, reach=reach: psi(np.sum(r < reach) + 1)
        if len(rows) == 3:
            x, y, z = rows
            total += psi(k) + count(z) - count(np.maximum(x, z)) - count(np.maximum(y, z))
        elif version == 1:
            total += psi(k) + psi(n) - count(rows[0]) - count(rows[1])
        else:
            inside = [psi(np.sum(r <= r[order].max())) for r in rows]
            total += psi(k) - 1 / k + psi(n) - inside[0] - inside[1]
    return total / n


@pytest.mark.parametrize("version", [1, 2])
def test_ksg_by_loops(version):
    xs, ys = normals(7, 50, 2), normals(8, 50, 1)
    ys = ys + xs[:, :1]
    got = mi_ksg(xs, ys, k=4, version=version, chunk=16).value
    np.testing.assert_allclose(got, mi_by_loops((xs, ys), 4, version), rtol=1e-12)


def test_conditional_ksg_by_loops():
    xs, ys, zs = normals(9, 50, 2), normals(10, 50, 1), normals(11, 50, 1)
    ys = ys + xs[:, :1] + zs
    got = cmi_ksg(xs, ys, zs, k=3).value
    np.testing.assert_allclose(got, mi_by_loops((xs, ys, zs), 3), rtol=1e-12)


@pytest.mark.parametrize("r", [0.0, 0.75, 0.9])
def test_bivariate_normal(r):
    exact = -0.5 * math.log(1 - r**2)
    xs, ys = correlated(12, 1000, r)
    for estimate in (mi_ksg(xs, ys), mi_ksg(xs, ys, version=2), mi_knn(xs, ys)):
        within(estimate, exact)
        assert estimate.standard_error < 0.05


def test_given_the_cause_nothing_is_left():
    zs = normals(13, 1000, 1)
    xs, ys = zs + 0.5 * normals(14, 1000, 1), 2 * zs + normals(15, 1000, 1)
    assert mi_ksg(xs, ys).value > 0.4
    within(cmi_ksg(xs, ys, zs), 0.0)


def test_symbols_have_their_plug_in_value_and_equal_points_none():
    rng = np.random.RandomState(0)
    xs = jnp.asarray(rng.randint(0, 3, (1000, 1)), float)
    ys = jnp.where(
        jnp.asarray(rng.rand(1000, 1)) < 0.8, xs, jnp.asarray(rng.randint(0, 3, (1000, 1)), float)
    )
    exact = information.mi_discrete(xs, ys).value
    for version in (1, 2):
        assert abs(mi_ksg(xs, ys, version=version).value - exact) < 0.01
    assert abs(cmi_ksg(xs, ys, jnp.zeros_like(xs)).value - exact) < 0.01
    ones = jnp.ones((1000, 1))
    np.testing.assert_allclose(mi_ksg(ones, ones).value, 0, atol=1e-13)


def test_float32_is_near():
    xs, ys = (a.astype(jnp.float32) for a in correlated(16, 300, 0.8))
    wide = (xs.astype(jnp.float64), ys.astype(jnp.float64))
    value = mi_ksg(xs, ys).value
    assert value.dtype == jnp.float32
    assert abs(value - mi_ksg(*wide).value) < 1e-3  # of 300 counts one may turn


def spread_ratio(fn, draws):
    estimates = jax.lax.map(fn, draws)
    return float(np.sqrt(np.mean(estimates.standard_error**2)) / np.std(estimates.value))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["entropy", "weighted", "ksg", "from entropies"])
def test_standard_errors_cover(name):
    draws = jax.random.normal(jax.random.key(17), (200, 400, 4))
    draws = draws.at[..., 2].set(0.8 * draws[..., 0] + 0.6 * draws[..., 2])
    fn = {
        "entropy": information.entropy_knn,
        "weighted": functools.partial(information.entropy_knn, k=20, weighted=True),
        "ksg": lambda z: information.mi_ksg(z[:, :2], z[:, 2:]),
        "from entropies": lambda z: information.mi_knn(z[:, :2], z[:, 2:]),
    }[name]
    ratio = jax.jit(lambda d: jax.lax.map(fn, d))(draws)
    ratio = float(np.sqrt(np.mean(ratio.standard_error**2)) / np.std(ratio.value))
    assert 0.6 < ratio < 1.4, ratio


@pytest.mark.slow
def test_goals_of_four_dimensions_and_of_correlation_ninety():
    within(entropy_knn(normals(18, 5000, 4)), 4 * UNIT)
    assert abs(entropy_knn(normals(18, 5000, 4)).value - 4 * UNIT) < 0.1
    xs, ys = correlated(19, 4000, 0.9)
    within(mi_ksg(xs, ys), 0.830366)


@pytest.mark.slow
def test_errors_fall_as_the_root_of_n():
    errors = []
    for n in (100, 400, 1600):
        draws = jax.random.normal(jax.random.key(20), (40, n, 2))
        values = jax.jit(lambda d: jax.lax.map(lambda z: information.entropy_knn(z).value, d))(
            draws
        )
        errors.append(float(np.sqrt(np.mean((values - 2 * UNIT) ** 2))))
    slope = np.polyfit(np.log([100, 400, 1600]), np.log(errors), 1)[0]
    assert -0.65 < slope < -0.35, (slope, errors)


@pytest.mark.slow
def test_weights_pay_in_many_dimensions():
    d, error = 16, {}
    draws = jax.random.normal(jax.random.key(21), (10, 2000, d))
    for k, weighted in ((3, False), (40, True)):
        fn = functools.partial(information.entropy_knn, k=k, weighted=weighted)
        values = jax.jit(lambda z, fn=fn: jax.lax.map(lambda x: fn(x).value, z))(draws)
        error[weighted] = float(np.sqrt(np.mean((values - d * UNIT) ** 2)))
    assert error[True] < 0.8 * error[False], error


def test_bad_input():
    xs = normals(0, 5, 2)
    with pytest.raises(ValueError, match=r"entropy_knn: k must be an integer with 1 <= k < n = 5"):
        information.entropy_knn(xs, k=5)
    with pytest.raises(ValueError, match=r'norm must be "euclidean" or "max"; got .l1.'):
        information.entropy_knn(xs, norm="l1")
    with pytest.raises(ValueError, match=r"at least 2 points; got shape \(1, 2\)"):
        information.entropy_knn(xs[:1])
    with pytest.raises(ValueError, match=r"xs must be finite; got 1 nan"):
        information.entropy_knn(xs.at[0, 0].set(jnp.nan))
    with pytest.raises(ValueError, match=r"floating dtype; got int"):
        information.entropy_knn(jnp.ones((5, 2), int))
    with pytest.raises(ValueError, match=r"mi_ksg: the samples must hold equally many .* 5, 4"):
        information.mi_ksg(xs, xs[:4])
    with pytest.raises(ValueError, match=r"version must be 1 or 2; got 3"):
        information.mi_ksg(xs, xs, version=3)
    with pytest.raises(ValueError, match=r"neighbour_weights: k must exceed terms = 2"):
        information.neighbour_weights(2, 8)
