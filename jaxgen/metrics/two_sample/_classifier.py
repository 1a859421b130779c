"""The classifier two-sample test: can a classifier tell the samples apart where it has not learned?

Train a classifier on a part of both samples, let it judge the rest. If the laws are equal it is
right half of the time. The number of right answers has two exact laws:

- two held-out parts of one size n: at most as spread as Binomial(2 n, 1/2), whatever the share of
  points that the classifier calls "x" (Hoeffding 1956), so its tail above the mean is a valid
  p-value;
- given how many points it calls "x": hypergeometric, for any sizes. This is the permutation test of
  the accuracy in closed form (Fisher's exact test).

Sources: Lopez-Paz and Oquab 2017, arXiv:1610.06545; Hoeffding 1956, On the distribution of the
number of successes in independent trials; Cheng and Cloninger 2022, arXiv:1909.11298 (the test on
scores themselves).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxgen.kernels import gram
from jaxgen.metrics._clouds import finite, flat

Array = jax.Array
Score = Callable[[Array], Array]  # a point [*event] -> [], positive for "of xs"


class ClassifierTest(NamedTuple):
    """What the held-out scores say of two samples. Source: definition."""

    accuracy: Array  # [], the mean of the two samples' parts of right answers; 1/2 on equal laws
    z: Array  # [], accuracy - 1/2 in its standard deviations on equal laws
    p_binomial: Array  # [], valid for parts of one size; 1 where sizes differ
    p_permutation: Array  # [], of the accuracy, exact, for any sizes
    p_scores: Array  # [], of the difference of mean scores, by random permutations


def classifier_test(
    key: Array, scores_x: Array, scores_y: Array, *, num_permutations: int = 999
) -> ClassifierTest:
    """Accuracy, z-value and exact p-values, a ClassifierTest of [] each, from held-out scores.

    Args:
        key: for the permutations behind p_scores; nothing else is random.
        scores_x: [n], n >= 2, of points of the first sample that the classifier has not learned
            from: positive says "of the first" (a logit).
        scores_y: [m], m >= 2, of the second.
        num_permutations: of the labels; p_scores is at least 1 / (num_permutations + 1).

    All p-values are one-sided: small where the classifier is right too often. A score of 0 counts
    as "of the second". Choose the p-value before looking; the least of three is not one.
    Raises ValueError on shapes that are not [n], fewer than 2 scores or ones that are not finite.
    Source: Lopez-Paz and Oquab 2017, section 3; see the head of the file.
    """
    scores_x, scores_y = jnp.asarray(scores_x), jnp.asarray(scores_y)
    where = "two_sample.classifier_test"
    if scores_x.ndim != 1 or scores_y.ndim != 1 or min(scores_x.size, scores_y.size) < 2:
        raise ValueError(
            f"{where}: scores must be [n] and [m], at least 2 each; "
            f"got {scores_x.shape} and {scores_y.shape}"
        )
    if num_permutations < 1:
        raise ValueError(f"{where}: num_permutations must be at least 1; got {num_permutations}")
    finite(where, "scores_x", scores_x)
    finite(where, "scores_y", scores_y)
    scores = jnp.concatenate([scores_x, scores_y])
    if not jnp.issubdtype(scores.dtype, jnp.floating):
        raise ValueError(f"{where}: scores must be of a floating dtype; got {scores.dtype}")
    n, m, dtype = scores_x.size, scores_y.size, scores.dtype
    right_x, called = jnp.sum(scores_x > 0), jnp.sum(scores > 0)
    right_y = m - (called - right_x)
    accuracy = 0.5 * (right_x.astype(dtype) / n + right_y.astype(dtype) / m)
    # The hypergeometric variance of the right answers among the first n.
    part = called.astype(dtype) / (n + m)
    deviation = 0.5 * jnp.sqrt(part * (1 - part) * (n + m) ** 2 / (n * m * (n + m - 1.0)))
    varies = deviation > 0
    z = jnp.where(varies, (accuracy - 0.5) / jnp.where(varies, deviation, 1), 0)
    return ClassifierTest(
        accuracy,
        z.astype(dtype),
        _binomial(right_x + right_y, n + m, dtype) if n == m else jnp.ones((), dtype),
        _hypergeometric(right_x, called, n, m, dtype),
        _shuffled(key, scores, n, num_permutations),
    )


def _binomial(right, count, dtype):
    """P(Binomial(count, 1/2) >= right), or 1 where `right` is below the mean plus 1: no bound."""
    above = 2 * right >= count + 2
    c = jnp.where(above, right, count).astype(dtype)
    tail = jax.scipy.special.betainc(c, count - c + 1, jnp.asarray(0.5, dtype))
    return jnp.where(above, tail, 1)


def _hypergeometric(right, called, n, m, dtype):
    """P(X >= right), X the number of the first n among `called` drawn without replacement."""
    k = jnp.arange(n + 1)
    log_choose = lambda total, k: (
        -(jax.scipy.special.gammaln(k + 1.0) + jax.scipy.special.gammaln(total - k + 1.0))
    )
    possible = (k <= called) & (called - k <= m)
    rest = jnp.where(possible, called - k, 0)
    log_p = jnp.where(possible, log_choose(n, k) + log_choose(m, rest), -jnp.inf)
    p = jax.nn.softmax(log_p).astype(dtype)
    return jnp.minimum(jnp.sum(jnp.where(k >= right, p, 0)), 1)


def _shuffled(key, scores, n, num_permutations):
    """The permutation p-value of the sum of the first n scores."""
    slack = 4 * jnp.finfo(scores.dtype).eps * jnp.sum(jnp.abs(scores))  # equal sums stay equal
    seen = jnp.sum(scores[:n]) - slack
    total = lambda i: jnp.sum(jax.random.permutation(jax.random.fold_in(key, i), scores)[:n])
    totals = jax.lax.map(total, jnp.arange(num_permutations), batch_size=min(num_permutations, 128))
    return ((1 + jnp.sum(totals >= seen)) / (num_permutations + 1)).astype(scores.dtype)


def learned_test(
    key: Array,
    xs: Array,
    ys: Array,
    fit: Callable[[Array, Array], Score],
    *,
    train: float = 0.5,
    num_permutations: int = 999,
) -> ClassifierTest:
    """Splits both samples, fits a classifier to one part and tests on the other: a ClassifierTest.

    The parts are disjoint by construction: `fit` never sees what is judged. Equal points (copies
    within a sample) may fall on both sides; remove them first.

    Args:
        key: for the split and the permutations.
        xs: [n, *event].
        ys: [m, *event].
        fit: (xs [a, *event], ys [b, *event]) -> score, and score(point [*event]) -> [], positive
            for points of xs: `ridge_classifier(kernel)`, or training code of your own.
        train: the part of each sample that is learned from, in (0, 1).
        num_permutations: see `classifier_test`.

    Raises ValueError on unequal event shapes, a part outside (0, 1), or fewer than 2 points in a
    part.
    Source: Lopez-Paz and Oquab 2017, section 3.
    """
    where = "two_sample.learned_test"
    event = jnp.shape(xs)[1:]
    xs, ys = (a.reshape(-1, *event) for a in flat(where, xs, ys, least=4))
    if not 0 < train < 1:
        raise ValueError(f"{where}: train must be in (0, 1); got {train}")
    key_x, key_y, key_test = jax.random.split(key, 3)
    parts = []
    for key_split, points in ((key_x, xs), (key_y, ys)):
        count = round(train * points.shape[0])
        if not 2 <= count <= points.shape[0] - 2:
            raise ValueError(
                f"{where}: both parts must hold at least 2 points; "
                f"got {count} and {points.shape[0] - count}"
            )
        mixed = jax.random.permutation(key_split, points)
        parts.append((mixed[:count], mixed[count:]))
    (train_x, held_x), (train_y, held_y) = parts
    score = jax.vmap(fit(train_x, train_y))
    return classifier_test(
        key_test, score(held_x), score(held_y), num_permutations=num_permutations
    )


def ridge_classifier(
    kernel: Callable[[Array, Array], Array], *, ridge: float = 0.1
) -> Callable[[Array, Array], Score]:
    """A classifier without training: kernel ridge regression on labels +1 and -1, as a `fit`.

    fit(xs [n, *event], ys [m, *event]) -> score, score(point [*event]) -> []. Both samples weigh
    the same, and a constant is fitted without a penalty; `kernels.polynomial(1)` makes it linear.

    Args:
        kernel: (x [*event], y [*event]) -> [].
        ridge: the penalty, in units of the number of points.

    Raises ValueError unless the penalty is positive.
    Source: Rasmussen and Williams 2006, section 6.5 (least-squares classification).
    """
    if not isinstance(ridge, jax.core.Tracer) and not ridge > 0:
        raise ValueError(f"two_sample.ridge_classifier: ridge must be positive; got {ridge}")

    def fit(xs, ys):
        points = jnp.concatenate([xs, ys])
        n, m = xs.shape[0], ys.shape[0]
        size = jnp.concatenate([jnp.full(n, 0.5 / n), jnp.full(m, 0.5 / m)]).astype(points.dtype)
        labels = jnp.concatenate([jnp.ones(n), -jnp.ones(m)]).astype(points.dtype)
        # Weighted least squares: (K + ridge W⁻¹) a = labels - c, and 1ᵀ a = 0 from the constant.
        system = gram(kernel, points, points) + jnp.diag(ridge / size)
        factor = jnp.linalg.cholesky(system)
        solve = lambda b: jax.scipy.linalg.cho_solve((factor, True), b)
        ones = solve(jnp.ones_like(labels))
        constant = (ones @ labels) / jnp.sum(ones)
        a = solve(labels - constant)
        return lambda point: a @ jax.vmap(lambda p: kernel(p, point))(points) + constant

    return fit
