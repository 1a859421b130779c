import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.metrics import calibration

error = jax.jit(
    calibration.calibration_error, static_argnames=("norm", "bins", "spacing", "estimator")
)
ks_error = jax.jit(calibration.kolmogorov_smirnov_error)


def draws(seed, probs, repeats):
    """Outcomes [repeats, n] of these chances [n]."""
    u = np.random.RandomState(100 + seed).uniform(size=(repeats, len(probs)))
    return jnp.asarray((u < np.asarray(probs)).astype(int))


@functools.cache
def calibrated(n=400, repeats=1500, seed=0):
    """Fixed probabilities, skewed to the left, and outcomes that come as often as they say."""
    probs = jnp.asarray(np.random.RandomState(seed).beta(0.8, 1.7, n))
    return probs, draws(seed, probs, repeats)


def within(values, exact, count=5.0):
    values = np.asarray(values)
    spread = values.std(ddof=1) / np.sqrt(values.size)
    assert abs(values.mean() - exact) < count * spread, (values.mean(), exact, spread)
    return spread


def estimates(probs, outcomes, **options):
    return jax.jit(
        jax.vmap(lambda y: calibration.calibration_error(probs, y, **options)),
    )(outcomes)


def twin(probs, outcomes, norm, bins):
    """Bins of equal width by a loop."""
    total = 0.0
    for b in range(bins):
        inside = [
            (p, y)
            for p, y in zip(probs, outcomes, strict=True)
            if b == min(int(p * bins), bins - 1)
        ]
        if inside:
            gap = np.mean([y - p for p, y in inside])
            total += len(inside) / len(probs) * abs(gap) ** norm
    return total


@pytest.mark.parametrize("norm", [1, 2])
def test_plugin_by_loops(norm):
    probs, outcomes = calibrated()
    got = error(probs, outcomes[0], norm=norm, bins=7, estimator="plugin").value
    np.testing.assert_allclose(got, twin(probs, outcomes[0], norm, 7), rtol=1e-12)


def test_debiased_by_loops():
    probs, outcomes = calibrated(40, 3)
    y = np.asarray(outcomes[0])
    d, place = y - np.asarray(probs), np.minimum((np.asarray(probs) * 3).astype(int), 2)
    squares, firsts = 0.0, 0.0
    for b in range(3):
        mine = np.flatnonzero(place == b)
        mine = mine[np.argsort(np.asarray(probs)[mine], kind="stable")]
        n = len(mine)
        pairs = sum(d[i] * d[j] for i in mine for j in mine if i != j) / (n * (n - 1))
        squares += n / 40 * pairs
        one, other = d[mine[::2]].mean(), d[mine[1::2]].mean()
        firsts += n / 40 * (one * np.sign(other) + other * np.sign(one)) / 2
    np.testing.assert_allclose(error(probs, y, norm=2, bins=3).value, squares, rtol=1e-12)
    np.testing.assert_allclose(error(probs, y, norm=1, bins=3).value, firsts, rtol=1e-12)


def test_the_bias_of_one_bin_is_the_known_one():
    n, p = 500, 0.3
    probs = jnp.full(n, p)
    known = np.sqrt(p * (1 - p) / n) * np.sqrt(2 / np.pi)
    formula = calibration.bias_when_calibrated(probs, bins=10)
    np.testing.assert_allclose(formula, known, rtol=1e-12)
    outcomes = draws(4, np.full(n, p), 4000)
    within(estimates(probs, outcomes, bins=10, estimator="plugin").value, known)


@pytest.mark.parametrize("spacing", ["width", "mass"])
@pytest.mark.parametrize("norm", [1, 2])
def test_calibrated_predictors(norm, spacing):
    """The plug-in's bias is the formula's, and the debiased form has none."""
    probs, outcomes = calibrated()
    options = {"norm": norm, "bins": 8, "spacing": spacing}
    plugin = estimates(probs, outcomes, estimator="plugin", **options)
    bias = calibration.bias_when_calibrated(probs, **options)
    spread = within(plugin.value, bias)
    assert bias > 20 * spread  # so the bias was seen
    debiased = estimates(probs, outcomes, **options)
    within(debiased.value, 0.0)
    for each in (plugin, debiased):
        ratio = np.sqrt(np.mean(np.square(each.standard_error))) / np.std(each.value)
        assert 0.9 < ratio < (1.8 if norm == 2 else 1.25), ratio


@pytest.mark.parametrize("norm", [1, 2])
def test_planted_gaps(norm):
    """Events come at p + gap in each of three bins: the truth is known."""
    n, repeats = 600, 2000
    rng = np.random.RandomState(1)
    probs = jnp.asarray(rng.uniform(0, 1, n))
    place = np.minimum((np.asarray(probs) * 3).astype(int), 2)
    gaps = np.array([0.12, 0.05, -0.2])
    true = np.asarray(probs) + gaps[place]
    true = jnp.asarray(np.clip(true, 0.0, 1.0))
    outcomes = draws(2, true, repeats)
    centre = [np.mean(np.asarray(true - probs)[place == b]) for b in range(3)]
    share = np.bincount(place) / n
    exact = np.sum(share * np.abs(centre) ** norm)
    debiased = estimates(probs, outcomes, norm=norm, bins=3)
    plugin = estimates(probs, outcomes, norm=norm, bins=3, estimator="plugin")
    if norm == 2:
        # Given the probabilities, events of unlike chances in a bin vary less than the sample does.
        d = np.asarray(true - probs)
        unlike = sum(np.var(d[place == b], ddof=1) for b in range(3)) / n
        within(debiased.value, exact - unlike)
    else:  # the gap of 0.05 is two standard deviations: a little is missing, by the formula
        miss = 0.0
        for b in range(3):
            q, m = np.asarray(true)[place == b], np.sum(place == b)
            half_sd = np.sqrt(np.mean(q * (1 - q)) / (m / 2))
            wrong = 0.5 * (1 - jax.scipy.special.erf(abs(centre[b]) / half_sd / np.sqrt(2)))
            miss += share[b] * abs(centre[b]) * 2 * float(wrong)
        assert 0 < miss < 0.05 * exact
        within(debiased.value, exact - miss)
    for each in (plugin, debiased):
        ratio = np.sqrt(np.mean(np.square(each.standard_error))) / np.std(each.value)
        assert 0.9 < ratio < 1.25, ratio


def test_maximum_and_kolmogorov_smirnov_by_loops():
    probs, outcomes = calibrated(60, 2, seed=3)
    probs = jnp.round(probs, 1)  # with ties
    y, p = np.asarray(outcomes[0]), np.asarray(probs)
    worst = max(abs(np.mean(y[p <= s] - p[p <= s]) * np.mean(p <= s)) for s in p)
    np.testing.assert_allclose(ks_error(probs, y), worst, rtol=1e-12)
    place = np.minimum(np.floor(p * 5).astype(int), 4)
    gaps = [abs(np.mean((y - p)[place == b])) for b in range(5) if np.any(place == b)]
    got = calibration.maximum_calibration_error(probs, y, bins=5)
    np.testing.assert_allclose(got, max(gaps), rtol=1e-12)


def test_one_sided_gaps_make_both_errors_equal():
    probs = jnp.asarray(np.random.RandomState(0).uniform(0.1, 0.8, 50))
    outcomes = jnp.ones(50, int)
    expected = error(probs, outcomes, estimator="plugin").value
    np.testing.assert_allclose(ks_error(probs, outcomes), expected, rtol=1e-12)
    np.testing.assert_allclose(error(probs, outcomes).value, expected, rtol=0.05)


def test_brier_and_its_parts():
    probs, outcomes = calibrated()
    y = outcomes[0]
    parts = jax.jit(calibration.brier_parts, static_argnames="bins")(probs, y, bins=6)
    whole = parts.reliability - parts.resolution + parts.uncertainty + parts.within
    np.testing.assert_allclose(whole, np.mean((np.asarray(probs) - np.asarray(y)) ** 2), rtol=1e-12)
    np.testing.assert_allclose(calibration.brier(probs, y), whole, rtol=1e-12)
    table = jnp.stack([1 - probs, probs], axis=1)
    np.testing.assert_allclose(calibration.brier(table, y), 2 * whole, rtol=1e-12)
    coarse = (jnp.floor(probs * 6) + 0.5) / 6  # one probability a bin
    assert abs(calibration.brier_parts(coarse, y, bins=6).within) < 1e-15
    plugin = error(probs, y, norm=2, bins=6, estimator="plugin").value
    np.testing.assert_allclose(parts.reliability, plugin, rtol=1e-12)


def test_scores_by_hand_and_expected_scores():
    np.testing.assert_allclose(
        calibration.log_loss(jnp.array([0.2, 0.9]), jnp.array([0, 1])),
        -(np.log(0.8) + np.log(0.9)) / 2,
        rtol=1e-14,
    )
    table = jnp.array([[0.2, 0.3, 0.5], [1.0, 0.0, 0.0]])
    got = calibration.log_loss(table, jnp.array([1, 0]))
    np.testing.assert_allclose(got, -np.log(0.3) / 2, rtol=1e-14)
    assert calibration.log_loss(table, jnp.array([1, 1])) == jnp.inf
    # Expected scores differ from those of the truth by MSE_p and KL_p.
    true, said = jnp.array([0.7, 0.2]), jnp.array([0.5, 0.4])
    expect = lambda rule, p: sum(
        float(t if y else 1 - t) * float(rule(p[i : i + 1], jnp.array([y]))) / 2
        for i, t in enumerate(true)
        for y in (0, 1)
    )
    excess = lambda rule: expect(rule, said) - expect(rule, true)
    got = calibration.probability_error(said, true)
    np.testing.assert_allclose(got, excess(calibration.brier), rtol=1e-12)
    got = calibration.probability_divergence(said, true)
    np.testing.assert_allclose(got, excess(calibration.log_loss), rtol=1e-12)
    two = lambda p: jnp.stack([1 - p, p], axis=1)
    np.testing.assert_allclose(
        calibration.probability_divergence(two(said), two(true)), got, rtol=1e-12
    )
    certain = jnp.array([0.0, 1.0])
    np.testing.assert_allclose(
        calibration.probability_divergence(said, certain), -(np.log(0.5) + np.log(0.4)) / 2
    )


def test_reliability_curve_and_its_empty_bins():
    probs, outcomes = jnp.array([0.05, 0.15, 0.1, 0.95, 1.0]), jnp.array([0, 1, 0, 1, 1])
    curve = jax.jit(calibration.reliability_curve, static_argnames="bins")(probs, outcomes, bins=5)
    np.testing.assert_array_equal(curve.count, [3, 0, 0, 0, 2])
    np.testing.assert_allclose(curve.confidence, [0.1, 0.3, 0.5, 0.7, 0.975])
    np.testing.assert_allclose(curve.frequency, [1 / 3, 0.3, 0.5, 0.7, 1])
    np.testing.assert_array_equal(curve.lower[1:4], 0)
    np.testing.assert_array_equal(curve.upper[1:4], 1)
    # Wilson's ends solve |f - q| = z sqrt(q (1 - q) / n).
    for end in (curve.lower[0], curve.upper[0]):
        np.testing.assert_allclose(abs(1 / 3 - end), 1.96 * np.sqrt(end * (1 - end) / 3))
    for form in ("plugin", "debiased"):
        for norm in (1, 2):
            assert np.all(np.isfinite(error(probs, outcomes, bins=50, norm=norm, estimator=form)))


def test_wilson_covers():
    outcomes = draws(8, np.full(50, 0.2), 4000)
    curve = jax.jit(
        jax.vmap(lambda y: calibration.reliability_curve(jnp.full(50, 0.2), y, bins=1))
    )(outcomes)
    covered = float(jnp.mean((curve.lower <= 0.2) & (curve.upper >= 0.2)))
    assert 0.92 < covered < 0.98  # discrete counts: not exactly 0.95


def test_equal_mass_has_equal_counts():
    probs, outcomes = calibrated(103, 2)
    count = calibration.reliability_curve(probs, outcomes[0], bins=10, spacing="mass").count
    assert count.min() >= 10
    assert count.max() <= 11


def test_many_classes_are_read_by_the_likeliest():
    rng = np.random.RandomState(2)
    probs = jnp.asarray(rng.dirichlet(np.ones(4), 100))
    labels = jnp.asarray(rng.randint(0, 4, 100))
    confidence, correct = calibration.top_label(probs, labels)
    np.testing.assert_array_equal(confidence, np.max(probs, axis=1))
    np.testing.assert_array_equal(correct, np.argmax(probs, axis=1) == labels)
    for metric in (error, ks_error):
        assert metric(probs, labels) == metric(confidence, correct)


@pytest.mark.slow
def test_consistency_test_is_uniform_under_calibration_and_sees_a_gap():
    probs, outcomes = calibrated(150, 400, seed=5)
    test = jax.jit(
        jax.vmap(
            lambda i, y: (
                calibration.calibration_test(
                    jax.random.fold_in(jax.random.key(6), i), probs, y, resamples=99
                ).p_value
            )
        )
    )
    values = np.asarray(test(jnp.arange(400), outcomes))
    for level in (0.05, 0.2, 0.5):  # exactly level when 100 level is whole and values do not tie
        share = np.mean(values <= level + 1e-12)
        assert abs(share - level) < 5 * np.sqrt(level * (1 - level) / 400), (level, share)
    wrong = probs**2
    more = draws(7, wrong, 400)
    assert np.mean(np.asarray(test(jnp.arange(400), more)) <= 0.05) > 0.8


def test_the_order_of_points_does_not_matter():
    probs, outcomes = calibrated()
    y, turn = outcomes[0], np.random.RandomState(0).permutation(400)
    for form in ("plugin", "debiased"):
        for spacing in ("width", "mass"):
            options = {"estimator": form, "spacing": spacing}
            one = error(probs, y, **options)
            np.testing.assert_allclose(error(probs[turn], y[turn], **options), one, rtol=1e-11)


def test_gradients_are_finite():
    probs, outcomes = calibrated(60, 2)
    for form in ("plugin", "debiased"):
        for norm in (1, 2):
            value = lambda p, form=form, norm=norm: jnp.sum(
                jnp.stack(error(p, outcomes[0], norm=norm, estimator=form))
            )
            assert jnp.all(jnp.isfinite(jax.grad(value)(probs)))
    assert jnp.all(jnp.isfinite(jax.grad(ks_error)(probs, outcomes[0])))
    right = jnp.asarray(outcomes[0], float)  # certain and right: no gap at all
    got = error(right, outcomes[0])
    assert got.value == 0
    assert got.standard_error == 0


@pytest.mark.usefixtures("x32")
def test_single_precision():
    probs, outcomes = jnp.linspace(0.01, 0.9, 64, dtype=jnp.float32), jnp.arange(64) % 2
    for form in ("plugin", "debiased"):
        got = error(probs, outcomes, estimator=form)
        assert got.value.dtype == got.standard_error.dtype == jnp.float32
    assert ks_error(probs, outcomes).dtype == jnp.float32
    exact = twin(np.asarray(probs, float), np.asarray(outcomes), 1, 15)
    np.testing.assert_allclose(error(probs, outcomes, estimator="plugin").value, exact, rtol=1e-5)


@pytest.mark.parametrize(
    ("probs", "outcomes", "message"),
    [
        ([0.2, 1.2], [0, 1], r"in \[0, 1\]"),
        ([-0.1, 0.5], [0, 1], r"in \[0, 1\]"),
        ([0.1, float("nan")], [0, 1], "finite"),
        ([[0.5, 0.6]], [0], "sum to 1"),
        ([0.2, 0.5], [0, 2], "in 0 .. 1"),
        ([[0.2, 0.8]], [2], "in 0 .. 1"),
        ([0.2, 0.5], [0, -1], "in 0 .. 1"),
        ([0.2, 0.5], [0.0, 0.5], "whole"),
        ([0.2, 0.5], [0], "outcomes must be"),
        ([], [], "n >= 1"),
    ],
)
def test_bad_input(probs, outcomes, message):
    for metric in (
        calibration.calibration_error,
        calibration.kolmogorov_smirnov_error,
        calibration.maximum_calibration_error,
        calibration.brier,
        calibration.log_loss,
        calibration.brier_parts,
        calibration.reliability_curve,
        functools.partial(calibration.calibration_test, jax.random.key(0)),
    ):
        with pytest.raises(ValueError, match=message):
            metric(jnp.asarray(probs, float), jnp.asarray(outcomes))


def test_bad_options():
    probs, outcomes = jnp.array([0.2, 0.4]), jnp.array([0, 1])
    for options in ({"norm": 3}, {"bins": 0}, {"spacing": "other"}, {"estimator": "unbiased"}):
        with pytest.raises(ValueError, match="calibration_error"):
            calibration.calibration_error(probs, outcomes, **options)
    with pytest.raises(ValueError, match="one shape"):
        calibration.probability_error(probs, jnp.array([0.1]))
    with pytest.raises(ValueError, match="resamples"):
        calibration.calibration_test(jax.random.key(0), probs, outcomes, resamples=0)
    with pytest.raises(ValueError, match="floating"):
        calibration.brier(outcomes, outcomes)
