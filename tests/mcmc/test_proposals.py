"""Proposals that are laws, and kernels on blocks: whole transition matrices and a learned law."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import mcmc
from jaxgen.mcmc import LangevinInfo
from jaxgen.types import Distribution, sampling_algorithm

TABLE = np.array([[0.5, -0.3, 1.2], [0.1, 0.9, -0.8]])  # log-density of {"a": i, "b": j}
FLAT = np.exp(TABLE.ravel()) / np.exp(TABLE).sum()


def table(x):
    return jnp.asarray(TABLE)[x["a"], x["b"]]


def categorical(logits):
    logits = jax.nn.log_softmax(jnp.asarray(logits))
    return Distribution(lambda key: jax.random.categorical(key, logits), lambda i: logits[i])


def skewed(rest):  # what a network would return: a law that reads the rest
    return categorical(jnp.asarray([[0.2, 0.0], [0.0, 0.7], [0.3, -0.4]])[rest["b"]])


def info_matrix(algorithm, block):
    """Transition matrix [6, 6] of one block's kernel, read off its infos."""

    def step(a, b, key):
        return algorithm.step(key, algorithm.init({"a": a, "b": b}))[1].blocks[block]

    transitions = np.zeros((6, 6))
    keys = jax.random.split(jax.random.key(0), 100)
    many = jax.jit(jax.vmap(step, (None, None, 0)))
    for i in range(6):
        a, b = divmod(i, 3)
        info = jax.tree.map(np.asarray, many(jnp.asarray(a), jnp.asarray(b), keys))
        for proposal in np.unique(info.proposal):
            seen = info.proposal == proposal
            j = proposal * 3 + b if block == "a" else a * 3 + proposal
            if i != j:
                forward = np.exp(info.log_forward[seen][0])
                transitions[i, j] = forward * info.acceptance_rate[seen][0]
    return transitions + np.diag(1 - transitions.sum(1))


def test_block_proposals_are_in_detailed_balance():
    laws = {"a": skewed, "b": lambda rest: categorical(jnp.asarray([0.1, 0.4, -0.2]) * rest["a"])}
    first = mcmc.block_proposals(table, laws)
    second = mcmc.block_proposals(table, dict(reversed(laws.items())))
    for algorithm, block in ((first, "a"), (second, "b")):  # the first block sees the start
        transitions = info_matrix(algorithm, block)
        flow = FLAT[:, None] * transitions
        np.testing.assert_allclose(flow, flow.T, rtol=0, atol=1e-12)
        assert np.all(transitions >= 0)
        assert np.all(np.diag(transitions) < 0.99)


# The motif x_b | x_c ~ N(W x_c, S): what is learned from draws, by least squares, which is the
# least inclusive divergence within linear Gaussian laws.
SLOPE = np.array([[0.7, -0.4, 0.2], [0.1, 0.5, -0.6]])
SPREAD = np.array([[0.5, 0.0], [0.2, 0.4]])


def motif(x):
    away = x["b"] - jnp.asarray(SLOPE) @ x["c"]
    solved = jax.scipy.linalg.solve_triangular(jnp.asarray(SPREAD), away, lower=True)
    return -0.5 * jnp.sum(x["c"] ** 2) - 0.5 * jnp.sum(solved**2)


def law_of(slope, factor):
    slope, factor = jnp.asarray(slope), jnp.asarray(factor)

    def law(rest):
        mean = slope @ rest["c"]
        log_det = jnp.sum(jnp.log(jnp.diag(factor)))

        def logdensity(b):
            away = jax.scipy.linalg.solve_triangular(factor, b - mean, lower=True)
            return -0.5 * jnp.sum(away**2) - log_det

        return Distribution(lambda key: mean + factor @ jax.random.normal(key, (2,)), logdensity)

    return law


def acceptance(law):
    kernels = {"b": law, "c": lambda rest: Distribution(lambda key: jnp.zeros(3), lambda c: 0.0)}
    algorithm = mcmc.block_proposals(motif, kernels)

    def step(c, b, key):
        return algorithm.step(key, algorithm.init({"b": b, "c": c}))[1].blocks["b"].acceptance_rate

    rng = np.random.default_rng(2)
    c = rng.normal(size=(4000, 3))
    b = c @ SLOPE.T + rng.normal(size=(4000, 2)) @ SPREAD.T
    keys = jax.random.split(jax.random.key(0), 4000)
    return np.asarray(jax.jit(jax.vmap(step))(jnp.asarray(c), jnp.asarray(b), keys))


def test_the_exact_conditional_is_always_accepted():
    np.testing.assert_allclose(acceptance(law_of(SLOPE, SPREAD)), 1, rtol=1e-9)


def test_a_learned_conditional_is_nearly_always_accepted():
    rng = np.random.default_rng(1)
    c = rng.normal(size=(2000, 3))
    b = c @ SLOPE.T + rng.normal(size=(2000, 2)) @ SPREAD.T
    slope = np.linalg.lstsq(c, b, rcond=None)[0].T
    cov = np.cov((b - c @ slope.T).T)
    true = SPREAD @ SPREAD.T
    off = slope - SLOPE
    solve = lambda m: np.trace(np.linalg.solve(cov, m))
    log_dets = np.log(np.linalg.det(cov) / np.linalg.det(true))
    divergence = 0.5 * (solve(true) - 2 + log_dets + solve(off @ off.T))  # mean over c ~ N(0, I)
    assert divergence < 0.01
    assert acceptance(law_of(slope, np.linalg.cholesky(cov))).mean() > 0.95


def test_blocks_of_several_names_and_a_random_scan():
    f = lambda x: -0.5 * (x["a"] ** 2 + (x["b"] - x["a"]) ** 2 + jnp.sum((x["c"] - x["b"]) ** 2))
    pair = lambda f, rest: mcmc.ula(f, 0.1)
    algorithm = mcmc.within_gibbs(f, {("a", "b"): pair, "c": pair}, scan="random")
    start = {"a": jnp.ones(()), "b": jnp.zeros(()), "c": jnp.ones(2)}
    keys = jax.random.split(jax.random.key(0), 200)
    state, info = jax.jit(jax.vmap(lambda key: algorithm.step(key, algorithm.init(start))))(keys)
    assert set(info.blocks) == {"a+b", "c"}
    chosen = np.asarray(info.chosen)
    np.testing.assert_array_equal(chosen.sum(1), 1)
    np.testing.assert_array_equal(np.asarray(state.position["a"]) != 1, chosen[:, 0])
    np.testing.assert_array_equal(np.asarray(state.position["c"])[:, 0] != 1, chosen[:, 1])
    assert 60 < chosen[:, 0].sum() < 140


class Spot(NamedTuple):
    position: Any


def test_a_cycle_moves_every_block_in_order_with_its_own_keys():
    """Kernels whose moves are known: each sees what those before it left."""
    infos = LangevinInfo(jnp.asarray(False))

    def to(target):
        def kernel(f, rest):
            start = lambda x, key: Spot(0 * x + jax.random.uniform(key))  # needs its key
            return sampling_algorithm(start, lambda key, s: (Spot(target(key, rest)), infos))

        return kernel

    kernels = {
        "a": to(lambda key, rest: rest["b"] + 1),
        "b": to(lambda key, rest: 2 * rest["a"]),
        "c": to(lambda key, rest: jax.random.normal(key)),
        "d": to(lambda key, rest: jax.random.normal(key)),
    }
    f = lambda x: jnp.where(x["a"] < 8, x["a"] + 10 * x["b"], jnp.nan)
    algorithm = mcmc.within_gibbs(f, kernels)
    zero = jnp.zeros(())
    start = algorithm.init({"a": zero, "b": jnp.asarray(3.0), "c": zero, "d": zero})
    step = jax.jit(algorithm.step)
    state, info = step(jax.random.key(0), start)
    assert not info.is_divergent
    assert (state.position["a"], state.position["b"], state.logdensity) == (4, 8, 84)
    assert np.all(info.chosen)
    assert state.position["c"] != state.position["d"] != 0
    assert step(jax.random.key(1), state)[1].is_divergent  # the kernels let a = 9 through


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: mcmc.independent(table, Distribution(lambda key: 0.0, None)), "sample and logd"),
        (lambda: mcmc.independent(table, lambda key: 0.0), "sample and logdensity"),
        (lambda: mcmc.within_gibbs(table, {}), "at least one kernel"),
        (lambda: mcmc.within_gibbs(table, {"a": None}, scan="no"), "scan"),
        (lambda: mcmc.block_proposals(table, {"a": skewed}).init({"a": 0, "b": 0}), "cover"),
        (lambda: mcmc.block_proposals(table, {"a": skewed}).init(jnp.zeros(2)), "names of a dict"),
    ],
)
def test_what_must_hold_is_said(build, message):
    with pytest.raises(ValueError, match=message):
        build()
