"""Mirror Langevin: its proposal's density worked out anew, its bias without the decision."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import mcmc

KEY = jax.random.key(4)
UNIT = float(jax.random.normal(KEY, ()))
SHAPE, RATE = 5.0, 2.0
ALPHA = np.array([3.0, 1.5, 4.0])


def gamma(x):
    return jnp.sum((SHAPE - 1) * jnp.log(x) - RATE * x)


def dirichlet(x):
    return jnp.sum((jnp.asarray(ALPHA) - 1) * jnp.log(x))


def whole(u):
    """The points of the simplex with first coordinates u [..., d]."""
    return np.concatenate([u, 1 - u.sum(-1, keepdims=True)], axis=-1)


def diagonal(x):
    return x[..., None] * np.eye(x.shape[-1])


# (dual map, its Jacobian, log p, its gradient) at u [..., d], as many numbers as dimensions.
def gamma_gradient(u):
    return (SHAPE - 1) / u - RATE


def gamma_logdensity(u):
    return np.sum((SHAPE - 1) * np.log(u) - RATE * u, axis=-1)


def dirichlet_gradient(u):
    each = (ALPHA - 1) / whole(u)
    return each[..., :-1] - each[..., -1:]


TWINS = {
    "entropy": (np.log, lambda u: diagonal(1 / u), gamma_logdensity, gamma_gradient),
    "burg": (lambda u: -1 / u, lambda u: diagonal(u**-2.0), gamma_logdensity, gamma_gradient),
    "simplex": (
        lambda u: np.log(u) - np.log(whole(u)[..., -1:]),
        lambda u: diagonal(1 / u) + 1 / whole(u)[..., -1:, None],
        lambda u: np.log(whole(u)) @ (ALPHA - 1),
        dirichlet_gradient,
    ),
}


def textbook(name, dt, u, v):
    """log q(v | u): a normal law of dual points, carried back by the dual map's Jacobian."""
    dual, hess, _, slope = TWINS[name]
    away = dual(v) - dual(u) - dt * slope(u)
    square = np.sum(away * np.linalg.solve(hess(u), away[..., None])[..., 0], axis=-1) / (4 * dt)
    log_det = np.linalg.slogdet(4 * np.pi * dt * hess(u))[1]
    return np.linalg.slogdet(hess(v))[1] - log_det / 2 - square


def leaving(u, dt):
    """The probability that the dual point of "burg", from u [d], does not stay negative."""
    z = (-1 / u + dt * gamma_gradient(u)) * u / np.sqrt(2 * dt)
    return 1 - np.prod([0.5 * math.erfc(a / math.sqrt(2)) for a in z])


@pytest.mark.parametrize("name", TWINS)
def test_the_density_is_that_of_the_proposal(name):
    dt, chains = 0.15, 4000
    dual, hess, logdensity, slope = TWINS[name]
    target = dirichlet if name == "simplex" else gamma
    algorithm = mcmc.mirror_langevin(target, dt, mirror=name)
    u = np.array([0.2, 0.5]) if name == "simplex" else np.array([1.3, 0.6])
    x = jnp.asarray(whole(u) if name == "simplex" else u)
    step = jax.jit(jax.vmap(lambda k, x: algorithm.step(k, algorithm.init(x))[1], (0, None)))
    info = jax.tree.map(np.asarray, step(jax.random.split(jax.random.key(0), chains), x))
    stayed = np.all(info.proposal == np.asarray(x), axis=1)  # those that left the domain
    out = leaving(u, dt) if name == "burg" else 0.0
    assert abs(stayed.mean() - out) <= 5 * np.sqrt(out * (1 - out) / chains)
    assert np.all(info.acceptance_rate[stayed] == 0)
    assert not np.any(info.is_divergent)
    info = jax.tree.map(lambda a: a[~stayed], info)
    v = info.proposal[:, :2]
    forward, backward = textbook(name, dt, u, v), textbook(name, dt, v, u)
    np.testing.assert_allclose(info.log_forward, forward, rtol=1e-9, atol=1e-9)
    rate = np.exp(np.minimum(logdensity(v) - logdensity(u) + backward - forward, 0))
    np.testing.assert_allclose(info.acceptance_rate, rate, rtol=1e-9, atol=1e-12)
    if name != "burg":  # and it is the law of the proposals
        away = dual(v) - dual(u) - dt * slope(u)
        products = away[:, :, None] * away[:, None]
        for drawn, truth in ((away, np.zeros(2)), (products, 2 * dt * hess(u))):
            error = drawn.std(0) / np.sqrt(chains)
            assert np.all(np.abs(drawn.mean(0) - truth) < 5 * error)


@jax.jit
def moved(dt, x):
    """The unadjusted step of "entropy" from each x, all with one noise."""
    algorithm = mcmc.mirror_langevin(gamma, dt, adjusted=False)
    return jax.vmap(lambda x: algorithm.step(KEY, algorithm.init(x))[0].position)(x)


def kept(dt, y, x):
    """Probabilities on a grid of dual points y, of points x, under the unadjusted law."""
    scale = np.sqrt(2 * dt / x)
    mean = np.log(moved(dt, jnp.asarray(x))) - scale * UNIT
    matrix = np.exp(-0.5 * ((y[None] - mean[:, None]) / scale[:, None]) ** 2)
    matrix /= matrix.sum(1, keepdims=True)
    total = np.vstack([(matrix.T - np.eye(len(y)))[:-1], np.ones(len(y))])
    return np.linalg.solve(total, np.eye(len(y))[-1])


@pytest.mark.usefixtures("same_key")
def test_without_the_decision_the_bias_is_of_first_order():
    y = np.linspace(np.log(0.02), np.log(18), 500)
    x, dts = np.exp(y), (0.06, 0.03, 0.015)
    laws = [kept(dt, y, x) for dt in dts]
    errors = [law @ x / (SHAPE / RATE) - 1 for law in laws]
    slope = np.polyfit(np.log(dts), np.log(np.abs(errors)), 1)[0]
    assert slope == pytest.approx(1, abs=0.1), errors
    # The dual point has one mean before and after a step, so E grad log p = 0 at every dt.
    for law in laws:
        assert law @ (1 / x) == pytest.approx(RATE / (SHAPE - 1), rel=1e-5)


@pytest.mark.usefixtures("same_key")
def test_a_step_out_of_the_domain_is_not_taken():
    """A large step of "burg" crosses 1 / x = 0: half of them; some others cross the wall
    at 2, where the gradient is no number. A decision calls neither divergent.
    """
    flat = lambda x: jnp.sum(x + jnp.log(jnp.maximum(2 - jnp.abs(x), 0)))
    keys = jax.random.split(jax.random.key(2), 400)
    for adjusted in (True, False):
        algorithm = mcmc.mirror_langevin(flat, 50.0, mirror="burg", adjusted=adjusted)
        state, info = jax.jit(jax.vmap(algorithm.step, (0, None)))(
            keys, algorithm.init(jnp.ones(1))
        )
        still = np.asarray(state.position)[:, 0] == 1
        assert still.mean() > 0.3
        assert np.all((np.asarray(state.position) > 0) & (np.asarray(state.position) < 2))
        np.testing.assert_array_equal(info.is_divergent, still & (not adjusted))


@pytest.mark.parametrize(
    ("options", "x", "message"),
    [
        ({"dt": 0.0}, np.ones(2), "dt must be a positive"),
        ({"mirror": "log"}, np.ones(2), "mirror must be one of"),
        ({}, np.array([1.0, 0.0]), "must be positive"),
        ({}, np.array([1, 2]), "x must be real"),
        ({"mirror": "simplex"}, np.array([0.5, 0.6]), "must sum to 1"),
        ({"mirror": "simplex"}, np.full((2, 2), 0.25), "on the simplex"),
    ],
)
def test_what_must_hold_is_said(options, x, message):
    with pytest.raises(ValueError, match=message):
        mcmc.mirror_langevin(gamma, **{"dt": 0.1, **options}).init(jnp.asarray(x))
