"""Flow matching on pairs of a transport plan, with a law whose optimal map is known."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgen import processes, training
from jaxgen.losses import flow
from jaxgen.metrics import transport

N = 64
MEAN, SCALE = jnp.array([1.5, -0.5]), jnp.array([0.4, 2.0])
ASSIGNMENT = optax.assignment.hungarian_algorithm
exact = functools.partial(transport.minibatch_pairs, assignment=ASSIGNMENT)
entropic = functools.partial(transport.minibatch_pairs, epsilon=0.05)


def as_drawn(key, x0, eps):
    return jnp.arange(len(x0)), jnp.arange(len(x0))


def data(key, n=N):
    return MEAN[None] + SCALE[None] * jax.random.normal(key, (n, 2))


def straight(params, x, t, **cond):
    """The velocity of N(0, I) to N(MEAN, SCALE²) along the optimal map: x0 = MEAN + SCALE eps."""
    eps = (x - (1 - t) * MEAN) / ((1 - t) * SCALE + t)
    return eps - (MEAN + SCALE * eps) + params


def mean_loss(pair, count=40, n=N, field=straight):
    loss_fn = flow.coupled_matching(field, pair)

    @jax.jit
    def one(i):
        key_data, key_loss = jax.random.split(jax.random.fold_in(jax.random.key(0), i))
        return loss_fn(0.0, key_loss, data(key_data, n))

    values = np.array([one(i) for i in range(count)])
    return values.mean(), values.std(ddof=1) / np.sqrt(count)


def test_plans_straighten_the_paths():
    # Independent pairs of the optimal field: E |eps - x0 - v(x_t)|^2 > 0; along the optimal map 0.
    drawn, error_drawn = mean_loss(as_drawn)
    paired, error = mean_loss(exact)
    soft, error_soft = mean_loss(entropic)
    assert paired + 5 * error < 0.25 * (drawn - 5 * error_drawn)
    assert soft + 5 * error_soft < 0.35 * (drawn - 5 * error_drawn)
    assert mean_loss(exact, n=16)[0] > paired  # minibatch plans tend to the plan of the laws


def test_on_pairs_as_drawn_it_is_conditional_matching():
    wrong = lambda params, x, t: 0.3 * x - t
    one = flow.conditional_matching(wrong)

    @jax.jit
    def plain(i):
        key_data, key_loss = jax.random.split(jax.random.fold_in(jax.random.key(1), i))
        keys = jax.random.split(key_loss, N)
        return jnp.mean(jax.vmap(lambda key, x: one(0.0, key, x))(keys, data(key_data)))

    values = np.array([plain(i) for i in range(40)])
    mean, error = mean_loss(as_drawn, field=wrong)
    spread = np.hypot(error, values.std(ddof=1) / np.sqrt(40))
    assert abs(mean - values.mean()) < 5 * spread


@pytest.mark.usefixtures("same_key")
def test_conditioning_follows_its_data():
    seen = lambda params, x, t, label: jnp.zeros_like(x) + label
    backwards = lambda key, x0, eps: (jnp.arange(N)[::-1], jnp.arange(N))
    x0, key = data(jax.random.key(2)), jax.random.key(3)
    labels = jnp.arange(N, dtype=float)
    eps = jax.random.normal(jax.random.split(key, 3)[1], x0.shape)
    got = flow.coupled_matching(seen, backwards)(0.0, key, x0, t=jnp.full(N, 0.5), label=labels)
    wanted = jnp.mean((labels[::-1][:, None] - (eps - x0[::-1])) ** 2)
    np.testing.assert_allclose(got, wanted, rtol=1e-12)


def test_a_trainer_learns_from_pairs():
    loss_fn = flow.coupled_matching(straight, exact)
    trainer = training.trainer(loss_fn, optax.adam(0.05), batch=True, time=loss_fn.time)
    step, state = jax.jit(trainer.step), trainer.init(jnp.array([0.5, -0.5]))
    for i in range(60):
        key_data, key_step = jax.random.split(jax.random.fold_in(jax.random.key(4), i))
        state, _ = step(key_step, state, data(key_data))
    assert jnp.all(jnp.abs(state.params) < 0.1)


def test_bad_input():
    with pytest.raises(ValueError, match=r"losses\.flow\.coupled_matching: .* got 2 blocks"):
        flow.coupled_matching(straight, exact, process=processes.augmented.cld())
