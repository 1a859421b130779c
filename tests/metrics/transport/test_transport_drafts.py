import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from jaxgen.metrics import transport

P, Q = np.array([0.5, 0.3, 0.15, 0.05]), np.full(4, 0.25)
SKEWED = np.array([0.05, 0.6, 0.0, 0.35])  # no draft ever shows the third token
law = jax.jit(transport.draft_law)
acceptance = jax.jit(transport.draft_acceptance, static_argnums=2)


def enumerated(p, q, k):
    """The law of the token, [v], and the chance that a draft was accepted, over all drafts."""
    total, chance = np.zeros(len(p)), 0.0
    drafts = np.array(list(itertools.product(range(len(q)), repeat=k)))
    each, rest = jax.vmap(lambda d: law(p, q, d))(jnp.asarray(drafts))
    for row, accepted, residual in zip(drafts, np.asarray(each), np.asarray(rest), strict=True):
        weight = np.prod(q[row])
        np.add.at(total, row, weight * accepted)
        total += weight * (1 - accepted.sum()) * residual
        chance += weight * accepted.sum()
    return total, chance


@pytest.mark.parametrize("q", [Q, SKEWED, P], ids=["uniform", "skewed", "equal"])
@pytest.mark.parametrize("k", [1, 2, 4])
def test_the_token_has_the_wanted_law(q, k):
    total, chance = enumerated(P, q, k)
    np.testing.assert_allclose(total, P, atol=1e-14)
    np.testing.assert_allclose(chance, acceptance(P, q, k), rtol=1e-12)


@pytest.mark.parametrize(("k", "known"), [(1, 0.7), (2, 0.8476), (4, 0.9502), (8, 0.9962)])
def test_known_chances(k, known):
    np.testing.assert_allclose(acceptance(P, Q, k), known, atol=5e-5)


def test_one_draft_is_the_maximal_coupling():
    plan = transport.maximal_coupling(P, SKEWED)
    np.testing.assert_allclose(jnp.sum(plan, axis=1), P, atol=1e-15)
    np.testing.assert_allclose(jnp.sum(plan, axis=0), SKEWED, atol=1e-15)
    agree = 1 - np.abs(P - SKEWED).sum() / 2
    np.testing.assert_allclose(jnp.trace(plan), agree, rtol=1e-14)
    np.testing.assert_allclose(acceptance(P, SKEWED, 1), agree, rtol=1e-12)
    np.testing.assert_allclose(transport.draft_discount(P, SKEWED, 1), 1)
    np.testing.assert_array_equal(transport.maximal_coupling(P, P), np.diag(P))


def best(p, q, k):
    """The greatest chance of any rule: a linear programme over (drafts, token)."""
    drafts = np.array(list(itertools.product(range(len(q)), repeat=k)))
    gain = np.array([[float(y in row) for y in range(len(p))] for row in drafts])
    rows = np.kron(np.eye(len(drafts)), np.ones(len(p)))
    columns = np.kron(np.ones(len(drafts)), np.eye(len(p)))
    given = np.concatenate([np.prod(q[drafts], axis=1), p])
    return -scipy.optimize.linprog(-gain.ravel(), A_eq=np.vstack([rows, columns]), b_eq=given).fun


@pytest.mark.parametrize("q", [Q, SKEWED], ids=["uniform", "skewed"])
@pytest.mark.parametrize("k", [1, 2, 3])
def test_near_the_best_rule(q, k):
    ratio = float(acceptance(P, q, k)) / best(P, q, k)
    assert 1 - np.exp(-1) <= ratio <= 1 + 1e-9
    if k == 1:
        np.testing.assert_allclose(ratio, 1, rtol=1e-9)


def test_drawn_tokens():
    n, k = 4000, 3

    def draw(key):
        key_drafts, key_select = jax.random.split(key)
        drafts = jax.random.categorical(key_drafts, jnp.log(Q), shape=(k,))
        return drafts, transport.select_draft(key_select, P, Q, drafts)

    drafts, got = jax.jit(jax.vmap(draw))(jax.random.split(jax.random.key(0), n))
    share = np.bincount(got.token, minlength=4) / n
    assert np.all(np.abs(share - P) < 5 * np.sqrt(P * (1 - P) / n))
    chance = float(acceptance(P, Q, k))
    assert abs(np.mean(got.accepted) - chance) < 5 * np.sqrt(chance * (1 - chance) / n)
    taken = np.asarray(drafts)[np.arange(n), np.minimum(got.index, k - 1)]
    assert np.all((taken == got.token)[np.asarray(got.accepted)])
    assert np.all(np.asarray(got.index)[~np.asarray(got.accepted)] == k)


def test_slope_of_the_chance():
    towards = jnp.array([0.1, -0.2, 0.05, 0.05])
    at = lambda s: transport.draft_acceptance(jnp.asarray(P) + s * towards, Q, 2)
    near = (at(1e-6) - at(-1e-6)) / 2e-6
    np.testing.assert_allclose(jax.grad(at)(0.0), near, rtol=1e-6)


def test_float32():
    p, q = jnp.asarray(P, jnp.float32), jnp.asarray(SKEWED, jnp.float32)
    each, rest = law(p, q, jnp.array([0, 3]))
    assert each.dtype == rest.dtype == jnp.float32
    total, _ = enumerated(p, np.asarray(q), 2)
    np.testing.assert_allclose(total, P, atol=1e-6)


def test_bad_input():
    with pytest.raises(ValueError, match="draft_acceptance: p must sum to 1; got 2"):
        transport.draft_acceptance(2 * P, Q, 2)
    with pytest.raises(ValueError, match="maximal_coupling: q must be at least 0"):
        transport.maximal_coupling(P, P - 0.1)
    with pytest.raises(ValueError, match=r"maximal_coupling: p and q must be pmfs \[v\]"):
        transport.maximal_coupling(P, Q[:2])
    with pytest.raises(ValueError, match="draft_discount: k must be at least 1; got 0"):
        transport.draft_discount(P, Q, 0)
    with pytest.raises(ValueError, match="draft_law: drafts must be integer"):
        transport.draft_law(P, Q, jnp.array([0.5]))
