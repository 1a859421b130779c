"""The classifier two-sample test: exact p-values, and honesty where the laws are equal."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from jaxgen import kernels
from jaxgen.metrics import two_sample

judge = jax.jit(two_sample.classifier_test, static_argnames="num_permutations")


def scores(right, wrong):
    return jnp.concatenate([jnp.full(right, 0.7), jnp.full(wrong, -0.4)])


@pytest.mark.parametrize(("n", "m", "hits", "misses"), [(30, 30, 21, 9), (25, 40, 14, 11)])
def test_p_values_are_those_of_the_textbook(n, m, hits, misses):
    found = judge(jax.random.key(0), scores(hits, n - hits), scores(misses, m - misses))
    table = [[hits, n - hits], [misses, m - misses]]
    exact = scipy.stats.fisher_exact(table, alternative="greater").pvalue
    np.testing.assert_allclose(found.p_permutation, exact, rtol=1e-10)
    if n == m:
        exact = scipy.stats.binomtest(hits + m - misses, 2 * n, alternative="greater").pvalue
        np.testing.assert_allclose(found.p_binomial, exact, rtol=1e-10)
    else:
        assert found.p_binomial == 1
    np.testing.assert_allclose(found.accuracy, 0.5 * (hits / n + 1 - misses / m), rtol=1e-12)
    # By scores of two values, the permutation test of the mean is that of the accuracy.
    error = np.sqrt(found.p_permutation * (1 - found.p_permutation) / 1000)
    assert abs(found.p_scores - found.p_permutation) < 5 * error + 1e-3


def test_the_z_value_has_unit_variance_over_permutations():
    rng = np.random.RandomState(0)
    pool = np.where(rng.rand(24) < 0.3, 1.0, -1.0)
    exact = [
        judge(jax.random.key(0), pool[p[:9]], pool[p[9:]], num_permutations=1).z
        for p in (rng.permutation(24) for _ in range(800))
    ]
    assert abs(np.mean(exact)) < 5 / np.sqrt(800)
    np.testing.assert_allclose(np.var(exact), 1, atol=5 * np.sqrt(2 / 800))


@pytest.mark.slow
def test_equal_laws_reject_no_more_than_they_may():
    # A classifier that calls two thirds "x" whatever they are; small sizes, the discrete case.
    def p_values(key):
        key_x, key_y, key_test = jax.random.split(key, 3)
        draw = lambda k: jax.random.normal(k, (16,)) + 0.43
        found = two_sample.classifier_test(key_test, draw(key_x), draw(key_y), num_permutations=39)
        return found.p_binomial, found.p_permutation, found.p_scores

    found = np.array(jax.jit(jax.vmap(p_values))(jax.random.split(jax.random.key(1), 2000)))
    for level in (0.05, 0.2):
        rates = np.mean(found <= level, axis=1)
        slack = 5 * np.sqrt(level * (1 - level) / 2000)
        assert np.all(rates < level + slack), rates
        assert abs(rates[2] - level) < slack  # continuous scores: exact


def clouds(key, n, d, shift):
    key_x, key_y = jax.random.split(key)
    return jax.random.normal(key_x, (n, d)), jax.random.normal(key_y, (n, d)) + shift


def test_ridge_classifier_is_least_squares():
    # The linear kernel (x y + 1): the solution of the penalised problem, by its normal equations.
    xs, ys = (np.asarray(a) for a in clouds(jax.random.key(2), 12, 1, 0.8))
    ys = ys[:7]
    kernel = lambda x, y: jnp.sum(x * y)
    score = two_sample.ridge_classifier(kernel, ridge=0.3)(jnp.asarray(xs), jnp.asarray(ys))
    x = np.concatenate([xs[:, 0], ys[:, 0]])
    w = np.concatenate([np.full(12, 0.5 / 12), np.full(7, 0.5 / 7)])
    labels = np.where(np.arange(19) < 12, 1.0, -1.0)
    design = np.stack([x, np.ones(19)], axis=1)
    solved = np.linalg.solve(
        design.T @ (w[:, None] * design) + np.diag([0.3, 0]), design.T @ (w * labels)
    )
    np.testing.assert_allclose(score(jnp.array([0.4])), solved @ [0.4, 1], rtol=1e-10)


def test_shifted_laws_are_told_apart_and_equal_ones_not():
    fit = two_sample.ridge_classifier(kernels.polynomial(1))
    test = jax.jit(functools.partial(two_sample.learned_test, fit=fit))
    shifted = test(jax.random.key(3), *clouds(jax.random.key(4), 200, 5, 0.7))
    # The best linear rule is right with probability Phi(0.7 sqrt(5) / 2).
    best = scipy.stats.norm.cdf(0.7 * np.sqrt(5) / 2)
    assert best - 5 * np.sqrt(best * (1 - best) / 200) < shifted.accuracy < best + 0.1
    assert max(shifted.p_binomial, shifted.p_permutation, shifted.p_scores) < 2e-3
    equal = test(jax.random.key(6), *clouds(jax.random.key(5), 200, 5, 0.0))
    assert min(equal.p_binomial, equal.p_permutation, equal.p_scores) > 0.01


def test_the_parts_are_disjoint_and_whole():
    learned, held = [], []

    def score(point):
        jax.debug.callback(lambda p: held.append(float(p)), point[0])
        return point[0]

    def fit(xs, ys):
        learned.extend([xs, ys])
        return score

    xs, ys = jnp.arange(1.0, 11)[:, None], -jnp.arange(1.0, 13)[:, None]
    found = two_sample.learned_test(
        jax.random.key(0), xs, ys, fit, train=0.4, num_permutations=1
    )  # fmt: skip
    jax.effects_barrier()
    assert found.accuracy == 1  # a point's score is its sign
    assert [part.shape for part in learned] == [(4, 1), (5, 1)]
    used = np.concatenate(learned).ravel().tolist()
    assert sorted(used + held) == sorted(np.concatenate([xs, ys]).ravel().tolist())


def test_constant_scores_say_nothing():
    found = judge(jax.random.key(0), jnp.zeros(5), jnp.zeros(5))
    assert found == (0.5, 0, 1, 1, 1)


def test_float32_is_kept():
    rng = np.random.RandomState(0)
    x, y = rng.randn(300) + 0.3, rng.randn(300)
    single = judge(jax.random.key(0), jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32))
    double = judge(jax.random.key(0), jnp.asarray(x), jnp.asarray(y))
    assert {a.dtype for a in single} == {jnp.dtype("float32")}
    np.testing.assert_allclose(single.p_permutation, double.p_permutation, rtol=1e-3)
    np.testing.assert_allclose(single.p_binomial, double.p_binomial, rtol=1e-3)


def test_bad_input():
    key, fit = jax.random.key(0), lambda xs, ys: lambda p: p[0]
    with pytest.raises(ValueError, match=r"scores must be \[n\] and \[m\], at least 2 each"):
        two_sample.classifier_test(key, jnp.ones((2, 1)), jnp.ones(3))
    with pytest.raises(ValueError, match="scores_y must be finite"):
        two_sample.classifier_test(key, jnp.ones(2), jnp.array([1.0, jnp.nan]))
    with pytest.raises(ValueError, match="num_permutations must be at least 1"):
        two_sample.classifier_test(key, jnp.ones(2), jnp.ones(2), num_permutations=0)
    with pytest.raises(ValueError, match=r"train must be in \(0, 1\); got 1"):
        two_sample.learned_test(key, jnp.ones((5, 1)), jnp.ones((5, 1)), fit, train=1)
    with pytest.raises(ValueError, match="both parts must hold at least 2 points; got 4 and 1"):
        two_sample.learned_test(key, jnp.ones((5, 1)), jnp.ones((5, 1)), fit, train=0.8)
    with pytest.raises(ValueError, match="ridge must be positive"):
        two_sample.ridge_classifier(kernels.rbf(), ridge=0.0)
