"""The error that a sampler accumulates, as a loss."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.math import working_dtype
from jaxgen.metrics import mmd2
from jaxgen.predictions import as_denoiser
from jaxgen.processes import corrupt, data_part, noise_shape


def propagation(process, apply, *, kind, solver, ts, kernel, run=2):
    """loss_fn(params, key, x0 [n, *event], t=None, **cond [n, ...]) -> []: a batch loss, the
    squared MMD between states that a sampler reaches in `run` steps and data noised to that stop.

    The sampler starts from noised data at a random stop; only its last step has a gradient. Added
    to a denoising loss it lowers what errors at high noise do to low noise; with `run` the number
    of steps it compares whole samples. One half of the batch is sampled, the other noised.
    Args: solver(process, denoiser) -> Solver that needs no past (`ddim`, `ancestral`, ...); ts
        [m + 1], its falling stops; kernel(x, y) -> [] of the data parts; run, from 1 to m.
    Raises ValueError on a `run` outside, when traced on a batch of fewer than four, on an unknown
    kind, and as the solver's plan. Source: Li and van der Schaar 2024, arXiv 2308.05021, section 4
    (bootstrap estimate of the cumulative error); the MMD keeps pairs of a point with itself.
    """
    steps = np.shape(ts)[0] - 1
    if not 1 <= run <= steps:
        raise ValueError(
            f"losses.score.propagation: run must be from 1 to the {steps} steps of ts; got {run}"
        )
    as_denoiser(process, apply, kind=kind)

    def loss_fn(params, key, x0, t=None, **cond):
        half = x0.shape[0] // 2
        if half < 2:
            raise ValueError(
                f"losses.score.propagation: a batch must have at least 4; got {x0.shape[0]}"
            )
        key_stop, key_true, key_run = jax.random.split(key, 3)
        first = jax.random.randint(key_stop, (), 0, steps - run + 1)
        rows = jax.tree.map(
            lambda leaf: jnp.asarray(leaf, working_dtype(x0)), solver(process, None).plan(ts)
        )
        stops = jnp.asarray(ts, working_dtype(x0))

        def noised(key, x0, t):
            eps = jax.random.normal(key, noise_shape(process, x0.shape), x0.dtype)
            return corrupt(process, x0, eps, t)

        def sampled(key, x0, cond):
            key_noise, key_steps = jax.random.split(key)
            z = noised(key_noise, x0, stops[first])
            predict = lambda z, t: apply(params, z, t, **cond)
            method = solver(process, as_denoiser(process, predict, kind=kind))
            for i in range(run):
                z = jax.lax.stop_gradient(z)
                row = jax.tree.map(lambda leaf, i=i: leaf[first + i], rows)
                state, _ = method.step(jax.random.fold_in(key_steps, i), method.init(z, ts), row)
                z = state[0]
            return data_part(process, z)

        cond = jax.tree.map(lambda leaf: leaf[:half], cond)
        ours = jax.vmap(sampled)(jax.random.split(key_run, half), x0[:half], cond)
        keys = jax.random.split(key_true, x0.shape[0] - half)
        true = jax.vmap(lambda key, x0: data_part(process, noised(key, x0, stops[first + run])))
        return mmd2(ours, true(keys, x0[half:]), kernel, estimator="biased")

    return loss_fn
