"""Marginalisation models against tables where everything is enumerated."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.losses import energy

D, K = 3, 2
STATES = np.array(list(itertools.product(range(K), repeat=D)))
TABLE = jnp.array([0.3, -1.2, 0.8, 0.1, -0.5, 1.4, 0.0, -2.0])  # unnormalised log-probabilities
LOG_Z = jax.nn.logsumexp(TABLE)


def number(x):
    return x @ jnp.array([4, 2, 1])


def target(x):
    return TABLE[number(x)]


def log_marginal(table, x, seen):
    """log p(x_S) of a table of log-probabilities, by summing what is not seen."""
    fits = jnp.all((x[None] == STATES) | ~seen[None], 1)
    table = jax.nn.log_softmax(table)
    # Far below rather than -inf: derivatives of the sum stay finite.
    return jax.nn.logsumexp(jnp.where(fits, table, -1e9))


def conditional(table, x, seen):
    """The exact logits [d, k] of the table, by ratios of marginals."""

    def one(site, symbol):
        return log_marginal(table, x.at[site].set(symbol), seen.at[site].set(True))

    return jax.vmap(lambda site: jax.vmap(lambda symbol: one(site, symbol))(jnp.arange(K)))(
        jnp.arange(D)
    )


def loose(params, x, seen):
    """Marginals that agree with nothing: the table's, plus a number for each size of S but 0."""
    return log_marginal(params["table"], x, seen) + params["off"] @ (
        jnp.sum(seen) == np.arange(1, 4)
    )


def given(params, x, seen):
    return conditional(params["table"], x, seen)


OFF = {"table": TABLE, "off": jnp.array([0.5, -0.2, 0.9])}


def keys(n, seed=0):
    return jax.random.split(jax.random.key(seed), n)


@pytest.mark.usefixtures("same_key")
def test_exact_at_the_target_and_the_divergence_elsewhere():
    """At the target value and gradient of every draw; off it the mean, by enumeration."""
    loss_fn = energy.marginal_reverse_kl(
        target, log_marginal, conditional, sites=D, draws=4, spans=(1, D)
    )
    many = jax.jit(jax.vmap(jax.value_and_grad(loss_fn), (None, 0)))
    values, slopes = many(TABLE, keys(3000))
    np.testing.assert_allclose(values, np.full(3000, -LOG_Z), rtol=1e-12)
    np.testing.assert_allclose(slopes, 0, atol=1e-12)
    params = jnp.array([0.5, 0.2, -0.3, 0.0, 1.0, 0.4, -1.0, 0.3])

    def divergence(table):
        logs = jax.nn.log_softmax(table)
        return jnp.sum(jnp.exp(logs) * (logs - TABLE))

    values, slopes = many(params, keys(3000))
    exact, slope = jax.value_and_grad(divergence)(params)
    assert abs(np.mean(values) - exact) < 5 * np.std(values) / 3000**0.5
    assert np.all(np.abs(np.mean(slopes, 0) - slope) < 5 * np.std(slopes, 0) / 3000**0.5)


@pytest.mark.usefixtures("same_key")
def test_draws_follow_the_conditionals():
    draw = energy.any_order_draw(conditional, D)
    xs, logs = jax.jit(jax.vmap(lambda key: draw(TABLE, key)))(keys(4000, 1))
    exact = np.asarray(jax.nn.softmax(TABLE))
    shares = np.bincount(np.asarray(jax.vmap(number)(xs)), minlength=8) / 4000
    assert np.all(np.abs(shares - exact) < 5 * np.sqrt(exact * (1 - exact) / 4000))
    np.testing.assert_allclose(logs, np.log(exact)[np.asarray(jax.vmap(number)(xs))], rtol=1e-10)


@pytest.mark.usefixtures("same_key")
def test_inconsistency_by_hand():
    """Here log p(x_S) is off by a known amount for each size: the mean square of its steps."""
    steps = np.diff(np.concatenate([[0.0], OFF["off"]]))
    loss_fn = energy.marginal_consistency(loose, given)
    x0 = jnp.array([1, 0, 1])
    values = jax.jit(jax.vmap(lambda key: loss_fn(OFF, key, x0)))(keys(2000, 2))
    assert set(np.round(np.asarray(values), 8)) == set(np.round(steps**2, 8))
    share = [np.mean(np.isclose(values, step**2)) for step in steps]
    np.testing.assert_allclose(share, 1 / 3, atol=5 * (2 / 9 / 2000) ** 0.5)
    whole = energy.marginal_consistency(loose, given, span=3)
    np.testing.assert_allclose(whole(OFF, jax.random.key(8), x0), OFF["off"][2] ** 2, rtol=1e-9)


@pytest.mark.slow
@pytest.mark.usefixtures("same_key")
def test_held_conditionals_have_no_gradient():
    """What the table moves comes through the marginals alone."""
    x0 = jnp.array([1, 0, 1])
    wrong = lambda p, x, s: conditional(2 * p, x, s)
    both = [energy.marginal_consistency(log_marginal, wrong, held=held) for held in (True, False)]
    slopes = jax.jit(lambda p: [jax.grad(each)(p, jax.random.key(7), x0) for each in both])(TABLE)
    fixed = energy.marginal_consistency(log_marginal, lambda p, x, s: wrong(TABLE, x, s))
    step = 1e-6 * jnp.arange(8.0)
    ends = [fixed(TABLE + sign * step, jax.random.key(7), x0) for sign in (1, -1)]
    np.testing.assert_allclose(slopes[0] @ step, (ends[0] - ends[1]) / 2, rtol=1e-6)
    assert np.max(np.abs(slopes[0] - slopes[1])) > 1e-3


@pytest.mark.usefixtures("same_key")
def test_any_order_likelihood_is_the_log_probability_on_average():
    """For exact conditionals every order gives log p, so the mean over sets does."""
    loss_fn = energy.any_order_likelihood(conditional)
    x0 = jnp.array([0, 1, 1])
    values = jax.jit(jax.vmap(lambda key: loss_fn(TABLE, key, x0)))(keys(4000, 3))
    assert abs(np.mean(values) + TABLE[3] - LOG_Z) < 5 * np.std(values) / 4000**0.5
    assert np.std(values) > 0.1


@pytest.mark.slow
@pytest.mark.usefixtures("same_key")
def test_a_table_is_learned_from_data_and_distilled():
    """Free tables for partial states: conditionals by likelihood, marginals by distillation."""
    place = lambda x, seen: jnp.where(seen, x, K) @ jnp.array([9, 3, 1])
    marginal = lambda p, x, seen: jnp.where(jnp.any(seen), p["log"][place(x, seen)], 0.0)
    free = lambda p, x, seen: p["logits"][place(x, seen)]
    params = {"log": jnp.zeros(27), "logits": jnp.zeros((27, D, K))}
    learn = energy.any_order_likelihood(free)
    distil = energy.marginal_consistency(marginal, free, held=True)
    shares = jax.nn.softmax(TABLE)
    every = keys(64, 4)

    def loss(p, key):
        # The data enumerated, many random sets each
        each = jax.random.split(key, 16)
        both = lambda x, k: learn(p, k, x) + distil(p, k, x)
        return shares @ jax.vmap(lambda x: jnp.mean(jax.vmap(lambda k: both(x, k))(each)))(STATES)

    def body(held, i):
        params, first, second = held
        grads = jax.grad(loss)(params, jax.random.fold_in(every[0], i))
        first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, grads)
        second = jax.tree.map(lambda v, g: 0.99 * v + 0.01 * g**2, second, grads)
        rate = 0.1 * (1 - i / 3000) ** 2
        params = jax.tree.map(
            lambda p, m, v: p - rate * m / (jnp.sqrt(v) + 1e-8), params, first, second
        )
        return (params, first, second), None

    zeros = jax.tree.map(jnp.zeros_like, params)
    run = jax.jit(lambda p: jax.lax.scan(body, (p, zeros, zeros), jnp.arange(3000))[0][0])
    found = run(params)
    logs = [marginal(found, x, jnp.ones(D, bool)) for x in STATES]
    np.testing.assert_allclose(np.exp(logs), shares, atol=1e-3)
    assert 0.99 < np.sum(np.exp(logs)) < 1.01


def test_wrong_input():
    with pytest.raises(ValueError, match="sites must be"):
        energy.any_order_draw(conditional, 0)
    with pytest.raises(ValueError, match="draws must be an integer, at least 2; got 1"):
        energy.marginal_reverse_kl(target, log_marginal, conditional, sites=D, draws=1)
    with pytest.raises(ValueError, match="span must be in 1 to 3; got 4"):
        energy.marginal_consistency(log_marginal, conditional, span=4)(
            TABLE, jax.random.key(0), STATES[0]
        )
    with pytest.raises(ValueError, match=r"logits \[3, k\]"):
        energy.any_order_draw(lambda p, x, s: jnp.zeros(2), D)(None, jax.random.key(0))
