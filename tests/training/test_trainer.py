"""The trainer against a loop written by hand, and its times, averages and refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgen import training
from jaxgen.training import averages

WEIGHTS = jnp.asarray([[1.0, -2.0], [0.5, 3.0], [-1.0, 0.25]])


def loss_fn(params, key, x0, t=None, *, label=None):
    """A noisy regression: the key and the time matter."""
    noise = jax.random.normal(key, x0.shape)
    target = x0[:2] + (0.0 if label is None else label)
    return ((params["w"].T @ (x0 + 0.1 * noise) + params["b"] - target) ** 2).sum() * (
        1.0 if t is None else t
    )


def start():
    return {"w": WEIGHTS, "b": jnp.zeros(2)}


def data(n=8):
    return jnp.asarray(np.random.default_rng(0).standard_normal((n, 3)))


def test_equals_a_loop_written_by_hand():
    optimiser, decay, n = optax.adam(1e-2), 0.9, 8
    made = training.trainer(loss_fn, optimiser, averages=averages.ema(decay))
    step, state = jax.jit(made.step), made.init(start())
    params, opt_state = start(), optimiser.init(start())
    average = params

    @jax.jit
    def by_hand(key, params, opt_state, average, x0, label):
        keys = jax.random.split(jax.random.split(key)[1], n)
        total = lambda p: sum(loss_fn(p, keys[i], x0[i], label=label[i]) for i in range(n)) / n
        loss, gradient = jax.value_and_grad(total)(params)
        updates, opt_state = optimiser.update(gradient, opt_state)
        params = optax.apply_updates(params, updates)
        average = jax.tree.map(lambda a, p: decay * a + (1 - decay) * p, average, params)
        return params, opt_state, average, loss, optax.tree.norm(gradient)

    label = jnp.arange(n) / n
    for i in range(5):
        key = jax.random.fold_in(jax.random.key(3), i)
        state, info = step(key, state, {"x0": data(), "label": label})
        params, opt_state, average, loss, norm = by_hand(
            jax.random.clone(key), params, opt_state, average, data(), label
        )
        np.testing.assert_allclose(info.loss, loss, rtol=1e-12)
        np.testing.assert_allclose(info.grad_norm, norm, rtol=1e-12)
        np.testing.assert_allclose(info.losses.mean(), loss, rtol=1e-12)
    for ours, theirs in ((state.params, params), (state.ema, average)):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10), ours, theirs)
    assert int(state.step) == 5


def test_stratified_points_fill_every_cell_and_are_uniform():
    n, draws = 16, 4000
    keys = jax.random.split(jax.random.key(0), draws)
    u = jax.jit(jax.vmap(lambda key: training.stratified(key, n)))(keys)
    assert float(u.min()) >= 0
    assert float(u.max()) < 1
    cells = np.sort(np.floor(np.asarray(u) * n), axis=1)
    assert (cells == np.arange(n)).mean() > 0.999
    assert abs(float(u[:, 3].mean()) - 0.5) < 5 * np.sqrt(1 / 12 / draws)
    assert abs(float((u[:, 3] ** 2).mean()) - 1 / 3) < 5 * np.sqrt(4 / 45 / draws)


def test_times_follow_the_law_and_reach_the_loss():
    time = lambda u: 1.0 + u**2
    made = training.trainer(lambda p, key, x0, t: p * t, optax.sgd(0.0), time=time)
    info = jax.jit(made.step)(jax.random.key(0), made.init(jnp.ones(())), data(64))[1]
    np.testing.assert_allclose(info.losses, info.t)
    shift = np.sort(np.sqrt(np.asarray(info.t) - 1) * 64) - np.arange(64)
    np.testing.assert_allclose(shift, shift[0], atol=1e-6)
    assert abs(float(info.loss) - 4 / 3) < 1 / 64


def test_without_a_law_the_loss_draws_its_own_time():
    seen = []
    made = training.trainer(lambda p, key, x0, t: seen.append(t) or p * x0.sum(), optax.sgd(0.1))
    info = made.step(jax.random.key(0), made.init(jnp.ones(())), data())[1]
    assert seen == [None]
    assert info.t is None


def test_batch_losses_see_the_whole_batch():
    def energy(params, key, x0, t, *, label):
        return params * (x0.sum() + label.sum() + t.sum())

    made = training.trainer(energy, optax.sgd(0.1), time=lambda u: 0 * u + 2.0, batch=True)
    batch = {"x0": data(), "label": jnp.ones(8)}
    info = made.step(jax.random.key(0), made.init(jnp.ones(())), batch)[1]
    np.testing.assert_allclose(info.loss, data().sum() + 8 + 16)
    assert info.losses is None


def test_averages_by_name_and_the_default():
    rules = {"power": averages.power(0.1), "ema": averages.ema(0.5), "a": averages.ema(0.0)}
    for given, names in ((rules, ["a", "ema", "power"]), (None, ["ema"]), ({}, [])):
        made = training.trainer(loss_fn, optax.sgd(0.01), averages=given)
        state, _ = jax.jit(made.step)(jax.random.key(0), made.init(start()), data())
        assert sorted(state.averages) == names
        if names:
            assert state.ema is state.averages["ema"]
    with pytest.raises(ValueError, match="average"):
        _ = state.ema
    made = training.trainer(loss_fn, optax.sgd(0.01), averages=averages.power(0.1))
    state, _ = jax.jit(made.step)(jax.random.key(0), made.init(start()), data())
    np.testing.assert_allclose(state.ema["w"], state.params["w"], rtol=1e-12)  # counts from 1
    assert state._replace(averages={"b": 1, "a": 2}).ema == 2


def test_a_donated_state_leaves_the_users_parameters_alone():
    made = training.trainer(loss_fn, optax.adam(0.01))
    params = start()
    state = made.init(params)
    step = jax.jit(made.step, donate_argnums=1)
    for i in range(2):
        state, _ = step(jax.random.fold_in(jax.random.key(0), i), state, data())
    np.testing.assert_array_equal(params["w"], WEIGHTS)


def test_one_trace_for_all_keys_batches_and_states():
    traces = []

    def counted(params, key, x0, t=None):
        traces.append(1)
        return loss_fn(params, key, x0)

    made = training.trainer(counted, optax.adam(0.01), time=lambda u: u)
    step, state = jax.jit(made.step), made.init(start())
    for i in range(4):
        state, _ = step(jax.random.fold_in(jax.random.key(1), i), state, data() + i)
    assert len(traces) == 1


def test_dtypes_are_kept():
    params = jax.tree.map(lambda a: a.astype(jnp.float32), start())
    made = training.trainer(
        loss_fn, optax.adam(0.01), averages={"ema": averages.ema(0.9), "p": averages.power(0.1)}
    )
    state = made.init(params)
    after, _ = jax.jit(made.step)(jax.random.key(0), state, data().astype(jnp.float32))
    dtypes = lambda tree: [a.dtype for a in jax.tree.leaves(tree)]
    assert dtypes(after) == dtypes(state)


def test_a_loss_that_is_not_finite_is_in_the_info():
    made = training.trainer(lambda p, key, x0, t: p * jnp.log(-(x0.sum() ** 2)), optax.sgd(0.1))
    _, info = made.step(jax.random.key(0), made.init(jnp.ones(())), data())
    assert not bool(jnp.isfinite(info.loss))
    assert not bool(jnp.isfinite(info.grad_norm))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"loss_fn": 3}, "loss_fn"),
        ({"optimiser": 1e-3}, "optimiser"),
        ({"averages": 0.999}, "averages"),
        ({"averages": {"ema": 0.999}}, "averages"),
        ({"averages": [averages.ema(0.9)]}, "averages"),
        ({"time": 0.5}, "time"),
    ],
)
def test_wrong_options_are_refused_when_built(options, words):
    options = {"loss_fn": loss_fn, "optimiser": optax.sgd(0.1)} | options
    with pytest.raises(ValueError, match=words):
        training.trainer(options.pop("loss_fn"), options.pop("optimiser"), **options)


@pytest.mark.parametrize(
    ("batch", "words"),
    [
        ({"x": jnp.ones((8, 3))}, "x0"),
        ({"x0": jnp.ones((8, 3)), "label": jnp.ones(7)}, "one length"),
        ({"x0": jnp.ones((8, 3)), "label": jnp.ones(())}, "one length"),
    ],
)
def test_wrong_batches_are_refused(batch, words):
    made = training.trainer(loss_fn, optax.sgd(0.1))
    with pytest.raises(ValueError, match=words):
        made.step(jax.random.key(0), made.init(start()), batch)


@pytest.mark.parametrize("batch", [False, True])
def test_losses_must_be_scalars(batch):
    made = training.trainer(lambda p, key, x0, t: x0 + p[0], optax.sgd(0.1), batch=batch)
    with pytest.raises(ValueError, match="scalar"):
        made.step(jax.random.key(0), made.init(jnp.ones(3)), data())
