import functools
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from scipy.special import logsumexp

from jaxgen.metrics import gaussian_distance, transport, wasserstein_1d

TIGHT = 1e-12
N, M = 9, 6


def solved(method, cost, a, b, epsilon, tolerance=TIGHT, **options):
    return method(cost, a, b, epsilon=epsilon, tolerance=tolerance, **options)


METHODS = {"sinkhorn": transport.sinkhorn, "newton": transport.newton}
SOLVED = {name: jax.jit(functools.partial(solved, method)) for name, method in METHODS.items()}


def problem(seed=0, n=N, m=M):
    rng = np.random.RandomState(seed)
    a, b = rng.dirichlet(np.ones(n)), rng.dirichlet(np.ones(m))
    return jnp.asarray(rng.rand(n, m)), jnp.asarray(a), jnp.asarray(b)


def square(n, seed=0):
    rng = np.random.RandomState(seed)
    x, y = rng.rand(n, 1, 2), rng.rand(1, n, 2)
    cost = ((x - y) ** 2).sum(-1)
    return jnp.asarray(cost / cost.max())


def textbook(cost, a, b, epsilon, iterations=1500):
    """P = diag(u) exp(-C / epsilon) diag(v), in logarithms, without a reference measure."""
    kernel, f, g = -np.asarray(cost) / epsilon, np.zeros(len(a)), np.zeros(len(b))
    for _ in range(iterations):
        f = np.log(a) - logsumexp(kernel + g, axis=1)
        g = np.log(b) - logsumexp(kernel + f[:, None], axis=0)
    return np.exp(kernel + f[:, None] + g)


def linear_programme(cost, a, b):
    n, m = cost.shape
    rows, columns = np.kron(np.eye(n), np.ones(m)), np.kron(np.ones(n), np.eye(m))
    answer = scipy.optimize.linprog(
        np.ravel(cost), A_eq=np.vstack([rows, columns]), b_eq=np.concatenate([a, b])
    )
    return answer.fun


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("epsilon", [0.5, 0.02])
def test_a_textbook_iteration(name, epsilon):
    cost, a, b = problem()
    got, plan = SOLVED[name](cost, a, b, epsilon), textbook(cost, a, b, epsilon)
    np.testing.assert_allclose(got.plan, plan, atol=1e-11)
    np.testing.assert_allclose(got.cost, np.sum(plan * cost), rtol=1e-10)
    relative = np.sum(plan * np.log(np.maximum(plan, 1e-300) / np.outer(a, b)))
    np.testing.assert_allclose(got.value, np.sum(plan * cost) + epsilon * relative, rtol=1e-10)
    np.testing.assert_allclose(a @ got.f, b @ got.g, rtol=1e-11)
    np.testing.assert_allclose(a @ got.f + b @ got.g, got.value, rtol=1e-11)
    assert got.info.converged
    np.testing.assert_allclose(jnp.sum(got.plan, axis=1), a, rtol=1e-12)
    assert jnp.sum(jnp.abs(jnp.sum(got.plan, axis=0) - b)) <= TIGHT


@pytest.mark.parametrize("name", METHODS)
def test_small_epsilon_is_the_linear_programme(name):
    cost, a, b = problem(1)
    got = SOLVED[name](cost, a, b, 1e-3)
    np.testing.assert_allclose(got.cost, linear_programme(cost, a, b), rtol=1e-8)


def test_on_the_line_towards_sorting():
    rng = np.random.RandomState(2)
    x, y = jnp.asarray(rng.randn(N)), jnp.asarray(rng.randn(M) * 2 + 1)
    cost, exact = jnp.abs(x[:, None] - y[None, :]), wasserstein_1d(x, y)
    a, b = jnp.asarray(np.full(N, 1 / N)), jnp.asarray(np.full(M, 1 / M))
    gaps = [float(SOLVED["newton"](cost, a, b, e).cost - exact) for e in (1.0, 0.1, 0.01, 1e-3)]
    assert gaps[0] > gaps[1] > gaps[2] > -1e-12
    assert abs(gaps[3]) < 1e-9


def test_between_gaussians():
    """Gauss-Hermite nodes stand for a Gaussian: quadrature of a smooth plan is nearly exact."""
    nodes, mass = np.polynomial.hermite_e.hermegauss(14)
    grid = np.stack(np.meshgrid(nodes, nodes, indexing="ij"), -1).reshape(-1, 2)
    mass = np.outer(mass, mass).ravel() / mass.sum() ** 2
    a, b = np.array([[2, 0.5], [0.5, 1]]), np.array([[1, -0.3], [-0.3, 1.5]])
    shift = np.array([0.4, -0.2])
    x, y = grid @ np.linalg.cholesky(a).T, grid @ np.linalg.cholesky(b).T + shift
    cost = jnp.asarray(((x[:, None] - y[None]) ** 2).sum(-1))
    got = jax.jit(functools.partial(transport.newton, epsilon=4.0, tolerance=1e-10))(
        cost, jnp.asarray(mass), jnp.asarray(mass)
    )
    exact = transport.gaussian_entropic(jnp.zeros(2), a, jnp.asarray(shift), b, epsilon=4.0)
    np.testing.assert_allclose(got.value, exact, rtol=1e-6)


def test_gaussian_form_towards_bures():
    a, b = jnp.array([[2, 0.5], [0.5, 1]]), jnp.array([[1, -0.3], [-0.3, 1.5]])
    zero = jnp.zeros(2)
    near = transport.gaussian_entropic(zero, a, zero, b, epsilon=1e-9)
    np.testing.assert_allclose(near, 0.463471, atol=5e-7)
    np.testing.assert_allclose(near, gaussian_distance(zero, a, zero, b), atol=1e-7)
    # To infinity the plan is the product: E|x - y|².
    far = transport.gaussian_entropic(zero, a, zero, b, epsilon=1e7)
    np.testing.assert_allclose(far, 3 + 2.5, rtol=1e-6)


def linear(cost, a, b, epsilon, u, v, w):
    """Numbers that see every part of the answer, [5]."""
    got = SOLVED["newton"](cost, a, b, epsilon)
    return jnp.stack([u @ got.f, v @ got.g, jnp.vdot(w, got.plan), got.cost, got.value])


def test_derivatives_against_finite_differences():
    rng = np.random.RandomState(3)
    cost, a, b = problem()
    at = (cost, a, b, jnp.asarray(0.1))
    u, v, w = map(jnp.asarray, (rng.randn(N), rng.randn(M), rng.randn(N, M)))
    fn = jax.jit(lambda *at: linear(*at, u, v, w))
    towards = [rng.randn(N, M), rng.dirichlet(np.ones(N)) - a, rng.dirichlet(np.ones(M)) - b, 0.3]
    towards = tuple(jnp.asarray(x) for x in towards)
    ahead = fn(*(x + 1e-5 * t for x, t in zip(at, towards, strict=True)))
    behind = fn(*(x - 1e-5 * t for x, t in zip(at, towards, strict=True)))
    _, forward = jax.jit(lambda at, t: jax.jvp(fn, at, t))(at, towards)
    np.testing.assert_allclose(forward, (ahead - behind) / 2e-5, rtol=2e-6)
    rows = jax.jit(jax.jacrev(fn, (0, 1, 2, 3)))(*at)
    reverse = sum(jnp.tensordot(r, t, t.ndim) for r, t in zip(rows, towards, strict=True))
    np.testing.assert_allclose(reverse, forward, rtol=1e-9)


@pytest.mark.slow
def test_the_second_derivative_goes_through_the_potentials():
    cost, a, b = problem()
    towards = jnp.asarray(np.random.RandomState(3).randn(N, M))
    along = lambda s: SOLVED["newton"](cost + s * towards, a, b, 0.1).value
    second = jax.jit(jax.grad(jax.grad(along)))(0.0)
    slope = jax.jit(jax.grad(along))
    np.testing.assert_allclose(second, (slope(1e-4) - slope(-1e-4)) / 2e-4, rtol=1e-5)


def test_the_value_s_gradient_is_the_solution():
    cost, a, b = problem()
    value = lambda *at: SOLVED["newton"](*at).value
    got, slopes = SOLVED["newton"](cost, a, b, 0.1), jax.jit(jax.grad(value, (0, 1, 2)))
    to_cost, to_a, to_b = slopes(cost, a, b, 0.1)
    np.testing.assert_allclose(to_cost, got.plan, atol=1e-15)
    np.testing.assert_allclose(to_a, got.f - a @ got.f, atol=1e-11)
    np.testing.assert_allclose(to_b, got.g - b @ got.g, atol=1e-11)


def test_iterations_of_the_paper_s_example():
    """200 uniform points, cost at most 1, to 1e-9: the catalogue has 444 and > 2000 iterations of
    Sinkhorn, 5 and 11 of a Newton method with both potentials."""
    cost, even = square(200), jnp.full(200, 1 / 200)
    to = jax.jit(lambda e: transport.newton(cost, even, even, epsilon=e, tolerance=1e-9))
    slow = jax.jit(lambda e: transport.sinkhorn(cost, even, even, epsilon=e, tolerance=1e-9))
    for eta, most, least in ((200, 5, 250), (1200, 11, 2000)):
        fast, plain = to(1 / eta).info, slow(1 / eta).info
        assert fast.converged
        assert not fast.fallback
        assert fast.newton <= most
        assert fast.iterations <= 51
        assert plain.iterations > least


@pytest.mark.parametrize("epsilon", [1.0, 0.1])
def test_sinkhorn_goes_on_where_it_is_fast(epsilon):
    cost, a, b = problem()
    info, plain = SOLVED["newton"](cost, a, b, epsilon).info, SOLVED["sinkhorn"]
    assert info.fallback
    assert info.newton == 0
    assert info.converged
    assert info.iterations <= plain(cost, a, b, epsilon).info.iterations + 1


def test_sinkhorn_finishes_what_newton_could_not():
    cost, a, b = problem(1)
    short = jax.jit(lambda: transport.newton(cost, a, b, epsilon=0.01, max_newton=1))()
    assert short.info.fallback
    assert short.info.newton == 1
    assert short.info.converged
    np.testing.assert_allclose(short.cost, SOLVED["newton"](cost, a, b, 0.01).cost, rtol=1e-5)


def run_sparse(**options):
    cost, even = square(64), jnp.full(64, 1 / 64)
    run = functools.partial(transport.newton, epsilon=1e-3, tolerance=1e-10, **options)
    return jax.jit(run)(cost, even, even)


def test_a_sparsified_hessian():
    dense, sparse = run_sparse(), run_sparse(keep=48, retained=1 - 1e-6)
    np.testing.assert_allclose(sparse.plan, dense.plan, atol=1e-10)
    assert dense.info.sparse == 0
    assert sparse.info.sparse == sparse.info.newton > 0
    assert abs(int(sparse.info.newton) - int(dense.info.newton)) <= 1


@pytest.mark.slow
def test_a_hessian_too_sparse_or_without_room():
    dense, crude, cramped = run_sparse(), run_sparse(keep=48, retained=0.9), run_sparse(keep=1)
    np.testing.assert_allclose(crude.plan, dense.plan, atol=1e-10)
    assert crude.info.newton > dense.info.newton  # a direction that misses a tenth of each row
    assert cramped.info.sparse == 0
    assert cramped.info.newton == dense.info.newton  # no room: the dense Hessian


@pytest.mark.parametrize("name", ["newton", pytest.param("sinkhorn", marks=pytest.mark.slow)])
def test_weights_of_zero(name):
    cost, a, b = problem()
    a, b = a.at[2].set(0), b.at[jnp.array([0, 4])].set(0)
    a, b = a / jnp.sum(a), b / jnp.sum(b)
    got = SOLVED[name](cost, a, b, 0.05)
    rows, columns = np.delete(np.arange(N), 2), np.delete(np.arange(M), [0, 4])
    kept = np.ix_(rows, columns)
    plan = textbook(cost[kept], a[rows], b[columns], 0.05)
    np.testing.assert_allclose(got.plan[kept], plan, atol=1e-11)
    np.testing.assert_allclose(got.cost, np.sum(plan * cost[kept]), rtol=1e-10)
    np.testing.assert_allclose(jnp.sum(got.plan), jnp.sum(got.plan[kept]), rtol=1e-14)
    sharp = SOLVED[name](cost, a, b, 0.002)  # Newton does not see absent columns
    mean = np.sum(a[:, None] * np.exp((sharp.f[:, None] - cost) / 0.002), axis=0)
    np.testing.assert_allclose(sharp.g, -0.002 * np.log(mean), atol=1e-12)
    # The potential of an absent point: what a grain of mass there would be charged.
    grain = lambda h: SOLVED[name](cost, (1 - h) * a + h * jnp.eye(N)[2], b, 0.05).value
    np.testing.assert_allclose((grain(1e-6) - grain(0)) / 1e-6, got.f[2] - a @ got.f, rtol=1e-4)
    fn = lambda *at: jnp.sum(linear(*at, jnp.arange(1.0 * N), jnp.arange(1.0 * M), cost))
    if name == "newton":
        for slope in jax.jit(jax.grad(fn, (0, 1, 2, 3)))(cost, a, b, 0.05):
            assert jnp.all(jnp.isfinite(slope))


def test_points_that_coincide():
    even = jnp.full(8, 1 / 8)
    x = jnp.tile(jnp.array([[0.3, 1.0], [0.0, 2.0]]), (4, 1))

    def both(x, y):
        got = SOLVED["newton"](transport.cost_matrix(x, y, transport.euclidean), even, even, 0.05)
        return got.cost + got.value

    assert jnp.all(jnp.isfinite(jax.jit(jax.grad(both))(x, x)))
    assert jnp.all(jnp.isfinite(jax.jit(jax.grad(both))(0 * x, 0 * x)))
    np.testing.assert_allclose(both(0 * x, 0 * x), 0, atol=1e-15)


@pytest.mark.slow
def test_a_batch_of_problems():
    costs, a, b = jnp.stack([problem(s)[0] for s in (4, 5)]), *problem()[1:]
    each = lambda cost: SOLVED["newton"](cost, a, b, 0.03).plan
    np.testing.assert_allclose(
        jax.jit(jax.vmap(each))(costs), jnp.stack([each(costs[0]), each(costs[1])]), atol=1e-12
    )


@pytest.mark.parametrize("name", METHODS)
def test_float32(name):
    cost, a, b = (x.astype(jnp.float32) for x in problem())
    run = jax.jit(functools.partial(METHODS[name], epsilon=0.02))
    got = run(cost, a, b)
    assert {x.dtype for x in got[:5]} == {jnp.dtype("float32")}
    assert got.info.converged
    exact = SOLVED[name](*(x.astype(jnp.float64) for x in (cost, a, b)), 0.02)
    np.testing.assert_allclose(got.value, exact.value, rtol=1e-5)
    np.testing.assert_allclose(got.plan, exact.plan, atol=2e-4)


@pytest.mark.slow
@pytest.mark.usefixtures("x32")
def test_without_x64():
    cost, a, b = (jnp.asarray(np.asarray(x), jnp.float32) for x in problem())
    value = lambda cost: transport.newton(cost, a, b, epsilon=0.02).value
    slope = jax.jit(jax.grad(value))(cost)
    assert slope.dtype == jnp.float32
    np.testing.assert_allclose(jnp.sum(slope), 1, rtol=1e-4)  # the plan


BAD = [
    (lambda c, a, b: (c[0], a, b, {}), "cost must be floating"),
    (lambda c, a, b: (c.at[1, 2].set(jnp.nan), a, b, {}), "cost must be finite"),
    (lambda c, a, b: (c.at[1, 2].set(jnp.inf), a, b, {}), "cost must be finite"),
    (lambda c, a, b: (c, a[:-1], b, {}), "a must be floating"),
    (lambda c, a, b: (c, 2 * a, b, {}), "a must sum to 1; got 2"),
    (lambda c, a, b: (c, a, b.at[0].add(-1).at[1].add(1), {}), "b must be at least 0"),
    (lambda c, a, b: (c, a, b, {"epsilon": 0.0}), "epsilon must be positive and finite; got 0"),
    (lambda c, a, b: (c, a, b, {"tolerance": -1.0}), "tolerance must be positive"),
    (lambda c, a, b: (c, a, b, {"decay": 1.5}), r"decay must be in \(0, 1\]; got 1.5"),
    (lambda c, a, b: (c, a, b, {"max_iterations": 0}), "at least 1; got 0"),
    (lambda c, a, b: (c, a, b, {"initial": jnp.zeros(N)}), "initial must be g"),
]


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize(("change", "message"), BAD)
def test_bad_input(name, change, message):
    cost, a, b, options = change(*problem())
    with pytest.raises(ValueError, match=f"{name}: .*{message}"):
        METHODS[name](cost, a, b, **{"epsilon": 0.1, **options})


def test_bad_options_of_newton():
    cost, a, b = problem()
    with pytest.raises(ValueError, match="newton: keep must be at least 1; got 0"):
        transport.newton(cost, a, b, epsilon=0.1, keep=0)
    with pytest.raises(ValueError, match=r"newton: retained must be in \(0, 1\); got 1"):
        transport.newton(cost, a, b, epsilon=0.1, keep=3, retained=1.0)
    with pytest.raises(ValueError, match="cost_matrix"):
        transport.cost_matrix(jnp.zeros((3, 2)), jnp.zeros((3, 3)))


@pytest.mark.slow
@pytest.mark.parametrize("epsilon", [0.1, 0.005])
def test_ott_agrees(epsilon):
    with warnings.catch_warnings():  # ott uses names that jax has deprecated
        warnings.simplefilter("ignore")
        from ott.geometry import geometry
        from ott.problems.linear import linear_problem
        from ott.solvers.linear import sinkhorn

        cost, a, b = problem(6, 40, 30)
        with jax.numpy_rank_promotion("allow"):
            form = geometry.Geometry(cost_matrix=cost, epsilon=epsilon)
            theirs = sinkhorn.Sinkhorn(threshold=1e-11, max_iterations=100_000)(
                linear_problem.LinearProblem(form, a=a, b=b)
            )
        plan, price = theirs.matrix, theirs.primal_cost
    for name in METHODS:
        got = SOLVED[name](cost, a, b, epsilon)
        np.testing.assert_allclose(got.plan, plan, atol=1e-9)
        np.testing.assert_allclose(got.cost, price, atol=1e-8)
