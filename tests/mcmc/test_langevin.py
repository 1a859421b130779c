"""Unadjusted Langevin against the laws that its steps keep, worked out from the kernels."""

import functools

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from jaxgen import mcmc

KEY = jax.random.key(4)
UNIT = float(jax.random.normal(KEY, ()))  # the noise of a one-dimensional step with this key


def pull(x):  # an anharmonic well that leans to one side
    return -0.25 * x**4 + 0.5 * x**2 + 0.4 * x


def linear_step(build, extra=()):
    """(A, b) of a one-dimensional step z' = A z + b xi, read from the kernel."""
    algorithm = build(lambda x: -0.5 * x**2)

    def step(z):
        state = algorithm.init(z[0])
        if extra:
            state = state._replace(velocity=z[1])
        state, _ = algorithm.step(KEY, state)
        return jnp.stack([state.position, *(getattr(state, name) for name in extra)])

    zero = jnp.zeros(1 + len(extra))
    matrix, origin = jax.jit(lambda z: (jax.jacfwd(step)(z), step(z)))(zero)
    return np.asarray(matrix), np.asarray(origin) / UNIT


@pytest.mark.parametrize("dt", [0.01, 0.5, 1.5])
@pytest.mark.usefixtures("same_key")
def test_ula_on_a_normal_has_its_stationary_variance(dt):
    matrix, noise = linear_step(lambda f: mcmc.ula(f, dt))
    (a,), (b,) = matrix[0], noise
    assert a == pytest.approx(1 - dt, rel=1e-12)
    assert b**2 / (1 - a**2) == pytest.approx(1 / (1 - dt / 2), rel=1e-12)


def stationary_on_a_grid(mean, sd, grid):
    """The law on grid [n] kept by x' ~ N(mean(x), sd^2): a vector [n] that sums to one."""
    away = (grid[None] - mean[:, None]) / sd
    matrix = np.exp(-0.5 * away**2)
    matrix /= matrix.sum(1, keepdims=True)
    n = len(grid)
    system = np.vstack([(matrix.T - np.eye(n))[:-1], np.ones(n)])
    return np.linalg.solve(system, np.eye(n)[-1])


def drift_of(algorithm, grid, dt):
    """Where the step goes from each point of grid [n] without its noise."""
    step = jax.jit(jax.vmap(lambda x: algorithm.step(KEY, algorithm.init(x))[0].position))
    return np.asarray(step(jnp.asarray(grid))) - np.sqrt(2 * dt) * UNIT


GRID = np.linspace(-4, 4, 500)


def expectation(logdensity, values):
    probs = np.exp(logdensity - logdensity.max())
    return np.sum(probs * values) / np.sum(probs)


@pytest.mark.usefixtures("same_key")
def test_the_bias_of_ula_is_of_first_order():
    dts = np.array([0.02, 0.01, 0.005])
    errors = []
    for dt in dts:
        mean = drift_of(mcmc.ula(pull, dt), GRID, dt)
        probs = stationary_on_a_grid(mean, np.sqrt(2 * dt), GRID)
        truth = [expectation(pull(GRID), GRID**k) for k in (1, 2)]
        errors.append([probs @ GRID**k - each for k, each in zip((1, 2), truth, strict=True)])
    slopes = np.polyfit(np.log(dts), np.log(np.abs(errors)), 1)[0]
    np.testing.assert_allclose(slopes, 1, atol=0.1)


@pytest.mark.usefixtures("same_key")
def test_underdamped_is_of_second_order_and_keeps_a_normal_position():
    friction = 0.8
    drift = np.array([[0.0, 1.0], [-1.0, -friction]])
    start, at_start = np.array([1.5, -0.5]), np.diag([0.3, 0.1])
    flow = scipy.linalg.expm(drift)
    spread = np.eye(2) - flow @ flow.T  # the stationary covariance is the identity
    mean, cov = flow @ start, flow @ at_start @ flow.T + spread
    errors = []
    for steps in (8, 16, 32):
        build = lambda f, steps=steps: mcmc.underdamped(f, 1 / steps, friction=friction)
        matrix, noise = linear_step(build, ("velocity",))
        m, c = start, at_start
        for _ in range(steps):
            m, c = matrix @ m, matrix @ c @ matrix.T + np.outer(noise, noise)
        errors.append([np.abs(m - mean).max(), np.abs(c - cov).max()])
        kept = scipy.linalg.solve_discrete_lyapunov(matrix, np.outer(noise, noise))
        assert kept[0, 0] == pytest.approx(1, abs=1e-12)
    slopes = -np.diff(np.log2(errors), axis=0)
    np.testing.assert_allclose(slopes, 2, atol=0.1)


@pytest.mark.usefixtures("same_key")
def test_preconditioned_is_ula_in_other_coordinates():
    factor = jnp.asarray([[0.8, 0.0], [0.5, 1.1]])
    f = lambda x: pull(x[0]) - x[1] ** 2 + 0.3 * x[0] * x[1]
    y = jnp.asarray([0.3, -0.7])

    def both(y):
        straight = mcmc.preconditioned(f, 0.1, factor)
        bent = mcmc.ula(lambda y: f(factor @ y), 0.1)
        x = straight.step(KEY, straight.init(factor @ y))[0].position
        return x, factor @ bent.step(KEY, bent.init(y))[0].position

    np.testing.assert_allclose(*jax.jit(both)(y), rtol=1e-12)
    diagonal = jnp.asarray([0.5, 2.0])
    one, two = (
        mcmc.preconditioned(f, 0.1, diagonal),
        mcmc.preconditioned(f, 0.1, jnp.diag(diagonal)),
    )
    step = lambda a: jax.jit(lambda y: a.step(KEY, a.init(y))[0].position)(y)
    np.testing.assert_allclose(step(one), step(two), rtol=1e-12)


@pytest.mark.usefixtures("same_key")
def test_annealed_walks_down_its_levels():
    levels, dts = jnp.asarray([3.0, 1.0, 0.5]), jnp.asarray([0.3, 0.2, 0.1])
    algorithm = mcmc.annealed(lambda x, level: level * x, levels, dts, steps=2)

    def body(state, _):
        new, _ = algorithm.step(KEY, state)
        return new, new.position - state.position

    _, moves = jax.jit(lambda x: jax.lax.scan(body, algorithm.init(x), length=8))(jnp.zeros(()))
    at = np.minimum(np.arange(8) // 2, 2)
    expected = np.asarray(dts * levels)[at] + np.sqrt(2 * np.asarray(dts)[at]) * UNIT
    np.testing.assert_allclose(moves, expected, rtol=1e-12)


def test_mala_is_unbiased_where_ula_is_not():
    dt, chains, steps = 0.25, 4000, 40
    well = lambda x: -0.5 * x**2 + jnp.sin(2 * x + 0.3)  # tails in which ULA is stable
    grid = np.linspace(-8, 8, 1001)
    truth = expectation(np.asarray(well(grid)), grid**2)

    def mean_square(algorithm):
        def chain(key):
            def body(state, i):
                return algorithm.step(jax.random.fold_in(key, i), state)[0], None

            return jax.lax.scan(body, algorithm.init(jnp.ones(())), jnp.arange(steps))[0].position

        x = jax.jit(jax.vmap(chain))(jax.random.split(jax.random.key(0), chains)) ** 2
        return float(x.mean()), float(x.std()) / np.sqrt(chains)

    found, error = mean_square(blackjax.mala(well, dt))
    assert abs(found - truth) < 5 * error
    found, error = mean_square(mcmc.ula(well, dt))
    assert abs(found - truth) > 5 * error


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: mcmc.ula(pull, 0.0), "dt must be a positive number; got 0.0"),
        (lambda: mcmc.ula(pull, np.nan), "dt must be"),
        (lambda: mcmc.underdamped(pull, 0.1, friction=-1.0), "friction must be"),
        (lambda: mcmc.annealed(pull, [], 0.1, steps=1), "levels"),
        (lambda: mcmc.annealed(pull, [1.0], [0.1, 0.2], steps=1), "dts"),
        (lambda: mcmc.annealed(pull, [1.0], -0.1, steps=1), "dts must be positive"),
        (lambda: mcmc.annealed(pull, [1.0], 0.1, steps=0), "steps must be"),
        (lambda: mcmc.preconditioned(jnp.sum, 0.1, jnp.ones(3)).init(jnp.ones(2)), "scale must be"),
        (lambda: mcmc.ula(lambda x: x, 0.1).init(jnp.ones(())), None),
        (lambda: mcmc.myula(pull, mcmc.prox.l1(), 0.1, smoothing=0.0), "smoothing must be"),
        (lambda: mcmc.proximal_gradient(pull, mcmc.prox.l1(), 0.1, noise="no"), "noise must be"),
        (lambda: mcmc.prox.l1(-1.0), "weight must be"),
        (lambda: mcmc.prox.box(1.0, 0.0), "low must be below"),
    ],
)
def test_what_must_hold_is_said(build, message):
    if message is None:
        assert build() is not None
        return
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.usefixtures("same_key")
@pytest.mark.parametrize("make", [mcmc.ula, functools.partial(mcmc.underdamped, friction=0.5)])
def test_a_divergent_step_is_counted_and_not_taken(make):
    algorithm = make(lambda x: jnp.where(x > 0, -x, jnp.nan), 0.5)
    start = algorithm.init(jnp.asarray(0.5), jax.random.key(0))

    def body(state, i):
        return algorithm.step(jax.random.fold_in(KEY, i), state)

    def run(start):
        return jax.lax.scan(
            lambda s, i: (lambda n, d: (n, (n.position, d)))(*body(s, i)), start, jnp.arange(40)
        )

    _, (xs, info) = jax.jit(run)(start)
    xs, bad = np.append(0.5, xs), np.asarray(info.is_divergent)
    assert np.all(xs > 0)
    assert 0 < bad.sum() < 40
    np.testing.assert_array_equal(np.diff(xs) == 0, bad)
