import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from jaxgen.metrics import information

infonce, nwj, donsker_varadhan, smile, jensen_shannon = (
    jax.jit(fn)
    for fn in (
        information.infonce,
        information.nwj,
        information.donsker_varadhan,
        information.smile,
        information.jensen_shannon,
    )
)
R = 0.8
EXACT = -0.5 * math.log(1 - R**2)  # 0.51083


def pairs(seed, n, r=R, lead=()):
    a, b = jax.random.normal(jax.random.key(seed), (2, *lead, n))
    return a, r * a + math.sqrt(1 - r**2) * b


def log_ratio(x, y, r=R):
    """log p(y | x) / p(y), of the bivariate normal of correlation r."""
    return -0.5 * math.log(1 - r**2) - ((y - r * x) ** 2 / (1 - r**2) - y**2) / 2


def optimal(xs, ys, r=R):
    return log_ratio(xs[..., :, None], ys[..., None, :], r)


def within(values, exact, count=5.0):
    values = np.asarray(values)
    error = values.std(ddof=1) / math.sqrt(values.size)
    assert abs(values.mean() - exact) < count * error, (values.mean(), exact, error)


@pytest.fixture(scope="module")
def draws():
    xs, ys = pairs(0, 100, lead=(300,))
    return optimal(xs, ys)


def test_nwj_is_unbiased_and_tight_at_the_optimum(draws):
    got = jax.jit(jax.vmap(information.nwj))(draws + 1)
    within(got.value, EXACT)
    # Away from the optimum it is smaller, by E_q[e^(f-1)] - 1 - E_p[f - f*] for f = f* (shifted).
    other = jax.jit(jax.vmap(information.nwj))(draws + 0.5)
    within(other.value, EXACT - 0.5 - math.exp(-0.5) + 1)
    ratio = np.sqrt(np.mean(got.standard_error**2)) / np.std(got.value)
    assert 0.85 < ratio < 1.25, ratio


def test_donsker_varadhan_is_tight_and_sees_no_constant():
    scores = optimal(*pairs(1, 1000))
    got = donsker_varadhan(scores + 3)
    assert abs(got.value - EXACT) < 5 * got.standard_error
    assert got.standard_error < 0.05
    np.testing.assert_allclose(got, donsker_varadhan(scores), rtol=1e-9)
    assert np.isfinite(donsker_varadhan(scores + 1000).value)
    assert abs(donsker_varadhan(0 * scores).value) < 1e-12


@pytest.mark.slow
def test_infonce_stays_below_log_n_and_the_truth(draws):
    few = draws[:, :4, :4]
    values = jax.jit(jax.vmap(information.infonce))(few).value
    assert np.all(values <= math.log(4))
    assert values.mean() + 5 * values.std() / math.sqrt(300) < EXACT
    many = infonce(optimal(*pairs(2, 1000)))
    assert abs(many.value - EXACT) < 5 * many.standard_error
    rows = jax.random.normal(jax.random.key(3), (1000, 1))
    np.testing.assert_allclose(
        infonce(optimal(*pairs(2, 1000)) + rows).value, many.value, rtol=1e-9
    )
    sure = infonce(100 * jnp.eye(7))
    np.testing.assert_allclose(sure.value, math.log(7), rtol=1e-12)


def test_infonce_by_loops():
    scores = jax.random.normal(jax.random.key(4), (6, 6))
    s = np.asarray(scores)
    exact = np.mean([math.log(6 * math.exp(s[i, i]) / np.exp(s[i]).sum()) for i in range(6)])
    np.testing.assert_allclose(infonce(scores).value, exact, rtol=1e-12)


def test_clipping_bias_of_smile():
    # -log E_q[e^clip(f)] by quadrature, at the optimum.
    clip, r = 0.5, 0.95
    grid = np.linspace(-9, 9, 1501)
    law = scipy.stats.norm.pdf(grid) * (grid[1] - grid[0])
    f = np.asarray(log_ratio(grid[:, None], grid[None], r))
    bias = -math.log(law @ np.exp(np.clip(f, -clip, clip)) @ law)
    scores = optimal(*pairs(5, 1000, r), r)
    got = smile(scores, clip=clip)
    assert abs(got.value + 0.5 * math.log(1 - r**2) - bias) < 5 * got.standard_error
    # Without the diagonal's noise the bias stands out.
    alone = smile(jnp.where(jnp.eye(1000, dtype=bool), 0.0, scores), clip=clip)
    assert abs(alone.value - bias) < 5 * alone.standard_error
    assert abs(bias) > 5 * alone.standard_error
    np.testing.assert_allclose(smile(scores, clip=1e3), donsker_varadhan(scores), rtol=1e-12)


def test_jensen_shannon_is_the_divergence(draws):
    grid = np.linspace(-8, 8, 1201)
    x, y = grid[:, None], grid[None]
    joint = scipy.stats.norm.pdf(x) * scipy.stats.norm.pdf(y, R * x, math.sqrt(1 - R**2))
    apart = scipy.stats.norm.pdf(x) * scipy.stats.norm.pdf(y)
    half = (joint + apart) / 2
    tiny = 1e-300
    kl = lambda p: np.sum(p * np.log((p + tiny) / (half + tiny))) * (grid[1] - grid[0]) ** 2
    exact = (kl(joint) + kl(apart)) / 2
    within(jax.jit(jax.vmap(information.jensen_shannon))(draws).value, exact)
    assert jensen_shannon(1e4 * (2 * jnp.eye(5) - 1)).value == pytest.approx(math.log(2))


@pytest.mark.parametrize("name", ["nwj", "donsker_varadhan", "smile", "jensen_shannon"])
def test_standard_errors_are_jackknives(name):
    fn = globals()[name]
    scores = jax.random.normal(jax.random.key(6), (7, 7))
    keep = [np.delete(np.arange(7), i) for i in range(7)]
    left = np.array([fn(scores[np.ix_(k, k)]).value for k in keep])
    exact = math.sqrt(6 / 7 * np.sum((left - left.mean()) ** 2))
    np.testing.assert_allclose(fn(scores).standard_error, exact, rtol=1e-10)


@pytest.mark.parametrize("name", ["infonce", "nwj", "donsker_varadhan", "smile", "jensen_shannon"])
def test_finite_on_equal_scores_in_float32(name):
    bound = getattr(information, name)
    value, slope = jax.jit(jax.value_and_grad(lambda s: sum(bound(s))))(
        jnp.zeros((4, 4), jnp.float32)
    )
    assert value.dtype == jnp.float32
    assert np.isfinite(value)
    assert np.all(np.isfinite(slope))


def test_entropy_and_reconstruction_meets_the_truth():
    xs, ys = pairs(7, 500)
    law = lambda slope, scale: information.gaussian_reconstruction(ys, slope * xs, scale)
    true = law(R, math.sqrt(1 - R**2))
    bound = jax.jit(lambda q: information.entropy_reconstruction(ys, q))
    for got in (
        bound(true),
        jax.jit(lambda q: information.entropy_reconstruction(ys, q, k=3))(true),
    ):
        assert abs(got.value - EXACT) < 5 * got.standard_error
    # Another conditional loses its divergence from the true one.
    for slope, scale in ((0.4, 0.6), (R, 1.0), (0.0, 1.0)):
        lost = math.log(scale / 0.6) + (0.36 + (R - slope) ** 2) / (2 * scale**2) - 0.5
        got = bound(law(slope, scale))
        assert abs(got.value - EXACT + lost) < 5 * got.standard_error
        assert got.value < EXACT + 5 * got.standard_error
        assert lost > 0.1


def test_gaussian_reconstruction_is_a_log_density():
    ys, means = (jax.random.normal(jax.random.key(s), (5, 2, 3)) for s in (8, 9))
    exact = scipy.stats.norm.logpdf(ys, means, 0.7).sum((1, 2))
    np.testing.assert_allclose(
        information.gaussian_reconstruction(ys, means, 0.7), exact, rtol=1e-12
    )


@pytest.mark.parametrize(("d", "concentration"), [(2, 1.3), (3, 40.0), (6, 5.0)])
def test_von_mises_fisher_against_scipy(d, concentration):
    rng = np.random.RandomState(0)
    ys, means = rng.randn(2, 5, d)
    ys = ys / np.linalg.norm(ys, axis=1, keepdims=True)
    unit = means / np.linalg.norm(means, axis=1, keepdims=True)
    exact = [
        scipy.stats.vonmises_fisher(m, concentration).logpdf(y)
        for m, y in zip(unit, ys, strict=True)
    ]
    got = information.vmf_reconstruction(jnp.asarray(ys), jnp.asarray(means), concentration)
    np.testing.assert_allclose(got, np.ravel(exact), rtol=1e-10)
    uniform = information.vmf_reconstruction(jnp.asarray(ys), jnp.asarray(means), 0.0)
    np.testing.assert_allclose(np.exp(-uniform), 2 * np.pi ** (d / 2) / math.gamma(d / 2))


def test_entropy_and_reconstruction_on_the_sphere():
    # x uniform on the sphere, y von Mises-Fisher around it: y is uniform, and in three dimensions
    # I = log(4 pi) + E log q = log(kappa / sinh kappa) + kappa coth kappa - 1.
    kappa, n = 6.0, 500
    exact = math.log(kappa / math.sinh(kappa)) + kappa / math.tanh(kappa) - 1
    key_x, key_t, key_y = jax.random.split(jax.random.key(12), 3)
    unit = lambda v: v / jnp.linalg.norm(v, axis=1, keepdims=True)
    xs = unit(jax.random.normal(key_x, (n, 3)))
    u = jax.random.uniform(key_t, (n, 1))
    cosine = 1 + jnp.log(u + (1 - u) * math.exp(-2 * kappa)) / kappa
    side = jax.random.normal(key_y, (n, 3))
    side = unit(side - jnp.sum(side * xs, axis=1, keepdims=True) * xs)
    ys = cosine * xs + jnp.sqrt(1 - cosine**2) * side

    @jax.jit
    def bound(concentration):
        log_q = information.vmf_reconstruction(ys, xs, concentration)
        left = information.vmf_left_out(ys, 2.0)
        return information.entropy_reconstruction(ys, log_q, log_density=left)

    got = bound(kappa)
    assert abs(got.value - exact) < 5 * got.standard_error
    assert got.standard_error < 0.06
    for wrong in (1.5, 40.0):
        assert bound(wrong).value < exact - 5 * got.standard_error


def test_log_ratio_of_normals():
    # log N(x; 1, 1) / N(x; -0.5, 2²) is quadratic: the fit finds its coefficients.
    xs = 1 + jax.random.normal(jax.random.key(10), (4000,))
    ys = -0.5 + 2 * jax.random.normal(jax.random.key(11), (1000,))
    features = lambda x: jnp.stack([x, x**2])
    fit_to = jax.jit(lambda a, b: information.fit_log_ratio(features, a, b))
    fit = fit_to(xs, ys)
    grid = jnp.linspace(-1.0, 3.0, 9)
    exact = scipy.stats.norm.logpdf(grid, 1, 1) - scipy.stats.norm.logpdf(grid, -0.5, 2)
    assert np.max(np.abs(jax.vmap(fit)(grid) - exact)) < 0.25
    # At the optimum the classifier's mean residual is zero on every feature.
    rows = jax.vmap(features)(jnp.concatenate([xs, ys]))
    chance = jax.nn.sigmoid(jax.vmap(fit)(jnp.concatenate([xs, ys])))
    residual = jnp.concatenate([(1 - chance[:4000]) / 4000, -chance[4000:] / 1000])
    np.testing.assert_allclose(residual @ rows, 0, atol=1e-5)
    np.testing.assert_allclose(residual.sum(), 0, atol=1e-12)
    apart = fit_to(xs + 100, ys)
    assert np.isfinite(apart(jnp.array(50.0)))


def chain(seed, k, c, num):
    """A of a stationary chain, and the joint covariance [(num k), (num k)] of its states."""
    turn = np.linalg.qr(np.random.RandomState(seed).randn(k, k))[0]
    matrix = math.sqrt((c + 1) / c) * turn
    step = c / (c + 1) * matrix
    power = lambda i, j: np.linalg.matrix_power(step, i - j) if i >= j else power(j, i).T
    cov = np.block([[c * power(i, j) for j in range(num)] for i in range(num)])
    return jnp.asarray(matrix), cov


def conditioned(cov, known, values):
    """Mean and covariance of the other coordinates, densely."""
    rest = np.setdiff1d(np.arange(len(cov)), known)
    gain = np.linalg.solve(cov[np.ix_(known, known)], cov[np.ix_(known, rest)]).T
    return gain @ values, cov[np.ix_(rest, rest)] - gain @ cov[np.ix_(known, rest)]


@pytest.mark.parametrize("num", [1, 4])
def test_prediction_and_waypoints_are_those_of_the_chain(num):
    k, c = 3, 1.7
    matrix, cov = chain(0, k, c, num + 2)
    start, end = np.random.RandomState(1).randn(2, k)
    mean, spread = conditioned(cov[: 2 * k, : 2 * k], np.arange(k), start)
    law = information.predict_representation(jnp.asarray(start), matrix, c)
    np.testing.assert_allclose(law.mean, mean, rtol=1e-10)
    np.testing.assert_allclose(law.cov, spread, atol=1e-12)
    known = np.r_[np.arange(k), np.arange(k) + (num + 1) * k]
    mean, spread = conditioned(cov, known, np.r_[start, end])
    path = jax.jit(lambda a, b: information.waypoints(a, b, matrix, c, num=num))
    laws = path(jnp.asarray(start), jnp.asarray(end))
    np.testing.assert_allclose(laws.mean.ravel(), mean, rtol=1e-9)
    for i in range(num):
        block = np.s_[i * k : (i + 1) * k]
        np.testing.assert_allclose(laws.cov[i], spread[block, block], atol=1e-12)


def test_waypoints_of_a_wide_chain_lie_on_a_line():
    path = jax.jit(lambda a, b: information.waypoints(a, b, jnp.eye(2), 1e9, num=3))
    laws = path(jnp.array([0.0, 1.0]), jnp.array([4.0, 5.0]))
    np.testing.assert_allclose(laws.mean, [[1, 2], [2, 3], [3, 4]], rtol=1e-6)


def test_the_critic_is_the_log_ratio_up_to_a_function_of_the_first():
    k, c = 3, 1.7
    matrix, _ = chain(0, k, c, 2)
    first, second = np.random.RandomState(2).randn(2, 6, k)
    critic = -0.5 * np.sum(((first @ np.asarray(matrix).T)[:, None] - second[None]) ** 2, axis=-1)
    law = [information.predict_representation(jnp.asarray(f), matrix, c) for f in first]
    ratio = np.array(
        [
            scipy.stats.multivariate_normal(np.asarray(m), np.asarray(s)).logpdf(second)
            - scipy.stats.multivariate_normal(np.zeros(k), c * np.eye(k)).logpdf(second)
            for m, s in law
        ]
    )
    np.testing.assert_allclose(np.diff(critic - ratio, axis=1), 0, atol=1e-12)


def test_bad_input():
    with pytest.raises(ValueError, match=r"infonce: scores must be \[n, n\] .* got \(3, 2\)"):
        information.infonce(jnp.zeros((3, 2)))
    with pytest.raises(ValueError, match=r"smile: clip must be positive and finite; got -1"):
        information.smile(jnp.zeros((3, 3)), clip=-1)
    with pytest.raises(ValueError, match=r"nwj: scores must be finite; got 9 nan"):
        information.nwj(jnp.full((3, 3), jnp.nan))
    with pytest.raises(ValueError, match=r"log_q must be \[4\]; got shape \(3,\)"):
        information.entropy_reconstruction(jnp.zeros((4, 1)), jnp.zeros(3))
    with pytest.raises(ValueError, match=r"waypoints: num must be a positive integer; got 0"):
        information.waypoints(jnp.zeros(2), jnp.zeros(2), jnp.eye(2), 1.0, num=0)
    with pytest.raises(ValueError, match=r"predict_representation: representations must be \[2\]"):
        information.predict_representation(jnp.zeros(3), jnp.eye(2), 1.0)
    with pytest.raises(ValueError, match=r"fit_log_ratio: xs and ys must have one event shape"):
        information.fit_log_ratio(lambda x: x, jnp.zeros((4, 2)), jnp.zeros((4, 1)))
