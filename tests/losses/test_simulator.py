"""Minimum-MMD estimation of normal laws, where the distance, its slope and the estimator's law are
known; and of a g-and-k law, whose density is not.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from jaxgen import kernels, mcmc, metrics
from jaxgen.losses import simulator
from jaxgen.metrics import weighted

PARAMS = {"loc": jnp.array([0.4, -0.3]), "log_scale": jnp.array([0.2, -0.1])}
TRUTH = {"loc": jnp.array([1.0, 0.2]), "log_scale": jnp.array([-0.3, 0.3])}
H = 0.8
NORMAL = simulator.base_inputs(2)


def affine(params, u):
    return params["loc"] + jnp.exp(params["log_scale"]) * u


def location(theta, u):
    return theta + u


def overlap(h, gap, variance):
    """E k(x, x') of rbf, for x - x' ~ N(gap [d], variance [d]), by Gaussian integrals."""
    wide = h**2 + variance
    return jnp.prod(h / jnp.sqrt(wide) * jnp.exp(-0.5 * gap**2 / wide))


def exact(params, truth=TRUTH, h=H):
    """MMD² of two normal laws."""
    s, r = jnp.exp(2 * params["log_scale"]), jnp.exp(2 * truth["log_scale"])
    gap = params["loc"] - truth["loc"]
    return overlap(h, 0, 2 * s) + overlap(h, 0, 2 * r) - 2 * overlap(h, gap, s + r)


def in_errors(draws, mean):
    draws = np.asarray(draws).reshape(len(draws), -1)
    error = np.std(draws, 0, ddof=1) / np.sqrt(len(draws))
    return np.max(np.abs(np.mean(draws, 0) - np.ravel(mean)) / np.maximum(error, 1e-12))


@pytest.mark.parametrize("params", [PARAMS, TRUTH], ids=["away", "at the truth"])
def test_the_loss_and_its_gradient_are_unbiased(params):
    loss_fn = simulator.minimum_mmd(affine, kernels.rbf(H), NORMAL, draws=3)

    def one(key):
        key_data, key = jax.random.split(key)
        x0 = jax.vmap(lambda u: affine(TRUTH, u))(jax.random.normal(key_data, (4, 2)))
        return jax.value_and_grad(loss_fn)(params, key, x0)

    values, slopes = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), 8_000))
    value, slope = jax.value_and_grad(exact)(params)
    assert in_errors(values, value) < 5
    for name in slope:
        assert in_errors(slopes[name], slope[name]) < 5, name
        if params is TRUTH:
            np.testing.assert_allclose(slope[name], 0, atol=1e-15)
    if params is TRUTH:
        assert abs(value) < 1e-15


def test_it_is_the_metric_of_the_simulated_points(same_key):
    kernel, key = kernels.rbf(H), jax.random.key(1)
    x0 = jax.random.normal(jax.random.key(2), (7, 2)) + 1
    embedding = weighted.rbf(2.0, base="normal")
    optimal = simulator.base_inputs(2, even=True, embedding=embedding)

    @jax.jit
    def both(params):
        made = lambda inputs, **options: simulator.minimum_mmd(
            affine, kernel, inputs, draws=6, chunk=4, **options
        )
        gradient = lambda inputs, constant: jax.value_and_grad(made(inputs, constant=constant))(
            params, key, x0
        )
        ys = lambda inputs: jax.vmap(lambda u: affine(params, u))(inputs(key, 6).us)
        weights = weighted.weights(embedding, optimal(key, 6).us).weights
        plain = metrics.mmd2(x0, ys(NORMAL), kernel)
        heavy = weighted.mmd2(x0, ys(optimal), weights, kernel, estimator="unbiased")
        found = [gradient(inputs, c) for inputs in (NORMAL, optimal) for c in (True, False)]
        return found, plain, heavy, jnp.sum(weights)

    ((full, slope), (part, same), (heavy, _), (light, _)), plain, other, total = both(PARAMS)
    np.testing.assert_allclose(full, plain, rtol=1e-12)
    np.testing.assert_allclose(heavy, other, rtol=1e-10)
    np.testing.assert_allclose(full - part, heavy - light, rtol=1e-10)
    np.testing.assert_allclose(total, 1, rtol=1e-10)
    gram = np.exp(-0.5 * np.sum((x0[:, None] - x0[None]) ** 2, -1) / H**2)
    np.testing.assert_allclose(full - part, (gram.sum() - 7) / 42, rtol=1e-10)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), slope, same)


def given_data(params, x0, h):
    """MMD² of a normal model, in closed form, and data, whose own term is a U-statistic."""
    s, n = jnp.exp(2 * params["log_scale"]), len(x0)
    cross = jax.vmap(lambda x: overlap(h, params["loc"] - x, s))(x0)
    own = (jnp.sum(kernels.gram(kernels.rbf(h), x0, x0)) - n) / (n * (n - 1))
    return overlap(h, 0, 2 * s) - 2 * jnp.mean(cross) + own


@pytest.mark.parametrize(
    ("size", "draws", "least"), [(1, 32, 100), pytest.param(2, 64, 30, marks=pytest.mark.slow)]
)
def test_even_and_weighted_inputs_lessen_the_noise(size, draws, least):
    h = 1.5
    cut = functools.partial(jax.tree.map, lambda leaf: leaf[:size])
    params, embedding = cut(PARAMS), weighted.rbf(1.5, base="normal")
    x0 = jax.random.normal(jax.random.key(3), (20, size)) + 0.7
    kinds = {
        "independent": {},
        "even": {"even": True},
        "weighted": {"embedding": embedding},
        "both": {"even": True, "embedding": embedding},
    }
    losses = [
        simulator.minimum_mmd(
            affine, kernels.rbf(h), simulator.base_inputs(size, **options), draws=draws
        )
        for options in kinds.values()
    ]
    keys = jax.random.split(jax.random.key(4), 300)
    every = lambda key: jnp.stack(
        [fn(params, jax.random.fold_in(key, i), x0) for i, fn in enumerate(losses)]
    )
    values = np.asarray(jax.jit(jax.vmap(every))(keys)).T
    truth = given_data(params, x0, h)
    assert in_errors(values[0], truth) < 5
    squares = dict(zip(kinds, np.mean((values - float(truth)) ** 2, 1), strict=True))
    ratios = {name: squares["independent"] / square for name, square in squares.items()}
    assert min(ratios["even"], ratios["weighted"], ratios["both"]) > least, ratios
    # All pairs are kept: what is left on average is the squared error of the sums.
    assert np.mean(values[1]) - truth < 2 / draws**1.5


def test_outliers_move_the_estimate_by_what_the_kernel_lets_them(same_key):
    """A tenth of the data at 10: the mean goes to 1, the estimate where its equation says."""
    share, h = 0.1, 4.0
    clean = jax.scipy.special.ndtri((np.arange(900) + 0.5) / 900)
    x0 = jnp.concatenate([clean, jnp.full(100, 10.0)])[:, None]
    # (1 - share) E k(y, x) over x ~ N(0, 1) + share k(y, 10), its mean over y ~ N(theta, 1)
    blend = lambda theta: (1 - share) * overlap(h, theta, 2.0) + share * overlap(h, theta - 10, 1.0)
    slope = jax.jit(jax.grad(lambda theta: blend(jnp.atleast_1d(theta))))
    root = optimize.brentq(lambda theta: float(slope(theta)), -0.5, 0.9, xtol=1e-10)
    inputs = simulator.base_inputs(1, even=True, embedding=weighted.rbf(3.0, base="normal"))
    loss_fn = simulator.minimum_mmd(location, kernels.rbf(h), inputs, draws=24, constant=False)
    step = 2 * h / (h**2 + 2) ** 1.5  # twice the metric at the truth

    @jax.jit
    def fit(key, x0):
        move = lambda _, theta: theta - jax.grad(loss_fn)(theta, key, x0) / step
        return jax.lax.fori_loop(0, 30, move, jnp.zeros(1))[0]

    found = fit(jax.random.key(5), x0)
    assert abs(jnp.mean(x0) - 1) < 1e-6
    np.testing.assert_allclose(found, root, atol=5e-4)
    assert 0.03 < root < 0.1
    # However far they go: the worst place moves it by no more than share max|f'| / g, nearly.
    far = jnp.asarray(x0).at[-100:].set(1e6)
    assert abs(fit(jax.random.key(6), far)) < 5e-4


def test_simulators_of_keys_trees_and_other_shapes(same_key):
    """A path [3, 2] made from keys, float32, compiled or not."""

    def simulate(params, u):
        steps = jax.random.normal(u["key"], (3, 2), jnp.float32)
        return jnp.cumsum(params * steps, 0) + u["shift"]

    def inputs(key, draws):
        keys = jax.random.split(key, draws)
        return simulator.Inputs({"key": keys, "shift": jnp.linspace(0, 1, draws)}, None)

    loss_fn = simulator.minimum_mmd(simulate, kernels.imq(2.0), inputs, draws=5)
    x0 = jax.random.normal(jax.random.key(7), (4, 3, 2), jnp.float32)
    args = jnp.float32(0.7), jax.random.key(8), x0
    eager, (value, slope) = loss_fn(*args), jax.jit(jax.value_and_grad(loss_fn))(*args)
    assert value.dtype == slope.dtype == jnp.float32
    np.testing.assert_allclose(eager, value, rtol=1e-5, atol=1e-6)
    tiny, compiled = jnp.float32(1e-2), jax.jit(loss_fn)
    differ = compiled(args[0] + tiny, *args[1:]) - compiled(args[0] - tiny, *args[1:])
    np.testing.assert_allclose(slope, differ / (2 * tiny), rtol=0.02)
    uniform = simulator.base_inputs(3, base="uniform", even=True)(jax.random.key(9), 8)
    assert np.all((uniform.us >= 0) & (uniform.us < 1))
    np.testing.assert_allclose(uniform.weights, 1 / 8)
    assert simulator.base_inputs(3, base="uniform")(jax.random.key(9), 8).weights is None


def test_equal_points_are_legal():
    still = lambda theta, u: theta + 0 * u
    frozen = simulator.minimum_mmd(still, kernels.rbf(1.0), simulator.base_inputs(1), draws=4)
    fn = jax.jit(jax.value_and_grad(frozen))
    value, slope = fn(jnp.zeros(1), jax.random.key(0), jnp.zeros((5, 1)))
    np.testing.assert_allclose([value, slope[0]], 0, atol=1e-15)


def test_bad_input_is_refused(same_key):
    kernel, inputs = kernels.rbf(1.0), simulator.base_inputs(1)
    for draws in (1, 2.0, True):
        with pytest.raises(ValueError, match="draws must be an integer of at least 2"):
            simulator.minimum_mmd(location, kernel, inputs, draws=draws)
    with pytest.raises(ValueError, match="size must be a positive integer"):
        simulator.base_inputs(0)
    with pytest.raises(ValueError, match="base must be one of"):
        simulator.base_inputs(1, base="cauchy")
    key, theta = jax.random.key(0), np.zeros(1)
    ours = functools.partial(simulator.minimum_mmd, kernel=kernel, draws=4)

    def called(simulate, inputs, x0):
        return ours(simulate, inputs=inputs)(theta, key, x0)

    for x0 in (np.zeros((1, 1)), np.zeros((3, 1), int), np.zeros(())):
        with pytest.raises(ValueError, match="x0 must be floating"):
            called(location, inputs, x0)
    with pytest.raises(ValueError, match="x0 must be finite"):
        called(location, inputs, np.array([[0.0], [np.nan]]))
    for x0 in (np.zeros((3, 2)), np.zeros(3)):
        with pytest.raises(ValueError, match="simulate must return"):
            called(location, inputs, x0)
    with pytest.raises(ValueError, match="simulate must return"):
        called(lambda theta, u: jnp.zeros(1, int), inputs, np.zeros((3, 1)))
    few = lambda key, draws: simulator.Inputs(np.zeros((3, 1)), None)
    odd = lambda key, draws: simulator.Inputs(np.zeros((4, 1)), np.ones(3))
    for wrong in (few, odd):
        with pytest.raises(ValueError, match="inputs must make us and weights"):
            called(location, wrong, np.zeros((3, 1)))


def sandwich(h, s=1.0):
    """n times the variance of the estimated mean of N(theta, s²) under rbf of bandwidth h.

    psi(x) = c x / v exp(-x² / 2 v), v = h² + s², c = h / √v, is the slope of E k(y, x) at theta =
    0; E psi² = (c / v)² τ³ / s with τ² = s² v / (v + 2 s²), and g = h / (v + s²)^1.5.
    """
    v = h**2 + s**2
    return s**2 * (v + s**2) ** 3 / (v * (v + 2 * s**2)) ** 1.5


@pytest.mark.slow
@pytest.mark.parametrize("h", [0.5, 2.0])
def test_the_estimator_has_the_variance_of_the_sandwich(h, same_key):
    """Efficient as h grows, to 1.54 times the likelihood's variance as it falls."""
    assert abs(sandwich(1e3) - 1) < 1e-5
    np.testing.assert_allclose(sandwich(1e-4), 8 / 3**1.5, rtol=1e-6)
    n, repeats, step = 100, 1000, 2 * h / (h**2 + 2) ** 1.5
    cases = {"independent": (False, 2 / n), "even": (True, 1 / n)}
    for name, (even, rate) in cases.items():
        inputs = simulator.base_inputs(1, even=even)
        loss_fn = simulator.minimum_mmd(location, kernels.rbf(h), inputs, draws=n, constant=False)

        def fit(key, loss_fn=loss_fn):
            key_data, key = jax.random.split(key)
            x0 = jax.random.normal(key_data, (n, 1))
            slope = lambda theta: jax.grad(loss_fn)(theta, key, x0)
            theta = jnp.mean(x0, 0)
            for _ in range(2):
                theta = theta - slope(theta) / step
            for _ in range(2):  # Newton's steps, the curvature kept away from 0
                here, bend = jax.jvp(slope, (theta,), (jnp.ones(1),))
                before, theta = theta, theta - here / jnp.maximum(bend, step / 3)
            return theta[0], theta[0] - before[0]

        keys = jax.random.split(jax.random.key(10), repeats)
        found, left = jax.jit(lambda keys: jax.lax.map(jax.vmap(fit), keys))(
            keys.reshape(10, repeats // 10)
        )
        assert np.sqrt(np.mean(left**2)) < 0.02 * np.std(found)
        ratio = np.mean(np.ravel(found) ** 2) / (rate * sandwich(h))
        assert abs(ratio - 1) < 5 * np.sqrt(2 / repeats), (name, ratio)  # 22 %
        assert in_errors(np.ravel(found), 0) < 5


GK = jnp.array([3.0, 0.0, 2.0, -0.7])  # location, log scale, skewness, log of the tail's power


def g_and_k(params, u):
    a, log_b, g, log_k = params
    stretch = jnp.exp(log_b) * (1 + 0.8 * jnp.tanh(g * u / 2)) * (1 + u**2) ** jnp.exp(log_k)
    return a + stretch * u


@pytest.mark.slow
def test_a_g_and_k_law_is_recovered_within_its_errors(same_key):
    """Parameters within what the sandwich allows, from a start that knows only the quartiles."""
    n, repeats, kernel = 2000, 12, kernels.rbf(1.5)
    inputs = simulator.base_inputs(1, even=True)
    loss_fn = simulator.minimum_mmd(g_and_k, kernel, inputs, draws=256, constant=False)

    value_and_slope = jax.jit(jax.value_and_grad(loss_fn))

    def fit(key):
        key_data, key = jax.random.split(key)
        x0 = jax.vmap(lambda u: g_and_k(GK, u))(jax.random.normal(key_data, (n, 1)))
        low, middle, high = np.quantile(x0, [0.25, 0.5, 0.75])
        start = np.array([middle, np.log((high - low) / 1.35), 0.5, -1.0])
        fn = lambda params: [np.asarray(part) for part in value_and_slope(params, key, x0)]
        done = optimize.minimize(fn, start, jac=True, method="BFGS", options={"gtol": 1e-6})
        return done.x, np.max(np.abs(done.jac))

    keys = jax.random.split(jax.random.key(11), repeats)
    found, left = (np.array(part) for part in zip(*map(fit, keys), strict=True))
    assert np.max(left) < 1e-5

    many = inputs(jax.random.key(12), 1000).us

    def slope(params, x):
        return jax.grad(
            lambda p: -2 * jnp.mean(jax.vmap(lambda u: kernel(g_and_k(p, u), x))(many))
        )(params)

    data = jax.vmap(lambda u: g_and_k(GK, u))(inputs(jax.random.key(13), 1000).us)
    wide = simulator.minimum_mmd(g_and_k, kernel, inputs, draws=1000, constant=False)
    hessian = jax.jit(jax.hessian(wide))(GK, jax.random.key(14), data)
    noise = np.cov(np.asarray(jax.jit(jax.vmap(slope, (None, 0)))(GK, data)).T)
    inverse = np.linalg.inv(hessian)
    cov = inverse @ noise @ inverse / n
    away = np.asarray(found - GK[None])
    squares = np.einsum("ri,ij,rj->r", away, np.linalg.inv(cov), away)
    assert np.max(np.abs(away) / np.sqrt(np.diag(cov))[None]) < 5
    assert abs(np.mean(squares) - 4) < 5 * np.sqrt(8 / repeats)


@pytest.mark.slow
def test_as_a_distance_it_brings_rejection_to_the_posterior():
    """Three data of N(theta, 1), theta ~ N(1, 4): normal, of known mean and variance."""
    observed = jnp.array([[0.2], [1.9], [-0.5]])
    precision = 1 / 4 + 3
    mean = (1 / 4 + float(jnp.sum(observed))) / precision
    inputs = lambda key, draws: simulator.Inputs(
        jax.random.normal(key, (draws, 1)), jnp.full(draws, 1 / draws)
    )
    loss_fn = simulator.minimum_mmd(location, kernels.rbf(2.0), inputs, draws=3)
    kept = jax.jit(
        lambda key: mcmc.intractable.abc_rejection(
            key,
            lambda key: 1 + 2 * jax.random.normal(key, (1,)),
            lambda key, theta: loss_fn(theta, key, observed),
            lambda value: value,
            simulations=400_000,
            keep=100_000,
            batch=10_000,
        )
    )(jax.random.key(15))
    thetas = np.ravel(kept.theta)
    errors = []
    for keep in (100_000, 10_000, 1_000):
        near = thetas[:keep]
        errors.append((abs(near.mean() - mean), abs(near.std() * precision**0.5 - 1)))
    errors = np.array(errors)
    assert np.all(np.diff(errors[:, 1]) < 0)
    assert errors[-1, 0] < 5 / np.sqrt(1000 * precision)
    assert errors[-1, 1] < 5 / np.sqrt(2 * 1000)
