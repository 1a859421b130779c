import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import metrics
from jaxgen.metrics import _sliced

OPTIONS = ("num_projections", "p", "directions", "control", "degree", "split")
sliced = jax.jit(metrics.sliced_wasserstein, static_argnames=OPTIONS)
wasserstein_1d = jax.jit(metrics.wasserstein_1d, static_argnames="p")
KINDS = ("independent", "orthogonal", "quasi")
slow = functools.partial(pytest.param, marks=pytest.mark.slow)


def cloud(seed, n, *event):
    return jnp.asarray(np.random.RandomState(seed).randn(n, *event))


def many(xs, ys, number, *, seed=0, estimate=False, **options):
    """The estimate under `number` keys."""
    name = "sliced_wasserstein_estimate" if estimate else "sliced_wasserstein"
    one = functools.partial(getattr(metrics, name), xs=xs, ys=ys, **options)
    keys = jax.random.split(jax.random.key(seed), number)
    return jax.tree.map(np.asarray, jax.jit(lambda keys: jax.lax.map(one, keys))(keys))


def skew(seed, n, d, shift=0.0):
    """A skewed, anisotropic cloud: no control is exact on two of them."""
    x = np.random.RandomState(seed)
    x = x.gamma(2.0, size=(n, d)) @ np.diag(np.linspace(0.5, 1.5, d)) @ x.randn(d, d) / np.sqrt(d)
    return jnp.asarray(x + shift)


def pair(seed, n, shift):
    """An anisotropic pair in eight dimensions, the second turned and moved."""
    rng = np.random.RandomState(seed)
    turn = np.linalg.qr(rng.randn(8, 8))[0]
    xs = rng.randn(n, 8) * np.linspace(0.3, 2.5, 8)
    ys = rng.randn(n, 8) * np.linspace(2, 0.4, 8) @ turn.T + shift * np.linspace(-1, 1, 8)
    return jnp.asarray(xs), jnp.asarray(ys)


@pytest.mark.parametrize("p", [slow(1), slow(2), 2.5])
def test_weights_are_repeated_points(p):
    xs, ys = cloud(0, 5), cloud(1, 4) + 0.5
    counts_x, counts_y = np.array([3, 1, 0, 2, 4]), np.array([1, 5, 1, 1])
    exact = wasserstein_1d(jnp.repeat(xs, counts_x), jnp.repeat(ys, counts_y), p=p)
    weights = jnp.asarray(counts_x / 10), jnp.asarray(counts_y / 8)
    got = wasserstein_1d(xs, ys, p=p, weights_x=weights[0], weights_y=weights[1])
    np.testing.assert_allclose(got, exact, rtol=1e-12)
    uniform = wasserstein_1d(xs, ys, p=p, weights_x=jnp.full(5, 0.2))
    np.testing.assert_allclose(uniform, wasserstein_1d(xs, ys, p=p), rtol=1e-12)


def test_slope_of_weights():
    # Of two atoms against one at 0, W_2^2 = w a^2 + (1 - w) b^2.
    xs, ys = jnp.array([3.0, -1.0]), jnp.zeros(1)
    value = lambda w: metrics.wasserstein_1d(xs, ys, p=2, weights_x=jnp.stack([w, 1 - w]))
    np.testing.assert_allclose(jax.jit(jax.grad(value))(0.3), 9 - 1, rtol=1e-12)


@pytest.mark.parametrize("p", [slow(1), slow(2), 3])
def test_lower_is_exact_on_a_translation(p):
    # E |<theta, m>|^p: |m|^2/3 at p = 2; |m|/2 and |m|^3/4 at 1 and 3 (Archimedes: uniform in 3-D).
    xs, move = cloud(2, 9, 3), jnp.array([1.0, -2.0, 0.5])
    exact = jnp.linalg.norm(move) ** p / (p + 1)
    weight = jnp.arange(1.0, 10) / 45
    weighted = {"weights_x": weight, "weights_y": weight}
    get = functools.partial(many, xs, xs + move[None], 9, num_projections=6, p=p, control="lower")
    for options in ({}, {"split": True, **weighted}, {"directions": KINDS[p - 1], **weighted}):
        np.testing.assert_allclose(get(**options), exact, rtol=1e-12)


def test_controls_that_are_exact_on_other_pairs():
    xs, move = cloud(3, 30, 4), jnp.array([1.0, -2.0, 0.5, 3.0])
    trace = jnp.var(xs, axis=0).sum()
    centred = xs - jnp.mean(xs, axis=0, keepdims=True)
    point = jnp.zeros((30, 4)) + move[None]
    # Onto one point: the upper bound is reached. A scaled copy: the Gaussian distance is.
    square = jnp.sum(move**2)
    onto_point, scaled = (square + trace) / 4, (square + 0.25 * trace) / 4
    get = lambda ys, **options: sliced(
        jax.random.key(4), centred, ys, num_projections=30, **options
    )
    np.testing.assert_allclose(get(point, control="upper"), onto_point, rtol=1e-12)
    np.testing.assert_allclose(get(point, control="gaussian"), onto_point, rtol=1e-8)
    copy = 1.5 * centred + move[None]
    np.testing.assert_allclose(get(copy, control="gaussian"), scaled, rtol=1e-7)
    for ys, exact in ((point, onto_point), (copy, scaled)):  # quadratic forms of the direction
        got = get(ys, control="harmonics", degree=2)
        np.testing.assert_allclose(got, exact, rtol=1e-11)
    assert abs(get(copy, control="upper") - scaled) > 1e-4


@pytest.mark.parametrize(
    ("d", "p"),
    [(3, 1.5), slow(2, 2), slow(5, 2), *(slow(d, 3) for d in (2, 3, 5))],
)
def test_every_kind_is_unbiased(d, p):
    xs, ys = skew(0, 8, d), skew(1, 6, d, 0.3)
    exact = sliced(jax.random.key(9), xs, ys, num_projections=20_000, p=p, directions="quasi")
    for kind in KINDS:
        values = many(xs, ys, 1500, p=p, num_projections=6, directions=kind, seed=d)
        error = values.std() / np.sqrt(1500)
        assert abs(values.mean() - exact) < 5 * error + 2e-4 * exact


@pytest.mark.parametrize("control", [slow("lower"), slow("upper"), slow("gaussian"), "harmonics"])
def test_split_coefficients_are_unbiased(control):
    xs, ys = skew(2, 8, 3), skew(3, 8, 3, 0.8)
    exact = sliced(jax.random.key(9), xs, ys, num_projections=20_000, directions="quasi")
    # Few directions: coefficients from the same ones would show.
    number = 24 if control == "harmonics" else 6
    options = {"num_projections": number, "control": control, "split": True}
    for kind in ("independent", "quasi"):
        values = many(xs, ys, 1000, directions=kind, **options)
        assert abs(values.mean() - exact) < 5 * values.std() / np.sqrt(1000) + 1e-4 * exact


def by_hand(slices, values, mean, folds):
    """Each fold's controlled mean with the other's coefficients, weighted by its size, and what is
    left of each slice.
    """
    total, left = 0.0, []
    for fold, other in zip(folds, folds[::-1], strict=True):
        centred = values[other] - values[other].mean(0)
        beta = np.linalg.lstsq(centred, slices[other] - slices[other].mean(), rcond=None)[0]
        rest = slices[fold] - (values[fold] - mean) @ beta
        total += rest.sum() / len(slices)
        left.append(rest - rest.mean())
    return total, np.concatenate(left)


@pytest.mark.parametrize("k", [1, 3])
def test_a_fold_takes_the_coefficients_of_the_other(k):
    rng = np.random.default_rng(k)
    block = np.repeat(np.arange(5), 4)  # an odd number of blocks: the folds are unequal
    slices, values, mean = rng.normal(size=20), rng.normal(size=(20, k)), rng.normal(size=k)
    folds = _sliced._folds(block, True)
    assert [len(fold) for fold in folds] == [12, 8]
    np.testing.assert_array_equal(np.concatenate(folds), np.arange(20))
    value, left = _sliced._mean(jnp.asarray(slices), (values, jnp.asarray(mean)), folds)
    expected = by_hand(slices, values, mean, folds)
    np.testing.assert_allclose(value, expected[0], rtol=1e-12)
    np.testing.assert_allclose(left, expected[1], rtol=1e-10, atol=1e-12)
    # The error of blocks as wholes; fitted coefficients cost degrees of freedom if not split.
    totals = expected[1].reshape(5, 4).sum(1)
    error = np.sqrt(np.sum(totals**2) / 20**2 * 5 / 4)
    found = [_sliced._standard_error(left, block, k, split) for split in (True, False)]
    lost = 19 / (19 - k) * 18 / (18 - k)
    np.testing.assert_allclose(found, [error, error * np.sqrt(lost)], rtol=1e-10)


def test_the_degree_leaves_directions_to_regress_on():
    """In 3-D there are 5 harmonics up to degree 2, 14 up to 4: four directions each, in a fold."""
    xs, found = skew(2, 8, 3), []
    for num, split in ((55, False), (56, False), (111, True), (112, True)):
        options = {"num_projections": num, "control": "harmonics", "split": split}
        fit = lambda key, options=options: found.append(
            _sliced._sliced("here", key, xs, xs, **options)[3]
        )
        jax.eval_shape(fit, jax.random.key(0))
    assert found == [5, 14, 5, 14]


@pytest.mark.parametrize(
    ("shift", "control", "number"),
    [(0.3, "gaussian", 60), (3.0, "lower", 60), slow(3.0, "gaussian", 60), slow(3.0, "upper", 600)],
)
def test_a_tenth_of_the_variance_in_eight_dimensions(shift, control, number):
    # At 100 directions each. "gaussian" reaches it wherever clouds are near Gaussian, "lower" where
    # the means are far apart.
    xs, ys = pair(0, 100, shift)
    spread = lambda **options: many(xs, ys, number, num_projections=100, **options).var()
    # A log variance is known to √(2/number); five errors of the difference of two.
    assert spread(control=control, seed=1) < spread() / 10 * np.exp(-10 / np.sqrt(number))


EVEN, SOME = {"directions": "quasi"}, {"control": "harmonics"}


@pytest.mark.parametrize(
    ("d", "options", "known"),
    [
        (2, {}, -0.5),
        (2, EVEN, -2),
        (2, SOME, -2),
        (3, EVEN, -1.1),
        slow(3, SOME, -1.25),
        slow(3, {**EVEN, **SOME}, -1.25),
    ],
    ids=str,
)
def test_rates_in_the_number_of_directions(d, options, known):
    # Two points, p = 1: the mean of |<theta, m>|, kinked where that is 0. In 2-D the trapezoidal
    # rule with a random shift has error 1/L^2 on kinks. L/4 harmonics leave the tail of squared
    # coefficients degree^-4 (2-D: L^-3) of the variance, so errors L^-1/2 L^-3/2 and, as degrees
    # are about √L in 3-D, L^-1/2 L^-3/4.
    move = jnp.arange(1.0, d + 1)[None]
    exact = jnp.linalg.norm(move) * {2: 2 / np.pi, 3: 1 / 2}[d]
    sizes, repeats = ((32, 64, 128), 200) if d == 2 else ((16, 64, 256), 50)
    get = functools.partial(many, 0 * move, move, repeats, p=1, **options)
    rms = [np.sqrt(np.mean((get(num_projections=n) - exact) ** 2)) for n in sizes]
    x = np.log(sizes) - np.mean(np.log(sizes))
    slope, error = x @ np.log(rms) / (x @ x), (1 / (2 * repeats) / (x @ x)) ** 0.5
    assert abs(slope - known) < 5 * error
    if options:
        assert slope < -0.5 - 5 * error


@pytest.mark.parametrize(
    ("options", "floor"),
    [
        slow({"directions": "independent"}, 0.9),
        slow({"directions": "orthogonal"}, 0.9),
        ({"directions": "quasi"}, 0.8),
        slow({"control": "upper"}, 0.9),
        slow({"control": "harmonics", "degree": 2}, 0.92),
        slow({"control": "lower", "split": True}, 0.9),
    ],
    ids=str,
)
def test_the_standard_error_is_the_spread(options, floor):
    xs, ys = skew(6, 20, 4), skew(7, 15, 4, 0.5)
    got = many(xs, ys, 800, num_projections=64, estimate=True, **options)
    ratio = np.sqrt(np.mean(got.standard_error**2)) / got.value.std()
    assert floor < ratio < 1.2


@pytest.mark.parametrize("control", [slow("lower"), slow("upper"), "gaussian", "harmonics"])
def test_gradients(control):
    xs, ys, direction = skew(8, 12, 3), skew(9, 9, 3, 1.0), cloud(10, 12, 3)
    fn = jax.jit(
        jax.value_and_grad(
            lambda x: metrics.sliced_wasserstein(
                jax.random.key(3), x, ys, num_projections=40, control=control
            )
        )
    )
    slope = jnp.vdot(fn(xs)[1], direction)
    near = (fn(xs + 1e-6 * direction)[0] - fn(xs - 1e-6 * direction)[0]) / 2e-6
    np.testing.assert_allclose(slope, near, rtol=1e-4)
    same = fn(jnp.ones((12, 3)))[1]  # a cloud of equal points
    assert jnp.all(jnp.isfinite(same))


@pytest.mark.parametrize("control", [slow(None), "lower", slow("gaussian"), slow("harmonics")])
def test_one_dimension_and_equal_clouds(control):
    xs, ys = cloud(11, 9, 1), cloud(12, 6, 1)
    got = sliced(jax.random.key(0), xs, ys, num_projections=8, control=control)
    np.testing.assert_allclose(got, wasserstein_1d(xs[:, 0], ys[:, 0], p=2), rtol=1e-12)
    flat = jnp.ones((5, 3), jnp.float32)
    got = sliced(jax.random.key(0), flat, flat, num_projections=12, control=control)
    assert got == 0
    assert got.dtype == jnp.float32


def test_bad_input():
    xs, key = cloud(0, 4, 3), jax.random.key(0)
    get = functools.partial(metrics.sliced_wasserstein, key, xs, xs)
    for options, match in (
        ({"control": "middle"}, r"control must be None or of \('lower'.*got 'middle'"),
        ({"directions": "sobol"}, r"directions must be of .* got 'sobol'"),
        (
            {"control": "harmonics", "degree": 3},
            r"degree must be an even integer, 2 or more; got 3",
        ),
        ({"control": "harmonics", "num_projections": 9}, r"5 harmonics need twice as many"),
        ({"split": True}, r"split must be False without a control"),
        ({"weights_x": jnp.ones(3)}, r"weights_x must be \[4\], one a point; got \(3,\)"),
        ({"weights_x": jnp.ones(4)}, r"must sum to 1; got least 1 and sum 4"),
        ({"weights_y": jnp.array([2.0, -1, 0, 0])}, r"weights_y must not be negative"),
    ):
        with pytest.raises(ValueError, match=match):
            get(**options)
    with pytest.raises(ValueError, match=r"multiple of 8, the number of independent sets"):
        metrics.sliced_wasserstein_estimate(key, xs, xs, num_projections=9, directions="quasi")
    with pytest.raises(ValueError, match=r"got 1 blocks and 3 directions"):
        metrics.sliced_wasserstein_estimate(key, xs, xs, num_projections=3, directions="orthogonal")
