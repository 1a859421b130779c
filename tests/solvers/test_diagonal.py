"""Solvers and likelihoods of processes diagonal in a basis: a table for each entry."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import problems
import pytest

import jaxgen as jg
from jaxgen.processes import scalar

exponential, sde = jg.solvers.exponential, jg.solvers.sde
LOW, HIGH = np.array([0.1, 0.3, 0.2]), np.array([20.0, 8.0, 14.0])
PROCESS = jg.processes.diagonal.anisotropic(scalar.vp, LOW, HIGH)
EQUAL = jg.processes.diagonal.anisotropic(scalar.vp, 0.1, np.full(3, 20.0))
ENTRIES = [scalar.vp(*numbers) for numbers in zip(LOW, HIGH, strict=True)]
WEIGHTS = np.array([0.3, 0.7])
MEANS = np.array([[-1.0, 0.5, 0.0], [1.0, -0.5, 0.3]])
COVS = np.array([np.diag([0.2, 0.1, 0.3]) + 0.05, np.diag([0.1, 0.4, 0.2]) - 0.02])
MIXTURE = jg.densities.gaussian_mixture(WEIGHTS, MEANS, COVS)
EXACT = jg.densities.denoiser(MIXTURE, PROCESS)
TS = jg.grids.log_snr(PROCESS, 6)
Z = jnp.array([0.3, -0.2, 0.9])

# Their stages stand at shares of a step in log-SNR, which each entry would place elsewhere.
STAGED = {"dpm_solver", "edm_churn", "refined", "rho_rk", "seeds"}
SCALAR = {"frozen_score"}  # its linear part is a number
SOLVERS = {
    **problems.behind(exponential),
    **problems.behind(sde),
    "rho_rk, clock t": functools.partial(exponential.rho_rk, clock="t"),
    "deis": functools.partial(exponential.deis, start="exact"),
    "usf": lambda process, denoiser: exponential.usf(
        process, denoiser, schedule=exponential.named_schedule("unipc", 6)
    ),
}
del SOLVERS["langevin"]


EAGER = {"euler_maruyama", "rho_rk, clock t"}  # derivatives of schedules, compiled one by one


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow) if name in EAGER else name
        for name in sorted(set(SOLVERS) - STAGED - SCALAR)
    ],
)
def test_rows_are_those_of_every_entry(name):
    rows = SOLVERS[name](PROCESS, None).plan(TS)
    for i, entry in enumerate(ENTRIES):
        expected = SOLVERS[name](entry, None).plan(TS)
        np.testing.assert_array_equal(rows.t, expected.t)
        np.testing.assert_array_equal(rows.t_next, expected.t_next)
        ours = jax.tree.leaves(rows._replace(t=None, t_next=None))
        theirs = jax.tree.leaves(expected._replace(t=None, t_next=None))
        for array, one in zip(ours, theirs, strict=True):
            assert array.shape == (*one.shape, 3)
            np.testing.assert_allclose(array[..., i], one, rtol=1e-13, atol=0)


@pytest.mark.parametrize("name", sorted(STAGED))
def test_stages_at_other_times_for_each_entry_are_refused(name):
    match = f"{name}: evaluations must be at the same times for all entries"
    with pytest.raises(ValueError, match=match):
        SOLVERS[name](PROCESS, None).plan(TS)
    assert SOLVERS[name](EQUAL, None).plan(TS) is not None


@functools.cache
def runs(make):
    """End points and infos of an EQUAL and a scalar run of one solver."""

    @jax.jit
    def both(z):
        ends = []
        for process in (EQUAL, scalar.vp()):
            solver = make(process, jg.densities.denoiser(MIXTURE, scalar.vp()))
            ends.append(jg.solve(jax.random.key(3), solver, z, TS))
        return ends

    return both(Z)


@pytest.mark.parametrize(
    "name",
    [
        "sa_solver",
        pytest.param("reversible", marks=pytest.mark.slow),
        pytest.param("usf", marks=pytest.mark.slow),
        pytest.param("edm_churn", marks=pytest.mark.slow),
        pytest.param("brownian", marks=pytest.mark.slow),
    ],
)
def test_equal_numbers_are_the_scalar_process(name):
    def path(process, denoiser):
        return sde.brownian(sde.ancestral(process, denoiser), process, jax.random.key(5))

    with jax.debug_key_reuse(False):
        (end, infos), (expected, their_infos) = runs(path if name == "brownian" else SOLVERS[name])
    np.testing.assert_allclose(end, expected, rtol=1e-12, atol=1e-12)
    for ours, theirs in zip(jax.tree.leaves(infos), jax.tree.leaves(their_infos), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-11)


@pytest.mark.slow
def test_traced_numbers_make_the_same_table():
    def plan(high):
        process = jg.processes.diagonal.anisotropic(scalar.vp, LOW, high)
        return exponential.adams_bashforth(process, None, order=2, clock="t").plan(TS)

    rows, expected = jax.jit(plan)(HIGH), plan(HIGH)
    for ours, theirs in zip(jax.tree.leaves(rows), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)
    with pytest.raises(ValueError, match="refined: evaluations must be at the same times"):
        jax.eval_shape(
            lambda high: exponential.refined(
                jg.processes.diagonal.anisotropic(scalar.vp, LOW, high), None
            ).plan(TS),
            HIGH,
        )


@pytest.mark.parametrize("probes", [None, pytest.param(3, marks=pytest.mark.slow)])
def test_equal_numbers_have_the_scalar_likelihood(probes, same_key):
    ts, x = jg.grids.log_snr(scalar.vp(), 12), jnp.array([0.8, -0.4, 0.2])
    exact = jg.densities.denoiser(MIXTURE, scalar.vp())

    @jax.jit
    def both(key, x):
        terms = [
            jg.likelihoods.flow_ode_terms(process, exact, ts, probes=probes)
            for process in (EQUAL, scalar.vp())
        ]
        return [one(key, x) for one in terms]

    ours, theirs = both(jax.random.key(0), x)
    for term, expected in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(term, expected, rtol=1e-11, atol=1e-11)


@pytest.mark.slow
def test_likelihood_is_that_of_the_mixture():
    xs = jnp.array([[0.8, -0.4, 0.2], [-1.3, 0.7, 0.3], [0.1, 0.1, -0.6]])
    end = jg.densities.marginal(MIXTURE, PROCESS, PROCESS.t_max)
    start = jg.densities.marginal(MIXTURE, PROCESS, PROCESS.t_min)
    ts = jg.grids.log_snr(PROCESS, 200)
    log_prob = jg.likelihoods.flow_ode(PROCESS, EXACT, ts, prior=end, order=6, hold="x0")
    found = jax.jit(jax.vmap(lambda x: log_prob(jax.random.key(0), x)))(xs)
    np.testing.assert_allclose(found, jax.vmap(start.logdensity)(xs), atol=1e-6)


def test_probes_estimate_the_diagonal():
    matrix = np.random.default_rng(0).standard_normal((3, 3))
    signs = np.array(np.meshgrid(*[[-1.0, 1.0]] * 3)).reshape(3, -1).T  # all of them: no chance
    exact = jg.math.divergence.exact(chunk=2)
    probed = jg.math.divergence.hutchinson(jnp.asarray(signs))
    fn = lambda z: matrix @ z
    both = jax.jit(lambda z: [one(fn, z, entries=True)[1] for one in (exact, probed)])(Z)
    assert both[1].shape == (8, 3)
    for found in (both[0], both[1].mean(0)):
        np.testing.assert_allclose(found, np.diag(matrix), rtol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(
    "make",
    [
        functools.partial(exponential.adams_bashforth, order=3),
        functools.partial(sde.exponential_sde, order=2),
    ],
    ids=["flow", "sde"],
)
def test_exact_scores_give_the_data(make):
    n = 4_000
    ts = jg.grids.log_snr(PROCESS, 60)
    start = jg.densities.marginal(MIXTURE, PROCESS, PROCESS.t_max)

    def one(key):
        key_start, key_solve = jax.random.split(key)
        solver = make(PROCESS, EXACT)
        return jg.solve(key_solve, solver, start.sample(key_start), ts)[0]

    xs = np.asarray(jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(7), n)))
    mean = WEIGHTS @ MEANS
    second = np.einsum("k,kij->ij", WEIGHTS, COVS + MEANS[:, :, None] * MEANS[:, None])
    alpha, sigma = PROCESS.transition(np.float64(PROCESS.t_min))
    second = second * np.outer(alpha, alpha) + np.diag(sigma**2)
    assert (np.abs(xs.mean(0) - alpha * mean) < 5 * xs.std(0) / np.sqrt(n)).all()
    products = xs[:, :, None] * xs[:, None]
    assert (np.abs(products.mean(0) - second) < 5 * products.std(0) / np.sqrt(n)).all()
    third = np.sign(xs[:, 0]) * xs[:, 1]  # asymmetric, and coupled across entries
    truth = jax.vmap(jg.densities.marginal(MIXTURE, PROCESS, PROCESS.t_min).sample)
    other = np.asarray(truth(jax.random.split(jax.random.key(8), n)))
    other = np.sign(other[:, 0]) * other[:, 1]
    spread = np.sqrt((third.var() + other.var()) / n)
    assert abs(third.mean() - other.mean()) < 5 * spread


@pytest.mark.slow
@pytest.mark.parametrize("order", [2, 3])
def test_measured_order(order):
    field = jax.jit(jax.vmap(jg.as_field(PROCESS, EXACT), (0, None)))
    x = np.random.default_rng(1).standard_normal((3, 3))
    t_low, t_high = 0.05, 1.0
    end = problems.integrate(lambda x, t: np.asarray(field(x, t)), x, t_high, t_low)
    errors = []
    solver = exponential.adams_bashforth(PROCESS, EXACT, order=order, start="exact")
    run = problems.runner(solver, 420)
    for steps in (200, 400):
        ts = jg.grids.log_snr(PROCESS, steps, t_min=t_low, t_max=t_high)
        found, _ = run(x, solver.plan(ts))
        errors.append(np.linalg.norm(found - end, axis=1).mean())
    assert np.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.15)


def test_what_needs_one_noise_level_is_refused():
    match = "the process must be scalar or of blocks; got one diagonal in a basis, of event"
    rows = exponential.generalise(PROCESS, exponential.ddim(PROCESS, None).plan(TS))
    assert rows.past.shape == (6, 1, 3)
    for refused in (
        lambda: jg.solvers.adjoint.adjoint_deis(PROCESS, EXACT, TS),
        lambda: jg.solvers.splitting.sscs(PROCESS, EXACT),
        lambda: exponential.model_statistics(PROCESS, EXACT, Z[None], Z[None]),
        lambda: jg.solvers.search.learnable(PROCESS, rows),
        lambda: jg.solvers.search.step_costs(PROCESS, TS, None, None),
    ):
        with pytest.raises(ValueError, match=match):
            refused()
