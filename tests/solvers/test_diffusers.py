"""Published forms, step by step against diffusers' schedulers; run by `make bench-peers`."""

import jax
import numpy as np
import pytest

import jaxgen as jg
from jaxgen.math import namespace
from jaxgen.solvers import exponential

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.slow]

SIGMAS = np.array([20.0, 9.0, 4.1, 2.2, 1.1, 0.5, 0.21, 0.1, 0.04])


def variance_preserving(t):
    """alpha and sigma at t = sigma / alpha."""
    xp = namespace(t)
    alpha = 1 / xp.sqrt(1 + t**2)
    return alpha, t * alpha


def denoise(z):
    return np.tanh(0.7 * z + 0.1)


def theirs(scheduler, z):
    """The states after each step, in float64."""
    scheduler.set_timesteps(len(SIGMAS) - 1)
    scheduler.sigmas = torch.tensor(SIGMAS)
    path, outputs = [], []
    for i, t in enumerate(scheduler.timesteps):
        outputs.append(torch.tensor(denoise(z.numpy())))
        if isinstance(scheduler, diffusers.DPMSolverMultistepScheduler):
            # Its `step` rounds the state to float32; the updates themselves do not.
            scheduler._step_index = i
            order = min(i + 1, scheduler.config.solver_order)
            z = [
                lambda z: scheduler.dpm_solver_first_order_update(outputs[-1], sample=z),
                lambda z: scheduler.multistep_dpm_solver_second_order_update(outputs, sample=z),
                lambda z: scheduler.multistep_dpm_solver_third_order_update(outputs, sample=z),
            ][order - 1](z)
        else:
            z = scheduler.step(outputs[-1], t, z).prev_sample
        path.append(z.numpy())
    return np.stack(path)


def ours(make, z):
    process = jg.processes.scalar.from_schedule(variance_preserving, t_min=0.01, t_max=30.0)
    solver = make(process, lambda z, t: jax.numpy.tanh(0.7 * z + 0.1))
    return np.asarray(jg.solve(jax.random.key(0), solver, z, SIGMAS, trajectory=True)[0][1:])


OPTIONS = {"prediction_type": "sample", "lower_order_final": False}
DPM = OPTIONS | {"algorithm_type": "dpmsolver++", "final_sigmas_type": "sigma_min"}
CASES = {
    "2M": (
        lambda: diffusers.DPMSolverMultistepScheduler(solver_order=2, **DPM),
        exponential.dpmpp_2m,
    ),
    "3M": (
        lambda: diffusers.DPMSolverMultistepScheduler(solver_order=3, **DPM),
        lambda p, d: exponential.dpm_solver_multistep(p, d, order=3, hold="x0", compat=True),
    ),
    "UniPC-2": (
        lambda: diffusers.UniPCMultistepScheduler(
            solver_order=2, solver_type="bh2", final_sigmas_type="sigma_min", **OPTIONS
        ),
        lambda p, d: exponential.unipc(p, d, predictor_order=2, variant="bh2"),
    ),
}


@pytest.mark.parametrize("name", list(CASES))
def test_every_step_is_theirs(name):
    scheduler, make = CASES[name]
    z = np.random.default_rng(0).normal(size=(3, 2))
    np.testing.assert_allclose(ours(make, z), theirs(scheduler(), torch.tensor(z)), rtol=1e-10)
