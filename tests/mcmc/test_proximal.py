"""Proximal Langevin: maps against brute force, biases against quadrature on a line."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import mcmc

KEY = jax.random.key(4)
UNIT = float(jax.random.normal(KEY, ()))
GRID = np.linspace(-9, 9, 721)
prox = mcmc.prox


@pytest.mark.parametrize(
    ("make", "penalty"),
    [
        (lambda: prox.l1(0.7), lambda y: 0.7 * np.abs(y)),
        (lambda: prox.quadratic(0.7), lambda y: 0.35 * y**2),
        (lambda: prox.box(-0.5, 0.8), lambda y: np.where((y >= -0.5) & (y <= 0.8), 0, np.inf)),
    ],
)
def test_prox_minimises(make, penalty):
    fine = np.linspace(-4, 4, 80001)
    for x in (-2.3, -0.2, 0.0, 0.4, 3.1):
        for step in (0.3, 2.0):
            best = fine[np.argmin(penalty(fine) + (fine - x) ** 2 / (2 * step))]
            found = make()({"a": jnp.asarray(x)}, step)["a"]
            assert float(found) == pytest.approx(best, abs=1.1e-4)


def stationary(mean, sd):
    """The law on GRID kept by x' ~ N(mean(x), sd^2)."""
    matrix = np.exp(-0.5 * ((GRID[None] - mean[:, None]) / sd) ** 2)
    matrix /= matrix.sum(1, keepdims=True)
    n = len(GRID)
    return np.linalg.solve(np.vstack([(matrix.T - np.eye(n))[:-1], np.ones(n)]), np.eye(n)[-1])


def keeper(build):
    """(*numbers) -> expectation of values on the grid under the law kept by build(*numbers), whose
    first number is dt; its noise comes last.
    """

    @jax.jit
    def step(*numbers):
        algorithm = build(*numbers)
        return jax.vmap(lambda x: algorithm.step(KEY, algorithm.init(x))[0].position)(
            jnp.asarray(GRID)
        )

    def kept(values, *numbers):
        sd = np.sqrt(2 * numbers[0])
        return stationary(np.asarray(step(*numbers)) - sd * UNIT, sd) @ values

    return kept


def quadrature(logdensity, values):
    probs = np.exp(logdensity - logdensity.max())
    return np.sum(probs * values) / np.sum(probs)


def smooth(x):  # the smooth part of the target; the other is |x|
    return -0.5 * (x - 0.8) ** 2


def huber(x, smoothing):
    small = np.abs(x) < smoothing
    return np.where(small, x**2 / (2 * smoothing), np.abs(x) - smoothing / 2)


@pytest.mark.usefixtures("same_key")
def test_myula_keeps_the_envelope_whose_bias_falls_with_smoothing():
    truth = quadrature(smooth(GRID) - np.abs(GRID), GRID)
    biases = []
    kept = keeper(lambda dt, smoothing: mcmc.myula(smooth, prox.l1(), dt, smoothing=smoothing))
    for smoothing in (0.4, 0.2, 0.1):
        dts = (0.04, 0.02) if smoothing > 0.15 else (0.02, 0.01)
        coarse, fine = (kept(GRID, dt, smoothing) for dt in dts)
        envelope = quadrature(smooth(GRID) - huber(GRID, smoothing), GRID)
        extrapolated = 2 * fine - coarse  # the bias of the step is of first order
        assert abs(extrapolated - envelope) < 0.15 * abs(coarse - envelope) + 1e-4
        biases.append(envelope - truth)
        # Beside its envelope, the kernel is nearer to it than to the target.
        assert abs(extrapolated - envelope) < 0.1 * abs(envelope - truth)
    assert np.all(np.diff(np.abs(biases)) < 0)
    slope = np.polyfit(np.log([0.4, 0.2, 0.1]), np.log(np.abs(biases)), 1)[0]
    assert 0.8 < slope < 2.2


@pytest.mark.usefixtures("same_key")
def test_proximal_gradient_tends_to_a_laplace_law():
    nothing = lambda x: 0 * x
    kept = keeper(lambda dt: mcmc.proximal_gradient(nothing, prox.l1(), dt, noise="after"))
    errors = [kept(np.abs(GRID), dt) - 1 for dt in (0.2, 0.1, 0.05)]
    assert np.all(np.abs(errors) < (0.1, 0.05, 0.025))
    slope = np.polyfit(np.log([0.2, 0.1, 0.05]), np.log(np.abs(errors)), 1)[0]
    assert slope == pytest.approx(1, abs=0.05)


def test_noise_before_the_prox_leaves_exact_zeros():
    """Its chain is the other one's, seen after the prox: zero where that one is below dt."""
    dt, chains = 0.2, 20000
    algorithm = mcmc.proximal_gradient(lambda x: 0 * x, prox.l1(), dt)
    threshold = np.sign(GRID) * np.maximum(np.abs(GRID) - dt, 0)
    probs = stationary(threshold, np.sqrt(2 * dt))
    h = GRID[1] - GRID[0]
    inside = np.clip((dt - np.abs(GRID)) / h + 0.5, 0, 1)  # cells that the threshold cuts
    expected = probs @ inside

    def chain(key):
        def body(state, i):
            return algorithm.step(jax.random.fold_in(key, i), state)[0], None

        start = algorithm.init(jnp.zeros(()))
        return jax.lax.scan(body, start, jnp.arange(80))[0].position

    x = jax.jit(jax.vmap(chain))(jax.random.split(jax.random.key(0), chains))
    zeros = np.mean(np.asarray(x) == 0)
    assert abs(zeros - expected) < 5 * np.sqrt(expected * (1 - expected) / chains) + 1e-3
