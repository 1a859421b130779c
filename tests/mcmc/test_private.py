"""Private release: the noise's exact scale, the budget's sum, and contraction under coupling."""

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import mcmc
from jaxgen.types import sampling_algorithm


@pytest.mark.usefixtures("same_key")
@pytest.mark.parametrize("mechanism", ["laplace", "gaussian"])
def test_the_noise_has_scale_distance_over_budget(mechanism):
    key, x = jax.random.key(0), jnp.asarray([1.0, -2.0, 0.5])
    unit = getattr(jax.random, {"laplace": "laplace", "gaussian": "normal"}[mechanism])(key, (3,))
    found = mcmc.private_release(key, x, distance=0.3, budget=0.6, mechanism=mechanism)
    np.testing.assert_allclose((found - x) / unit, 0.5, rtol=1e-12)


def test_the_budgets_add_up():
    """Laplace draws, private at epsilon = 1 for data 0 and 1, missed by `distance` to either side:
    after release the largest log-ratio of densities is at most the budget, and above 1 + noise.
    """
    distance, noise = 0.4, 0.7
    grid = np.linspace(-30, 31, 6101)
    h = grid[1] - grid[0]
    kernel = np.exp(-np.abs(grid - grid.mean()) * noise / distance)
    kernel /= kernel.sum() * h
    laws = [np.exp(-np.abs(grid - at)) / 2 for at in (0 - distance, 1 + distance)]
    one, two = (np.convolve(law, kernel, "same") * h for law in laws)
    middle = slice(1500, -1500)
    ratio = np.abs(np.log(one[middle] / two[middle])).max()
    budget = mcmc.private_budget(1.0, noise)
    assert budget == 1 + 2 * noise
    assert 1 + noise < ratio <= budget + 1e-3


@pytest.mark.usefixtures("same_key")
def test_ula_contracts_under_synchronous_coupling():
    precision = jnp.asarray([2.0, 0.5, 1.0])
    algorithm = mcmc.ula(lambda x: -0.5 * jnp.sum(precision * x**2), 0.1)
    x, y = jnp.asarray([1.0, 2.0, 3.0]), jnp.asarray([0.0, -1.0, 1.0])

    @jax.jit
    def distances(key):
        return [mcmc.coupled_distances(key, algorithm, x, y, 60, norm=norm) for norm in (2, 1)]

    found, sums = distances(jax.random.key(0))
    shrunk = (1 - 0.1 * np.asarray(precision))[None] ** np.arange(61)[:, None]
    apart = shrunk * np.asarray(x - y)
    np.testing.assert_allclose(found, np.linalg.norm(apart, axis=1), rtol=1e-9)
    np.testing.assert_allclose(sums, np.abs(apart).sum(1), rtol=1e-9)
    assert np.all(found <= (1 - 0.1 * 0.5) ** np.arange(61) * found[0] * (1 + 1e-12))


def test_starts_and_steps_are_driven_by_one_key():
    """Starts scaled, and steps moved, by draws: the same for both, so distances only scale."""
    move = lambda key, state: (state._replace(position=state.position + jax.random.normal(key)), ())
    algorithm = sampling_algorithm(
        lambda x, key: mcmc.LangevinState(x * jax.random.uniform(key), 0.0, 0.0), move
    )
    run = jax.jit(lambda key: mcmc.coupled_distances(key, algorithm, jnp.ones(2), jnp.zeros(2), 3))
    found = np.asarray(run(jax.random.key(0)))
    assert 0 < found[0] < np.sqrt(2)
    np.testing.assert_allclose(found, found[0], rtol=1e-12)


def test_mala_contracts_on_a_log_concave_law():
    """Mean distance over keys falls geometrically until it is far below the law's own spread."""
    f = lambda x: -0.5 * jnp.sum(x**2) - jnp.sum(jnp.logaddexp(x, -x)) / 2
    algorithm = blackjax.mala(f, 0.15)
    run = lambda key: mcmc.coupled_distances(key, algorithm, jnp.ones(3), -jnp.ones(3), 80)
    found = np.asarray(jax.jit(jax.vmap(run))(jax.random.split(jax.random.key(1), 200))).mean(0)
    slope = np.polyfit(np.arange(0, 60, 10), np.log(found[:60:10]), 1)[0]
    assert slope < np.log(1 - 0.15 / 2)
    assert found[-1] < 0.01


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda k: mcmc.private_release(k, jnp.ones(1), distance=0.0, budget=1.0), "distance must"),
        (lambda k: mcmc.private_release(k, jnp.ones(1), distance=1.0, budget=-1.0), "budget must"),
        (
            lambda k: mcmc.private_release(k, jnp.ones(1), distance=1.0, budget=1.0, mechanism="x"),
            "mechanism must",
        ),
        (lambda k: mcmc.private_budget(0.0, 1.0), "exact must"),
        (
            lambda k: mcmc.coupled_distances(
                k, mcmc.ula(jnp.sum, 1.0), jnp.ones(1), jnp.ones(2), 3
            ),
            r"must be \[d\]",
        ),
    ],
)
def test_what_must_hold_is_said(call, message):
    with pytest.raises(ValueError, match=message):
        call(jax.random.key(0))
