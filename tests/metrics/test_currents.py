import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.linalg import expm, solve_continuous_lyapunov

from jaxgen import losses, nets, processes, training
from jaxgen.math import derivatives, divergence, lyapunov
from jaxgen.metrics import currents

TURN = jnp.asarray([[0.0, 1.0], [-1.0, 0.0]])
W = 1.7
ROTATING = jnp.eye(2) + W * TURN
SHEARED, DIAGONAL = jnp.asarray([[1.0, 2.0], [0.0, 3.0]]), jnp.asarray([1.0, 0.5])


def positive(key, d):
    factor = jax.random.normal(jax.random.key(key), (d, d))
    return factor @ factor.T / d + 0.3 * jnp.eye(d)


def test_lyapunov_is_scipys_and_its_gradient_is_right():
    for seed, d, scale in ((1, 4, 1e-3), (2, 9, 100.0)):
        skew = jax.random.normal(jax.random.key(10 + seed), (d, d))
        matrix, rhs = scale * (positive(seed, d) + skew - skew.T), positive(seed + 20, d)
        found = jax.jit(lyapunov)(matrix, rhs)
        np.testing.assert_allclose(found, solve_continuous_lyapunov(matrix, rhs), rtol=1e-10)
    stiff = jnp.asarray([[1e-4, 3.0], [0.0, 1e4]])
    rhs = positive(3, 2)
    found = jax.jit(lyapunov)(stiff, rhs)
    np.testing.assert_allclose(stiff @ found + found @ stiff.T, rhs, rtol=1e-9)
    slope = jax.jit(jax.jvp, static_argnums=0)(
        lyapunov, (SHEARED, jnp.eye(2)), (TURN, jnp.zeros((2, 2)))
    )[1]
    base = solve_continuous_lyapunov(SHEARED, np.eye(2))
    truth = solve_continuous_lyapunov(SHEARED, -(TURN @ base + base @ TURN.T))
    np.testing.assert_allclose(slope, truth, rtol=1e-12, atol=1e-14)
    single = jax.eval_shape(lyapunov, *(jnp.eye(2, dtype=jnp.float32),) * 2)
    assert single.dtype == jnp.float32
    assert np.isnan(jax.jit(lyapunov)(-SHEARED, jnp.eye(2))).all()
    with pytest.raises(ValueError, match=r"eigenvalues of matrix must have positive .*; got -3"):
        lyapunov(-SHEARED, jnp.eye(2))
    with pytest.raises(ValueError, match=r"must be \[d, d\]; got shapes \(2, 2\) and \(2,\)"):
        lyapunov(SHEARED, jnp.ones(2))


def test_linear_currents_have_the_known_rates():
    """2 w² for the rotation, 0.5 for the shear, in two formulas; none under detailed balance."""
    law = currents.linear_current(ROTATING, 1.0)
    assert float(law.entropy_production) == pytest.approx(2 * W**2, rel=1e-13)
    np.testing.assert_allclose(law.covariance, jnp.eye(2), atol=1e-14)
    np.testing.assert_allclose(law.circulation, -W * TURN, atol=1e-13)
    law = currents.linear_current(SHEARED, DIAGONAL)
    assert float(law.entropy_production) == pytest.approx(0.5, rel=1e-12)
    inverse = jnp.diag(1 / DIAGONAL)
    heat = jnp.trace(SHEARED.T @ inverse @ SHEARED @ law.covariance) - jnp.trace(SHEARED)
    assert float(heat) == pytest.approx(0.5, rel=1e-12)
    stiffness, spread = positive(1, 4), positive(2, 4)
    law = currents.linear_current(spread @ stiffness, spread)
    assert abs(float(law.entropy_production)) < 1e-20
    np.testing.assert_allclose(law.precision, stiffness, rtol=1e-9)
    shares = currents.linear_current(positive(3, 4) + jnp.triu(positive(4, 4), 1), spread)
    assert float(jnp.sum(shares.shares)) == pytest.approx(float(shares.entropy_production))
    assert float(shares.entropy_production) > 0.1


def linear_samples(matrix, diffusion, n):
    law = currents.linear_current(matrix, diffusion)
    noise = jax.random.normal(jax.random.key(1), (n, len(matrix)))
    return law, noise @ jnp.linalg.cholesky(law.covariance).T


@pytest.mark.parametrize(
    ("matrix", "diffusion"), [(ROTATING, jnp.asarray(1.0)), (SHEARED, DIAGONAL)]
)
def test_samples_find_the_rate_with_and_without_a_score(matrix, diffusion):
    law, xs = linear_samples(matrix, diffusion, 20_000)
    drift, score = (lambda x: -matrix @ x), (lambda x: -law.precision @ x)

    @jax.jit
    def both(xs, diffusion):
        return (
            currents.entropy_production(drift, diffusion, score, xs),
            currents.heat_production(drift, diffusion, xs),
            currents.entropy_production(drift, diffusion, score, xs, by="entry"),
        )

    *totals, shares = both(xs, diffusion)
    for found in totals:
        assert abs(float(found.value - law.entropy_production)) < 5 * float(found.standard_error)
        assert float(found.standard_error) < 0.02 * float(law.entropy_production) + 0.03
    assert (jnp.abs(shares.value - law.shares) < 5 * shares.standard_error).all()
    assert float(jnp.sum(shares.value)) == pytest.approx(float(totals[0].value), rel=1e-12)


# A stationary law N(m, 1/a) with D(x) and a current that turns at a rate that depends on x.
CENTRE, STIFF = jnp.asarray([0.4, -0.6]), jnp.asarray([1.3, 0.7])


def well(x):
    return -0.5 * jnp.sum(STIFF * (x - CENTRE) ** 2)


SCORE = jax.grad(well)
SPREADS = {
    "scalar": lambda x: 1.0 + 0.5 * jnp.sin(x[0]) * jnp.cos(x[1]),
    "diagonal": lambda x: jnp.stack([1.0 + 0.3 * jnp.sin(x[0]), 0.8 + 0.5 * jnp.cos(x[0] - x[1])]),
    "matrix": lambda x: (
        jnp.eye(2) * (1.0 + 0.2 * jnp.cos(x[0]))
        + 0.4 * jnp.sin(x[0] * x[1]) * (jnp.ones((2, 2)) - jnp.eye(2))
    ),
}


def rate(x):
    return 0.7 + jnp.tanh(x[0] - 0.5 * x[1])


def truth(x):
    """v = (J ∇(rate · ρ)) / ρ, divergence-free against ρ for every rate."""
    return TURN @ (jax.grad(rate)(x) + rate(x) * SCORE(x))


def textbook_drift(spread):
    """b = v + D s + ∇·D, by a Jacobian of the whole matrix."""

    def as_matrix(x):
        value = spread(x)
        return value if value.ndim == 2 else jnp.diag(jnp.broadcast_to(value, (2,)))

    def drift(x):
        slopes = jax.jacfwd(as_matrix)(x)
        own = jnp.stack([slopes[i, 0, 0] + slopes[i, 1, 1] for i in range(2)])
        return truth(x) + as_matrix(x) @ SCORE(x) + own

    return drift


@pytest.mark.parametrize(
    "kind",
    [*(pytest.param(kind, marks=pytest.mark.slow) for kind in ("scalar", "diagonal")), "matrix"],
)
def test_the_current_where_diffusion_depends_on_place(kind):
    spread = SPREADS[kind]
    drift = textbook_drift(spread)
    xs = CENTRE[None] + jax.random.normal(jax.random.key(2), (20_000, 2)) / jnp.sqrt(STIFF)[None]

    @jax.jit
    def everything(xs):
        velocity = currents.current_velocity(drift, spread, SCORE)
        residual = currents.stationary_residual(drift, spread, SCORE)
        wrong = currents.stationary_residual(drift, spread, lambda x: 1.1 * SCORE(x))
        return (
            jax.vmap(velocity)(xs[:50]) - jax.vmap(truth)(xs[:50]),
            jax.vmap(residual)(xs[:50]),
            jax.vmap(wrong)(xs[:50]),
            currents.entropy_production(drift, spread, SCORE, xs),
            currents.heat_production(drift, spread, xs),
        )

    error, residual, wrong, production, heat = everything(xs)
    assert float(jnp.max(jnp.abs(error))) < 1e-12
    assert float(jnp.max(jnp.abs(residual))) < 1e-12
    assert float(jnp.max(jnp.abs(wrong))) > 0.05
    gap, scale = production.value - heat.value, production.standard_error + heat.standard_error
    assert abs(float(gap)) < 5 * float(scale)
    assert float(production.value) > 20 * float(scale)


@pytest.mark.slow
def test_the_residual_takes_probes():
    drift = textbook_drift(SPREADS["scalar"])
    probes = jax.random.rademacher(jax.random.key(3), (4000, 2), float)
    trace = divergence.hutchinson(probes)
    wrong = lambda x: 1.1 * SCORE(x)
    residual = lambda trace: currents.stationary_residual(drift, 1.0, wrong, trace=trace)
    found, exact = jax.jit(lambda x: (residual(trace)(x), residual(None)(x)))(CENTRE + 1)
    assert found.shape == (4000,)
    assert abs(float(jnp.mean(found) - exact)) < 5 * float(jnp.std(found)) / 4000**0.5


def test_particles_share_the_rate():
    """Three particles in the plane, the first alone driven: it alone produces entropy."""
    drive = jnp.asarray([1.5, 0.0, 0.0])
    drift = lambda x: -x - drive[:, None] * (x @ TURN.T)
    xs = jax.random.normal(jax.random.key(4), (4000, 3, 2))
    found = currents.entropy_production(drift, 1.0, lambda x: -x, xs, by="particle")
    assert abs(float(found.value[0]) - 2 * 1.5**2) < 5 * float(found.standard_error[0])
    np.testing.assert_allclose(found.value[1:], 0, atol=1e-20)


def stationary_paths(matrix, law, steps, dt, n):
    """Paths [n, steps + 1, 2] with exact transitions."""
    gain = jnp.asarray(expm(-np.asarray(matrix) * dt))
    factor = jnp.linalg.cholesky(law.covariance - gain @ law.covariance @ gain.T)
    first, rest = jax.random.split(jax.random.key(5))
    start = jax.random.normal(first, (n, 2)) @ jnp.linalg.cholesky(law.covariance).T
    noise = jax.random.normal(rest, (steps, n, 2)) @ factor.T
    path = jax.lax.scan(lambda x, e: (x @ gain.T + e,) * 2, start, noise)[1]
    return jnp.swapaxes(jnp.concatenate([start[None], path]), 0, 1)


def test_time_reversal_finds_the_same_rate():
    """Path-wise heat: in mean ½ tr(M^T (Φ Σ - Σ Φ^T)) / dt, which tends to the rate with dt."""
    law, drift = currents.linear_current(SHEARED, DIAGONAL), lambda x: -SHEARED @ x
    force, biases = -SHEARED / DIAGONAL[:, None], []
    for dt in (0.2, 0.05):
        gain = expm(-np.asarray(SHEARED) * dt)
        moved = gain @ law.covariance
        exact = float(0.5 * jnp.trace(force.T @ (moved - moved.T)) / dt)
        steps = round(10 / dt)
        paths = stationary_paths(SHEARED, law, steps, dt, 500)
        path_rate = lambda paths, dt=dt, steps=steps: currents.path_entropy_production(
            drift, DIAGONAL, paths, steps * dt
        )
        found = jax.jit(path_rate)(paths)
        assert abs(float(found.value) - exact) < 5 * float(found.standard_error)
        assert float(found.standard_error) < 0.05
        biases.append(abs(exact - 0.5))
    assert biases[1] < 0.3 * biases[0]


# A ring-shaped well, turned: dX = (-∇U + w J ∇U) dt + √2 dW leaves exp(-U) as it is.
def energy(x):
    square = jnp.sum(x**2)
    return 0.25 * (square - 2.0) ** 2 + 0.3 * x[0] + 0.2 * x[0] * x[1]


def turned(x):
    slope = jax.grad(energy)(x)
    return -slope + W * TURN @ slope


def ring(n):
    """Points of the law exp(-U), from a fine grid, and the exact rate W² E |∇U|²."""
    axis = jnp.linspace(-4.5, 4.5, 361)
    cells = jnp.stack(jnp.meshgrid(axis, axis), -1).reshape(-1, 2)
    mass = jax.nn.softmax(-jax.vmap(energy)(cells))
    slopes = jax.vmap(jax.grad(energy))(cells)
    exact = W**2 * jnp.sum(mass * jnp.sum(slopes**2, 1))
    key_cell, key_place = jax.random.split(jax.random.key(6))
    level = jax.random.uniform(key_cell, (n,), maxval=1 - 1e-9)
    chosen = cells[jnp.searchsorted(jnp.cumsum(mass), level)]
    place = jax.random.uniform(key_place, (n, 2), minval=-0.5, maxval=0.5)
    return chosen + place * (axis[1] - axis[0]), exact


def test_a_learned_score_gives_the_rate():
    """A potential of degree 4, by implicit score matching: θ solves E ∇φ ∇φ^T θ = -E Δφ."""
    powers = [(i, j) for i in range(5) for j in range(5 - i) if i + j > 0]
    phi = lambda x: jnp.stack([x[0] ** i * x[1] ** j for i, j in powers])
    xs, exact = jax.jit(ring, static_argnums=0)(8000)

    @jax.jit
    def fit(xs):
        slopes = jax.vmap(jax.jacrev(phi))(xs)
        curve = lambda x, k: derivatives.laplacian()(lambda x: phi(x)[k], x)[1]
        spread = jax.vmap(jax.vmap(curve, (None, 0)), (0, None))(xs, jnp.arange(len(powers)))
        gram = jnp.einsum("nkd,nld->kl", slopes, slopes) / len(xs)
        return jnp.linalg.solve(gram, -jnp.mean(spread, 0))

    theta = fit(xs)
    score = lambda x: jax.jacrev(phi)(x).T @ theta
    found = jax.jit(lambda xs: currents.entropy_production(turned, 1.0, score, xs))(xs)
    assert abs(float(found.value) / float(exact) - 1) < 0.05


@pytest.mark.slow
def test_a_network_learns_the_score_that_gives_the_rate():
    """Implicit score matching of a small network on 60,000 points, judged on fresh ones.

    An error e of the score adds E |e|² to the rate.
    """
    xs, exact = jax.jit(ring, static_argnums=0)(160_000)
    xs, fresh = xs[:60_000].astype(jnp.float32), xs[60_000:].astype(jnp.float32)
    process, net = processes.scalar.vp(), nets.mlp((2,), width=64, depth=2)
    now = lambda u: jnp.full_like(u, 1e-3)  # the least noise of the process: 1e-4 of variance
    loss = losses.score.implicit(process, net.apply, kind="score", time=now)
    steps = 3000
    trainer = training.trainer(loss, optax.adam(optax.cosine_decay_schedule(3e-3, steps)))
    state = trainer.init(net.init(jax.random.key(7)))

    @jax.jit
    def step(state, i):
        key_batch, key = jax.random.split(jax.random.fold_in(jax.random.key(8), i))
        rows = jax.random.choice(key_batch, len(xs), (256,))
        return trainer.step(key, state, xs[rows])[0]

    for i in range(steps):
        state = step(state, i)
    score = lambda x: net.apply(state.ema, x, jnp.float32(1e-3))
    found = jax.jit(lambda xs: currents.entropy_production(turned, 1.0, score, xs))(fresh)
    assert float(found.standard_error) < 0.012 * float(exact)
    assert abs(float(found.value) / float(exact) - 1) < 0.05


def test_options_are_checked():
    good, xs = (lambda x: -x), jnp.ones((3, 2))
    rate = lambda *a, **k: currents.entropy_production(*a, **k)
    for message, build in (
        ("at least two points", lambda: rate(good, 1.0, good, xs[:1])),
        ("points must be finite", lambda: rate(good, 1.0, good, xs.at[0, 0].set(jnp.nan))),
        ("must be of a floating dtype", lambda: rate(good, 1.0, good, xs.astype(int))),
        ("diffusion must be positive definite", lambda: rate(good, 0.0, good, xs)),
        ("diffusion must be positive definite", lambda: rate(good, -jnp.eye(2), good, xs)),
        ("diffusion must be [], [2] or [2, 2]", lambda: rate(good, jnp.ones(3), good, xs)),
        ("drift must be x -> [2]", lambda: rate(jnp.sum, 1.0, good, xs)),
        ("score_fn must be x -> [2]", lambda: rate(good, 1.0, jnp.sum, xs)),
        ('by must be "total"', lambda: rate(good, 1.0, good, xs, by="row")),
        ("events must be [particles, ...]", lambda: rate(good, 1.0, good, xs, by="particle")),
        (
            "a path must have two points",
            lambda: currents.path_entropy_production(good, 1.0, xs[:, None], 1.0),
        ),
        ("matrix must be [d, d]", lambda: currents.linear_current(jnp.ones(2), 1.0)),
    ):
        with pytest.raises(ValueError, match="currents") as found:
            build()
        assert message in str(found.value)
