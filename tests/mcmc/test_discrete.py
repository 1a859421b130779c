"""Discrete kernels: detailed balance of the whole transition matrix, and the Ising model."""

import itertools

import ising
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import mcmc


def cubic(x):
    h = jnp.asarray([0.3, -0.5, 0.2], x.dtype)[: len(x)]
    return x @ h + 0.4 * x[0] * x[1] - 0.3 * x[0] * x[-1] ** 2 + 0.1 * x[0] * x[1] * x[-1]


def hot(x):
    table = jnp.asarray([[0.0, 0.4, -0.3], [0.2, 0.0, 0.5]], x.dtype)
    return jnp.sum(table * x) + x[0, 0] * x[1, 2] - 0.8 * x[0, 1] * x[1, 1]


SPINS = np.array(list(itertools.product((-1, 1), repeat=3)))
LEVELS = np.array(list(itertools.product((0, 1, 2), repeat=2)))
HOT = np.eye(3)[LEVELS]
SPACES = {
    "spins": (cubic, (-1, 1), SPINS),
    "levels": (cubic, (0, 1, 2), LEVELS),
    "one hot": (hot, "one_hot", HOT),
}


def law(logdensity_fn, states):
    logits = np.array([float(logdensity_fn(jnp.asarray(x, float))) for x in states])
    probs = np.exp(logits - logits.max())
    return probs / probs.sum()


def code(states, x):
    """Index of each x [..., *event] among states [s, *event]."""
    axes = tuple(range(1 - states.ndim, 0))
    return np.argmax(np.all(np.expand_dims(x, -states.ndim) == states, axis=axes), axis=-1)


def observed(algorithm, states, n):
    """Infos of n steps from each state: leading axes [s, n]."""
    keys = jax.random.split(jax.random.key(0), (len(states), n))
    many = jax.vmap(jax.vmap(lambda x, key: algorithm.step(key, algorithm.init(x))[1], (None, 0)))
    return jax.tree.map(np.asarray, jax.jit(many)(jnp.asarray(states), keys))


def matrix(algorithm, states, n=1500):
    """(P, q, counts), each [s, s]: transitions and proposals read off infos, not estimated."""
    info = observed(algorithm, states, n)
    to, s = code(states, info.proposal), len(states)
    forward, accept, counts = (np.zeros((s, s)) for _ in range(3))
    for i in range(s):
        counts[i] = np.bincount(to[i], minlength=s)
        for j in np.unique(to[i]):
            seen = to[i] == j
            assert np.ptp(info.log_forward[i][seen]) < 1e-12
            assert np.ptp(info.acceptance_rate[i][seen]) < 1e-12
            forward[i, j] = np.exp(info.log_forward[i][seen][0])
            accept[i, j] = info.acceptance_rate[i][seen][0]
    moves = forward * accept * (1 - np.eye(s))
    return moves + np.diag(1 - moves.sum(1)), forward, counts


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("kind", ["gradients", "langevin"])
def test_the_whole_matrix_is_in_detailed_balance(space, kind):
    logdensity_fn, values, states = SPACES[space]
    if kind == "gradients":
        algorithm = mcmc.gibbs_with_gradients(logdensity_fn, values)
    else:
        algorithm = mcmc.discrete_langevin(logdensity_fn, values, 1.2)
    probs = law(logdensity_fn, states)
    transitions, forward, counts = matrix(algorithm, states)
    np.testing.assert_allclose(forward.sum(1), 1, atol=1e-12)  # every proposal was seen
    flow = probs[:, None] * transitions
    np.testing.assert_allclose(flow, flow.T, atol=1e-12)
    np.testing.assert_allclose(probs @ transitions, probs, atol=1e-12)
    if (space, kind) == ("one hot", "gradients"):  # affine site by site: the estimate is exact
        balanced = np.sqrt(probs[None] / probs[:, None]) * (forward > 0)
        np.testing.assert_allclose(forward, balanced / balanced.sum(1, keepdims=True), atol=1e-12)
    n = counts.sum(1, keepdims=True)
    error = np.sqrt(n * forward * (1 - forward))
    assert np.all(np.abs(counts - n * forward) <= 5 * error + 1e-9)


@pytest.mark.parametrize(("size", "blocks"), [(1, None), (2, [[0, 1], [1, 2]])])
def test_random_scan_gibbs_is_in_detailed_balance(size, blocks):
    algorithm = mcmc.block_gibbs(cubic, (-1, 1), blocks=blocks, scan="random")
    info = observed(algorithm, SPINS, 200)
    held = np.array(blocks if blocks else [[0], [1], [2]])
    settings = np.array(list(itertools.product((-1, 1), repeat=size)))
    transitions = np.zeros((8, 8))
    for i, x in enumerate(SPINS):
        for b, block in enumerate(held):
            seen = info.block[i, :, 0] == b
            probs = np.exp(info.log_probs[i, seen, 0])
            assert np.ptp(probs, axis=0).max() < 1e-12
            for setting, p in zip(settings, probs[0], strict=True):
                there = x.copy()
                there[block] = setting
                transitions[i, code(SPINS, there)] += p / len(held)
    probs = law(cubic, SPINS)
    flow = probs[:, None] * transitions
    np.testing.assert_allclose(transitions.sum(1), 1, atol=1e-12)
    np.testing.assert_allclose(flow, flow.T, atol=1e-12)


def test_unadjusted_discrete_langevin_always_moves_and_is_biased():
    algorithm = mcmc.discrete_langevin(cubic, (-1, 1), 1.2, adjusted=False)
    transitions, forward, _ = matrix(algorithm, SPINS)
    np.testing.assert_allclose(
        transitions - np.diag(np.diag(transitions)), forward * (1 - np.eye(8))
    )
    probs = law(cubic, SPINS)
    assert np.abs(probs @ transitions - probs).max() > 1e-3


@pytest.mark.parametrize(
    ("beta", "log_z", "mean_abs"), [(0.2, 11.771470, 0.342766), (0.4, 14.561093, 0.764712)]
)
def test_the_enumerated_ising_model(beta, log_z, mean_abs):
    found, probs, size = ising.exact(beta)
    assert found == pytest.approx(log_z, abs=1e-6)
    assert size == pytest.approx(mean_abs, abs=1e-6)
    assert probs.sum() == pytest.approx(1, rel=1e-12)


COLOURS = np.indices((4, 4)).sum(0) % 2
ROWS = np.arange(16).reshape(4, 4)
SEEN = ("gibbs_with_gradients", "discrete_langevin")  # by their whole matrices
KERNELS = {
    "gibbs_with_gradients": (lambda f: mcmc.gibbs_with_gradients(f, (-1, 1)), 40),
    "block_gibbs": (lambda f: mcmc.block_gibbs(f, (-1, 1), blocks=ROWS), 3),
    "coloured_gibbs": (lambda f: mcmc.coloured_gibbs(f, (-1, 1), COLOURS), 6),
    "discrete_langevin": (lambda f: mcmc.discrete_langevin(f, (-1, 1), 0.5), 40),
}


CASES = [
    pytest.param(name, beta, marks=[pytest.mark.slow] if beta == 0.2 or name in SEEN else [])
    for name in KERNELS
    for beta in (0.2, 0.4)
]


@pytest.mark.parametrize(("name", "beta"), CASES)
def test_the_ising_model_is_kept(name, beta):
    """From exact draws: E|m| within 4 standard errors, and chi square of (bonds, m)."""
    build, steps = KERNELS[name]
    chains = 4000
    _, probs, mean_abs = ising.exact(beta)
    states = ising.all_states().astype(int)
    starts = states[np.random.default_rng(1).choice(len(states), chains, p=probs)]
    algorithm = build(lambda x: beta * ising.bonds(x))

    def chain(x, key):
        def body(state, i):
            return algorithm.step(jax.random.fold_in(key, i), state)[0], None

        return jax.lax.scan(body, algorithm.init(x), jnp.arange(steps))[0].position

    keys = jax.random.split(jax.random.key(7), chains)
    x = np.asarray(jax.jit(jax.vmap(chain))(jnp.asarray(starts), keys))
    assert 0.1 < np.mean(x != starts) < 0.6  # it moved
    size = np.abs(x.mean((1, 2)))
    assert abs(size.mean() - mean_abs) < 4 * size.std() / np.sqrt(chains)
    key = lambda s: 100 * ising.bonds(s) + s.sum((1, 2))
    kinds, where = np.unique(key(states), return_inverse=True)
    expected = chains * np.bincount(where, probs)
    counts = np.array([np.sum(key(x) == kind) for kind in kinds])
    rare = expected < 10
    expected = np.append(expected[~rare], expected[rare].sum())
    counts = np.append(counts[~rare], counts[rare].sum())
    chi2, df = np.sum((counts - expected) ** 2 / expected), len(counts) - 1
    assert abs(chi2 - df) < 5 * np.sqrt(2 * df)


def test_coloured_is_single_site_gibbs_on_one_site_a_colour():
    """One gradient gives the conditional law that enumeration gives."""
    f = lambda x: ising.bonds(x.reshape(2, 2)) * 0.3 + 0.2 * x[0] - 0.1 * x[3]
    x = jnp.asarray([1, -1, -1, 1])
    one, two = mcmc.coloured_gibbs(f, (-1, 1), np.arange(4)), mcmc.block_gibbs(f, (-1, 1))
    step = lambda a: jax.jit(lambda key: a.step(key, a.init(x))[1].log_probs)
    first = step(one)(jax.random.key(1))[0, 0]  # colour 0, site 0
    np.testing.assert_allclose(first, step(two)(jax.random.key(1))[0], rtol=1e-12)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: mcmc.gibbs_with_gradients(cubic, (1,)), "two or more distinct"),
        (lambda: mcmc.gibbs_with_gradients(cubic, (1, 1)), "two or more distinct"),
        (lambda: mcmc.gibbs_with_gradients(cubic, "cold"), "'one_hot'"),
        (lambda: mcmc.gibbs_with_gradients(cubic, (0, 1)).init(jnp.asarray([0, 2])), "one of the"),
        (lambda: mcmc.gibbs_with_gradients(cubic, (0, 1)).init({"a": 1}), "one array"),
        (lambda: mcmc.gibbs_with_gradients(hot, "one_hot").init(jnp.ones((2, 3))), "one of the"),
        (lambda: mcmc.discrete_langevin(cubic, (0, 1), -1.0), "dt must be"),
        (lambda: mcmc.block_gibbs(cubic, (0, 1), scan="no"), "scan must be"),
        (lambda: mcmc.block_gibbs(cubic, (0, 1), blocks=[[0, 0]]), "repeat"),
        (lambda: mcmc.block_gibbs(cubic, (0, 1), blocks=[0, 1]), r"integers \[b, m\]"),
        (lambda: mcmc.block_gibbs(cubic, (0, 1), blocks=[range(17)]), "at most 65536"),
        (
            lambda: mcmc.block_gibbs(cubic, (0, 1), blocks=[[0, 1]]).init(jnp.zeros(3, int)),
            "cover the sites",
        ),
        (
            lambda: mcmc.block_gibbs(hot, ("one_hot", 2)).init(jnp.asarray(HOT[0])),
            r"x must be \[\*sites, 2\]",
        ),
        (
            lambda: mcmc.coloured_gibbs(cubic, (0, 1), [0, 1]).init(jnp.zeros(3, int)),
            "colours must be",
        ),
    ],
)
def test_what_must_hold_is_said(build, message):
    with pytest.raises(ValueError, match=message):
        build()
