"""Contrastive divergence against the enumerated gradient of a 4 x 4 grid."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import energies, mcmc
from jaxgen.losses import energy

SPINS = np.array(list(itertools.product([-1.0, 1.0], repeat=16)))
GRID = energies.ising(energies.periodic_grid((4, 4)))
COLOURS = np.indices((4, 4)).sum(0).ravel() % 2
MODEL, DATA = 0.4, 0.2
N = 3000


def logdensity_fn(beta, s):
    return beta * GRID(s)


def kernel(logdensity_fn):
    return mcmc.coloured_gibbs(logdensity_fn, (-1.0, 1.0), COLOURS)


def mean_bonds(beta):
    """E of the sum of bonds, enumerated: the derivative of log Z."""
    bonds = np.asarray(jax.vmap(GRID)(SPINS))
    logs = beta * bonds
    return bonds @ np.exp(logs - np.logaddexp.reduce(logs))


TRUTH = mean_bonds(MODEL) - mean_bonds(DATA)


def exact_draws(key, beta):
    probs = jax.nn.softmax(beta * jax.vmap(GRID)(SPINS))
    return SPINS[jax.random.choice(key, len(SPINS), (N,), p=probs)]


def gradients(loss_fn, key, xs, *negatives):
    keys = jax.random.split(key, len(xs))
    one = lambda key, *xs: jax.grad(loss_fn)(MODEL, key, *xs)
    return np.asarray(jax.jit(jax.vmap(one))(keys, xs, *negatives))


def test_bias_falls_with_the_steps():
    """CD-1, 3, 12 from data at beta = 0.2 under a model at 0.4; exact negatives have none."""
    key_data, key_model, key_run = jax.random.split(jax.random.key(0), 3)
    xs = exact_draws(key_data, DATA)
    bias, errors = [], []
    for steps, key in zip((1, 3, 12), jax.random.split(key_run, 3), strict=True):
        found = gradients(
            energy.contrastive_divergence(logdensity_fn, kernel, steps=steps), key, xs
        )
        bias.append(np.mean(found) - TRUTH)
        errors.append(np.std(found) / np.sqrt(N))
    assert bias[0] < -20 * errors[0]
    assert bias[0] < 1.5 * bias[1] < 2 * bias[2]
    given = energy.contrastive_divergence(logdensity_fn)
    found = gradients(given, jax.random.key(1), xs, exact_draws(key_model, MODEL))
    assert abs(np.mean(found) - TRUTH) < 5 * np.std(found) / np.sqrt(N)


def test_persistent_chains_reach_the_model():
    """From data at 0.2, 40 updates: the gradient within 5 standard errors; the first is biased."""
    key_data, key_run, key_loss = jax.random.split(jax.random.key(2), 3)
    xs = exact_draws(key_data, DATA)
    chains = energy.persistent(logdensity_fn, kernel)

    @jax.jit
    def run(xs):
        def body(state, i):
            state, info = chains.step(MODEL, jax.random.fold_in(key_run, i), state)
            return state, (jnp.mean(jax.vmap(GRID)(state.positions)), jnp.sum(info.renewed))

        return jax.lax.scan(body, chains.init(xs), jnp.arange(40))

    state, (bonds, renewed) = run(xs)
    found = gradients(energy.contrastive_divergence(logdensity_fn), key_loss, xs, state.positions)
    error = np.std(found) / np.sqrt(N)
    assert abs(np.mean(found) - TRUTH) < 5 * error
    assert bonds[0] - mean_bonds(MODEL) < -20 * error
    assert np.sum(renewed) == 0


def test_chains_are_renewed():
    chains = energy.persistent(
        logdensity_fn,
        kernel,
        renew=0.25,
        start=lambda key: jax.random.rademacher(key, (16,), float),
    )
    _, info = jax.jit(chains.step)(0.1, jax.random.key(3), chains.init(jnp.ones((4000, 16))))
    assert abs(np.mean(info.renewed) - 0.25) < 5 * np.sqrt(0.25 * 0.75 / 4000)
    assert info.divergences == 0


def test_the_penalty_and_the_negative():
    loss_fn = energy.contrastive_divergence(lambda a, x: a * x**2, penalty=0.1)
    value, slope = jax.value_and_grad(loss_fn)(2.0, jax.random.key(4), 1.0, 3.0)
    assert value == pytest.approx(18 - 2 + 0.1 * (18**2 + 2**2))
    assert slope == pytest.approx(9 - 1 + 0.1 * 2 * (18 * 9 + 2 * 1))
    assert jax.grad(loss_fn, argnums=3)(2.0, jax.random.key(4), 1.0, 3.0) == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: energy.contrastive_divergence(logdensity_fn, kernel, steps=0), "steps"),
        (lambda: energy.contrastive_divergence(logdensity_fn, kernel, penalty=-1.0), "penalty"),
        (
            lambda: energy.contrastive_divergence(logdensity_fn)(
                1.0, jax.random.key(0), np.ones(16)
            ),
            "a negative or a kernel",
        ),
        (lambda: energy.persistent(logdensity_fn, kernel, renew=0.5), "with a start"),
        (lambda: energy.persistent(logdensity_fn, kernel, steps=0), "steps"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
