"""Local denoising score matching on a double well, against the Fokker-Planck equation."""

import functools

import fokker_planck
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import textbook

import jaxgen as jg
from jaxgen.processes import nonlinear
from jaxgen.types import Distribution

LENGTH, TIME = 0.02, 0.5
WELL = Distribution(None, lambda z: jnp.sum(z**2 - z**4 / 2))  # drift z - z^3
PROCESS = nonlinear.recipe(WELL)


@functools.cache
def well():
    """(line, densities at TIME - LENGTH and TIME): exact, from data N(0.3, 0.04)."""
    line = fokker_planck.Line(lambda x: x - x**3, 1.0, 3.5)
    early = line.run(fokker_planck.normal(line.x, 0.3, 0.2), TIME - LENGTH)
    return line, early, line.run(early, LENGTH)


@functools.cache
def increments(linearisation):
    """(density [to, from], score [to, from]) of the library's increments between grid points."""
    line, _, _ = well()
    over = lambda z: nonlinear.increment(
        PROCESS, z, TIME - LENGTH, TIME, linearisation=linearisation
    )
    part = jax.jit(jax.vmap(over))(line.x[:, None])
    mean, deviation = np.asarray(part.mean)[:, 0], np.abs(np.asarray(part.factor)).reshape(-1)
    return fokker_planck.normal(line.x[:, None], mean, deviation), -(
        line.x[:, None] - mean
    ) / deviation**2


def minimisers(linearisation):
    """E[target | x] at the grid points: x drawn from the increment, and x on the true path."""
    line, early, late = well()
    density, target = increments(linearisation)
    drawn = (density * target) @ early / (density @ early)
    true = line.over(LENGTH)
    return drawn, (true * target) @ early / np.where(late > 1e-12, true @ early, 1.0)


def test_linearised_increments_have_a_quarter_of_the_score_error_of_euler():
    """By quadrature, without noise or network: 0.0042 against 0.0251 as the loss draws x, and 0.024
    against 0.112 where x is on the true path; the score itself has rms 1.65.
    """
    line, _, late = well()
    score, share = line.score(late)
    rms = lambda error: np.sqrt(np.sum(share * error**2))
    errors = {
        kind: [rms(found - score) for found in minimisers(kind)]
        for kind in ("taylor", "diagonal", "euler")
    }
    for ours, euler in zip(errors["taylor"], errors["euler"], strict=True):
        assert ours < 0.25 * euler, errors
    np.testing.assert_allclose(errors["taylor"], errors["diagonal"], rtol=1e-9)
    assert errors["taylor"][0] < 0.005 < 0.02 < errors["euler"][0]
    assert 1.6 < rms(score) < 1.7


BENT = 2.0


def sampled(n, weighting):
    """{params: (values [n], gradients [n])} of the loss of a bent exact minimiser, at TIME."""
    line, _, _ = well()
    table = minimisers("taylor")[0]

    def apply(params, z, t):
        return jnp.interp(z, line.x, table) + params * jnp.cos(2 * z)

    loss_fn = jg.losses.score.local(PROCESS, apply, length=LENGTH, weighting=weighting)
    starts = 0.3 + 0.2 * np.random.default_rng(0).standard_normal((n, 1))
    keys = jax.random.split(jax.random.key(2), n)
    run = jax.jit(jax.vmap(jax.value_and_grad(loss_fn), (None, 0, 0, None)))
    with jax.debug_key_reuse(False):
        return {params: run(params, keys, starts, TIME) for params in (0.0, BENT)}


@pytest.mark.slow
def test_the_loss_is_least_at_the_score_and_grows_by_the_squared_distance():
    line, early, _ = well()
    late = increments("taylor")[0] @ early * line.spacing
    excess = BENT**2 * np.sum(late * np.cos(2 * line.x) ** 2) * line.spacing
    density, target = increments("taylor")
    table = minimisers("taylor")[0]
    spread = (density * (target - table[:, None]) ** 2) @ early * line.spacing
    least = LENGTH * np.sum(spread) * line.spacing
    found = sampled(20000, None)
    mean, error = textbook.mean_and_error(found[0.0][0])
    textbook.within(mean, least, error)
    mean, error = textbook.mean_and_error(found[0.0][1])
    textbook.within(mean, 0.0, error)
    mean, error = textbook.mean_and_error(found[BENT][1])
    assert abs(mean) > 10 * error
    mean, error = textbook.mean_and_error(found[BENT][0] - found[0.0][0])
    textbook.within(mean, LENGTH * excess, error)


def test_weightings_and_short_times():
    apply = lambda params, z, t: params * z
    weightings = {"none": None, "one": lambda t: 1.0, "likelihood": "likelihood"}
    losses = {
        name: jg.losses.score.local(PROCESS, apply, length=LENGTH, steps=2, weighting=weighting)
        for name, weighting in weightings.items()
    }

    at = jax.jit(lambda key, t: {k: f(0.3, key, np.ones(1), t) for k, f in losses.items()})
    with jax.debug_key_reuse(False):
        found = [at(jax.random.key(0), t) for t in (0.5, 0.004)]
    values = {name: [float(each[name]) for each in found] for name in losses}
    np.testing.assert_allclose(values["none"], np.multiply(values["one"], [0.02, 0.004]))
    np.testing.assert_allclose(values["likelihood"], np.multiply(values["one"], 0.5))


def test_time_law_and_errors():
    apply = lambda params, z, t: z
    local = jg.losses.score.local
    assert local(PROCESS, apply).time(0.0) == pytest.approx(PROCESS.t_min)
    for options, says in [
        ({"kind": "eps"}, "kind"),
        ({"length": 0.0}, "length"),
        ({"steps": 0}, "steps"),
        ({"linearisation": "ito"}, "linearisation"),
        ({"weighting": 2.0}, "weighting"),
    ]:
        with pytest.raises(ValueError, match=says):
            local(PROCESS, apply, **options)


def network(params, x, t):
    """A small perceptron of (x, t)."""
    h = jnp.concatenate([x, jnp.sin(t * jnp.array([1.0, 3.0, 9.0])), x**2, x**3 / 4])
    for weight, bias in params[:-1]:
        h = jax.nn.silu(h @ weight + bias)
    weight, bias = params[-1]
    return h @ weight + bias


@pytest.mark.slow
def test_a_small_network_learns_the_score_of_the_fokker_planck_equation():
    """At five times of a run, with increments wide enough for the linearisation to show."""
    process = nonlinear.recipe(WELL, 1.0, None, 4.0, 4.0, t_min=0.02, t_max=0.5)
    line = fokker_planck.Line(lambda x: 4 * (x - x**3), 2.0, 3.5)
    start = fokker_planck.normal(line.x, 0.3, 0.2)

    def error_of(linearisation):
        loss_fn = jg.losses.score.local(
            process, network, length=0.025, steps=20, linearisation=linearisation
        )
        trainer = jg.training.trainer(
            loss_fn, optax.adam(optax.cosine_decay_schedule(3e-3, 3000)), time=loss_fn.time
        )
        sizes, keys = (6, 48, 48, 1), jax.random.split(jax.random.key(0), 3)
        params = [
            (jax.random.normal(key, (a, b)) / np.sqrt(a), jnp.zeros(b))
            for key, a, b in zip(keys, sizes[:-1], sizes[1:], strict=True)
        ]

        @jax.jit
        def run(key, params):
            def body(state, i):
                key_data, key_step = jax.random.split(jax.random.fold_in(key, i))
                batch = 0.3 + 0.2 * jax.random.normal(key_data, (256, 1))
                return trainer.step(key_step, state, batch)[0], None

            return jax.lax.scan(body, trainer.init(params), jnp.arange(3000))[0]

        with jax.debug_key_reuse(False):
            learned = run(jax.random.key(1), params).ema
        errors = []
        for t in (0.1, 0.2, 0.3, 0.4, 0.5):
            score, share = line.score(line.run(start, t))
            ours = jax.vmap(lambda x, t=t: network(learned, x, t))(line.x[:, None])[:, 0]
            errors.append(np.sum(share * (ours - score) ** 2))
        return np.sqrt(np.mean(errors))

    taylor, euler = error_of("taylor"), error_of("euler")
    assert taylor < 0.5 * euler, (taylor, euler)
    assert taylor < 0.25, taylor
