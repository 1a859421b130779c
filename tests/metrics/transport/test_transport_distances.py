import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.optimize

from jaxgen.metrics import transport, wasserstein_1d

hungarian = optax.assignment.hungarian_algorithm


def cloud(seed, n, *event):
    return jnp.asarray(np.random.RandomState(seed).randn(n, *event))


EVEN = jnp.asarray(np.full(12, 1 / 12))


@jax.jit
def valued(xs, ys, a, b, epsilon):
    fn = transport.sinkhorn_divergence
    return jax.value_and_grad(fn)(xs, ys, epsilon=epsilon, a=a, b=b, tolerance=1e-11)


def divergence(xs, ys, a=EVEN, b=EVEN, epsilon=0.3):
    return valued(xs, ys, a, b, epsilon)[0]


def slope_of(xs, ys, a=EVEN, b=EVEN, epsilon=0.3):
    return valued(xs, ys, a, b, epsilon)[1]


def test_divergence_of_equal_samples_and_a_translation():
    xs = cloud(0, 12, 2)
    np.testing.assert_allclose(divergence(xs, xs[::-1]), 0, atol=1e-12)
    # At squared cost a translation by m adds |m|² to OT for any epsilon: C changes by terms of x
    # alone, of y alone, and a constant.
    np.testing.assert_allclose(divergence(xs, xs + jnp.array([[0.6, -1.0]])), 1.36, rtol=1e-9)


def test_divergence_far_out_is_a_difference_of_means():
    xs, ys = cloud(0, 12, 2), cloud(1, 12, 2) + 1
    got = divergence(xs, ys, epsilon=1e6)
    gap = jnp.mean(xs, axis=0) - jnp.mean(ys, axis=0)
    np.testing.assert_allclose(got, gap @ gap, rtol=1e-4)


def test_divergence_is_symmetric_and_its_slope_is_right():
    xs, ys = cloud(0, 12, 2), cloud(1, 12, 2) + 1
    a = jnp.asarray(np.random.RandomState(2).dirichlet(np.ones(12)))
    b = jnp.roll(a, 3)
    np.testing.assert_allclose(divergence(xs, ys, a, b), divergence(ys, xs, b, a), rtol=1e-10)
    towards = cloud(3, 12, 2)
    near = divergence(xs + 1e-5 * towards, ys, a, b) - divergence(xs - 1e-5 * towards, ys, a, b)
    slope = slope_of(xs, ys, a, b)
    np.testing.assert_allclose(jnp.vdot(slope, towards), near / 2e-5, rtol=1e-6)
    assert jnp.max(jnp.abs(slope_of(xs, xs, a, a))) < 1e-9


def test_bad_samples():
    xs, bad = cloud(0, 3, 2), transport.sinkhorn_divergence
    with pytest.raises(ValueError, match="one event shape"):
        bad(xs, cloud(0, 3, 3), epsilon=1.0)
    with pytest.raises(ValueError, match="must be finite"):
        bad(xs, jnp.full((3, 2), jnp.nan), epsilon=1.0)


BIT = 1 - jnp.eye(2)
table = jax.jit(lambda joint: transport.table_dependency(joint, BIT, BIT, epsilon=1e-3))


@pytest.mark.parametrize("same", [1.0, 0.8, 0.5, 0.1])
def test_dependency_of_bits(same):
    """P(X = Y) = same, fair bits: |same - 1/2| of mass moves by one flip."""
    joint = jnp.array([[same, 1 - same], [1 - same, same]]) / 2
    np.testing.assert_allclose(table(joint), abs(same - 0.5), atol=1e-8)


def test_dependency_of_an_independent_table():
    joint = jnp.outer(jnp.array([0.3, 0.7]), jnp.array([0.9, 0.1]))
    np.testing.assert_allclose(table(joint), 0, atol=1e-12)


def gaussian_pairs(r, n=8):
    x, noise = cloud(4, n), cloud(5, n)
    return x[:, None], (r * x + np.sqrt(1 - r**2) * noise)[:, None]


dependency = jax.jit(
    functools.partial(transport.wasserstein_dependency, epsilon=2e-3, tolerance=1e-10)
)


def exact_dependency(xs, ys):
    n = len(xs)
    of = lambda z: np.abs(np.asarray(z)[:, None, 0] - np.asarray(z)[None, :, 0])
    cost = (of(xs)[:, :, None] + of(ys)[:, None, :]).reshape(n, n * n)
    rows, columns = np.kron(np.eye(n), np.ones(n * n)), np.kron(np.ones(n), np.eye(n * n))
    given = np.concatenate([np.full(n, 1 / n), np.full(n * n, 1 / n**2)])
    return scipy.optimize.linprog(cost.ravel(), A_eq=np.vstack([rows, columns]), b_eq=given).fun


def test_dependency_of_samples_is_the_linear_programme():
    xs, ys = gaussian_pairs(0.7)
    exact = exact_dependency(xs, ys)
    got = dependency(xs, ys)
    assert -1e-9 < got - exact < 2e-3 * np.log(8)
    np.testing.assert_allclose(got, exact, rtol=2e-3)


def test_dependency_of_gaussians_rises_with_correlation():
    exact = [
        float(transport.gaussian_dependency(jnp.array([[1, r], [r, 1.0]]), 1))
        for r in (0.0, 0.3, 0.6, 0.9)
    ]
    expected = [4 - 2 * (np.sqrt(1 + r) + np.sqrt(1 - r)) for r in (0.0, 0.3, 0.6, 0.9)]
    np.testing.assert_allclose(exact, expected, atol=1e-12)
    assert np.all(np.diff(exact) > 0)
    wider = jnp.array([[2.0, 0.5, 0.3], [0.5, 1, 0.2], [0.3, 0.2, 1]])
    assert transport.gaussian_dependency(wider, 2) > 0


@pytest.mark.slow
def test_dependency_of_samples_rises_with_correlation():
    got = [float(dependency(*gaussian_pairs(r, 40))) for r in (0.0, 0.4, 0.7, 0.9, 0.99)]
    assert np.all(np.diff(got) > 0)


def test_critics_stay_below():
    """Any 1-Lipschitz critic: here distances to random points, and a random slope."""
    xs, ys = gaussian_pairs(0.9)
    exact = exact_dependency(xs, ys)
    bounds = []
    for seed in range(6):
        points = cloud(seed, 3, 2)
        far = lambda x, y, points=points: (
            -jnp.min(jnp.abs(x[0] - points[:, 0]) + jnp.abs(y[0] - points[:, 1]))
        )
        bounds.append(transport.contrastive_bound(far, xs, ys))
    bounds.append(transport.contrastive_bound(lambda x, y: -jnp.abs(x[0] - y[0]), xs, ys))
    assert max(bounds) < exact
    assert bounds[-1] > 0.1 * exact
    # It sits below the plain dual value of the same critic (Jensen), and not on it.
    critic = lambda x, y: -jnp.abs(x[0] - y[0])
    grid = -jnp.abs(xs - ys.T)
    plain = jnp.mean(jnp.diagonal(grid)) - jnp.mean(grid)
    assert transport.contrastive_bound(critic, xs, ys) < plain <= exact


def test_loss_of_a_critic():
    xs, ys = gaussian_pairs(0.9, 32)
    apply = lambda w, x, y: w[0] * jnp.sum(x) * 1.0 + w[1] * jnp.sum(y)
    loss_fn = transport.dependency_loss(apply, penalty=10.0)
    assert loss_fn.batch
    key = jax.random.key(0)
    # Slopes w are constant; an additive critic's contrast: mean w·(x, y) less the same in x.
    w = jnp.array([1.5, -0.5])
    contrast = jnp.mean(w[1] * ys) - (jax.scipy.special.logsumexp(w[1] * ys) - jnp.log(32.0))
    got = loss_fn(w, key, xs, ys)
    np.testing.assert_allclose(got, 10 * 0.25 - contrast, rtol=1e-10)
    with pytest.raises(ValueError, match="penalty must be at least 0"):
        transport.dependency_loss(apply, penalty=-1.0)
    with pytest.raises(ValueError, match="n >= 2 pairs"):
        transport.contrastive_bound(lambda x, y: 0.0, xs, ys[:-1])


@pytest.mark.slow
def test_a_trained_critic_stays_below():
    n = 48
    xs, ys = gaussian_pairs(0.95, n)
    rng = np.random.RandomState(0)
    params = [jnp.asarray(rng.randn(3, 32) * 0.7), jnp.asarray(rng.randn(32) * 0.2)]
    apply = lambda p, x, y: jnp.tanh(jnp.stack([x[0], y[0], 1.0]) @ p[0]) @ p[1]
    loss_fn = transport.dependency_loss(apply)
    optimiser = optax.adam(1e-2)

    @jax.jit
    def train(params):
        def step(carry, i):
            params, state = carry
            grad = jax.grad(loss_fn)(params, jax.random.fold_in(jax.random.key(0), i), xs, ys)
            updates, state = optimiser.update(grad, state)
            return (optax.apply_updates(params, updates), state), None

        return jax.lax.scan(step, (params, optimiser.init(params)), jnp.arange(1500))[0][0]

    params = train(params)
    critic = functools.partial(apply, params)
    # The Lipschitz check: slopes on a grid around all pairs.
    grid = jnp.linspace(-3.5, 3.5, 141)
    slope = jax.vmap(
        lambda x: jax.vmap(jax.grad(critic, (0, 1)), (None, 0))(x[None], grid[:, None])
    )
    steepest = max(float(jnp.max(jnp.abs(s))) for s in jax.jit(slope)(grid))
    bound = float(transport.contrastive_bound(critic, xs, ys)) / max(steepest, 1)
    exact = float(dependency(xs, ys))
    assert 0.05 * exact < bound < exact


def square(x):
    return x**2


def steep(x):
    return jnp.expm1(x**2)


orlicz = jax.jit(
    functools.partial(transport.orlicz_wasserstein, assignment=hungarian), static_argnums=2
)


def test_orlicz_of_a_power_is_wasserstein():
    xs, ys = cloud(6, 10, 1), 2 * cloud(7, 10, 1) + 1
    np.testing.assert_allclose(
        orlicz(xs, ys, square) ** 2, wasserstein_1d(xs[:, 0], ys[:, 0], p=2), rtol=1e-9
    )


def on_the_line(xs, ys, phi):
    """By the sorted coupling, optimal for every convex phi."""
    gaps = np.abs(np.sort(np.ravel(xs)) - np.sort(np.ravel(ys)))
    excess = lambda k: float(np.mean(phi(gaps / k))) - 1
    return scipy.optimize.brentq(excess, gaps.max() / 20, gaps.max() * 20, xtol=1e-13)


def test_orlicz_on_the_line():
    xs, ys = cloud(6, 10, 1), 2 * cloud(7, 10, 1) + 1
    got = orlicz(xs, ys, steep)
    np.testing.assert_allclose(got, on_the_line(xs, ys, steep), rtol=1e-9)
    np.testing.assert_allclose(orlicz(xs, xs + 0.7, steep), 0.7 / np.sqrt(np.log(2)), rtol=1e-9)
    # phi larger everywhere: a larger distance. exp(x²) - 1 >= x².
    assert got > orlicz(xs, ys, square)


@pytest.mark.slow
def test_orlicz_by_entropic_plans():
    xs, ys = cloud(6, 10, 1), 2 * cloud(7, 10, 1) + 1
    run = jax.jit(functools.partial(transport.orlicz_wasserstein, phi=steep))
    got, exact = run(xs, ys), on_the_line(xs, ys, steep)
    assert exact * (1 - 1e-6) < got < exact * 1.002


@pytest.mark.slow
def test_slope_of_orlicz():
    xs, ys, towards = cloud(6, 10, 1), 2 * cloud(7, 10, 1) + 1, cloud(8, 10, 1)
    at = jax.jit(lambda s: orlicz(xs + s * towards, ys, steep))
    near = (at(1e-5) - at(-1e-5)) / 2e-5
    np.testing.assert_allclose(jax.grad(at)(0.0), near, rtol=1e-6)
    slope = jax.grad(lambda x: orlicz(x, jnp.zeros_like(xs), steep))(0 * xs)
    assert jnp.all(jnp.isfinite(slope))
    assert orlicz(0 * xs, 0 * xs, steep) == 0


def test_bad_orlicz():
    xs = cloud(0, 4, 1)
    with pytest.raises(ValueError, match=r"phi\(0\) must be 0; got 1"):
        transport.orlicz_wasserstein(xs, xs, jnp.exp)
    with pytest.raises(ValueError, match="needs n = m and no weights; got 4 and 3"):
        transport.orlicz_wasserstein(xs, xs[:3], square, assignment=hungarian)
    with pytest.raises(ValueError, match="epsilon must be positive"):
        transport.orlicz_wasserstein(xs, xs, square, epsilon=0.0)


def test_drawn_pairs():
    plan = jnp.array([[0.5, 0.1, 0.0], [0.0, 0.1, 0.3]])
    i, j = jax.jit(transport.draw_pairs, static_argnums=2)(jax.random.key(0), plan, 5000)
    share = np.zeros((2, 3))
    np.add.at(share, (np.asarray(i), np.asarray(j)), 1 / 5000)
    assert np.all(np.abs(share - plan) <= 5 * np.sqrt(plan * (1 - plan) / 5000))
    with pytest.raises(ValueError, match="must be at least 0 and sum to 1; got 0.0, 2"):
        transport.draw_pairs(jax.random.key(0), 2 * plan, 3)


def test_minibatch_pairs():
    x0, x1 = cloud(9, 24, 2), 0.5 * cloud(10, 24, 2) + 2
    pairs = jax.jit(functools.partial(transport.minibatch_pairs, assignment=hungarian))
    i, j = pairs(jax.random.key(0), x0, x1)
    _, best = scipy.optimize.linear_sum_assignment(
        ((np.asarray(x0)[:, None] - np.asarray(x1)[None]) ** 2).sum(-1)
    )
    np.testing.assert_array_equal(i, np.arange(24))
    np.testing.assert_array_equal(j, best)
    # A tiny epsilon finds the same pairs; a huge one draws partners uniformly.
    entropic = jax.jit(transport.minibatch_pairs)
    np.testing.assert_array_equal(entropic(jax.random.key(1), x0, x1, epsilon=1e-4)[1], best)
    loose = entropic(jax.random.key(1), x0, x1, epsilon=1e5)[1]
    assert np.mean(np.asarray(loose) == best) < 0.3
    assert jnp.all(entropic(jax.random.key(2), 0 * x0, 0 * x1)[1] < 24)  # points that coincide
