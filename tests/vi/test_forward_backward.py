"""Forward-backward Gaussian variational inference against Gaussians, where everything is known, and
against quadrature.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import vi

D = 4


@functools.cache
def problem():
    """Mean [d], precision [d, d] and covariance of an asymmetric Gaussian."""
    rng = np.random.default_rng(0)
    half = rng.normal(size=(D, D))
    precision = half @ half.T / D + 0.2 * np.eye(D)
    return rng.normal(size=D), precision, np.linalg.inv(precision)


def target(x):
    mean, precision, _ = problem()
    return -(x - mean) @ precision @ (x - mean) / 2


def divergence(state):
    """KL(state || target), nats, whose small values keep their digits."""
    mean, precision, _ = problem()
    off = np.linalg.eigvals(precision @ np.asarray(state.cov) - np.eye(D)).real
    gap = np.asarray(state.mean) - mean
    return (gap @ precision @ gap + np.sum(off - np.log1p(off))) / 2


def run(algorithm, start, n, key=None):
    key = jax.random.key(0) if key is None else key
    body = lambda state, i: algorithm.step(jax.random.fold_in(key, i), state)
    return jax.jit(lambda state: jax.lax.scan(body, state, jnp.arange(n)))(algorithm.init(start))


def half_step():
    return 0.5 / np.linalg.eigvalsh(problem()[1])[-1]


def test_the_divergence_from_a_gaussian_vanishes():
    algorithm = vi.forward_backward(target, half_step(), points=vi.cubature(D))
    step = jax.jit(algorithm.step)
    state, found = algorithm.init(jnp.zeros(D)), {}
    for i in range(1, 701):
        state, info = step(jax.random.key(0), state)
        if i in {1, 11, 101, 700}:
            found[i] = divergence(state)
    assert divergence(algorithm.init(jnp.zeros(D))) > 2
    assert found[1] < 1
    assert found[11] < 0.05
    assert found[101] < 4e-6
    assert found[700] < 1e-27
    assert info.hessians == info.gradients == 2 * D
    assert not info.is_divergent
    assert info.gradient_norm < 1e-13
    # The ELBO at the optimum is the log-normaliser.
    _, log_det = np.linalg.slogdet(2 * np.pi * problem()[2])
    np.testing.assert_allclose(info.elbo, log_det / 2, rtol=1e-13)


def test_gradients_alone_find_it_too():
    """With points whose second moment is the identity, Stein's identity is exact on quadratics."""
    algorithm = vi.forward_backward(
        target, half_step(), points=vi.cubature(D), curvature="stein", cov=0.3
    )
    state, infos = run(algorithm, jnp.ones(D), 500)
    assert divergence(state) < 1e-12
    assert np.all(infos.hessians == 0)
    assert np.all(infos.gradients == 2 * D)


def test_a_step_is_the_proximal_step():
    """The covariance minimises KL's entropy plus the squared Bures distance over 2 dt: written out
    for commuting matrices, on a grid.
    """
    dt, curvature, variance = 0.3, np.array([0.4, 2.5]), np.array([0.7, 1.6])
    potential = lambda x: -(curvature @ (x - jnp.array([1.0, -2.0])) ** 2) / 2
    algorithm = vi.forward_backward(potential, dt, points=vi.cubature(2), cov=np.diag(variance))
    state, info = jax.jit(algorithm.step)(jax.random.key(0), algorithm.init(jnp.zeros(2)))
    np.testing.assert_allclose(state.mean, dt * curvature * [1.0, -2.0], rtol=1e-12)
    half = (1 - dt * curvature) ** 2 * variance
    grid = np.linspace(0.02, 4, 400_001)[:, None]
    cost = -np.log(grid) / 2 + (np.sqrt(grid) - np.sqrt(half)) ** 2 / (2 * dt)
    np.testing.assert_allclose(np.diag(state.cov), grid[np.argmin(cost, 0), 0], atol=3e-5)
    np.testing.assert_allclose(state.cov[0, 1], 0, atol=1e-12)
    # The Bures-Wasserstein gradient of KL, entry by entry.
    slope = curvature * np.array([-1.0, 2.0])
    spread = (curvature - 1 / variance) ** 2 * variance
    norm = np.sqrt(np.sum(slope**2) + np.sum(spread))
    np.testing.assert_allclose(info.gradient_norm, norm, rtol=1e-12)


@pytest.mark.parametrize(
    "options",
    [
        {"draws": 3},
        {"draws": 4, "antithetic": True},
        {"draws": 64, "antithetic": True, "curvature": "stein"},
    ],
    ids=str,
)
def test_draws_find_it_up_to_their_noise(options):
    algorithm = vi.forward_backward(target, 0.1 * half_step(), **options)
    state, infos = run(algorithm, jnp.zeros(D), 1500)
    assert divergence(state) < 0.02
    expected = options["draws"] if "curvature" not in options else 0
    assert np.all(infos.hessians == expected)
    if "curvature" not in options:  # the curvature is known exactly, and the covariance with it
        np.testing.assert_allclose(state.cov, problem()[2], rtol=2e-2, atol=2e-2)


def test_mirrored_draws_have_no_noise_in_the_mean_of_a_gaussian():
    algorithm = vi.forward_backward(target, half_step(), draws=2, antithetic=True)
    state, _ = run(algorithm, jnp.zeros(D), 300)
    assert divergence(state) < 1e-12


def test_stein_curvature_is_unbiased_away_from_gaussians():
    """E hess V of a quartic, by quadrature, from gradients and from Hessians."""
    quartic = lambda x: -jnp.sum(x**4) / 4 - x[0] * x[1] ** 2 + jnp.sin(x[0] - x[1])
    start = jnp.array([0.3, -0.4])
    cov = np.array([[0.5, 0.2], [0.2, 0.3]])
    steps = []
    for curvature in ("hessian", "stein"):
        algorithm = vi.forward_backward(
            quartic, 0.05, points=vi.gauss_hermite(14, 2), curvature=curvature, cov=cov
        )
        steps.append(jax.jit(algorithm.step)(jax.random.key(0), algorithm.init(start))[0].cov)
    np.testing.assert_allclose(steps[0], steps[1], rtol=1e-8)
    algorithm = vi.forward_backward(quartic, 0.05, draws=100_000, curvature="stein", cov=cov)
    drawn = jax.jit(algorithm.step)(jax.random.key(1), algorithm.init(start))[0].cov
    np.testing.assert_allclose(drawn, steps[0], atol=2e-3)


def double_well(x):
    return -jnp.sum((x**2 - 1) ** 2) / 2 - 0.3 * x[0] - 0.4 * x[0] * x[1]


def test_a_double_well_becomes_stationary():
    rule = vi.gauss_hermite(8, 2)
    algorithm = vi.forward_backward(double_well, 0.05, points=rule)
    state, infos = run(algorithm, jnp.array([2.0, -1.5]), 800)
    assert infos.gradient_norm[0] > 1
    assert infos.gradient_norm[-1] < 1e-3
    assert np.all(np.diff(infos.elbo) > -1e-9)
    eps, weights = rule
    xs = np.asarray(state.mean) + eps @ np.linalg.cholesky(state.cov).T
    slope = jax.vmap(jax.grad(double_well))(jnp.asarray(xs))
    np.testing.assert_allclose(weights @ slope, 0, atol=1e-3)


def test_trees_are_flattened_and_returned():
    tree = {"a": jnp.array([0.5, -1.0]), "b": jnp.array(2.0)}
    center = {"a": jnp.array([1.0, 3.0]), "b": jnp.array(-1.0)}

    def logdensity(x):
        gaps = jax.tree.map(lambda u, v: u - v, x, center)
        return -jnp.sum(gaps["a"] ** 2) * 2 - gaps["b"] ** 2 / 2

    algorithm = vi.forward_backward(logdensity, 0.2, points=vi.cubature(3))
    state, _ = run(algorithm, tree, 200)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9), state.mean, center)
    np.testing.assert_allclose(np.diag(state.cov), [0.25, 0.25, 1.0], rtol=1e-9)
    many = 20_000
    xs = algorithm.sample(jax.random.key(3), state, many)
    assert xs["a"].shape == (many, 2)
    assert xs["b"].shape == (many,)
    error = np.std(xs["b"]) / np.sqrt(many)
    assert abs(np.mean(xs["b"]) + 1) < 5 * error
    assert abs(np.var(xs["a"][:, 0]) - 0.25) < 5 * 0.25 * np.sqrt(2 / many)


@pytest.mark.parametrize("where", ["value", "gradient"])
def test_a_step_that_is_not_finite_is_not_taken(where):
    """Past a line the law is NaN: of zero gradient, or in the gradient as well."""

    def broken(x):
        fine = -jnp.sum((x - 3) ** 2)
        wall = jnp.where(jnp.sum(x) > 0.5, jnp.nan, 0.0 if where == "value" else 1.0)
        return fine + wall if where == "value" else fine * wall

    algorithm = vi.forward_backward(broken, 0.1, points=vi.gauss_hermite(1, 2), cov=0.1)
    state, infos = run(algorithm, jnp.zeros(2), 20)
    assert infos.is_divergent[-1]
    assert not infos.is_divergent[0]
    first, _ = run(algorithm, jnp.zeros(2), 1)
    np.testing.assert_allclose(state.mean, first.mean)
    np.testing.assert_allclose(state.cov, first.cov)


@pytest.mark.parametrize("degree", [3, 5])
@pytest.mark.parametrize("d", [1, 2, 6])
def test_cubature_knows_its_moments(d, degree):
    points, weights = vi.cubature(d, degree)
    assert len(points) == (2 * d if degree == 3 else 2 * d**2 + 1)
    mean = lambda powers: weights @ np.prod(points**powers, 1)
    unit = np.eye(d, dtype=int)
    np.testing.assert_allclose(np.sum(weights), 1)
    np.testing.assert_allclose((weights[:, None] * points).T @ points, np.eye(d), atol=1e-14)
    assert abs(mean(unit[0])) < 1e-14
    assert abs(mean(3 * unit[0])) < 1e-13
    if degree == 5:
        np.testing.assert_allclose(mean(4 * unit[0]), 3)
        if d > 1:
            np.testing.assert_allclose(mean(2 * unit[0] + 2 * unit[1]), 1)


def test_gauss_hermite_knows_its_moments():
    points, weights = vi.gauss_hermite(4, 2)
    np.testing.assert_allclose(weights @ (points[:, 0] ** 6 * points[:, 1] ** 4), 15 * 3)
    np.testing.assert_allclose(weights @ np.ones(16), 1)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"dt": 0.0}, "dt must be"),
        ({"draws": 0}, "draws must be"),
        ({"draws": 3, "antithetic": True}, "draws must be"),
        ({"curvature": "none"}, "curvature must be"),
        ({"points": (np.zeros((3, D)), np.ones(2) / 2)}, "must fit"),
        ({"points": (np.zeros((2, D)), np.ones(2))}, "must add to 1"),
        ({"points": vi.cubature(D + 1)}, "points must be"),
        ({"cov": -1.0}, "positive definite"),
        ({"cov": np.ones((2, 2))}, "a number or"),
    ],
    ids=str,
)
def test_wrong_options_are_refused(change, expected):
    with pytest.raises(ValueError, match=f"vi.forward_backward: .*{expected}"):
        vi.forward_backward(target, **({"dt": 0.1} | change)).init(jnp.zeros(D))


def test_a_start_outside_the_law_is_refused():
    with pytest.raises(ValueError, match="must not be NaN"):
        vi.forward_backward(lambda x: jnp.sum(x) * jnp.nan, 0.1).init(jnp.zeros(2))
    for wrong in (
        lambda: vi.cubature(0),
        lambda: vi.cubature(2, 4),
        lambda: vi.gauss_hermite(0, 1),
    ):
        with pytest.raises(ValueError, match="vi."):
            wrong()
