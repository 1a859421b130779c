"""The mcmc door: f(logdensity_fn, ...) -> SamplingAlgorithm.

A kernel starts at exact draws of the law it should keep and must keep it (see `mcmc_laws`).
"""

import inspect
from typing import Any

import blackjax
import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from mcmc_laws import DOOR, next_logits, proposal, prox

from jaxgen import mcmc

CHAINS, STEPS = 4000, 25
SWEEPS = 10  # on finite states, where a step is worth more

# Records, and functions with other signatures: tested in their room.
OTHER = {
    *("adapt_ladder", "communication_barrier", "round_trip_rate"),
    *("coupled_distances", "private_budget", "private_release"),
}


def positions(case, n, dtype, seed=3):
    drawn = case.draw(np.random.RandomState(seed), n)  # noqa: NPY002

    def cast(x):
        return jnp.asarray(x, dtype if np.asarray(x).dtype.kind == "f" else None)

    return jax.tree.map(cast, drawn)


def start(case, algorithm, x, noise):
    if case.start is not None:
        return case.start(algorithm, x, noise)
    return algorithm.init(x)


def run(case, dtype=float, steps=None, kicked=False):
    """(position, states' noise, key) -> (last position, infos): one chain."""
    algorithm = case.build(dtype)
    steps = steps or (SWEEPS if case.finite else STEPS)

    def chain(x, noise, key):
        state = start(case, algorithm, x, noise)
        if kicked:  # underdamped: a velocity of its law
            state = state._replace(velocity=noise[0])

        def body(state, i):
            state, info = algorithm.step(jax.random.fold_in(key, i), state)
            return state, info.is_divergent

        state, divergent = jax.lax.scan(body, state, jnp.arange(steps))
        return state.position, divergent

    return chain


def arguments(case, n, dtype):
    noise = np.random.RandomState(9).randn(n, 2, 2)  # noqa: NPY002
    return (
        positions(case, n, dtype),
        jnp.asarray(noise, dtype),
        jax.random.split(jax.random.key(5), n),
    )


def test_the_list_is_the_door():
    values = {name for name in mcmc.__all__ if inspect.isfunction(getattr(mcmc, name))}
    assert values - OTHER == {name.split(",")[0] for name in DOOR}


@pytest.mark.parametrize("name", DOOR)
def test_the_law_is_kept_in_one_trace(name):
    case = DOOR[name]
    chain = run(case, kicked=name == "underdamped")
    chex.clear_trace_counter()
    many = jax.jit(jax.vmap(chex.assert_max_traces(chain, n=1)))
    args = arguments(case, CHAINS, float)
    halves = [many(*jax.tree.map(lambda a, i=i: a[i::2], args)) for i in (0, 1)]
    x, divergent = jax.tree.map(lambda *both: np.concatenate(both), *halves)
    assert not np.any(divergent)
    case.check(x)


# Operation by operation the others take a second or more each.
QUICK = {"ula", "underdamped", "myula", "structured", "independent", "block_gibbs"}
EAGER = [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in DOOR]


@pytest.mark.parametrize("name", EAGER)
@pytest.mark.usefixtures("same_key")
def test_eager_is_jit_is_vmap(name):
    case = DOOR[name]
    algorithm = case.build(float)
    xs, noise, keys = arguments(case, 2, float)

    def step(x, noise, key):
        return algorithm.step(key, start(case, algorithm, x, noise))

    first = jax.tree.map(lambda a: a[0], (xs, noise, keys))
    many = jax.tree.map(lambda a: a[0], jax.jit(jax.vmap(step))(xs, noise, keys))
    chex.assert_trees_all_close(step(*first), many, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", DOOR)
def test_float32_keeps_its_dtype(name):
    """Read off the trace, which compiles nothing."""
    case = DOOR[name]
    args = arguments(case, 8, jnp.float32)
    x, _ = jax.eval_shape(jax.vmap(run(case, jnp.float32, 5)), *args)
    assert jax.tree.map(lambda a: a.dtype, x) == jax.tree.map(lambda a: a.dtype, args[0])


@pytest.mark.parametrize("name", EAGER)
@pytest.mark.usefixtures("same_key")
def test_float32_stays_finite(name):
    case = DOOR[name]
    args = arguments(case, 8, jnp.float32)
    x, divergent = jax.jit(jax.vmap(run(case, jnp.float32, 5)))(*args)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(x))
    assert not np.any(divergent)


@pytest.mark.parametrize("name", [name for name, case in DOOR.items() if case.trees])
@pytest.mark.usefixtures("same_key")
def test_trees_are_crossed(name):
    algorithm = DOOR[name].build(float)
    x = jnp.asarray([0.3, -0.4])

    def step(x):
        return algorithm.step(jax.random.key(2), algorithm.init(x))[0].position

    flat, tree = jax.jit(lambda x: (step(x), step({"a": x})))(x)
    np.testing.assert_allclose(tree["a"], flat, rtol=1e-12)


def ill(value):
    """A log-density that is `value` wherever one looks."""
    return lambda x: value + 0 * sum(jnp.sum(a).astype(float) for a in jax.tree.leaves(x))


STARTS: dict[str, Any] = {
    "ula": (lambda g: mcmc.ula(g, 0.1), jnp.ones(2)),
    "preconditioned": (lambda g: mcmc.preconditioned(g, 0.1, 1.0), jnp.ones(2)),
    "annealed": (lambda g: mcmc.annealed(lambda x, l: g(x), [1.0], 0.1, steps=1), jnp.ones(2)),
    "underdamped": (lambda g: mcmc.underdamped(g, 0.1), jnp.ones(2)),
    "myula": (lambda g: mcmc.myula(g, prox, 0.1, smoothing=1.0), jnp.ones(2)),
    "proximal_gradient": (lambda g: mcmc.proximal_gradient(g, prox, 0.1), jnp.ones(2)),
    "primal_dual": (lambda g: mcmc.primal_dual(g, prox, 0.1, dual_step=1.0), jnp.ones(2)),
    "mirror_langevin": (lambda g: mcmc.mirror_langevin(g, 0.1), jnp.ones(2)),
    "structured": (lambda g: mcmc.structured(g, 0.1, np.arange(2)), jnp.ones(2)),
    "parallel_tempering": (
        lambda g: mcmc.parallel_tempering(g, lambda h, b: blackjax.mala(h, 0.1), (0.5, 1.0)),
        jnp.ones(2),
    ),
    "independent": (lambda g: mcmc.independent(g, proposal(float)), jnp.ones(2)),
    "within_gibbs": (
        lambda g: mcmc.within_gibbs(g, {"a": lambda h, rest: mcmc.ula(h, 0.1)}),
        {"a": jnp.ones(2)},
    ),
    "block_proposals": (
        lambda g: mcmc.block_proposals(g, {"a": lambda rest: proposal(float)}),
        {"a": jnp.ones(2)},
    ),
    "gibbs_with_gradients": (lambda g: mcmc.gibbs_with_gradients(g, (0, 1)), jnp.ones(2, int)),
    "discrete_langevin": (lambda g: mcmc.discrete_langevin(g, (0, 1), 0.1), jnp.ones(2, int)),
    "block_gibbs": (lambda g: mcmc.block_gibbs(g, (0, 1)), jnp.ones(2, int)),
    "coloured_gibbs": (lambda g: mcmc.coloured_gibbs(g, (0, 1), [0, 1]), jnp.ones(2, int)),
    "suffix_regeneration": (
        lambda g: mcmc.suffix_regeneration(g, next_logits, end=0),
        jnp.asarray([1, 2, 0]),
    ),
}


@pytest.mark.parametrize("name", STARTS)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_impossible_start_raises(name, value):
    build, x = STARTS[name]
    with pytest.raises(ValueError, match=f"mcmc.*{'must' if value else ''}.*got"):
        build(ill(value)).init(x)


@pytest.mark.parametrize("name", STARTS)
def test_a_wall_of_nan_is_never_crossed(name):
    """From the one good point all others are NaN: the chain stays, and the steps are counted."""
    build, x = STARTS[name]
    home = jax.tree.map(jnp.asarray, x)

    def lone(y):
        same = [jnp.all(a == b) for a, b in zip(*map(jax.tree.leaves, (y, home)), strict=True)]
        zero = 0 * sum(jnp.sum(a).astype(float) for a in jax.tree.leaves(y))
        return jnp.where(jnp.all(jnp.stack(same)), 0.0, jnp.nan) + zero

    algorithm = build(lone)

    def body(state, i):
        state, info = algorithm.step(jax.random.fold_in(jax.random.key(1), i), state)
        inner = getattr(info, "blocks", {"": info})
        return state, jnp.any(jnp.stack([each.is_divergent for each in inner.values()]))

    def run(x):
        return jax.lax.scan(body, algorithm.init(x), jnp.arange(12))

    state, divergent = jax.jit(run)(x)
    chex.assert_trees_all_equal(state.position, home)
    if name != "parallel_tempering":  # there blackjax's kernel rejects, and swaps see good points
        assert np.any(divergent)
