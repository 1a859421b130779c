"""Gradients of samplers: closed forms for normal data, orders, checkpoints, and memory."""

import jax
import jax.numpy as jnp
import numpy as np
import problems
import pytest

import jaxgen as jg
from jaxgen.processes import augmented, scalar
from jaxgen.solvers import adjoint, exponential, sde, solve

MEAN, VARIANCE = 0.7, 0.25
KEY = 0


def normal(process):
    """denoise(params, z, t) of N(params, VARIANCE) in one dimension, exact for a scalar process."""

    def denoise(mean, z, t):
        alpha, sigma = process.transition(t)
        return mean + VARIANCE * alpha / (alpha**2 * VARIANCE + sigma**2) * (z - alpha * mean)

    return denoise


def gradients(run, x=1.3, mean=MEAN):
    return jax.jit(jax.grad(run, (1, 2)))(jax.random.key(KEY), jnp.asarray(mean), jnp.asarray(x))


def closed_form(process, ts, tau=0.0):
    """(d z_0 / d mean, d z_0 / d z_T): the flow keeps (z - alpha mean) / deviation; the reverse SDE
    of frozen noise shrinks a difference by (dev_0 / dev_T)^(1 + tau^2) (alpha_T / alpha_0)^(tau^2).
    """
    alpha, sigma = (np.asarray(part) for part in process.transition(ts[[0, -1]]))
    deviation = np.sqrt(alpha**2 * VARIANCE + sigma**2)
    scale = (deviation[1] / deviation[0]) ** (1 + tau**2) * (alpha[0] / alpha[1]) ** (tau**2)
    return alpha[1] - scale * alpha[0], scale


METHODS = {
    "dpm 1": (adjoint.adjoint_dpm, {"order": 1}, 1),
    "dpm 2": (adjoint.adjoint_dpm, {"order": 2}, 2),
    "deis 1": (adjoint.adjoint_deis, {"order": 1}, 1),
    "deis 2": (adjoint.adjoint_deis, {}, 2),
    "deis 2 x0": (adjoint.adjoint_deis, {"hold": "x0", "state": "backsolve"}, 2),
    "deis 2 t": (adjoint.adjoint_deis, {"clock": "t"}, 2),
}


@pytest.mark.parametrize("name", list(METHODS))
def test_order_on_normal_data(name):
    method, options, order = METHODS[name]
    process, errors = scalar.vp(t_min=1e-2), []
    for n in (160, 320):
        ts = jg.grids.log_snr(process, n)
        found = gradients(method(process, normal(process), ts, **options))
        errors.append(np.abs(np.subtract(found, closed_form(process, ts))))
    slopes = np.log2(errors[0] / errors[1])
    np.testing.assert_allclose(slopes, order, atol=0.15)


def test_frozen_noise_of_the_reverse_sde():
    process, errors = scalar.vp(t_min=1e-2), []
    for n in (400, 800):
        ts = jg.grids.log_snr(process, n)
        run = adjoint.adjoint_deis(
            process, normal(process), ts, order=1, solver=sde.ancestral, tau=1.0
        )
        errors.append(np.abs(np.subtract(gradients(run), closed_form(process, ts, tau=1.0))))
    np.testing.assert_allclose(np.log2(errors[0] / errors[1]), 1, atol=0.15)


@pytest.mark.parametrize("name", ["A", pytest.param("A-CLD", marks=pytest.mark.slow)])
def test_a_mixture_with_parameters_in_a_tree(name):
    """Against the gradient through a fine Runge-Kutta solve; the network is no posterior mean."""
    process, mixture, runs = problems.problem(name)
    exact, run = jg.densities.denoiser(mixture, process), runs["middle to data"]
    params = {"scale": jnp.asarray(0.0), "bend": jnp.asarray([0.1, -0.05])}

    def denoise(params, z, t):
        x0 = exact(z, t)
        return x0 * (1 + params["scale"]) + params["bend"] * jnp.tanh(x0)

    def fine(key, params, x):
        solver = exponential.rho_rk(
            process, lambda z, t: denoise(params, z, t), hold="x0", clock="log_snr"
        )
        return solve(key, solver, x, jg.grids.log_snr(process, 300, t_max=run.times[0]))[0]

    weights = np.random.default_rng(0).normal(size=run.x[0].shape)
    loss = lambda end: lambda key, *args: jnp.sum(weights * jnp.sin(end(key, *args)))
    take = lambda end: jax.tree.leaves(
        jax.jit(jax.grad(loss(end), (1, 2)))(jax.random.key(KEY), params, jnp.asarray(run.x[0]))
    )
    truth, errors = take(fine), []
    for n in (160, 320):
        ts = jg.grids.log_snr(process, n, t_max=run.times[0])
        found = take(adjoint.adjoint_deis(process, denoise, ts))
        errors.append([np.max(np.abs(ours - g)) for ours, g in zip(found, truth, strict=True)])
    np.testing.assert_allclose(np.log2(np.divide(*errors)), 2, atol=0.2)


@pytest.mark.parametrize(
    "steps", [pytest.param(1, marks=pytest.mark.slow), 3, pytest.param(37, marks=pytest.mark.slow)]
)
def test_checkpoints_change_nothing(steps):
    process = scalar.vp()
    ts, denoise = jg.grids.power(process, steps), normal(process)

    def run(checkpoint):
        def end(x, mean):
            solver = sde.ancestral(process, lambda z, t: denoise(mean, z, t))
            return solve(jax.random.key(KEY), solver, x, ts, checkpoint=checkpoint, trajectory=True)

        last = lambda x, mean: end(x, mean)[0][-1]
        value = end(jnp.asarray(1.3), jnp.asarray(MEAN))
        return value, jax.grad(last, (0, 1))(jnp.asarray(1.3), jnp.asarray(MEAN))

    with jax.debug_key_reuse(False):
        plain, kept = run(False), run(True)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), plain, kept)


def test_discretise_then_optimise_on_normal_data_is_exact():
    """Of the affine discrete sampler, whose slope is the product of its rows."""
    process = scalar.vp()
    ts, denoise = jg.grids.power(process, 50), normal(process)
    solver = exponential.ddim(process, lambda z, t: denoise(MEAN, z, t))
    end = lambda x: solve(jax.random.key(KEY), solver, x, ts, checkpoint=True)[0]
    rows, slope = solver.plan(ts), 1.0
    for i in range(50):
        pull = denoise(0.0, 1.0, ts[i])
        slope = slope * (rows.propagate[i] + rows.weights[i, 0] * pull)
    assert float(jax.grad(end)(1.3)) == pytest.approx(float(slope), rel=1e-10)


def memory(gradient, *args):
    return jax.jit(gradient).lower(*args).compile().memory_analysis().temp_size_in_bytes


def test_memory_is_flat_in_the_number_of_steps():
    """A network of 64 hidden units on 256 points in two dimensions."""
    process = scalar.vp()
    key, params = jax.random.key(KEY), [jnp.full((2, 64), 0.1), jnp.full((64, 2), 0.1)]
    x = jnp.ones((256, 2))
    denoise = lambda params, z, t: jnp.tanh(z @ params[0]) @ params[1]

    def checkpointed(key, params, x, ts, checkpoint=True):
        solver = exponential.deis(process, lambda z, t: denoise(params, z, t), order=2)
        return solve(key, solver, x, ts, checkpoint=checkpoint)[0]

    def bytes_of(steps, how):
        ts = jg.grids.power(process, steps)
        run = {
            "plain": lambda *args: checkpointed(*args, ts, checkpoint=False),
            "checkpoint": lambda *args: checkpointed(*args, ts),
            "dpm": adjoint.adjoint_dpm(process, denoise, ts),
        }[how]
        return memory(jax.grad(lambda *args: jnp.sum(run(*args) ** 2), (1, 2)), key, params, x)

    assert bytes_of(250, "plain") > 10 * bytes_of(10, "plain")
    for how in ("checkpoint", "dpm"):
        few, many = bytes_of(10, how), bytes_of(250, how)
        assert many < 1.3 * few, (how, few, many)


@pytest.mark.parametrize(
    ("process", "options", "part"),
    [
        (scalar.vp(), {"order": 3}, "order must be an integer from 1 to 2; got 3"),
        (scalar.vp(), {"hold": "v"}, "hold must be one of"),
        (scalar.vp(), {"state": "kept"}, "state must be one of"),
        (scalar.vp(), {"tau": 1.0}, "tau must be 0 without"),
        (scalar.vp(), {"solver": sde.ancestral, "state": "backsolve"}, "state must be 'stored'"),
        (augmented.cld(), {"hold": "eps"}, "hold must be 'x0' for a block process"),
    ],
)
def test_bad_options_are_refused(process, options, part):
    with pytest.raises(ValueError, match=r"^solvers\.adjoint\.adjoint_deis: ") as caught:
        adjoint.adjoint_deis(process, normal(process), np.array([1.0, 0.5, 0.1]), **options)
    assert part in str(caught.value)
