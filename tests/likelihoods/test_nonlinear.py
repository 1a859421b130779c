"""Likelihoods of nonlinear processes, exact where the process is a linear one in other coordinates:
z = sinh(y), y variance preserving, has noise that depends on place.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import textbook

import jaxgen as jg
from jaxgen.processes import nonlinear
from jaxgen.types import Distribution

WEIGHTS, MEANS = np.array([0.3, 0.7]), np.array([[-0.8, 0.3], [0.6, -0.5]])
VARIANCES = np.array([0.12, 0.2])
VP = jg.processes.scalar.vp(0.1, 4.0)
POINTS = np.array([[0.5, -0.7], [-1.1, 0.2], [0.1, 0.4]])


def logdensity(z, t):
    """log p_t of z = sinh(y), y a mixture under VP."""
    clock = 0.1 * t + 3.9 * t**2 / 2
    alpha, variances = jnp.exp(-clock / 2), jnp.exp(-clock) * VARIANCES - jnp.expm1(-clock)
    square = jnp.sum((jnp.arcsinh(z)[None] - alpha * MEANS) ** 2, 1) / variances
    logs = jnp.log(WEIGHTS) - square / 2 - jnp.log(2 * np.pi * variances)
    return jax.nn.logsumexp(logs) - jnp.sum(jnp.log1p(z**2)) / 2


score_fn = jax.grad(logdensity)


def curved():
    """dz = phi' dy + phi'' g^2 / 2 dt by Ito's formula, phi = sinh."""
    rate = lambda t: 0.1 + 3.9 * t

    def drift(z, t):
        return rate(t) / 2 * (z - jnp.sqrt(1 + z**2) * jnp.arcsinh(z))

    prior = Distribution(None, lambda z: logdensity(z, 1.0))
    return nonlinear.from_sde(drift, lambda z, t: jnp.sqrt(rate(t) * (1 + z**2)), prior)


TS = jg.grids.power(VP, 40, rho=2.0)


def test_the_flow_carries_the_exact_density():
    """d log p / dt = -div v - v . score, at one point and time."""
    process, t = curved(), 0.3

    @jax.jit
    def both(z):
        field = lambda z: nonlinear.flow_field(process, score_fn)(z, t)
        carried = -jnp.trace(jax.jacfwd(field)(z)) - field(z) @ score_fn(z, t)
        return jax.jacfwd(lambda t: logdensity(z, t))(t), carried

    np.testing.assert_allclose(*both(POINTS[0]), rtol=1e-12)


@pytest.mark.slow
def test_the_flow_gives_the_exact_density():
    log_prob = jg.likelihoods.nonlinear_flow_ode(curved(), score_fn, TS)
    found = jax.jit(jax.vmap(lambda z: log_prob(jax.random.key(0), z)))(POINTS)
    truth = jax.vmap(lambda z: logdensity(z, TS[-1]))(POINTS)
    np.testing.assert_allclose(found, truth, atol=1e-6)


@functools.cache
def bounds(shift, n=300, probes=None):
    """n draws of the bound at a point, or of data (n > 1000), whose score is off by `shift`, and
    the truth there [n].
    """
    wrong = lambda z, t: score_fn(z, t) + shift / jnp.sqrt(1 + z**2)
    ts = jg.grids.power(VP, 160, rho=2.0)
    terms = jg.likelihoods.nonlinear_elbo_terms(curved(), wrong, ts, probes=probes)
    keys = jax.random.split(jax.random.key(1), n)
    points = np.repeat(POINTS[:1], n, 0)
    if n > 1000:
        random, k = np.random.default_rng(3), np.random.default_rng(4).choice(2, n, p=WEIGHTS)
        data = MEANS[k] + np.sqrt(VARIANCES[k])[:, None] * random.standard_normal((n, 2))
        alpha = np.exp(-(0.1 * ts[-1] + 3.9 * ts[-1] ** 2 / 2) / 2)
        points = np.sinh(alpha * data + np.sqrt(1 - alpha**2) * random.standard_normal((n, 2)))
    run = jax.jit(jax.vmap(lambda key, z: (terms(key, z), logdensity(z, ts[-1]))))
    return run(keys, points)


@pytest.mark.slow
def test_the_bound_is_an_equality_for_the_exact_score():
    found, truth = bounds(0.0)
    parts = found.prior - found.diffusion - found.noise
    np.testing.assert_allclose(found.log_prob, parts, rtol=1e-12)
    mean, error = textbook.mean_and_error(found.log_prob)
    textbook.within(mean, truth[0], error)
    assert np.std(found.log_prob) < 0.6  # without the noise term, 3
    assert np.std(found.prior - found.diffusion) > 1.5


@pytest.mark.slow
def test_a_wrong_score_pays_its_distance_and_probes_change_nothing_on_average():
    """E int |G^T (s - score)|^2 / 2 dt = shift^2 B over data of two entries, B = int beta."""
    clock = 0.1 * (TS[0] - TS[-1]) + 3.9 * (TS[0] ** 2 - TS[-1] ** 2) / 2
    found, truth = bounds(0.3, n=4000)
    mean, error = textbook.mean_and_error(found.log_prob - truth)
    textbook.within(mean, -0.09 * clock, error)
    found, truth = bounds(0.0, n=4000, probes=1)
    mean, error = textbook.mean_and_error(found.log_prob - truth)
    textbook.within(mean, 0.0, error)


@pytest.mark.slow
def test_the_reverse_sde_and_the_probes_of_the_flow():
    process, n = curved(), 4000
    data = jg.densities.gaussian_mixture(WEIGHTS, MEANS, VARIANCES)
    solver = jg.solvers.sde.reverse(process, score_fn)
    ts = jg.grids.power(VP, 400, rho=2.0)

    @jax.jit
    def run(keys):
        def draw(key):
            key_start, key_path = jax.random.split(key)
            start = jnp.sinh(jg.densities.marginal(data, VP, 1.0).sample(key_start))
            return jnp.arcsinh(jg.solve(key_path, solver, start, ts)[0])

        return jax.vmap(draw)(keys)

    drawn = np.asarray(run(jax.random.split(jax.random.key(0), n)))
    true = np.asarray(
        jax.vmap(jg.densities.distribution(data).sample)(jax.random.split(jax.random.key(5), n))
    )
    for power in (1, 2, 3):
        ours, error = textbook.mean_and_error(drawn**power)
        truth, other = textbook.mean_and_error(true**power)
        textbook.within(ours, truth, np.hypot(error, other))
    exact = jg.likelihoods.nonlinear_flow_ode(process, score_fn, TS)
    probed = jg.likelihoods.nonlinear_flow_ode_terms(process, score_fn, TS, probes=512)
    found = jax.jit(probed)(jax.random.key(3), POINTS[1])
    textbook.within(found.log_prob, exact(jax.random.key(0), POINTS[1]), found.probe_error)
    adaptive = jg.likelihoods.nonlinear_flow_ode(process, score_fn, TS, rtol=1e-8)
    ours = jax.jit(adaptive)(jax.random.key(0), POINTS[1])
    np.testing.assert_allclose(ours, logdensity(POINTS[1], TS[-1]), atol=1e-5)


def test_errors():
    process = curved()
    for name in ("nonlinear_flow_ode", "nonlinear_elbo"):
        make = getattr(jg.likelihoods, name)
        for call, says in [
            (lambda make=make: make(VP, score_fn, TS), "NonlinearForward"),
            (lambda make=make: make(process, score_fn, TS[::-1]), "fall"),
            (lambda make=make: make(process, score_fn, TS[:1]), "shape"),
            (lambda make=make: make(process, score_fn, TS, probes=0), "probes"),
        ]:
            with pytest.raises(ValueError, match=says):
                call()
