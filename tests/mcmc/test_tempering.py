"""Parallel tempering: trips that must be ballistic, and weights of modes that others never find."""

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import mcmc

WEIGHTS = np.array([0.2, 0.8])
APART = 8.0  # standard deviations


def two_modes(x):
    """log of .2 N(-4 u, I) + .8 N(4 u, I), u the diagonal direction of [d]."""
    u = jnp.full_like(x, 1 / np.sqrt(len(x)))
    away = jnp.stack([x + APART / 2 * u, x - APART / 2 * u])
    logits = jnp.log(jnp.asarray(WEIGHTS, x.dtype)) - 0.5 * jnp.sum(away**2, axis=1)
    return jax.scipy.special.logsumexp(logits)


def right(x):
    """Whether x [..., d] is in the heavy mode."""
    return np.asarray(x).sum(-1) > 0


def ends(algorithm, d, chains, steps, side):
    """Positions [chains, d] after so many steps from the mode on one side, and the last infos."""

    def chain(key):
        start = algorithm.init(
            jnp.full(d, side * APART / 2 / np.sqrt(d)), jax.random.fold_in(key, 0)
        )

        def body(state, i):
            state, info = algorithm.step(jax.random.fold_in(key, i), state)
            return state, None

        state, _ = jax.lax.scan(body, start, jnp.arange(1, steps))
        return state.position, algorithm.step(jax.random.fold_in(key, steps), state)[1]

    return jax.jit(jax.vmap(chain))(jax.random.split(jax.random.key(2), chains))


def tempering(d):
    exponents = np.geomspace(0.05, 1, 6 if d == 2 else 9)
    kernel = lambda f, b: blackjax.mala(f, (0.6 if d == 2 else 0.3) / b)
    return mcmc.parallel_tempering(two_modes, kernel, exponents)


@pytest.mark.parametrize(("d", "steps"), [(2, 200), pytest.param(16, 800, marks=pytest.mark.slow)])
def test_weights_of_far_modes(d, steps):
    """From the light mode, both weights within 0.05."""
    chains = 500 if d == 2 else 1000
    x, info = ends(tempering(d), d, chains, steps, -1)
    share = right(x).mean()
    assert abs(share - WEIGHTS[1]) < 0.05
    rates = np.asarray(info.swap_rate).mean(0)
    assert np.all((rates > 0.15) & (rates < 0.95))
    assert np.asarray(info.round_trips).mean() > 3
    assert not np.any(info.is_divergent)


@pytest.mark.usefixtures("same_key")  # a false alarm inside blackjax's NUTS
@pytest.mark.slow
@pytest.mark.parametrize("d", [2, 16])
@pytest.mark.parametrize("name", ["ula", "mala", "nuts"])
def test_others_stay_in_the_mode_they_start_in(d, name):
    build = {
        "ula": lambda: mcmc.ula(two_modes, 0.3),
        "mala": lambda: blackjax.mala(two_modes, 0.3),
        "nuts": lambda: blackjax.nuts(two_modes, 0.5, jnp.ones(d)),
    }[name]
    x, _ = ends(build(), d, 200, 400, -1)
    assert abs(right(x).mean() - WEIGHTS[1]) > 0.3


def test_trips_are_ballistic_when_every_swap_is_taken():
    """A flat target swaps always: k replicas go round in 2 k steps, each."""
    k, steps = 5, 200
    still = lambda f, b: blackjax.rmh(f, lambda key, x: x)
    algorithm = mcmc.parallel_tempering(lambda x: 0 * x, still, np.linspace(0.1, 1, k))

    def body(state, i):
        state, info = algorithm.step(jax.random.fold_in(jax.random.key(0), i), state)
        return state, (state.replica, info)

    start = algorithm.init(jnp.zeros(()))
    state, (replica, info) = jax.jit(lambda s: jax.lax.scan(body, s, jnp.arange(steps)))(start)
    replica = np.concatenate([np.arange(k)[None], replica])
    np.testing.assert_array_equal(replica[2 * k :], replica[: -2 * k])
    # Each replica is first marked at the hot end within 2 k steps, and counts once in 2 k more.
    trips = int(state.round_trips)
    assert abs(trips - k * (steps - 2 * k) / (2 * k)) <= k
    np.testing.assert_allclose(info.swap_rate[-1], 1, rtol=1e-12)
    np.testing.assert_array_equal(np.sum(info.is_tried, axis=0), steps // 2)


def test_swap_probabilities_are_those_of_the_ratio():
    """Three replicas that do not move: min(1, exp(gap of exponents times gap of f))."""
    still = lambda f, b: blackjax.rmh(f, lambda key, x: x)
    f, r = (lambda x: -(x**2)), (lambda x: 0.3 * x)
    b = np.array([0.0, 0.4, 1.0])
    algorithm = mcmc.parallel_tempering(f, still, b, reference_fn=r)
    xs = jnp.asarray([0.2, 1.1, -0.7])

    @jax.jit
    def step(xs, key):
        return algorithm.step(key, algorithm.init(None, replicas=xs))

    keys = jax.random.split(jax.random.key(3), 4000)
    state, info = jax.vmap(step, (None, 0))(xs, keys)
    gap = np.asarray(f(xs) - r(xs))
    expected = min(1, np.exp((b[1] - b[0]) * (gap[0] - gap[1])))
    np.testing.assert_allclose(info.swap_rate[:, 0], expected, rtol=1e-12)
    np.testing.assert_array_equal(info.swap_rate[:, 1], 0)  # not its turn
    expected = min(expected, 1)
    found = np.mean(info.is_swapped[:, 0])
    assert abs(found - expected) <= 5 * np.sqrt(expected * (1 - expected) / 4000)
    np.testing.assert_allclose(state.position, xs[2])
    np.testing.assert_allclose(state.logdensity, f(xs[2]), rtol=1e-12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"exponents": (0.1, 0.5)}, "end at 1"),
        ({"exponents": (0.1, 0.5, 1.1)}, "end at 1"),
        ({"exponents": (0.5, 0.1, 1.0)}, "must rise"),
        ({"exponents": (-0.1, 1.0)}, "must rise"),
        ({"exponents": (0.0, 1.0)}, "needs reference_fn"),
        ({"exponents": (1.0,)}, "k >= 2"),
        ({"exponents": (0.5, 1.0), "moves": 0}, "moves must be"),
    ],
)
def test_a_ladder_that_leads_elsewhere_raises(options, message):
    kernel = lambda f, b: blackjax.mala(f, 0.1)
    with pytest.raises(ValueError, match=message):
        mcmc.parallel_tempering(two_modes, kernel, **options)


def test_starts_that_do_not_fit_raise():
    algorithm = mcmc.parallel_tempering(two_modes, lambda f, b: blackjax.mala(f, 0.1), (0.5, 1.0))
    with pytest.raises(ValueError, match="one of both"):
        algorithm.init(None)
    with pytest.raises(ValueError, match="replicas must be"):
        algorithm.init(None, replicas=jnp.zeros((3, 2)))


def test_moves_between_swaps():
    """A walk that always moves by one takes four steps between swaps."""
    walk = lambda f, b: blackjax.rmh(f, lambda key, x: x + 1)
    algorithm = mcmc.parallel_tempering(lambda x: 0 * x, walk, (0.5, 1.0), moves=4)
    step = jax.jit(lambda key, x: algorithm.step(key, algorithm.init(x))[0].position)
    assert float(step(jax.random.key(0), jnp.zeros(()))) == 4
