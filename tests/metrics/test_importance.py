"""Importance sampling against integrals that are known."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import densities
from jaxgen.math import quasi_uniform
from jaxgen.metrics import importance
from jaxgen.types import Distribution

NORMAL = densities.distribution(densities.gaussian(jnp.zeros(1), 1.0))


def best_for_x(key, n):
    """n draws [n, 1] of the best proposal for phi = x: |x| phi(x) / E|x|, a signed Rayleigh law."""
    key_size, key_sign = jax.random.split(key)
    size = jnp.sqrt(2 * jax.random.exponential(key_size, (n, 1)))
    return size * jax.random.rademacher(key_sign, (n, 1), float)


def test_variance_under_the_best_proposal_is_two_over_pi():
    star = importance.optimal_logdensity(NORMAL.logdensity, lambda x: x, jnp.zeros(1))
    xs = best_for_x(jax.random.key(0), 20000)
    # g* = f |x| / sqrt(2 / pi)
    ratio = jax.jit(jax.vmap(lambda x: NORMAL.logdensity(x) - star(x)))
    log_weights = ratio(xs) + 0.5 * np.log(2 / np.pi)
    found = importance.estimate(log_weights, xs, beta=jnp.zeros(1))
    # w x = sqrt(2/pi) sign(x): its square is 2/pi on every draw.
    np.testing.assert_allclose(20000 * found.standard_error**2, 2 / np.pi, rtol=2e-3)
    plain = jax.random.normal(jax.random.key(1), (20000, 1))
    same = importance.estimate(jnp.zeros(20000), plain)
    assert abs(20000 * same.standard_error[0] ** 2 - 1) < 5 * np.sqrt(2 / 20000)
    assert same.beta == 0
    np.testing.assert_allclose(same.effective_size, 20000, rtol=1e-9)


def shifted(key, n=50):
    """Draws of N(0.7, 1.3²) as a proposal for N(0, 1), with functions of known expectations."""
    xs = 0.7 + 1.3 * jax.random.normal(key, (n,))
    log_weights = -0.5 * xs**2 + 0.5 * ((xs - 0.7) / 1.3) ** 2 + np.log(1.3)
    return log_weights, jnp.stack([jnp.cos(xs), xs**2 + 2, jnp.full_like(xs, 3.0)], axis=1)


TRUTH = np.array([np.exp(-0.5), 3.0, 3.0])


def test_unbiased_over_repeats_and_its_errors_are_right():
    fixed = jax.jit(
        jax.vmap(lambda key: importance.estimate(*shifted(key), beta=jnp.array([0.6, 3.0, 2.0])))
    )(jax.random.split(jax.random.key(2), 2000))
    spread = np.std(fixed.value, axis=0)
    assert np.all(np.abs(np.mean(fixed.value, axis=0) - TRUTH) < 5 * spread / np.sqrt(2000))
    claimed = np.sqrt(np.mean(fixed.standard_error**2, axis=0))
    np.testing.assert_allclose(claimed, spread, rtol=0.05)


def test_the_control_variate_helps_and_a_constant_is_exact():
    def both(key):
        sample = shifted(key, 200)
        plain = importance.estimate(*sample, beta=jnp.zeros(3))
        return plain.value, importance.estimate(*sample).value

    values = jax.jit(jax.vmap(both))(jax.random.split(jax.random.key(3), 500))
    plain, ours = np.std(values, axis=1)
    assert np.all(ours < 0.9 * plain), (ours, plain)
    found = importance.estimate(*shifted(jax.random.key(5), 200))
    np.testing.assert_allclose(found.value[2], 3.0, rtol=1e-12)
    np.testing.assert_allclose(found.beta[2], 3.0, rtol=1e-12)
    assert found.standard_error[2] < 1e-12


def test_beta_is_the_regression_coefficient():
    log_weights, values = shifted(jax.random.key(4))
    w = np.exp(log_weights)
    design = np.stack([np.ones_like(w), w], axis=1)
    slope = np.linalg.lstsq(design, w[:, None] * np.asarray(values), rcond=None)[0][1]
    np.testing.assert_allclose(importance.estimate(log_weights, values).beta, slope, rtol=1e-10)


def test_effective_sample_size():
    size = importance.effective_sample_size
    np.testing.assert_allclose(size(jnp.array([7.0, 7.0, -jnp.inf, 7.0])), 3, rtol=1e-12)
    w = np.array([0.2, 1.0, 3.0])
    np.testing.assert_allclose(size(jnp.log(w) + 900), w.sum() ** 2 / (w**2).sum(), rtol=1e-10)


def test_optimal_density_of_several_expectations():
    values = lambda x: jnp.array([x[0], x[0] ** 2])
    star = importance.optimal_logdensity(
        NORMAL.logdensity, values, jnp.array([0.5, 1.0]), scales=jnp.array([2.0, 1.0])
    )
    x = 1.7
    exact = np.log(np.sqrt(2 * (x - 0.5) ** 2 + (x**2 - 1) ** 2))
    found = star(jnp.array([x])) - NORMAL.logdensity(jnp.array([x]))
    np.testing.assert_allclose(found, exact, rtol=1e-12)
    at_centre = importance.optimal_logdensity(NORMAL.logdensity, lambda x: x, jnp.zeros(1))
    value, slope = jax.value_and_grad(at_centre)(jnp.zeros(1))
    assert value == -jnp.inf
    assert np.all(np.isfinite(slope))


def test_gaussian_fit_is_the_weighted_moments():
    rng = np.random.RandomState(0)
    xs, w = rng.randn(30, 2), rng.rand(30)
    fit = importance.fit_gaussian(jnp.log(w) + 4, jnp.asarray(xs), floor=0.0)
    mean = w @ xs / w.sum()
    np.testing.assert_allclose(fit.means[0], mean, rtol=1e-12)
    cov = np.cov(xs.T, aweights=w, bias=True)
    basis, spectrum = np.asarray(fit.bases[0]), np.asarray(fit.spectra[0])
    found = fit.floors[0] * np.eye(2) + basis * spectrum @ basis.T
    np.testing.assert_allclose(found, cov, rtol=1e-10)


def test_a_fit_to_one_point_is_finite():
    log_weights = jnp.array([0.0, -jnp.inf, -jnp.inf])
    xs = jnp.array([[1.0, 2.0], [0.0, 0.0], [3.0, 1.0]])
    single = importance.fit_gaussian(log_weights, xs)
    mixed = jax.jit(
        lambda key: importance.fit_mixture(key, log_weights, xs, 2, num_steps=5)
    )(jax.random.key(0))  # fmt: skip
    for fit in (single, mixed):
        assert np.isfinite(jax.jit(densities.distribution(fit).logdensity)(xs[0]))
        assert all(np.all(np.isfinite(leaf)) for leaf in fit)


def test_mixture_fit_finds_two_humps_from_a_flat_sample():
    target = densities.distribution(
        densities.gaussian_mixture([0.3, 0.7], [[-2.0, 0.0], [2.0, 1.0]], [0.2, 0.5])
    )
    xs = jax.random.uniform(jax.random.key(1), (8000, 2), minval=-5, maxval=5)
    fit = jax.jit(lambda key, x: importance.fit_mixture(key, jax.vmap(target.logdensity)(x), x, 2))(
        jax.random.key(5), xs
    )
    order = np.argsort(fit.means[:, 0])
    np.testing.assert_allclose(np.exp(fit.log_weights)[order], [0.3, 0.7], atol=0.04)
    np.testing.assert_allclose(fit.means[order], [[-2, 0], [2, 1]], atol=0.15)
    variances = np.asarray(fit.floors + jnp.mean(fit.spectra, axis=1))[order]
    np.testing.assert_allclose(variances, [0.2, 0.5], rtol=0.2)


def tail_problem(**options):
    """P(x > 3) and E[x; x > 3] of N(0, 1), from a wide start."""
    start = densities.distribution(densities.gaussian(jnp.zeros(1), 9.0))
    values = lambda x: jnp.where(x[0] > 3, jnp.array([1.0, 1.0]) * jnp.stack([1.0, x[0]]), 0.0)
    found = importance.adaptive(NORMAL.logdensity, values, start, **options)
    phi = np.exp(-4.5) / np.sqrt(2 * np.pi)
    return found, np.array([0.0013498980316301, phi])


def run(key, method, budget, n):
    """The whole of it, in one traced loop."""

    def go(carry):
        index, state = carry
        return index + 1, method.step(jax.random.fold_in(key, index), state)[0]

    _, state = jax.lax.while_loop(lambda c: ~c[1].done, go, (0, method.init()))
    return state, method.draw(jax.random.fold_in(key, 99), state, n)


@pytest.mark.slow
def test_adaptation_is_unbiased_and_pays():
    method, truth = tail_problem(
        budget=2000, num_samples=200, num_components=2, scales=jnp.array([9.0, 1.0])
    )
    whole = jax.jit(lambda key: run(key, method, 2000, 1000))
    states, found = jax.lax.map(whole, jax.random.split(jax.random.key(0), 2000), batch_size=100)
    spread = np.std(found.value, axis=0)
    assert np.all(np.abs(np.mean(found.value, axis=0) - truth) < 5 * spread / np.sqrt(2000))
    assert np.all(spread / truth < 0.06)  # plain Monte Carlo of 1000 draws: 0.86
    assert np.all(states.spent < 2000)
    claimed = np.sqrt(np.mean(found.standard_error**2, axis=0))
    np.testing.assert_allclose(claimed, spread, rtol=0.1)


@pytest.mark.slow
def test_adaptation_on_one_key():
    method, truth = tail_problem(budget=4000, num_samples=500, num_components=2)
    state, found = jax.jit(lambda key: run(key, method, 4000, 2000))(jax.random.key(1))
    assert np.all(np.abs(found.value - truth) < 5 * found.standard_error)
    assert np.all(found.standard_error < 0.05 * truth)
    assert state.done
    assert 500 <= state.spent <= 4000
    law = method.proposal(state)  # normalised; g* has one half of its mass in the tail
    grid = jnp.linspace(-30, 30, 6001)[:, None]
    density = np.exp(jax.jit(jax.vmap(law.logdensity))(grid))
    np.testing.assert_allclose(density.sum() * 0.01, 1, rtol=1e-3)
    assert 0.3 < density[grid[:, 0] > 2.8].sum() * 0.01 < 0.6


def test_a_function_that_does_not_vary():
    method = importance.adaptive(
        NORMAL.logdensity, lambda x: jnp.ones(1), NORMAL, budget=64, num_samples=16
    )
    state, found = jax.jit(lambda key: run(key, method, 64, 8))(jax.random.key(0))
    np.testing.assert_allclose(found.value, 1, rtol=1e-12)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(state))


@pytest.mark.slow
def test_joint_variance_is_below_separate_runs():
    # Exactly, by quadrature: (E sqrt(sum of squares))² against J times the sum of (E |.|)².
    x = np.linspace(-12, 12, 200001)
    f = np.exp(-0.5 * x**2) / np.sqrt(2 * np.pi) * (x[1] - x[0])
    parts = np.stack([x, x**2 - 1, np.cos(2 * x) - np.exp(-2)])
    joint = (f @ np.sqrt((parts**2).sum(0))) ** 2
    separate = 3 * np.sum((np.abs(parts) @ f) ** 2)
    assert joint < 0.7 * separate
    # By sampling, from one budget: adapted together, and each alone with a third.
    phi = lambda x: jnp.stack([x[0], x[0] ** 2, jnp.cos(2 * x[0])])
    start = densities.distribution(densities.gaussian(jnp.zeros(1), 4.0))
    options = {"start": start, "num_components": 2}
    make = functools.partial(importance.adaptive, NORMAL.logdensity, **options)
    together = make(phi, budget=3000, num_samples=300)
    alone = [make(lambda x, j=j: phi(x)[j : j + 1], budget=1000, num_samples=100) for j in range(3)]

    def once(key, method, budget):
        return run(key, method, budget, budget // 2)[1].value

    variance = lambda method, budget: np.var(
        jax.lax.map(
            jax.jit(lambda key: once(key, method, budget)),
            jax.random.split(jax.random.key(budget), 200),
        ),
        axis=0,
    )
    assert variance(together, 3000).sum() < 0.8 * sum(variance(m, 1000)[0] for m in alone)


def lattice(nodes, weights, dims):
    """All points [n^dims, dims] of a product rule, and their weights."""
    points = np.stack(np.meshgrid(*[nodes] * dims, indexing="ij"), axis=-1).reshape(-1, dims)
    products = functools.reduce(np.multiply.outer, [weights] * dims).ravel()
    return jnp.asarray(points), jnp.asarray(products)


def exact_indices(fn, dims, nodes, weights):
    points, weights = lattice(nodes, weights, 2 * dims)
    values = jax.jit(jax.vmap(importance.pick_freeze(fn)))(points)
    return importance.sobol(weights @ values)


def test_sobol_of_a_product():
    # f = (1 + c_1 x_1)(1 + c_2 x_2): V = (1 + c_1²)(1 + c_2²) - 1, parts c_1², c_2², c_1² c_2².
    nodes, weights = np.polynomial.hermite_e.hermegauss(4)
    found = exact_indices(
        lambda x: (1 + 0.5 * x[0]) * (1 - 2 * x[1]), 2, nodes, weights / weights.sum()
    )
    whole = 1.25 * 5 - 1
    np.testing.assert_allclose(found.first, [0.25 / whole, 4 / whole], rtol=1e-10)
    np.testing.assert_allclose(found.total, [1.25 / whole, 5 / whole], rtol=1e-10)


def ishigami(x):
    return jnp.sin(x[0]) + 7 * jnp.sin(x[1]) ** 2 + 0.1 * x[2] ** 4 * jnp.sin(x[0])


def test_sobol_of_ishigami():
    points = np.pi * (2 * quasi_uniform(jax.random.key(0), 2**15, 6) - 1)
    values = jax.jit(jax.vmap(importance.pick_freeze(ishigami)))(points)
    found = importance.sobol(jnp.mean(values, axis=0))
    np.testing.assert_allclose(found.first, [0.3139, 0.4424, 0], atol=5e-3)
    np.testing.assert_allclose(found.total, [0.5576, 0.4424, 0.2437], atol=5e-3)


@pytest.mark.slow
def test_sobol_of_ishigami_by_adaptive_importance_sampling():
    uniform = lambda u: np.pi * (2 * jax.scipy.stats.norm.cdf(u) - 1)
    values = importance.pick_freeze(lambda u: ishigami(uniform(u)))
    law = densities.distribution(densities.gaussian(jnp.zeros(6), 1.0))
    method = importance.adaptive(
        law.logdensity, values, law, budget=60000, num_samples=6000, defensive=0.3
    )
    _, found = jax.jit(lambda key: run(key, method, 60000, 40000))(jax.random.key(3))
    indices = importance.sobol(found.value)
    np.testing.assert_allclose(indices.first, [0.3139, 0.4424, 0], atol=0.05)
    np.testing.assert_allclose(indices.total, [0.5576, 0.4424, 0.2437], atol=0.05)


def test_a_constant_has_no_indices():
    found = importance.sobol(jnp.array([2.0, 4.0, 4.0, 0.0]))
    assert found.first == found.total == 0


def test_float32_is_kept():
    log_weights, values = (a.astype(jnp.float32) for a in shifted(jax.random.key(4)))
    both = lambda w, v: (importance.estimate(w, v), importance.fit_gaussian(w, v))
    found = jax.tree.leaves(jax.jit(both)(log_weights, values))
    assert {a.dtype for a in found} == {jnp.dtype("float32")}


def test_bad_input():
    log_weights, values = shifted(jax.random.key(4))
    with pytest.raises(ValueError, match=r"values must be \[n, J\] with n = 50; got \(50,\)"):
        importance.estimate(log_weights, values[:, 0])
    with pytest.raises(ValueError, match="log_weights must be below infinity"):
        importance.estimate(log_weights.at[0].set(jnp.nan), values)
    with pytest.raises(ValueError, match=r"beta must be \[J\] with J = 3"):
        importance.estimate(log_weights, values, beta=jnp.zeros(2))
    with pytest.raises(ValueError, match="not all -inf"):
        importance.effective_sample_size(jnp.full(3, -jnp.inf))
    with pytest.raises(ValueError, match="scales must not be negative"):
        importance.optimal_logdensity(None, None, jnp.zeros(1), scales=-jnp.ones(1))
    with pytest.raises(ValueError, match=r"xs must be \[n, d\] with n = 50"):
        importance.fit_gaussian(log_weights, values[1:])
    with pytest.raises(ValueError, match=r"num_components must be in \[1, 50\]; got 51"):
        importance.fit_mixture(jax.random.key(0), log_weights, values, 51)
    with pytest.raises(ValueError, match="at most half of the budget; got 600 of 1000"):
        tail_problem(budget=1000, num_samples=600)
    with pytest.raises(ValueError, match=r"defensive must be in \(0, 1\]; got 0"):
        tail_problem(budget=1000, num_samples=100, defensive=0)
    with pytest.raises(ValueError, match=r"start must draw \[d\] and values_fn give \[J\]"):
        importance.adaptive(
            lambda x: x, lambda x: x, Distribution(jax.random.normal, None), budget=9, num_samples=4
        )
    with pytest.raises(ValueError, match=r"expectations must be \[2 \+ 2 d\]"):
        importance.sobol(jnp.zeros(5))
