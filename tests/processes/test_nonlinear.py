"""Processes with any drift and diffusion: stationary laws, increments, paths and reversals."""

import functools

import fokker_planck
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
import textbook

import jaxgen as jg
from jaxgen.processes import nonlinear
from jaxgen.types import Distribution

POINTS = np.array([[0.7, -0.4], [-1.3, 0.2], [0.1, 1.6]])


def uneven(z):
    """A log-density without symmetries, not normalised."""
    x, y = z.reshape(2, -1)[:, 0]
    return -(x**4) / 4 + x * y / 2 - (y - 0.3) ** 2 + jnp.sin(x) - jnp.cosh(y / 3)


def tilted(z):
    x, y = z.reshape(2, -1)[:, 0]
    return jnp.array([[1 + 0.3 * jnp.sin(y), 0.4 * x], [0.2 * x * y, 0.5 + x**2]])


def swirl(z):
    x, y = z.reshape(2, -1)[:, 0]
    return (1 + x * y + y**2) * jnp.array([[0.0, 1.0], [-1.0, 0.0]])


def stationary_residual(process, logdensity, z, t):
    """(d p / dt) / p of the Fokker-Planck equation at p = exp(logdensity), by autodiff alone."""
    shape = z.shape
    flat = lambda z: logdensity(z.reshape(shape))
    eye = np.eye(z.size).reshape(z.size, *shape)

    def current(z):
        """f p - div(D p) with D = G G^T / 2, all times exp(-logdensity) at the point asked."""
        density = lambda z: jnp.exp(flat(z) - flat(z0))
        spread = lambda z: jnp.stack(
            [nonlinear.spread(process, z.reshape(shape), t, e).reshape(-1) for e in eye], 1
        )
        pushed = jnp.trace(jax.jacfwd(lambda z: spread(z) * density(z) / 2)(z), axis1=1, axis2=2)
        return process.drift(z.reshape(shape), t).reshape(-1) * density(z) - pushed

    z0 = jnp.asarray(z).reshape(-1)
    return jnp.trace(jax.jacfwd(current)(z0))


RECIPES = {
    "uneven noise": (tilted, None),
    "uneven noise and curl": (tilted, swirl),
    "entrywise noise": (lambda z: jnp.stack([1 + z[1] ** 2, 0.3 + z[0] ** 2]), swirl),
    "one number": (lambda z: 1 + z[0] ** 2 + z[1] / 5, swirl),
    "noise in one direction": (np.diag([0.0, 1.3]), np.array([[0.0, -1.0], [1.0, 0.0]])),
}


SLOW = {"uneven noise", "uneven noise and curl", "entrywise noise"}
CASES = [pytest.param(n, marks=[pytest.mark.slow] if n in SLOW else []) for n in RECIPES]


@pytest.mark.parametrize("name", CASES)
def test_the_recipe_leaves_its_law_invariant(name):
    process = nonlinear.recipe(Distribution(None, uneven), *RECIPES[name], 0.5, 2.0)

    @jax.jit
    def residuals(points, fault):
        bent = process._replace(drift=lambda z, t: process.drift(z, t) + fault * z)
        at = lambda z: stationary_residual(bent, uneven, z, 0.3)
        return jax.vmap(at)(points), jax.vmap(lambda z: process.drift(z, 0.3))(points)

    found, drifts = residuals(POINTS, 0.0)
    assert np.max(np.abs(found) / np.sum(np.abs(drifts), 1)) < 1e-12
    assert np.min(np.abs(residuals(POINTS, 1e-6)[0])) > 1e-8


@pytest.mark.slow
def test_blocks_mix_along_the_leading_axis():
    law = Distribution(None, lambda z: uneven(z[:, :1]) + uneven(z[:, 1:]))
    swirled = lambda z: swirl(z[:, :1]) * jnp.cos(z[0, 1])
    process = nonlinear.recipe(law, lambda z: tilted(z[:, 1:]), swirled)
    residual = jax.jit(lambda z: stationary_residual(process, law.logdensity, z, 0.0))
    assert abs(residual(np.array([[0.3, -0.8], [0.5, 1.1]]))) < 1e-12


def cld_by_recipe(beta=4.0, mass=0.25):
    """Critically damped Langevin, from its energy."""
    energy = lambda z: jnp.sum(z[0] ** 2) / 2 + jnp.sum(z[1] ** 2) / (2 * mass)
    law = Distribution(None, lambda z: -energy(z))
    noise = np.diag([0.0, np.sqrt(4 * np.sqrt(mass))])
    return nonlinear.recipe(law, noise, np.array([[0.0, -1.0], [1.0, 0.0]]), beta, beta)


def test_a_quadratic_energy_makes_a_linear_process():
    z, t = np.array([[0.3, -0.8], [0.5, 1.1]]), 0.4
    cld, vp = jg.processes.augmented.cld(), jg.processes.scalar.vp()
    phase, scalar = cld_by_recipe(), nonlinear.langevin(NORMAL)

    @jax.jit
    def coefficients(z, t):
        ours = phase.drift(z, t), phase.diffusion(z, t), scalar.drift(z[0], t)
        theirs = cld.drift(t) @ z, cld.diffusion(t), vp.drift(t) * z[0]
        return (*ours, scalar.diffusion(z[0], t)), (*theirs, vp.diffusion(t))

    for ours, theirs in zip(*coefficients(z, t), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)


NORMAL = jg.densities.distribution(jg.densities.gaussian(np.zeros(2), 1.0))


@pytest.mark.parametrize("linearisation", ["taylor", "diagonal"])
def test_increments_of_a_linear_process_are_exact(linearisation):
    """So the denoising target of any s < t averages to one score: that of ordinary denoising."""
    process, z = nonlinear.langevin(NORMAL), np.array([0.7, -1.2])
    over = functools.partial(nonlinear.increment, linearisation=linearisation)
    over = jax.jit(functools.partial(over, process))
    for s, t in [(0.1, 0.15), (0.2, 0.9), (0.0, 1.0)]:
        part = over(z, s, t)
        (alpha_s, _), (alpha_t, _) = (textbook.SCHEDULES["vp"](u) for u in (s, t))
        ratio = alpha_t / alpha_s
        np.testing.assert_allclose(part.mean, ratio * z, rtol=1e-10)
        deviation = nonlinear.factor_times(part, np.ones(2))
        np.testing.assert_allclose(deviation, np.sqrt(1 - ratio**2), rtol=1e-10)


def test_increments_of_blocks_are_exact():
    process, z, s, t = cld_by_recipe(), np.array([[0.3, -0.8], [0.5, 1.1]]), 0.2, 0.5
    part = jax.jit(functools.partial(nonlinear.increment, process))(z, s, t)
    np.testing.assert_allclose(part.mean, textbook.propagator_cld(t, s) @ z, rtol=1e-10)
    cov, across = part.factor @ part.factor.T, textbook.propagator_cld(t, s)
    textbook_cov = textbook.cld(t)[1] - across @ textbook.cld(s)[1] @ across.T
    np.testing.assert_allclose(cov, np.kron(textbook_cov, np.eye(2)), atol=1e-12)
    eps = np.array([[0.2, -1.0], [0.4, 0.9]])
    at = nonlinear.factor_times(part, eps).reshape(-1)
    np.testing.assert_allclose(
        nonlinear.increment_score(part, eps).reshape(-1), -np.linalg.solve(cov, at), rtol=1e-9
    )


@pytest.mark.slow
def test_the_cheap_increment_is_the_full_one_where_entries_do_not_mix():
    process, z = nonlinear.langevin(jg.densities.logistic(np.zeros(3), 0.6)), np.array([1.0, -2, 0])
    full, cheap = jax.jit(
        lambda z: [
            nonlinear.increment(process, z, 0.3, 0.34, linearisation=kind)
            for kind in ("taylor", "diagonal")
        ]
    )(z)
    np.testing.assert_allclose(full.mean, cheap.mean, rtol=1e-12)
    np.testing.assert_allclose(full.factor, np.diag(cheap.factor), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", ["logistic", pytest.param("student_t", marks=pytest.mark.slow)])
def test_priors_normalise_and_are_sampled(name):
    xs = np.linspace(-60, 60, 20001)
    laws = {
        "logistic": (jg.densities.logistic(0.3, 0.7), scipy.stats.logistic(0.3, 0.7)),
        "student_t": (jg.densities.student_t(-0.4, 1.3, 5.0), scipy.stats.t(5.0, -0.4, 1.3)),
    }
    law, truth = laws[name]
    logs, draws = jax.jit(
        lambda xs, keys: (jax.vmap(law.logdensity)(xs), jax.vmap(law.sample)(keys))
    )(xs, jax.random.split(jax.random.key(1), 4000))
    np.testing.assert_allclose(logs, truth.logpdf(xs), rtol=1e-10)
    assert scipy.stats.kstest(np.asarray(draws), truth.cdf).pvalue > 1e-5
    for wrong in [{"scale": 0.0}, {"df": -1.0}]:
        with pytest.raises(ValueError, match="must be positive"):
            jg.densities.student_t(0.0, **wrong)


WELL = Distribution(None, lambda z: jnp.sum(z**2 - z**4 / 2))  # drift z - z^3 at beta 1


@functools.cache
def well():
    """(line, start density): the double well on a grid, exact."""
    line = fokker_planck.Line(lambda x: x - x**3, 1.0, 3.5)
    return line, fokker_planck.normal(line.x, 0.3, 0.2)


def test_paths_have_the_moments_of_the_fokker_planck_equation():
    process, (line, start) = nonlinear.recipe(WELL), well()
    n = 4000

    @jax.jit
    def run(keys, starts):
        solver, ts = jg.solvers.sde.forward(process), np.linspace(0.0, 0.5, 11)
        return jax.vmap(lambda key, x: jg.solve(key, solver, x, ts)[0])(keys, starts)

    starts = 0.3 + 0.2 * np.random.default_rng(0).standard_normal((n, 1))
    ends = np.asarray(run(jax.random.split(jax.random.key(0), n), starts))[:, 0]
    density = line.run(start, 0.5) * line.spacing
    for power in (1, 2, 3):
        mean, error = textbook.mean_and_error(ends**power)
        textbook.within(mean, line.x**power @ density, error)


DATA = ([0.3, 0.7], [[-1.1], [0.8]], [0.09, 0.04])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["logistic", "mixture"])
def test_reversals_from_a_prior_that_is_not_normal_return_the_data(name):
    law = {
        "logistic": jg.densities.logistic(np.array([0.2]), 0.5),
        "mixture": jg.densities.distribution(
            jg.densities.gaussian_mixture([0.6, 0.4], [[-0.5], [1.2]], [0.5, 0.7])
        ),
    }[name]
    end, steps, n = 10.0, 400, 2000
    process = nonlinear.langevin(law, 1.0, 1.0, t_max=end)
    line = fokker_planck.Line(
        lambda x: np.asarray(jax.vmap(lambda x: process.drift(x, 0.0))(x[:, None]))[:, 0], 1.0, 8.0
    )
    start = sum(
        w * fokker_planck.normal(line.x, m, v**0.5) for w, (m,), v in zip(*DATA, strict=True)
    )
    path = line.path(start, end, steps)
    grid, fine = line.finer(path, 4)
    slopes = line.finer(path @ line.derivative.T, 4)[1]
    clear = fine > 1e-10 * fine.max(1, keepdims=True)
    table = np.where(clear, slopes / np.where(clear, fine, 1.0), 0.0)

    @jax.jit
    def run(table, keys, flow_starts):
        def score_fn(x, t):
            row = table[jnp.round(t / end * steps).astype(int)]
            place = (x - grid[0]) / (grid[1] - grid[0])
            low = jnp.floor(place).astype(int)
            return row[low] + (place - low) * (row[low + 1] - row[low])

        ts = np.linspace(end, 0.0, steps + 1)
        solver = jg.solvers.sde.reverse(process, score_fn)
        flow = jg.solvers.ode.heun(nonlinear.flow_field(process, score_fn))

        def draw(key):
            key_start, key_path = jax.random.split(key)
            return jg.solve(key_path, solver, jg.prior(process, (1,)).sample(key_start), ts)[0]

        move = lambda x: jg.solve(jax.random.key(0), flow, x, ts)[0]
        return jax.vmap(draw)(keys), jax.vmap(move)(flow_starts)

    shares = (np.arange(n) + 0.5) / n
    prior = np.exp(np.asarray(jax.vmap(law.logdensity)(line.x[:, None])))
    starts = line.quantiles(prior, shares)[:, None]
    drawn, moved = run(table, jax.random.split(jax.random.key(0), n), starts)
    truth = line.quantiles(start, shares)
    cdf = lambda x: sum(
        w * scipy.stats.norm.cdf(x, m, v**0.5) for w, (m,), v in zip(*DATA, strict=True)
    )
    assert np.sqrt(np.mean((np.sort(moved[:, 0]) - truth) ** 2)) < 0.02
    assert scipy.stats.kstest(np.asarray(drawn[:, 0]), cdf).pvalue > 1e-5
    for power in (1, 2, 3):
        mean, error = textbook.mean_and_error(np.asarray(drawn[:, 0]) ** power)
        textbook.within(mean, line.x**power @ start * line.spacing, error, name)


def test_noise_that_depends_on_place_is_pushed_back():
    process = nonlinear.from_sde(lambda z, t: -z, lambda z, t: tilted(z), None)
    number = nonlinear.from_sde(lambda z, t: -z, lambda z, t: 1 + z[0] * z[1], None)
    score_fn = lambda z, t: -2 * z
    outer = lambda z: tilted(z) @ tilted(z).T

    @jax.jit
    def everything(z):
        return (
            [nonlinear.spread_divergence(each, z, 0.1) for each in (process, number)],
            nonlinear.reversed_drift(process, score_fn)(z, 0.1),
            nonlinear.flow_field(process, score_fn)(z, 0.1),
            jnp.einsum("ijj->i", jax.jacrev(outer)(z)),
            outer(z),
        )

    z = POINTS[0]
    (found, of_number), drift, field, truth, spread = everything(z)
    np.testing.assert_allclose(found, truth, rtol=1e-12)
    np.testing.assert_allclose(drift, -z + 2 * spread @ z - truth, rtol=1e-12)
    np.testing.assert_allclose(field, (drift - z) / 2, rtol=1e-12)
    np.testing.assert_allclose(of_number, 2 * (1 + z[0] * z[1]) * z[::-1], rtol=1e-12)


def test_a_record_crosses_jit_and_grad():
    def loss(process):
        return jnp.sum(process.drift(jnp.array([0.3, -0.2]), 0.5) ** 2)

    make = lambda scale: nonlinear.langevin(jg.densities.logistic(np.zeros(2), scale))
    value, gradient = jax.jit(loss), jax.jit(jax.grad(loss))(make(0.7))
    law = gradient.drift.args[0]  # the law inside the drift
    up, down = value(make(0.7 + 1e-5)), value(make(0.7 - 1e-5))
    np.testing.assert_allclose(law.logdensity.args[1], (up - down) / 2e-5, rtol=1e-6)


def test_what_is_not_defined_says_so():
    law = jg.densities.logistic(np.zeros(2))
    process, linear = nonlinear.langevin(law), jg.processes.scalar.vp()
    denoiser, ts, x = lambda z, t: z, np.linspace(1.0, 0.1, 5), np.zeros(2)
    apply = lambda params, z, t: z
    refused = [
        lambda: jg.corrupt(process, x, x, 0.5),
        lambda: jg.data_part(process, x),
        lambda: jg.processes.log_snr(process, 0.5),
        lambda: jg.grids.log_snr(process, 5),
        lambda: jg.losses.score.denoising(process, apply, kind="eps")(0, jax.random.key(0), x),
        lambda: jg.as_score(process, denoiser)(x, 0.5),
        lambda: jg.as_field(process, denoiser)(x, 0.5),
        lambda: jg.likelihoods.elbo(process, denoiser, ts),
        lambda: jg.solvers.exponential.deis(process, denoiser),
        lambda: jg.solvers.sde.euler_maruyama(process, denoiser),
        lambda: jg.solvers.sde.ancestral(process, denoiser),
        lambda: jg.solvers.splitting.sscs(process, denoiser),
        lambda: jg.likelihoods.flow_ode(process, denoiser, ts),
        lambda: jg.predictions.rechannel(denoiser, linear, process)(x, 0.5),
        lambda: jg.densities.denoiser(jg.densities.gaussian(x, 1.0), process)(x, 0.5),
    ]
    for call in refused:
        with pytest.raises(ValueError, match="linear process"):
            call()
    forward, reverse = jg.solvers.sde.forward, jg.solvers.sde.reverse
    for call, says in [
        (lambda: forward(linear), "NonlinearForward"),
        (lambda: reverse(linear, denoiser), "NonlinearForward"),
        (lambda: jg.losses.score.local(linear, apply), "NonlinearForward"),
        (lambda: forward(process, method="milstein"), "method"),
        (lambda: forward(process).plan(ts), "rise"),
        (lambda: reverse(process, denoiser).plan(ts[::-1]), "fall"),
        (lambda: jg.prior(process, (3,)), "shape"),
        (lambda: nonlinear.langevin(Distribution(None, None)), "logdensity"),
        (lambda: nonlinear.langevin(law, 0.0), "beta_min"),
        (lambda: nonlinear.langevin(law, t_min=2.0), "t_min"),
        (lambda: nonlinear.recipe(law, 1.0, np.ones(2)).drift(x, 0.1), "curl"),
        (lambda: nonlinear.recipe(law, np.ones(3)).drift(x, 0.1), "coefficient"),
        (lambda: nonlinear.from_sde(1.0, 1.0, law), "drift"),
        (lambda: nonlinear.increment(process, x, 0.1, 0.2, linearisation="ito"), "linearisation"),
        (
            lambda: nonlinear.increment(
                nonlinear.recipe(law, np.eye(2)), x, 0.1, 0.2, linearisation="diagonal"
            ),
            "diagonal",
        ),
    ]:
        with pytest.raises(ValueError, match=says):
            call()
