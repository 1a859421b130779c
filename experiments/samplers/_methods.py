"""The deterministic samplers that are compared, and one compiled program for many tables."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jaxgen as jg
from experiments.samplers import _problems


class Method(NamedTuple):
    """A function of `solvers.exponential` with its options."""

    name: str
    options: dict
    least: int  # steps below which it does not exist

    def build(self, process, denoiser):
        """The Solver."""
        return getattr(jg.solvers.exponential, self.name)(process, denoiser, **self.options)


def _adams(order, hold, clock, **more):
    options = {"order": order, "hold": hold, "clock": clock} | more
    return Method("adams_bashforth", options, order)


METHODS = {
    "ddim": Method("ddim", {}, 1),
    "tAB-2": _adams(2, "eps", "t"),
    "tAB-3": _adams(3, "eps", "t"),
    "tAB-4": _adams(4, "eps", "t"),
    "rhoAB-3": _adams(3, "eps", "rho"),
    "data AB-3, t": _adams(3, "x0", "t"),
    "data AB-3": _adams(3, "x0", "log_snr"),
    "data AB-4": _adams(4, "x0", "log_snr"),
    "iPNDM": Method("ipndm", {}, 4),
    "DPM-Solver-2": Method("dpm_solver", {"order": 2}, 1),
    "DPM-Solver-3": Method("dpm_solver", {"order": 3}, 1),
    "DPM-Solver++(2S)": Method("dpm_solver", {"order": 2, "hold": "x0"}, 1),
    "DPM-Solver++(2M)": Method("dpmpp_2m", {}, 1),
    "DPM-Solver++(3M)": Method("dpm_solver_multistep", {"order": 3, "hold": "x0"}, 3),
    "DPM-Solver++(3M), published": Method(
        "dpm_solver_multistep", {"order": 3, "hold": "x0", "compat": True}, 3
    ),
    "UniPC-2": Method("unipc", {"predictor_order": 2}, 2),
    "UniPC-3": Method("unipc", {"predictor_order": 3}, 3),
    "Adams-Moulton-4": Method("adams_moulton", {"order": 4}, 3),
    "EDM Heun": Method("edm_heun", {}, 1),
    "rhoRK-3": Method("rho_rk", {"method": "kutta3"}, 1),
    "rhoRK-4": Method("rho_rk", {"method": "rk4"}, 1),
}
# The same with starting values of sufficient order, for orders that show.
EXACT = {
    "data AB-4, exact start": _adams(4, "x0", "log_snr", start="exact"),
    "data AB-6, exact start": _adams(6, "x0", "log_snr", start="exact"),
    "data AB-6": _adams(6, "x0", "log_snr"),
    "UniPC-3, exact start": Method("unipc", {"predictor_order": 3, "start": "exact"}, 3),
}
GRIDS = {
    "log_snr": jg.grids.log_snr,
    "uniform": jg.grids.uniform,
    "power 2": functools.partial(jg.grids.power, rho=2.0),
    "power 3": functools.partial(jg.grids.power, rho=3.0),
    "karras": jg.grids.karras,
    "cosine": jg.grids.cosine,
}


def steps_for(solver, least, budget):
    """The largest number of steps that costs at most `budget` evaluations, or None."""
    fitting = [n for n in range(least, budget + 1) if solver.evaluations(n) <= budget]
    return fitting[-1] if fitting else None


class Runner:
    """Runs tables on a problem; tables of one structure share a program."""

    def __init__(self, problem):
        """Of a `_problems.Problem`."""
        self.problem, self.compiled = problem, {}

    def error(self, method, grid, budget):
        """(evaluations, mean distance to the solution) of a method on a grid; None without room."""
        process = self.problem.process
        solver = method.build(process, self._denoiser(self.problem.numbers))
        steps = steps_for(solver, method.least, budget)
        if steps is None:
            return None
        rows = solver.plan(GRIDS[grid](process, steps))
        count = len(rows.t)
        capacity = next(4**k for k in range(2, 9) if 4**k >= count)
        shapes = tuple(leaf.shape[1:] for leaf in jax.tree.leaves(rows))
        key = (capacity, jax.tree.structure(rows), shapes)
        if key not in self.compiled:
            self.compiled[key] = self._compile(method)
        pad = lambda leaf: np.concatenate([leaf, np.repeat(leaf[-1:], capacity - count, 0)])
        path = self.compiled[key](
            self.problem.numbers, jnp.asarray(self.problem.starts), jax.tree.map(pad, rows)
        )
        ends = np.asarray(path[:, count])
        return count, _problems.distance(ends, self.problem.solution)

    def _denoiser(self, numbers):
        return lambda z, t: _problems.denoise(self.problem.process, numbers, z, t)

    def _compile(self, method):
        @jax.jit
        def run(numbers, x, rows):
            solver = method.build(self.problem.process, self._denoiser(numbers))
            solver, ts = solver._replace(plan=lambda ts: rows), np.array([1.0, 0.0])
            one = lambda x: jg.solve(jax.random.key(0), solver, x, ts, trajectory=True)[0]
            return jax.vmap(one)(x)

        return run
