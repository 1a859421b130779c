"""Path log-weights of stochastic samplers: step by step from a replay, and as what sequential Monte
Carlo needs.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import textbook
from scipy.stats import multivariate_normal

from jaxgen import densities, grids, processes
from jaxgen.solvers import sde, solve

LAW = (np.array([0.3, 0.7]), np.array([[-1.0], [0.8]]), np.array([0.09, 0.25]))
METHODS = {
    "ancestral": (sde.ancestral, {}),
    "ddim_eta": (sde.ddim_eta, {"eta": 0.7}),
    "euler_maruyama": (sde.euler_maruyama, {}),
    "exponential_sde": (sde.exponential_sde, {"tau": 0.8}),
    "exponential_sde eps": (sde.exponential_sde, {"order": 1, "hold": "eps"}),
    "sa_solver": (sde.sa_solver, {"predictor_order": 2, "corrector_order": 3}),
}


def make(name):
    return processes.augmented.cld() if name == "cld" else processes.scalar.vp()


def propagator(name, t, s):
    if name == "cld":
        return textbook.propagator_cld(t, s)
    return np.array([[textbook.SCHEDULES["vp"](t)[0] / textbook.SCHEDULES["vp"](s)[0]]])


@pytest.mark.parametrize(
    ("name", "methods"),
    [
        ("vp", ["exponential_sde eps", "sa_solver"]),
        *(pytest.param(name, list(METHODS), marks=pytest.mark.slow) for name in ("vp", "cld")),
    ],
)
def test_weights_of_a_replayed_path(name, methods):
    """log q(z_t | z_s) - log p(z_s | z_t, the past), from the rows, the states and SciPy."""
    process, d = make(name), 2
    ts = grids.power(process, 5, t_min=0.05)
    z = np.random.default_rng(0).standard_normal(processes.noise_shape(process, (d,)))
    predict = lambda z, t: 0.4 * jnp.sin(processes.data_part(process, z)) + 0.1
    solvers = {
        method: METHODS[method][0](process, predict, **METHODS[method][1])
        for method in methods
        if (method, name) != ("euler_maruyama", "cld")
    }
    with jax.debug_key_reuse(False):
        runs = jax.jit(
            lambda z: {
                method: solve(jax.random.key(0), solver, z, ts, trajectory=True)
                for method, solver in solvers.items()
            }
        )(z)
    for method, solver in solvers.items():
        rows, (path, infos) = solver.plan(ts), runs[method]
        n, k = rows.weights.shape[:2]
        states = np.asarray(path).reshape(n + 1, -1, d)
        c, held = states.shape[1], []
        for i in range(n):
            x0 = np.asarray(predict(path[i], ts[i])).reshape(1, d)
            if rows.read is not None:
                own, data = rows.read[0][i].reshape(c, c), rows.read[1][i].reshape(c, 1)
                x0 = own @ states[i] + data @ x0
            held = [x0, *held][:k]
            weights = rows.weights[i].reshape(k, c, -1)
            mean = rows.propagate[i].reshape(c, c) @ states[i]
            mean = mean + sum(w @ h for w, h in zip(weights, held, strict=False))
            noise = rows.noise[i].reshape(c, c)
            psi = propagator(name, float(ts[i]), float(ts[i + 1]))
            spread = textbook.channel(name, float(ts[i]))[1]
            spread = spread - psi @ textbook.channel(name, float(ts[i + 1]))[1] @ psi.T
            log_weight = 0.0
            for j in range(d):
                forward = multivariate_normal(psi @ states[i + 1][:, j], spread)
                back = multivariate_normal(mean[:, j], noise @ noise.T)
                log_weight += forward.logpdf(states[i][:, j]) - back.logpdf(states[i + 1][:, j])
            label = f"{method}, step {i}"
            np.testing.assert_allclose(
                infos.log_weight[i], log_weight, rtol=1e-6, atol=1e-6, err_msg=label
            )


def systematic(key, log_weights):
    """Indices [n] of a systematic resampling."""
    n = len(log_weights)
    places = (jnp.arange(n) + jax.random.uniform(key)) / n
    return jnp.searchsorted(jnp.cumsum(jax.nn.softmax(log_weights)), places).clip(0, n - 1)


def log_evidence(key, process, solver, ts, target, guess, n):
    """(log Zhat [], resamplings []) of n particles run by `solver`, resampled when a tenth is lost.

    guess(z, t) is a log-density of z_t, on whose ratios particles are weighed on the way; the last
    is the target itself.
    """
    rows = jax.tree.map(jnp.asarray, solver.plan(ts))
    prior = processes.prior(process, (1,))
    key_start, key = jax.random.split(key)
    starts = jax.vmap(prior.sample)(jax.random.split(key_start, n))
    states = jax.vmap(lambda x: solver.init(x, ts))(starts)
    log_weights = jax.vmap(lambda z: guess(z, ts[0]) - prior.logdensity(z))(starts)
    last = len(ts) - 2

    def step(carry, indexed):
        states, log_weights, log_total, count = carry
        i, row = indexed
        key_move, key_pick = jax.random.split(jax.random.fold_in(key, i))
        shares = jax.nn.softmax(log_weights)
        few = 1 / jnp.sum(shares**2) < 0.9 * n
        pick = jnp.where(few, systematic(key_pick, log_weights), jnp.arange(n))
        level = jax.nn.logsumexp(log_weights) - jnp.log(n)
        log_total = log_total + jnp.where(few, level, 0.0)
        log_weights = jnp.where(few, 0.0, log_weights)
        states = jax.tree.map(lambda leaf: leaf[pick], states)
        before = jax.vmap(lambda z: guess(z, row.t))(states[0])
        states, infos = jax.vmap(solver.step, (0, 0, None))(
            jax.random.split(key_move, n), states, row
        )
        reached = lambda z: jnp.where(i == last, target(z), guess(z, row.t_next))
        log_weights = log_weights + infos.log_weight + jax.vmap(reached)(states[0]) - before
        return (states, log_weights, log_total, count + few), None

    zero = jnp.zeros(())
    carry, _ = jax.lax.scan(
        step, (states, log_weights, zero, jnp.zeros((), int)), (jnp.arange(last + 1), rows)
    )
    _, log_weights, log_total, count = carry
    return log_total + jax.nn.logsumexp(log_weights) - jnp.log(n), count


LOG_Z = -2.3  # of the target: e^-2.3 times a normalised mixture
# What the denoiser and the guesses on the way know of the mixture.
KNOWN = {"exact": LAW, "wrong": (np.array([1.0]), np.array([[0.2]]), np.array([0.9]))}


@pytest.mark.slow
@pytest.mark.parametrize("known", list(KNOWN))
@pytest.mark.parametrize("method", ["ancestral", "exponential_sde", "sa_solver"])
@pytest.mark.parametrize("name", ["vp", "cld"])
def test_sequential_monte_carlo_finds_log_z(name, method, known):
    """The mean of Zhat over runs is Z within four standard errors, whatever the sampler knows."""
    process, (make_solver, options) = make(name), METHODS[method]
    law, guessed = (densities.gaussian_mixture(*parts) for parts in (LAW, KNOWN[known]))
    ts = grids.power(process, 24, t_min=0.12)  # earlier, where the wrong one is not far off
    truth = densities.marginal(law, process, ts[-1])
    target = lambda z: truth.logdensity(z) + LOG_Z
    guess = lambda z, t: densities.marginal(guessed, process, t).logdensity(z)
    solver = make_solver(process, densities.denoiser(guessed, process), **options)
    with jax.debug_key_reuse(False):
        run = lambda key: log_evidence(key, process, solver, ts, target, guess, 500)
        found, resampled = jax.jit(jax.vmap(run))(jax.random.split(jax.random.key(7), 24))
    mean, error = textbook.mean_and_error(np.exp(np.asarray(found) - LOG_Z))
    assert abs(mean - 1) < 4 * error, (mean, error)
    assert error < 0.1, (mean, error)
    assert np.mean(np.asarray(resampled)) > 0.5 or known == "exact"
