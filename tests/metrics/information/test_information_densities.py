import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from jaxgen.metrics import information

STATIC = ("chunk", "num", "rounds")
entropy_kde, kde_bandwidth, kde_left_out, kde_logdensity, mi_kde, participation = (
    jax.jit(fn, static_argnames=[s for s in STATIC if s in fn.__code__.co_varnames])
    for fn in (
        information.entropy_kde,
        information.kde_bandwidth,
        information.kde_left_out,
        information.kde_logdensity,
        information.mi_kde,
        information.participation_ratio,
    )
)
mi_gaussian = jax.jit(information.mi_gaussian, static_argnames="num_x")
cmi_gaussian = jax.jit(information.cmi_gaussian, static_argnames=("num_x", "num_y"))
entropy_gaussian = jax.jit(information.entropy_gaussian)
regimes_at = jax.jit(information.kde_regimes)
UNIT = 0.5 * math.log(2 * math.pi * math.e)
ALPHAS = (0.1, 0.2, 0.5, 1.0)


def normals(seed, n, d):
    return jax.random.normal(jax.random.key(seed), (n, d))


@pytest.mark.parametrize("chunk", [7, 1000])
def test_log_density_against_scipy(chunk):
    data, xs, h = np.asarray(normals(0, 40, 2)), np.asarray(2 * normals(1, 20, 2)), 0.3
    # Scipy's kernel has the shape of the data's covariance: make that round.
    white = np.linalg.inv(np.linalg.cholesky(np.cov(data.T))).T
    data, xs = data @ white, xs @ white
    exact = scipy.stats.gaussian_kde(data.T, bw_method=h).logpdf(xs.T)
    got = kde_logdensity(jnp.asarray(xs), jnp.asarray(data), h, chunk=chunk)
    np.testing.assert_allclose(got, exact, rtol=1e-10)


def test_log_density_integrates_to_one_and_is_finite_far_away():
    data = jnp.array([0.0, 1.0, 1.0, 5.0])
    grid = jnp.linspace(-10, 15, 2001)
    total = jnp.trapezoid(jnp.exp(kde_logdensity(grid, data, 0.7)), grid)
    np.testing.assert_allclose(total, 1, rtol=1e-10)
    far = kde_logdensity(jnp.array([1e4]), data, 0.1)
    np.testing.assert_allclose(far, -((1e4 - 5) ** 2) / 0.02, rtol=1e-6)


def test_left_out_is_the_density_of_the_others():
    data = normals(2, 12, 2)
    exact = [
        kde_logdensity(data[i : i + 1], jnp.delete(data, i, axis=0), 0.4)[0] for i in range(12)
    ]
    np.testing.assert_allclose(kde_left_out(data, 0.4), exact, rtol=1e-12)
    slope = jax.jit(jax.grad(lambda h: jnp.mean(information.kde_left_out(data, h))))(0.4)
    step = 1e-6
    near = jnp.mean(kde_left_out(data, 0.4 + step) - kde_left_out(data, 0.4 - step)) / (2 * step)
    np.testing.assert_allclose(slope, near, rtol=1e-7)


def test_bandwidth_is_the_most_likely():
    data = jnp.concatenate([normals(3, 60, 2), 200 + normals(4, 60, 2)])
    h = kde_bandwidth(data)
    grid = np.exp(np.linspace(np.log(0.02), np.log(300), 400))
    likely = jax.jit(jax.vmap(lambda h: jnp.mean(information.kde_left_out(data, h))))(grid)
    best = grid[np.argmax(likely)]
    assert abs(np.log(h / best)) < 0.05
    np.testing.assert_allclose(kde_bandwidth(10 * data), 10 * h, rtol=1e-9)
    assert kde_bandwidth(jnp.ones((120, 2))) > 0
    assert np.isfinite(entropy_kde(jnp.ones((120, 2))).value)


def test_entropy_of_a_line():
    got = entropy_kde(normals(5, 400, 1))
    assert abs(got.value - UNIT) < 5 * got.standard_error
    # With a fixed kernel the mean is the cross-entropy of N(0, 1) and N(0, 1 + h²), to 1/n.
    draws = normals(6, 400 * 30, 1).reshape(400, 30, 1)
    wide = jax.vmap(lambda x: entropy_kde(x, bandwidth=2.0).value)(draws)
    exact = 0.5 * (math.log(2 * math.pi * 5) + 1 / 5)
    assert abs(wide.mean() - exact) < 5 * wide.std() / math.sqrt(400) + 0.5 / 30
    assert abs(wide.mean() - UNIT) > 0.2


def related(seed, n, r):
    a, b = normals(seed, 2 * n, 1).reshape(2, n, 1)
    return a, 50 * (r * a + math.sqrt(1 - r**2) * b)


def test_information_of_normals_at_a_fixed_bandwidth():
    # Each mean log-density tends to minus the cross-entropy of the law and itself widened by h².
    h, cov = 0.6, np.array([[1.0, 0.75], [0.75, 1.0]])
    cross = lambda c: (
        (
            np.linalg.slogdet(c + h**2 * np.eye(len(c)))[1]
            + np.trace(np.linalg.solve(c + h**2 * np.eye(len(c)), c))
        )
        / 2
    )
    got = mi_kde(*related(7, 400, 0.75), bandwidth=h)
    exact = 2 * cross(np.eye(1)) - cross(cov)
    assert abs(got.value - exact) < 5 * got.standard_error
    assert got.standard_error < 0.03
    assert abs(exact - 0.413339) > 0.1


@pytest.mark.slow
def test_information_of_normals_at_the_likeliest_bandwidths():
    got = mi_kde(*related(7, 1000, 0.75))
    assert abs(got.value - 0.413339) < 5 * got.standard_error
    assert got.standard_error < 0.03


@pytest.mark.parametrize("alpha", ALPHAS)
def test_thresholds(alpha):
    known = dict(
        zip(
            ALPHAS,
            [(1.37078, 1.93858), (1.04565, 1.47878), (0.65215, 0.92227), (0.37211, 0.52624)],
            strict=True,
        )
    )[alpha]
    got = regimes_at(alpha)
    np.testing.assert_allclose(got[:2], known, atol=6e-6)
    beta = float(got.h_g) ** -2
    np.testing.assert_allclose((math.log1p(beta) - beta / (1 + beta) ** 2) / 2, alpha, rtol=1e-13)
    assert got.h_best < got.h_g
    np.testing.assert_allclose(information.kde_tail_index(got.h_clt, alpha), 2, rtol=1e-12)


def test_thresholds_at_the_ends_and_their_gradient():
    for alpha in (1e-4, 1e-2, 5.0, 20.0):
        beta = float(regimes_at(alpha).h_g) ** -2
        exact = (math.log1p(beta) - beta / (1 + beta) ** 2) / 2
        np.testing.assert_allclose(exact, alpha, rtol=1e-8)
    slope = jax.jit(jax.grad(lambda a: information.kde_regimes(a).h_g))(0.5)
    near = (regimes_at(0.5 + 1e-6).h_g - regimes_at(0.5 - 1e-6).h_g) / 2e-6
    np.testing.assert_allclose(slope, near, rtol=1e-6)


def test_participation_ratio():
    data = jnp.array([[0.0], [1.0], [3.0]])
    np.testing.assert_allclose(participation(jnp.array([[0.5]]), data, 100.0), 1 / 3, rtol=1e-3)
    np.testing.assert_allclose(participation(jnp.array([[0.4]]), data, 0.01), 1, rtol=1e-9)
    np.testing.assert_allclose(participation(jnp.array([[0.5]]), data, 0.01), 0.5, rtol=1e-9)


@pytest.mark.slow
def test_regimes_of_gaussian_data_in_twenty_dimensions():
    d, n = 20, 8103
    data, xs = normals(8, n, d), normals(9, 200, d)
    regimes = information.kde_regimes(math.log(n) / d)
    frozen, clt = (jnp.mean(participation(xs, data, h)) for h in regimes[:2])
    assert 0.25 < frozen < 0.40
    assert 0.02 < clt < 0.08
    hs = jnp.linspace(0.5, 1.2, 15)
    nll = [-jnp.mean(kde_logdensity(xs, data, h)) for h in hs]
    best = float(hs[int(np.argmin(nll))])
    assert regimes.h_best < best < regimes.h_clt


bounds = jax.jit(information.entropy_mixture_bounds)


def test_mixture_bounds_hold_and_meet():
    weights, means = np.array([0.2, 0.5, 0.3]), jnp.array([[0.0], [1.5], [-2.0]])
    covs = jnp.array([[[1.0]], [[0.3]], [[2.0]]])
    grid = np.linspace(-15, 15, 4001)
    p = sum(
        w * scipy.stats.norm.pdf(grid, m, math.sqrt(c))
        for w, m, c in zip(weights, means.ravel(), covs.ravel(), strict=True)
    )
    exact = -np.trapezoid(p * np.log(p), grid)
    low, high = bounds(jnp.log(weights), means, covs)
    assert low < exact < high
    own = np.sum(weights * (UNIT + 0.5 * np.log(np.asarray(covs).ravel())))
    assert own < low
    apart = bounds(jnp.log(weights), 1000 * means, covs)
    np.testing.assert_allclose(apart, own - np.sum(weights * np.log(weights)), rtol=1e-10)
    same = bounds(jnp.log(weights), 0 * means, jnp.ones((3, 1, 1)))
    np.testing.assert_allclose(same, UNIT, rtol=1e-12)


def test_mixture_distances_by_quadrature():
    # Two equal weights: bounds are own - log(1/2 + exp(-D)/2) with symmetric Bhattacharyya D.
    m, c = jnp.array([[0.0], [1.2]]), jnp.array([[[1.0]], [[0.25]]])
    grid = np.linspace(-12, 12, 8001)
    p, q = (
        scipy.stats.norm.pdf(grid, float(a[0]), math.sqrt(float(b[0, 0])))
        for a, b in zip(m, c, strict=True)
    )
    overlap = np.trapezoid(np.sqrt(p * q), grid)
    logs = [scipy.stats.norm.logpdf(grid, 0, 1), scipy.stats.norm.logpdf(grid, 1.2, 0.5)]
    divergence = np.trapezoid(p * (logs[0] - logs[1]), grid)
    reverse = np.trapezoid(q * (logs[1] - logs[0]), grid)
    own = UNIT + 0.25 * math.log(0.25)
    low, high = bounds(jnp.log(jnp.array([0.5, 0.5])), m, c)
    np.testing.assert_allclose(low, own - math.log(0.5 + 0.5 * overlap), rtol=1e-9)
    upper = own - 0.5 * sum(math.log(0.5 + 0.5 * math.exp(-kl)) for kl in (divergence, reverse))
    np.testing.assert_allclose(high, upper, rtol=1e-9)


def test_gaussians_in_closed_form():
    cov = jnp.array([[1.0, 0.75], [0.75, 1.0]])
    np.testing.assert_allclose(mi_gaussian(cov, num_x=1), 0.413339, atol=5e-7)
    np.testing.assert_allclose(entropy_gaussian(jnp.eye(4)), 4 * UNIT, rtol=1e-12)
    full = np.cov(np.random.RandomState(0).randn(5, 30))
    exact = scipy.stats.multivariate_normal(cov=full).entropy()
    np.testing.assert_allclose(entropy_gaussian(jnp.asarray(full)), exact, rtol=1e-11)
    # Given z, the partial covariance holds what is left.
    part = full[:3, :3] - full[:3, 3:] @ np.linalg.solve(full[3:, 3:], full[3:, :3])
    left = mi_gaussian(jnp.asarray(part), num_x=2)
    np.testing.assert_allclose(cmi_gaussian(jnp.asarray(full), num_x=2, num_y=1), left, rtol=1e-10)


def test_singular_covariances_are_finite():
    cov = jnp.diag(jnp.array([1.0, 0.0, 2.0])).at[0, 2].set(math.sqrt(2)).at[2, 0].set(math.sqrt(2))
    for fn in (entropy_gaussian, functools.partial(mi_gaussian, num_x=1)):
        value, slope = jax.jit(jax.value_and_grad(fn))(cov)
        assert np.isfinite(value)
        assert np.all(np.isfinite(slope))
    # A coordinate written twice tells nothing new.
    base = jnp.array([[1.0, 0.6], [0.6, 1.0]])
    twice = base[jnp.array([0, 0, 1])][:, jnp.array([0, 0, 1])]
    np.testing.assert_allclose(mi_gaussian(twice, num_x=2), -0.5 * math.log(0.64), rtol=0.05)


def test_bad_input():
    data = normals(0, 5, 2)
    with pytest.raises(ValueError, match=r"kde_logdensity: bandwidth must be positive .* got 0"):
        information.kde_logdensity(data, data, 0.0)
    with pytest.raises(ValueError, match=r"must have one event; got 1 and 2 entries"):
        information.kde_logdensity(data[:, :1], data, 1.0)
    with pytest.raises(ValueError, match=r"entropy_kde|kde: .*at least 2"):
        information.entropy_kde(data[:1])
    with pytest.raises(ValueError, match=r"kde_regimes: alpha must be positive"):
        information.kde_regimes(-1.0)
    with pytest.raises(ValueError, match=r"mi_gaussian: the blocks .* leave one of 2; got \(2,\)"):
        information.mi_gaussian(jnp.eye(2), 2)
    with pytest.raises(ValueError, match=r"must fit; got \(2,\), \(3, 1\), \(3, 1, 1\)"):
        information.entropy_mixture_bounds(jnp.zeros(2), jnp.zeros((3, 1)), jnp.ones((3, 1, 1)))
