"""Suffix regeneration on all sequences of three tokens, the first of which ends them."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import mcmc

LENGTH = 3
RAW = np.array(list(itertools.product(range(3), repeat=LENGTH)))
# Every sequence once: after the first 0 only 0.
ALL = np.array([x for x in RAW if all(x[i] or not x[i + 1] for i in range(LENGTH - 1))])
NUM = np.array([min(list(x).index(0) + 1, LENGTH) if 0 in x else LENGTH for x in ALL])


def next_logits(x, i):
    before = jnp.where(i > 0, x[jnp.maximum(i - 1, 0)], 3)
    return 0.3 * jnp.sin(2.0 * jnp.arange(3) + 1.3 * before + i)


def quality(x):
    return jnp.sum(jnp.sin(1.0 + 2.0 * x) * jnp.arange(1.0, 1.0 + LENGTH)) / 3


def model_logprob(x):
    places = jnp.arange(LENGTH)
    each = jax.vmap(lambda i: jax.nn.log_softmax(next_logits(x, i))[x[i]])(places)
    before = jnp.concatenate([jnp.zeros(1, bool), jnp.cumsum(x == 0)[:-1] > 0])
    return jnp.sum(jnp.where(before, 0, each))


TARGETS = {"quality": quality, "with the model": lambda x: quality(x) + model_logprob(x)}


def law(target):
    logits = np.asarray(jax.jit(jax.vmap(target))(jnp.asarray(ALL)))
    probs = np.exp(logits - logits.max())
    return probs / probs.sum()


def matrix(target, n=4000, complete=True):
    """Transition probabilities [s, s] read off infos, every cut and continuation seen once."""
    algorithm = mcmc.suffix_regeneration(target, next_logits, end=0)
    keys = jax.random.split(jax.random.key(1), (len(ALL), n))
    many = jax.vmap(jax.vmap(lambda x, key: algorithm.step(key, algorithm.init(x))[1], (None, 0)))
    info = jax.tree.map(np.asarray, jax.jit(many)(jnp.asarray(ALL), keys))
    base = 3 ** np.arange(LENGTH)
    index = {code: i for i, code in enumerate(ALL @ base)}
    s = len(ALL)
    transitions = np.zeros((s, s))
    for i in range(s):
        cuts = np.bincount(info.cut[i], minlength=NUM[i])
        assert len(cuts) == NUM[i]
        spread = np.sqrt(n / NUM[i] * (1 - 1 / NUM[i]))
        assert np.all(np.abs(cuts - n / NUM[i]) <= 5 * spread)
        to = np.array([index[code] for code in info.proposal[i] @ base])
        for cut in range(NUM[i]):
            total = 0.0
            for j in np.unique(to[info.cut[i] == cut]):
                seen = (to == j) & (info.cut[i] == cut)
                assert np.ptp(info.log_forward[i][seen]) < 1e-12
                assert np.all(ALL[j][:cut] == ALL[i][:cut])
                forward = np.exp(info.log_forward[i][seen][0])
                total += forward
                if j != i:
                    transitions[i, j] += forward * info.acceptance_rate[i][seen][0] / NUM[i]
            if complete:
                assert total == pytest.approx(1, abs=1e-12)
    return transitions + np.diag(1 - transitions.sum(1))


@pytest.mark.parametrize(
    "name", ["quality", pytest.param("with the model", marks=pytest.mark.slow)]
)
def test_the_whole_matrix_is_in_detailed_balance(name):
    target = TARGETS[name]
    probs, transitions = law(target), matrix(target)
    flow = probs[:, None] * transitions
    np.testing.assert_allclose(flow, flow.T, rtol=0, atol=1e-12)
    np.testing.assert_allclose(probs @ transitions, probs, rtol=0, atol=1e-12)


def test_a_wrong_length_factor_is_caught():
    """The kernel of pi times the number of tokens is the one of pi without the factor n / n'."""
    number = lambda x: jnp.where(jnp.any(x == 0), jnp.argmax(x == 0) + 1, LENGTH)
    probs = law(quality)
    flow = probs[:, None] * matrix(lambda x: quality(x) + jnp.log(number(x)), 1500, False)
    assert np.abs(flow - flow.T).max() > 1e-3


@pytest.mark.slow
def test_the_chain_finds_its_law():
    algorithm = mcmc.suffix_regeneration(quality, next_logits, end=0)
    chains, steps = 20000, 40

    def chain(key):
        def body(state, i):
            return algorithm.step(jax.random.fold_in(key, i), state)[0], None

        start = algorithm.init(jnp.ones(LENGTH, int))
        return jax.lax.scan(body, start, jnp.arange(steps))[0].position

    x = np.asarray(jax.jit(jax.vmap(chain))(jax.random.split(jax.random.key(0), chains)))
    found = np.mean(np.all(x[:, None] == ALL[None], axis=2), axis=0)
    assert 0.5 * np.abs(found - law(quality)).sum() < 0.02


@pytest.mark.parametrize(
    ("end", "x", "message"),
    [
        (-1, [1, 0], "end must be"),
        (0, [1, 0, 2], "only ends"),
        (0, [1.0, 0.0], "must be integers"),
        (0, [[1, 0]], "must be integers"),
    ],
)
def test_what_must_hold_is_said(end, x, message):
    with pytest.raises(ValueError, match=message):
        mcmc.suffix_regeneration(quality, next_logits, end=end).init(jnp.asarray(x))
