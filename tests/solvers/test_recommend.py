"""The measured advice names samplers that exist, fit their budget, and beat plain DDIM."""

import jax
import numpy as np
import problems
import pytest

import jaxgen as jg
from jaxgen.solvers import recommend

PROCESSES = {"A": jg.processes.scalar.vp(), "A-CLD": jg.processes.augmented.cld()}


@pytest.mark.parametrize("guided", [False, True])
@pytest.mark.parametrize("evaluations", [1, 5, 12, 20, 50, 250])
@pytest.mark.parametrize("name", list(PROCESSES))
def test_advice_can_be_followed(name, evaluations, guided):
    process = PROCESSES[name]
    advice = recommend(process, evaluations, guided=guided)
    solver = advice.build(process, lambda z, t: z)
    steps = max(n for n in range(1, evaluations + 1) if solver.evaluations(n) <= evaluations)
    rows = solver.plan(advice.grid(process, steps))
    assert len(rows.t) == solver.evaluations(steps) <= evaluations
    assert advice.words.startswith("exponential.")


@pytest.mark.parametrize("evaluations", [10, 20])
def test_advice_beats_ddim_on_problem_a(evaluations):
    process, mixture, runs = problems.problem("A")
    denoiser, run = jg.densities.denoiser(mixture, process), runs["noise to data"]
    advice = recommend(process, evaluations)

    def error(solver, ts):
        end = jax.jit(jax.vmap(lambda x: jg.solve(jax.random.key(0), solver, x, ts)[0]))
        return np.linalg.norm(end(run.x) - run.end, axis=1).mean()

    ts = advice.grid(process, evaluations)
    plain = jg.solvers.exponential.ddim(process, denoiser)
    assert error(advice.build(process, denoiser), ts) < 0.5 * error(plain, ts)


def test_nothing_costs_nothing():
    with pytest.raises(ValueError, match="evaluations must be at least 1; got 0"):
        recommend(PROCESSES["A"], 0)
