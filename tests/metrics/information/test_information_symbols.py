import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.metrics import information

STATIC = ("estimator", "bins", "shared", "chunk", "num_classes")
entropy_discrete, mi_discrete, mi_binned, mi_layer_binned, mi_layer_kde = (
    jax.jit(fn, static_argnames=[s for s in STATIC if s in fn.__code__.co_varnames])
    for fn in (
        information.entropy_discrete,
        information.mi_discrete,
        information.mi_binned,
        information.mi_layer_binned,
        information.mi_layer_kde,
    )
)
cmi_classes = jax.jit(information.cmi_classes, static_argnames="num_classes")
CORRELATION = 0.413339  # -1/2 log(1 - 0.75²)


def plug_in(counts):
    p = np.asarray(counts, float).ravel() / np.sum(counts)
    p = p[p > 0]
    return -np.sum(p * np.log(p))


def test_entropy_from_counts():
    xs = jnp.asarray([[3, 1]] * 5 + [[1, 3]] * 2 + [[3, 3]])
    np.testing.assert_allclose(entropy_discrete(xs).value, plug_in([5, 2, 1]), rtol=1e-14)
    corrected = entropy_discrete(xs, estimator="miller_madow").value
    np.testing.assert_allclose(corrected, plug_in([5, 2, 1]) + 2 / 16, rtol=1e-14)
    np.testing.assert_allclose(entropy_discrete(jnp.zeros((7, 2))).value, 0, atol=1e-15)


def test_correction_removes_the_leading_bias():
    p = np.array([0.4, 0.3, 0.2, 0.1])
    draws = jax.random.choice(jax.random.key(0), 4, (3000, 40), p=jnp.asarray(p))
    exact, bias = -np.sum(p * np.log(p)), {}
    for name in ("plug_in", "miller_madow"):
        values = jax.vmap(lambda x, name=name: entropy_discrete(x, estimator=name).value)(draws)
        error = values.std() / math.sqrt(3000)
        bias[name] = (float(values.mean()) - exact) / float(error)
    assert bias["plug_in"] < -10  # -3 / 80
    assert abs(bias["miller_madow"]) < 5


def test_information_from_a_table():
    table = np.array([[6, 1, 3], [0, 4, 2]])
    pairs = np.array([(i, j) for i in range(2) for j in range(3) for _ in range(table[i, j])])
    exact = plug_in(table.sum(0)) + plug_in(table.sum(1)) - plug_in(table)
    xs, ys = jnp.asarray(pairs[:, 0]), jnp.asarray(pairs[:, 1], float)
    got = mi_discrete(xs, ys, chunk=5)
    np.testing.assert_allclose(got.value, exact, rtol=1e-13)
    shift = (3 - 1 + 2 - 1 - (5 - 1)) / 32
    corrected = mi_discrete(xs, ys, estimator="miller_madow").value
    np.testing.assert_allclose(corrected, exact + shift, rtol=1e-13)
    # The delta method: the spread of log p_xy / (p_x p_y) over the pairs.
    p = table / 16
    ratio = np.log(p[pairs[:, 0], pairs[:, 1]] / p.sum(1)[pairs[:, 0]] / p.sum(0)[pairs[:, 1]])
    np.testing.assert_allclose(got.standard_error, ratio.std(ddof=1) / 4, rtol=1e-12)


def test_bins_hold_equally_many():
    xs = jax.random.normal(jax.random.key(1), (120, 2)) * jnp.array([[1.0, 100.0]])
    for shared, groups in ((True, [slice(None)]), (False, [np.s_[:, 0], np.s_[:, 1]])):
        codes = np.asarray(information.equal_count_bins(xs, 8, shared=shared))
        for group in groups:
            counts = np.bincount(codes[group].ravel(), minlength=8)
            np.testing.assert_array_equal(counts, counts.sum() // 8)
            order = np.argsort(np.asarray(xs)[group].ravel())
            assert np.all(np.diff(codes[group].ravel()[order]) >= 0)


def test_bins_are_quantiles_of_the_distinct_values():
    xs = jnp.array([0.0, 0, 0, 0, 0, 0, 1, 2, 3])
    codes = information.equal_count_bins(xs, 4)
    np.testing.assert_array_equal(codes, [0, 0, 0, 0, 0, 0, 1, 2, 3])


def fixed_bins(ts, bins=30):
    """What does not follow the data: bins of one width over [-1, 1]."""
    return entropy_discrete(jnp.clip(jnp.floor((ts + 1) / 2 * bins), 0, bins - 1)).value


def test_a_layer_that_tells_inputs_apart_has_log_n():
    xs = jax.random.normal(jax.random.key(2), (200, 3))
    layer = jnp.tanh(xs @ jax.random.normal(jax.random.key(3), (3, 6)))
    for scale in (1.0, 1000.0, 1e-3):
        got = mi_layer_binned(scale * layer)
        np.testing.assert_allclose(got.value, math.log(200), rtol=1e-12)
    assert fixed_bins(layer) > 0.9 * math.log(200)
    assert fixed_bins(1e-3 * layer) < 0.5 * math.log(200)  # fixed bins lose it
    for constant in (jnp.zeros((200, 6)), jnp.full((200, 6), 0.1)):
        np.testing.assert_allclose(mi_layer_binned(constant).value, 0, atol=1e-12)
        np.testing.assert_allclose(mi_layer_kde(constant), 0, atol=1e-12)


def test_noisy_layer_is_bounded_and_does_not_see_scale():
    layer = jnp.tanh(jax.random.normal(jax.random.key(4), (200, 2)))
    low, high = mi_layer_kde(layer)
    assert 1 < low < high < math.log(200)
    np.testing.assert_allclose(mi_layer_kde(1000 * layer + 3), (low, high), rtol=1e-9)
    np.testing.assert_allclose(mi_layer_kde(layer, width=1e-9), math.log(200), rtol=1e-9)


def test_a_layer_and_its_labels():
    labels = jnp.arange(90) % 3
    layer = jnp.eye(3)[labels]
    exact = math.log(3)
    np.testing.assert_allclose(mi_layer_kde(layer, labels), exact, rtol=1e-12)
    np.testing.assert_allclose(mi_layer_binned(layer, labels).value, exact, rtol=1e-12)
    mixed = jnp.arange(90) // 3 % 3
    np.testing.assert_allclose(mi_layer_kde(layer, mixed), 0, atol=1e-12)
    np.testing.assert_allclose(mi_layer_binned(layer, mixed).value, 0, atol=1e-12)


def test_binned_normals():
    a, b = jax.random.normal(jax.random.key(5), (2, 2000))
    got = mi_binned(a, 0.75 * a + math.sqrt(1 - 0.75**2) * b)
    assert abs(got.value - CORRELATION) < 5 * got.standard_error
    skewed = mi_binned(jnp.exp(3 * a), 0.75 * a + math.sqrt(1 - 0.75**2) * b)
    np.testing.assert_array_equal(skewed.value, got.value)  # increasing maps change nothing


@pytest.fixture(scope="module")
def outputs():
    key_logits, key_labels = jax.random.split(jax.random.key(6))
    probs = jax.nn.softmax(3 * jax.random.normal(key_logits, (50, 4)))
    return probs.at[0].set(jnp.array([0.0, 1.0, 0.0, 0.0])), jax.random.randint(
        key_labels, 50, 0, 3
    )


def test_class_information_is_a_difference_of_entropies(outputs):
    probs, labels = map(np.asarray, outputs)
    entropy = lambda p: -np.sum(np.where(p > 0, p * np.log(np.where(p > 0, p, 1)), 0), axis=-1)
    exact = sum(
        np.mean(labels == y)
        * (entropy(probs[labels == y].mean(0)) - entropy(probs[labels == y]).mean())
        for y in range(3)
    )
    got = cmi_classes(*outputs, num_classes=3)
    assert abs(got.value - exact) < 1e-12
    # A class nobody belongs to changes nothing.
    assert abs(cmi_classes(*outputs, num_classes=5).value - exact) < 1e-12


def test_class_information_of_constant_outputs_is_zero(outputs):
    labels = outputs[1]
    probs = jnp.array([[0.7, 0.3], [0.2, 0.8], [0.0, 1.0]])[labels]
    got = cmi_classes(probs, labels, num_classes=3)
    np.testing.assert_allclose(got, (0, 0), atol=1e-14)
    slope = jax.jit(jax.grad(lambda p: information.cmi_classes(p, labels, 3).value))(probs)
    assert np.all(np.isfinite(slope))


def test_class_information_in_closed_form():
    # p is (1, 0) or (0, 1), each half of the time, whatever the class: log 2.
    probs = jnp.tile(jnp.eye(2), (6, 1))
    got = cmi_classes(probs, jnp.arange(12) // 2 % 3, num_classes=3)
    np.testing.assert_allclose(got.value, math.log(2), rtol=1e-12)


def test_running_means(outputs):
    probs, labels = outputs
    means = information.class_means(3, 4)
    for part in (np.s_[:20], np.s_[20:]):
        means = information.add_to_class_means(means, probs[part], labels[part])
    batch = cmi_classes(probs, labels, num_classes=3)
    running = cmi_classes(probs, labels, num_classes=3, means=means)
    np.testing.assert_allclose(running, batch, rtol=1e-12)
    other = information.add_to_class_means(means, probs[::-1], labels, decay=0.5)
    away = cmi_classes(probs, labels, num_classes=3, means=other).value
    # Σ P(y) KL(q_y || running) above the batch's own.
    q, r = (np.asarray(m.total / m.count[:, None]) for m in (means, other))
    gap = np.sum(np.bincount(labels, minlength=3) / 50 * np.sum(q * np.log(q / r), axis=1))
    np.testing.assert_allclose(away - batch.value, gap, rtol=1e-9)


def test_bad_input(outputs):
    probs, labels = outputs
    with pytest.raises(ValueError, match=r'must be "plug_in" or "miller_madow"; got .jeffreys.'):
        information.entropy_discrete(labels, estimator="jeffreys")
    with pytest.raises(ValueError, match=r"equally many symbols; got 50 and 49"):
        information.mi_discrete(labels, labels[:49])
    with pytest.raises(ValueError, match=r"bins must be a positive integer; got 0"):
        information.equal_count_bins(probs, 0)
    with pytest.raises(ValueError, match=r"width must be positive and finite; got 0"):
        information.mi_layer_kde(probs, width=0)
    with pytest.raises(ValueError, match=r"rows of probs must be probabilities"):
        information.cmi_classes(2 * probs, labels, 3)
    with pytest.raises(ValueError, match=r"labels must lie in 0 .. 1"):
        information.cmi_classes(probs, labels, 2)
