"""Primal-dual Langevin: the variance that it keeps, read off its own step, against the target's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import mcmc

A, K, W = 1.3, 0.7, 2.0  # the target exp(-A x^2 / 2 - W (K x)^2 / 2)


def smooth(x):
    return -A * x**2 / 2


def kept(dt, dual_step):
    """Variance of x under the stationary law of the step, which is affine in (x, u)."""
    algorithm = mcmc.primal_dual(
        smooth, mcmc.prox.quadratic(W), dt, dual_step=dual_step, operator=lambda x: K * x
    )

    def move(z, key):
        start = algorithm.init(z[0])._replace(dual=z[1])
        new = algorithm.step(key, start)[0]
        return jnp.stack([new.position, new.dual])

    @jax.jit
    def parts(zs, keys):
        return jax.vmap(move)(zs, keys), jax.vmap(jax.random.normal)(keys)

    keys = jnp.stack([jax.random.key(i) for i in (0, 0, 0, 1)])
    points = jnp.asarray([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    moved, noise = map(np.asarray, parts(points, keys))
    forward = (moved[1:3] - moved[0]).T
    factor = (moved[3] - moved[0]) / (noise[3] - noise[0])
    assert factor[0] == pytest.approx(np.sqrt(2 * dt), rel=1e-12)
    total = np.eye(4) - np.kron(forward, forward)
    return np.linalg.solve(total, np.outer(factor, factor).ravel())[0]


@pytest.mark.usefixtures("same_key")
def test_the_bias_vanishes_with_dt_only_if_the_dual_is_fast():
    truth, dts = 1 / (A + W * K**2), np.array([0.004, 0.002, 0.001])
    fast = np.array([kept(dt, 1 / (dt * K**2)) / truth - 1 for dt in dts])
    slope = np.polyfit(np.log(dts), np.log(np.abs(fast)), 1)[0]
    assert slope == pytest.approx(1, abs=0.1), fast
    slow = np.array([kept(dt, dt) / truth - 1 for dt in dts])
    assert np.all(np.abs(slow) > 0.1)
    assert abs(slow[2] - slow[0]) < 0.02 * abs(slow[2])  # it tends to a bias


def test_the_dual_begins_at_a_slope_and_stays_with_the_chain():
    """prox g*(v) = v / (1 + s / W) for g(z) = W z^2 / 2; and a step not taken moves nothing."""
    lone = lambda x: jnp.where(x == 1.5, 0.0, jnp.nan) + 0 * x
    algorithm = mcmc.primal_dual(
        lone, mcmc.prox.quadratic(W), 0.1, dual_step=3.0, operator=lambda x: K * x
    )
    start = algorithm.init(jnp.asarray(1.5))
    np.testing.assert_allclose(start.dual, 3.0 * K * 1.5 / (1 + 3.0 / W), rtol=1e-12)
    start = start._replace(dual=jnp.asarray(0.2))
    state, info = algorithm.step(jax.random.key(0), start)
    assert info.is_divergent
    np.testing.assert_array_equal([state.position, state.dual], [1.5, 0.2])


def test_an_operator_must_be_linear():
    with pytest.raises(ValueError, match="operator must be linear"):
        mcmc.primal_dual(smooth, mcmc.prox.l1(), 0.1, dual_step=1.0, operator=lambda x: x + 1).init(
            jnp.ones(())
        )
    with pytest.raises(ValueError, match="dual_step must be"):
        mcmc.primal_dual(smooth, mcmc.prox.l1(), 0.1, dual_step=0.0)


def absolute(algorithm, dt, chains=20000):
    """Mean of |x| after time 30 from exact draws of a Laplace law, where it is 1."""

    def chain(key):
        def body(state, i):
            return algorithm.step(jax.random.fold_in(key, i), state)[0], None

        start = algorithm.init(jax.random.laplace(jax.random.fold_in(key, 0)))
        return jax.lax.scan(body, start, jnp.arange(1, int(30 / dt)))[0].position

    return np.abs(jax.jit(jax.vmap(chain))(jax.random.split(jax.random.key(1), chains))).mean()


@pytest.mark.slow
@pytest.mark.usefixtures("same_key")
def test_on_a_laplace_law_myula_is_nearer():
    """Its standard error is 0.007; all three share their noise."""
    nothing, prox, errors = lambda x: 0 * x, mcmc.prox.l1(), {}
    for dt in (0.2, 0.1):
        fast = mcmc.primal_dual(nothing, prox, dt, dual_step=1 / dt)
        slow = mcmc.primal_dual(nothing, prox, dt, dual_step=dt)
        myula = mcmc.myula(nothing, prox, dt, smoothing=dt)
        errors[dt] = [absolute(each, dt) - 1 for each in (fast, slow, myula)]
    (fast, slow, myula), half = errors[0.2], errors[0.1]
    assert 0.05 < half[0] < 0.7 * fast < 0.12  # 0.134 and 0.079
    assert min(slow, half[1]) > 0.25  # 0.32 and 0.38
    assert 0.01 < half[2] < myula < fast - 0.03  # 0.087 and 0.043
