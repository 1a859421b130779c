import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
import sklearn.covariance
import sklearn.discriminant_analysis
import sklearn.linear_model
import sklearn.metrics

from jaxgen.metrics import outliers

fit = jax.jit(outliers.tied_gaussian, static_argnames=("num_classes", "shrinkage", "keep", "end"))
distances = jax.jit(jax.vmap(outliers.mahalanobis, (None, 0)))
MEANS = np.array([[0.0, 0, 0, 0], [4.0, 1, 0, 0], [0, -3.0, 2, 1]])
ROOT = np.array([[1.0, 0, 0, 0], [0.5, 0.8, 0, 0], [0, -0.3, 2.0, 0], [0.2, 0, 0.4, 0.1]])


def features(seed, n):
    """Three Gaussian classes of unequal weight and one covariance."""
    rng = np.random.RandomState(seed)
    labels = rng.choice(3, n, p=[0.5, 0.3, 0.2])
    return jnp.asarray(MEANS[labels] + rng.randn(n, 4) @ ROOT.T), jnp.asarray(labels)


def law_of(seed=0, n=600, **options):
    xs, labels = features(seed, n)
    return fit(xs, labels, num_classes=3, **options)


@pytest.mark.parametrize(("n", "d"), [(30, 4), (8, 20), (500, 3)])
def test_ledoit_wolf_is_scikit_learns(n, d):
    xs = np.random.RandomState(n).randn(n, d) @ np.diag(np.linspace(0.1, 3, d)) + 5
    cov, shrinkage = jax.jit(outliers.ledoit_wolf)(jnp.asarray(xs))
    expected = sklearn.covariance.LedoitWolf().fit(xs)
    np.testing.assert_allclose(shrinkage, expected.shrinkage_, rtol=1e-11)
    np.testing.assert_allclose(cov, expected.covariance_, atol=1e-12)


def test_the_fit_by_definition():
    xs, labels = features(1, 200)
    law = fit(xs, labels, num_classes=4, shrinkage=0.1)  # the fourth has no points
    x, c = np.asarray(xs), np.asarray(labels)
    away = x - np.stack([x[c == k].mean(0) for k in range(3)])[c]
    cov = away.T @ away / 200
    cov = 0.9 * cov + 0.1 * np.trace(cov) / 4 * np.eye(4)
    np.testing.assert_allclose(law.whiten.T @ law.whiten, np.linalg.inv(cov), rtol=1e-10)
    np.testing.assert_allclose(np.exp(law.log_weights), np.bincount(c, minlength=4) / 200)
    point = np.array([0.3, -1.0, 0.2, 0.0])
    gap = point - np.asarray(law.means)
    exact = np.einsum("kd,de,ke->k", gap, np.linalg.inv(cov), gap)
    np.testing.assert_allclose(outliers.class_distances(law, point), exact, rtol=1e-11)
    np.testing.assert_allclose(outliers.mahalanobis(law, point), exact[:3].min(), rtol=1e-11)
    # In features far from the origin the distances keep their digits.
    far = fit(xs + 1e6, labels, num_classes=4, shrinkage=0.1)
    np.testing.assert_allclose(outliers.class_distances(far, point + 1e6)[:3], exact[:3], rtol=1e-5)


def test_distance_of_the_true_class_is_chi_squared():
    law, (xs, labels) = law_of(n=100_000, shrinkage=0.0), features(2, 3000)
    each = jax.jit(jax.vmap(outliers.class_distances, (None, 0)))(law, xs)
    mine = np.asarray(each)[np.arange(3000), labels]
    assert scipy.stats.kstest(mine, scipy.stats.chi2(4).cdf).pvalue > 1e-4
    assert scipy.stats.kstest(mine, scipy.stats.chi2(3).cdf).pvalue < 1e-12  # it has the power


def test_posterior_is_the_softmax_of_gaussian_discriminant_analysis():
    law, (xs, labels) = law_of(shrinkage=0.2), features(3, 50)
    got = jax.jit(jax.vmap(outliers.class_posterior, (None, 0)))(law, xs)
    precision, means = np.asarray(law.whiten.T @ law.whiten), np.asarray(law.means)
    weights = means @ precision
    bias = np.asarray(law.log_weights) - np.einsum("kd,kd->k", weights, means) / 2
    exact = jax.nn.log_softmax(jnp.asarray(np.asarray(xs) @ weights.T + bias))
    np.testing.assert_allclose(jnp.exp(got), jnp.exp(exact), atol=1e-12)
    plain, (xs, labels) = law_of(shrinkage=0.0), features(0, 600)
    lda = sklearn.discriminant_analysis.LinearDiscriminantAnalysis(solver="lsqr").fit(xs, labels)
    got = jax.jit(jax.vmap(outliers.class_posterior, (None, 0)))(plain, xs)
    np.testing.assert_allclose(np.exp(got), lda.predict_proba(np.asarray(xs)), atol=1e-9)


def test_auroc_of_a_shifted_gaussian():
    rng = np.random.RandomState(4)
    shift = 0.8
    scores = rng.randn(400, 60), rng.randn(400, 40) + shift
    got = jax.jit(jax.vmap(outliers.auroc))(*map(jnp.asarray, scores))
    exact, error = scipy.stats.norm.cdf(shift / np.sqrt(2)), np.std(got.value) / 20
    assert abs(np.mean(got.value) - exact) < 5 * error
    ratio = np.sqrt(np.mean(got.standard_error**2)) / np.std(got.value)
    assert 0.85 < ratio < 1.2
    rate = jax.jit(outliers.false_positive_rate, static_argnames="accepted")
    large = jnp.asarray(rng.randn(20_000)), jnp.asarray(rng.randn(20_000) + shift)
    exact = scipy.stats.norm.cdf(scipy.stats.norm.isf(0.1) - shift)
    assert abs(rate(*large, accepted=0.9) - exact) < 5 * np.sqrt(0.25 * 2 / 20_000)


def test_auroc_and_rate_are_scikit_learns_with_ties():
    rng = np.random.RandomState(5)
    inside, outside = np.round(rng.randn(37), 1), np.round(rng.randn(23) + 0.5, 1)
    truth, scores = np.repeat([0, 1], [37, 23]), np.concatenate([inside, outside])
    got = outliers.auroc(jnp.asarray(inside), jnp.asarray(outside)).value
    np.testing.assert_allclose(got, sklearn.metrics.roc_auc_score(truth, scores), rtol=1e-14)
    # Inliers are the positives: they score low.
    wrong, right, _ = sklearn.metrics.roc_curve(1 - truth, -scores, drop_intermediate=False)
    got = outliers.false_positive_rate(jnp.asarray(inside), jnp.asarray(outside))
    np.testing.assert_allclose(got, wrong[np.argmax(right >= 0.95)], rtol=1e-14)
    assert outliers.false_positive_rate(jnp.arange(20.0), jnp.array([18.0, 18.5])) == 0.5


def test_thresholds_are_chi_squared_quantiles():
    threshold = jax.jit(outliers.distance_threshold, static_argnames="dims")
    for dims in (1, 7, 1000):
        for rate in (1e-100, 1e-12, 0.05, 0.5, 0.999):
            exact = scipy.stats.chi2.isf(rate, dims)
            np.testing.assert_allclose(threshold(rate, dims), exact, rtol=1e-11)
    slope = jax.jit(jax.grad(lambda rate: outliers.distance_threshold(rate, 7)))(0.1)
    at = scipy.stats.chi2.isf(0.1, 7)
    np.testing.assert_allclose(slope, -1 / scipy.stats.chi2.pdf(at, 7), rtol=1e-10)
    with jax.enable_x64(False):
        single = threshold(jnp.float32(1e-4), 7)
        assert single.dtype == jnp.float32
        np.testing.assert_allclose(single, scipy.stats.chi2.isf(1e-4, 7), rtol=1e-5)


@pytest.mark.parametrize("keep", [None, 2])
def test_the_false_positive_rate_is_the_nominal_one(keep):
    rng = np.random.RandomState(6)
    xs = jnp.asarray(rng.randn(50_000, 4) @ ROOT.T + 3)
    law = fit(xs, shrinkage=0.0, keep=keep)
    new, rate = 20_000, 0.03
    got = distances(law, jnp.asarray(rng.randn(new, 4) @ ROOT.T + 3))
    share = np.mean(np.asarray(got) > outliers.distance_threshold(rate, keep or 4))
    # Fitting moves the share by far less than the binomial error.
    assert abs(share - rate) < 5 * np.sqrt(rate * (1 - rate) / new)


def test_low_variance_components_both_ways():
    """Outliers along directions of little variance are seen by NPCA, of much by PCA."""
    rng = np.random.RandomState(7)
    sd = np.array([5.0, 3.0, 0.3, 0.1])
    turn = np.linalg.qr(rng.randn(4, 4))[0]
    draw = lambda n, moved: jnp.asarray((rng.randn(n, 4) * sd + moved) @ turn.T)
    inside, new = draw(2000, 0), draw(500, 0)
    low, high = (fit(inside, shrinkage=0.0, keep=2, end=end) for end in ("low", "high"))
    np.testing.assert_allclose(np.sqrt(low.variances), [0.1, 0.3], rtol=0.1)
    np.testing.assert_allclose(np.sqrt(high.variances), [3.0, 5.0], rtol=0.1)
    both = lambda moved: [
        float(outliers.auroc(distances(law, new), distances(law, draw(500, moved))).value)
        for law in (low, high)
    ]
    npca, pca = both(np.array([0, 0, 0.9, 0.3]))
    assert npca > 0.9
    assert abs(pca - 0.5) < 0.1
    npca, pca = both(np.array([15.0, 9.0, 0, 0]))
    assert abs(npca - 0.5) < 0.1
    assert pca > 0.9
    # The two halves make the whole.
    whole = fit(inside, shrinkage=0.0)
    np.testing.assert_allclose(
        distances(low, new) + distances(high, new), distances(whole, new), rtol=1e-9
    )


def test_singular_covariances_are_legal():
    xs = np.random.RandomState(8).randn(30, 3)
    flat = jnp.asarray(np.concatenate([xs, xs[:, :1]], 1))  # the last repeats the first
    law = fit(flat, shrinkage=0.0)
    got = distances(law, flat)
    np.testing.assert_allclose(got, distances(fit(jnp.asarray(xs), shrinkage=0.0), xs), rtol=1e-9)
    along = flat[0] + jnp.array([1.0, 0, 0, -1.0])  # no inlier ever moves so: it does not count
    np.testing.assert_allclose(outliers.mahalanobis(law, along), got[0], rtol=1e-9)
    seen = fit(flat, shrinkage=0.01)
    assert outliers.mahalanobis(seen, along) > outliers.mahalanobis(seen, flat[0]) + 50
    equal = jnp.ones((5, 3))
    for shrinkage in (None, 0.0, 0.3):
        law = fit(equal, shrinkage=shrinkage)
        assert outliers.mahalanobis(law, jnp.array([1.0, 2.0, 3.0])) == 0
    slope = jax.grad(outliers.mahalanobis, argnums=1)(law, jnp.array([1.0, 2.0, 3.0]))
    assert jnp.all(slope == 0)


def test_nudge_and_combination():
    law = law_of(shrinkage=0.0)
    score, x = functools.partial(outliers.mahalanobis, law), jnp.array([1.0, -0.5, 0.3, 0.2])
    precision = np.asarray(law.whiten.T @ law.whiten)
    nearest = np.argmin(outliers.class_distances(law, x))
    slope = 2 * precision @ (np.asarray(x) - np.asarray(law.means)[nearest])
    moved = outliers.nudge(score, x, 1e-3)
    np.testing.assert_allclose(moved, x - 1e-3 * np.sign(slope), rtol=1e-12)
    assert score(moved) < score(x)
    rng = np.random.RandomState(9)
    inside, outside = rng.randn(80, 2) * [1, 10], rng.randn(60, 2) * [1, 10] + [1, 5]
    rows = jnp.asarray(np.concatenate([inside, np.full((80, 1), 3.0)], 1))
    more = jnp.asarray(np.concatenate([outside, np.full((60, 1), 3.0)], 1))
    combine = jax.jit(outliers.combination)
    weights, offset = combine(rows, more, ridge=1e-9)
    oracle = sklearn.linear_model.LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(
        np.concatenate([inside, outside]), np.repeat([0, 1], [80, 60])
    )
    np.testing.assert_allclose(weights, [*oracle.coef_[0], 0], rtol=1e-3)
    np.testing.assert_allclose(offset, oracle.intercept_[0], rtol=1e-3)
    # With a ridge the slope vanishes: of the mean loss, and of the penalty on weights times sd.
    weights, offset = combine(rows, more, ridge=0.2)
    both = np.concatenate([inside, outside])
    odds = both @ np.asarray(weights)[:2] + float(offset)
    residual = 1 / (1 + np.exp(-odds)) - np.repeat([0, 1], [80, 60])
    unit = (both - both.mean(0)) / both.std(0)
    penalty = 0.2 * np.asarray(weights)[:2] * both.std(0)
    np.testing.assert_allclose(unit.T @ residual / 140, -penalty, rtol=1e-5)
    apart = jax.jit(outliers.combination)(rows[:, :1], rows[:, :1] + 100)  # separable
    assert all(jnp.all(jnp.isfinite(part)) for part in apart)


@pytest.mark.usefixtures("x32")
def test_single_precision():
    xs, labels = features(10, 100)
    law = fit(xs.astype(jnp.float32), labels, num_classes=3)
    got = distances(law, xs.astype(jnp.float32))
    assert got.dtype == jnp.float32
    assert outliers.class_posterior(law, xs[0].astype(jnp.float32)).dtype == jnp.float32
    assert jnp.all(jnp.isfinite(got))
    assert outliers.auroc(got, got + 1).value.dtype == jnp.float32


def test_bad_input():
    xs, y = jnp.ones((4, 2)), jnp.array([0, 1, 0, 1])
    key, rate = jax.random.key(0), outliers.distance_threshold
    for call, message in [
        (lambda: outliers.tied_gaussian(xs, y, num_classes=1), "labels must be in"),
        (lambda: outliers.tied_gaussian(xs, y - 1, num_classes=2), "labels must be in"),
        (lambda: outliers.tied_gaussian(xs, y[:2], num_classes=2), "labels must be whole"),
        (lambda: outliers.tied_gaussian(xs[:1]), "n >= 2"),
        (lambda: outliers.tied_gaussian(xs / 0), "finite"),
        (lambda: outliers.tied_gaussian(xs, keep=3), "keep"),
        (lambda: outliers.tied_gaussian(xs, end="middle"), "end"),
        (lambda: outliers.tied_gaussian(xs, shrinkage=1.5), "shrinkage"),
        (lambda: outliers.ledoit_wolf(y), "ledoit_wolf"),
        (lambda: outliers.mahalanobis(outliers.tied_gaussian(xs), jnp.ones(3)), "x must be"),
        (lambda: rate(0.0, 3), "rate"),
        (lambda: rate(0.1, 0), "dims"),
        (lambda: outliers.auroc(xs, xs), "scores must be"),
        (lambda: outliers.auroc(xs[:1, 0], xs[:, 0]), "at least 2"),
        (lambda: outliers.false_positive_rate(xs[:, 0], xs[:, 0], accepted=0.0), "accepted"),
        (lambda: outliers.combination(xs, xs[:, :1]), "event shape"),
        (lambda: outliers.combination(xs, xs, ridge=0.0), "ridge"),
        (lambda: outliers.norm_family(key, xs, 1.0), "above 1"),
        (lambda: outliers.norm_family(key, xs[0], 2.0), "means must be"),
        (lambda: outliers.norm_family(key, xs, 2.0, weights=jnp.zeros(4)), "weights"),
        (lambda: outliers.norm_divergence(xs[0], xs[0, :1], 2.0), "norm_divergence"),
        (lambda: outliers.partition(key, xs[0], 2.0, samples=1), "samples"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
