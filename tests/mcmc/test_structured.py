"""Structured SG-MCMC on a Gaussian: what it keeps of the covariance is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import mcmc

PRECISION = np.array([[2.0, 0.8, 0.3], [0.8, 1.5, -0.5], [0.3, -0.5, 1.0]])
MEAN = np.array([0.5, -1.0, 2.0])
DT = 0.01


def gaussian(x):
    away = x - jnp.asarray(MEAN)
    return -0.5 * away @ jnp.asarray(PRECISION) @ away


def kept(dt=DT, chains=192, burn=10000, steps=12000, **options):
    """(mean, covariance) of the chains' positions after the burn-in."""
    algorithm = mcmc.structured(gaussian, dt, **options)

    def chain(key):
        def body(carry, i):
            state, total, square = carry
            state, _ = algorithm.step(jax.random.fold_in(key, i), state)
            x = (state.position - jnp.asarray(MEAN)) * (i >= burn)
            return (state, total + x, square + x[:, None] * x[None]), None

        start = (algorithm.init(jnp.asarray(MEAN)), jnp.zeros(3), jnp.zeros((3, 3)))
        (_, total, square), _ = jax.lax.scan(body, start, jnp.arange(burn + steps))
        return total / steps, square / steps

    keys = jax.random.split(jax.random.key(0), chains)
    mean, second = jax.jit(jax.vmap(chain))(keys)
    return np.asarray(mean).mean(0), np.asarray(second).mean(0)


RING = {"buffer_size": 400, "thin": 25}


@pytest.mark.slow
@pytest.mark.parametrize("groups", ["broken", "whole", "pair"])
def test_variances_are_those_of_the_broken_posterior(groups):
    labels = {"broken": [0, 1, 2], "whole": [0, 0, 0], "pair": [0, 0, 1]}[groups]
    _, cov = kept(groups=np.array(labels), **RING)
    truth = np.zeros((3, 3))
    for label in set(labels):
        part = np.flatnonzero(np.array(labels) == label)
        truth[np.ix_(part, part)] = np.linalg.inv(PRECISION[np.ix_(part, part)])
    np.testing.assert_allclose(np.diag(cov), np.diag(truth), rtol=0.03)
    np.testing.assert_allclose(cov, truth, atol=0.03)


def sghmc_variance(precision, dt, friction):
    """Of x, kept by x' = x + dt v, v' = (1 - friction dt) v - dt precision x + noise."""
    forward = np.array([[1, dt], [-dt * precision, 1 - friction * dt]])
    noise = np.array([0, 0, 0, 2 * friction * dt])
    return np.linalg.solve(np.eye(4) - np.kron(forward, forward), noise)[0]


@pytest.mark.slow
def test_friction_keeps_the_law_of_its_own_step():
    """Fully broken, so each entry is a chain of its own, and its variance is known at this dt."""
    dt, friction = 0.04, 2.0
    options = {"groups": np.arange(3), "friction": friction, **RING}
    _, cov = kept(dt=dt, burn=4000, steps=8000, **options)
    truth = [sghmc_variance(each, dt, friction) for each in np.diag(PRECISION)]
    np.testing.assert_allclose(np.diag(cov), truth, rtol=0.02)
    np.testing.assert_allclose(cov, np.diag(truth), atol=0.03)


@pytest.mark.slow
def test_dropout_weakens_the_couplings():
    """Kept with probability p, groups see p of their coupling: precision with p times the rest."""
    keep = 0.5
    _, cov = kept(groups=np.arange(3), keep=keep, **RING)
    weak = PRECISION * np.where(np.eye(3, dtype=bool), 1, keep)
    # The gradient is noisier than the others': its variance times dt / 2 adds to about 10 %.
    np.testing.assert_allclose(np.diag(cov), np.diag(np.linalg.inv(weak)), rtol=0.12)
    assert np.all(np.diag(cov) < np.diag(np.linalg.inv(PRECISION)))


def drift(x, buffer, groups, **options):
    """Mean step over keys, of x or with friction of v, over dt: the drift of the broken energy."""
    algorithm = mcmc.structured(
        lambda x: gaussian(x), DT, groups, buffer_size=len(buffer), **options
    )

    def move(key):
        state = algorithm.init(x)._replace(buffer=buffer)
        new, _ = algorithm.step(key, state)
        return new.position - x if new.velocity is None else new.velocity

    moves = np.asarray(jax.jit(jax.vmap(move))(jax.random.split(jax.random.key(1), 60000))) / DT
    return moves.mean(0), moves.std(0) / np.sqrt(len(moves))


@pytest.mark.parametrize(
    ("groups", "keep", "friction"),
    [
        ([0, 1, 2], None, None),
        ([0, 0, 1], None, None),
        ([0, 0, 0], None, None),
        ([0, 0, 1], 0.4, None),
        ([0, 1, 2], 1.0, None),
        ([0, 0, 1], None, 2.0),
        ([0, 0, 1], 0.4, 2.0),
    ],
)
def test_the_drift_averages_other_groups_over_the_buffer(groups, keep, friction):
    x, buffer = jnp.asarray([1.0, 0.3, -0.6]), jnp.asarray([[0.1, 2.0, 1.0], [-1.0, 0.4, 0.2]])
    groups = np.array(groups)
    own = groups[:, None] == groups[None]
    share = np.where(own, 1.0, 0.0 if keep is None else keep)
    seen = share * (x - MEAN)[None] + (1 - share) * (np.asarray(buffer).mean(0) - MEAN)[None]
    expected = -np.sum(PRECISION * seen, axis=1)
    found, error = drift(x, buffer, groups, keep=keep, friction=friction)
    assert np.all(np.abs(found - expected) < 5 * error)


def test_the_ring_holds_every_thinned_position():
    algorithm = mcmc.structured(lambda x: 0 * jnp.sum(x), 0.1, 0, buffer_size=3, thin=2)

    def body(state, i):
        new, _ = algorithm.step(jax.random.fold_in(jax.random.key(0), i), state)
        return new, state.position

    x = jnp.zeros(())
    state, before = jax.jit(lambda x: jax.lax.scan(body, algorithm.init(x), jnp.arange(8)))(x)
    # Step 2 j writes where it began into place j: 8 -> 1, 4 -> 2, 6 -> 0.
    np.testing.assert_allclose(state.buffer, np.asarray(before)[[5, 7, 3]])


@pytest.mark.parametrize("keep", [None, 1.0])
def test_minibatches_are_handed_on(keep):
    """Unbiased halves of a sum: the mean step is that of the whole."""
    data = jnp.asarray([[1.0, 2.0], [3.0, -1.0]])
    estimate = lambda x, rows: -2 * jnp.sum((x[None] - rows) ** 2) / 2
    algorithm = mcmc.structured(estimate, 0.1, np.arange(2), buffer_size=1, keep=keep)

    def mean(i):
        batch = (jax.lax.dynamic_slice_in_dim(data, i, 1),)
        state = algorithm.init(jnp.zeros(2), batch=batch)
        return algorithm.step(jax.random.key(0), state, batch)[0].position

    one, two = jax.jit(jax.vmap(mean))(jnp.arange(2))
    np.testing.assert_allclose(one - two, 0.1 * 2 * (data[0] - data[1]), rtol=1e-9)


def test_velocities_begin_as_normals_and_end_at_a_wall():
    """Drawn with a key, 0 without; and where the gradient is none the chain stops."""
    lone = lambda x: jnp.where(jnp.all(x == 1), 0.0, jnp.nan) + 0 * jnp.sum(x)
    algorithm = mcmc.structured(lone, 0.1, 0, buffer_size=1, friction=1.0)
    start = algorithm.init(jnp.ones(2000), jax.random.key(1))
    assert abs(np.mean(start.velocity)) < 5 / np.sqrt(2000)
    assert abs(np.var(start.velocity) - 1) < 5 * np.sqrt(2 / 2000)
    np.testing.assert_array_equal(algorithm.init(jnp.ones(3)).velocity, 0)

    @jax.jit
    def twice(state):
        there, _ = algorithm.step(jax.random.key(2), state)
        return algorithm.step(jax.random.key(3), there)

    back, info = twice(start)
    assert info.is_divergent
    np.testing.assert_array_equal(back.position, 1)
    np.testing.assert_array_equal(back.velocity, 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"groups": np.array([0, 1])}, "groups must be integers of the shape"),
        ({"groups": np.array([0.0, 1.0, 2.0])}, "groups must be integers"),
        ({"groups": {"a": np.arange(3)}}, "structure of x"),
        ({"groups": np.array([-1, 0, 1])}, "at least 0"),
        ({"groups": np.arange(3), "buffer_size": 0}, "buffer_size must be"),
        ({"groups": np.arange(3), "thin": 0}, "thin must be"),
        ({"groups": np.arange(3), "keep": 0.0}, "keep must lie"),
        ({"groups": np.arange(3), "keep": 1.5}, "keep must lie"),
        ({"groups": np.arange(3), "friction": 0.0}, "friction must be"),
    ],
)
def test_what_must_hold_is_said(options, message):
    with pytest.raises(ValueError, match=message):
        mcmc.structured(gaussian, DT, **options).init(jnp.zeros(3))
