"""The problems themselves, and what published samplers reach on them."""

import functools

import jax
import numpy as np
import problems
import pytest

import jaxgen as jg
from jaxgen.solvers import exponential

ENDS = {
    "A": [(2.10807928, 1.54150333), (1.80481561, 2.32413750), (2.02745018, 0.64233640)],
    "A-EDM": [(1.60846562, 1.50003690), (-1.84290246, 0.25871786), (-1.84776158, 0.05291726)],
}


@pytest.mark.parametrize("name", list(ENDS))
def test_golden_end_points(name):
    end = problems.problem(name).runs["noise to data"].end
    np.testing.assert_allclose(end[:3], ENDS[name], atol=6e-9)


@pytest.mark.parametrize("name", problems.NAMES)
def test_the_flow_leads_back(name):
    runs = problems.problem(name).runs
    size = np.abs(runs["noise to data"].x).max()
    for there, back in (("noise to data", "data to noise"), ("noise to data", "middle to noise")):
        np.testing.assert_allclose(runs[back].end, runs[there].x, atol=1e-10 * max(size, 1))


def test_golden_log_probability():
    mixture, end = problems.mixture_a(), problems.problem("A").runs["noise to data"].end
    law = jg.densities.marginal(mixture, jg.processes.scalar.vp(), 1e-3)
    found = jax.jit(jax.vmap(law.logdensity))(end)
    assert float(found.mean()) == pytest.approx(problems.MEAN_LOG_PROB, abs=1e-10)


# Mean distances to the end points of problem A after 16, 32, ..., 512 evaluations, measured with
# reference implementations in other libraries, or for the last a loop over quadrature weights.
PUBLISHED = {
    "ddim": (2.08e-1, 1.18e-1, 3.82e-2, 1.86e-2, 9.32e-3, 4.68e-3),
    "dpmpp_2m": (6.01e-2, 1.06e-2, 3.05e-3, 8.54e-4, 2.26e-4, 5.82e-5),
    "unipc 2": (1.92e-2, 5.99e-3, 1.31e-3, 2.06e-4, 2.77e-5, 3.57e-6),
    "unipc 3": (3.33e-2, 4.35e-3, 4.92e-4, 3.41e-5, 1.91e-6, 1.20e-7),
    "adams_bashforth 4": (3.58e-2, 3.68e-3, 4.48e-4, 2.82e-5, 1.72e-6, 1.08e-7),
}
OURS = {
    "ddim": exponential.ddim,
    "dpmpp_2m": exponential.dpmpp_2m,
    "unipc 2": functools.partial(exponential.unipc, predictor_order=2),
    "unipc 3": functools.partial(exponential.unipc, predictor_order=3),
    "adams_bashforth 4": functools.partial(exponential.adams_bashforth, order=4),
}


@pytest.mark.parametrize("name", list(PUBLISHED))
def test_published_errors_are_reproduced(name):
    process, mixture, runs = problems.problem("A")
    solver = OURS[name](process, jg.densities.denoiser(mixture, process))
    end, run = problems.runner(solver, 512), runs["noise to data"]
    for steps, published in zip((16, 32, 64, 128, 256, 512), PUBLISHED[name], strict=True):
        away = end(run.x, solver.plan(jg.grids.log_snr(process, steps)))[0] - run.end
        assert np.linalg.norm(away, axis=1).mean() == pytest.approx(published, rel=0.02)


def test_the_runner_is_solve():
    process, mixture, runs = problems.problem("A")
    solver = OURS["unipc 3"](process, jg.densities.denoiser(mixture, process))
    ts, x = jg.grids.log_snr(process, 9), runs["noise to data"].x[:4]
    ours = jax.jit(jax.vmap(lambda x: jg.solve(jax.random.key(0), solver, x, ts)[0]))(x)
    theirs = problems.runner(solver, 12)(x, solver.plan(ts))[0]
    np.testing.assert_allclose(theirs, ours, rtol=1e-12)
