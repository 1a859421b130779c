import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn.isotonic import IsotonicRegression

from jaxgen.metrics import calibration

temperature = jax.jit(calibration.temperature)
isotonic = jax.jit(calibration.isotonic)


def logits_and_labels(seed, n, k, planted):
    """Labels of softmax(z), and the logits planted · z that a badly tempered network says."""
    rng = np.random.RandomState(seed)
    z = 2 * rng.randn(n, k) + np.arange(k)
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    labels = (p.cumsum(1) < rng.uniform(size=(n, 1))).sum(1)
    return jnp.asarray(planted * z), jnp.asarray(labels), jnp.asarray(p)


@pytest.mark.parametrize("planted", [0.4, 3.0])
def test_a_planted_temperature_is_recovered(planted):
    logits, labels, _ = logits_and_labels(0, 4000, 4, planted)
    found = temperature(logits, labels)
    nll = lambda b: (
        -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(b * logits), labels[:, None], axis=1))
    )
    curve = jax.jit(jax.hessian(nll))(1 / planted)  # Fisher information of one example
    spread = float(1 / jnp.sqrt(curve * 4000)) * planted**2
    assert abs(found - planted) < 5 * spread
    assert spread < 0.05 * planted
    assert abs(jax.jit(jax.grad(nll))(1 / found)) < 1e-12 * planted


def test_temperature_is_exact_where_labels_follow_the_probabilities():
    """Every class as often as 3 : 1 says; the optimum is log 3 over the logit's gap of 2."""
    logits = jnp.tile(jnp.array([[2.0, 0.0]]), (8, 1))
    labels = jnp.array([0, 0, 0, 1, 0, 0, 0, 1])
    np.testing.assert_allclose(temperature(logits, labels), 2 / np.log(3), rtol=1e-13)
    found = temperature(logits[:, 0] - logits[:, 1], 1 - labels)
    np.testing.assert_allclose(found, 2 / np.log(3), rtol=1e-13)
    # Moved logits move the optimum in proportion: dT/ds of T(s z) = T(z).
    slope = jax.jit(jax.grad(lambda s: calibration.temperature(s * logits, labels)))(1.0)
    np.testing.assert_allclose(slope, 2 / np.log(3), rtol=1e-12)


def test_temperature_at_its_ends():
    logits = jnp.array([[1.0, 0.0], [3.0, 0.0]])
    for labels, expected in ((jnp.array([0, 0]), 0.01), (jnp.array([1, 1]), 100.0)):
        np.testing.assert_allclose(temperature(logits, labels), expected, rtol=1e-12)
        slopes = jax.jit(jax.grad(calibration.temperature))(logits, labels)
        assert jnp.all(jnp.isfinite(slopes))
    np.testing.assert_allclose(temperature(0 * logits, jnp.array([0, 1])), 100.0, rtol=1e-12)
    # Far from T = 1, also where Newton's first steps leave the bracket.
    logits, labels, _ = logits_and_labels(1, 500, 3, 60.0)
    assert 40 < temperature(logits, labels) < 90
    single = temperature(logits.astype(jnp.float32), labels)
    assert single.dtype == jnp.float32
    np.testing.assert_allclose(single, temperature(logits, labels), rtol=1e-4)


def test_temperature_makes_a_predictor_calibrated():
    logits, labels, _ = logits_and_labels(2, 4000, 4, 2.5)
    before = calibration.calibration_error(jax.nn.softmax(logits), labels)
    after = calibration.calibration_error(
        jax.nn.softmax(logits / temperature(logits, labels)), labels
    )
    assert before.value > 10 * before.standard_error
    assert abs(after.value) < 5 * after.standard_error


@pytest.mark.parametrize("case", ["noise", "ties", "falling", "rising", "equal", "one"])
def test_isotonic_is_scikit_learns(case):
    rng = np.random.RandomState(3)
    x = {"ties": np.round(rng.uniform(size=60), 1), "one": np.array([0.3])}.get(
        case, rng.uniform(size=60)
    )
    y = {
        "falling": -x,
        "rising": x,
        "equal": np.full_like(x, 0.25),
    }.get(case, x + rng.randn(x.size) ** 3)
    got = isotonic(jnp.asarray(x), jnp.asarray(y))
    np.testing.assert_allclose(got, IsotonicRegression().fit(x, y).predict(x), atol=1e-12)


def test_isotonic_against_the_minimax_formula():
    rng = np.random.RandomState(4)
    x, y = np.sort(rng.uniform(size=25)), rng.randint(0, 2, 25)
    mean = lambda s, t: y[s : t + 1].mean()
    slow = [max(min(mean(s, t) for t in range(i, 25)) for s in range(i + 1)) for i in range(25)]
    turn = rng.permutation(25)
    got = isotonic(jnp.asarray(x[turn]), jnp.asarray(y[turn]))
    np.testing.assert_allclose(got, np.asarray(slow)[turn], atol=1e-14)
    jacobian = jax.jit(jax.jacrev(calibration.isotonic, argnums=1))(
        jnp.asarray(x), jnp.asarray(y, float)
    )
    np.testing.assert_allclose(jacobian @ y, slow, atol=1e-14)  # a projection on pools
    np.testing.assert_allclose(jacobian @ jacobian, jacobian, atol=1e-14)


def test_bin_and_kernel_targets():
    rng = np.random.RandomState(5)
    probs, y = rng.uniform(size=90), rng.randint(0, 2, 90)
    got = np.asarray(calibration.bin_targets(jnp.asarray(probs), jnp.asarray(y), bins=9))
    for run in np.argsort(probs).reshape(9, 10):
        np.testing.assert_allclose(got[run], y[run].mean(), rtol=1e-14)
    whole = calibration.bin_targets(jnp.asarray(probs), jnp.asarray(y), bins=1)
    np.testing.assert_allclose(whole, y.mean())
    np.testing.assert_array_equal(
        calibration.bin_targets(jnp.asarray(probs), jnp.asarray(y), bins=90), y
    )
    weights = np.exp(-(((probs[:, None] - probs[None]) / 0.07) ** 2) / 2)
    slow = (weights * y).sum(1) / weights.sum(1)
    for chunk in (1024, 32):
        got = calibration.kernel_targets(
            jnp.asarray(probs), jnp.asarray(y), bandwidth=0.07, chunk=chunk
        )
        np.testing.assert_allclose(got, slow, rtol=1e-12)
    wide = calibration.kernel_targets(jnp.asarray(probs), jnp.asarray(y), bandwidth=1e6)
    np.testing.assert_allclose(wide, y.mean(), rtol=1e-10)


def test_target_loss_and_its_gradient():
    z, t = jnp.array([-3.0, 0.5, 40.0]), jnp.array([0.2, 1.0, 1.0])
    p = jax.nn.sigmoid(z)
    expected = -(t * jnp.log(p) + (1 - t) * jnp.log1p(-jnp.minimum(p, 1 - 1e-16)))
    np.testing.assert_allclose(calibration.target_loss(z, t), jnp.mean(expected), rtol=1e-12)
    slope, of_targets = jax.grad(calibration.target_loss, argnums=(0, 1))(z, t)
    np.testing.assert_allclose(slope, (p - t) / 3, atol=1e-15)
    assert not jnp.any(of_targets)
    turns = [bool(calibration.is_calibration_epoch(e, discriminations=2)) for e in range(7)]
    assert turns == [True, False, False] * 2 + [True]
    assert bool(calibration.is_calibration_epoch(5, discriminations=0))


def test_the_optimum_of_correctness_is_its_chance():
    """A planted logistic of two features, fitted by the loss alone."""
    rng = np.random.RandomState(6)
    n, planted = 20_000, np.array([1.5, -0.7, 0.4])
    rows = np.concatenate([rng.randn(n, 2), np.ones((n, 1))], 1)
    p = 1 / (1 + np.exp(-rows @ planted))
    correct = jnp.asarray(rng.uniform(size=n) < p)
    rows = jnp.asarray(rows)
    loss = lambda w: calibration.correctness_loss(jax.nn.sigmoid(rows @ w), correct)

    @jax.jit
    def newton(w):
        return w - jnp.linalg.solve(jax.hessian(loss)(w), jax.grad(loss)(w))

    w = jnp.asarray(0.8 * planted)
    for _ in range(8):
        w = newton(w)
    # The sandwich: the slope's rows are 2 (p - y) p (1 - p) x, of mean 0 at the truth.
    weight = p * (1 - p)
    bread = np.linalg.inv((np.asarray(rows) * (weight**2)[:, None]).T @ np.asarray(rows))
    meat = (np.asarray(rows) * (weight**3)[:, None]).T @ np.asarray(rows)
    spread = np.sqrt(np.diag(bread @ meat @ bread))
    assert np.all(np.abs(np.asarray(w) - planted) < 5 * spread)
    assert np.all(spread < 0.05)


def test_a_narrow_mistake():
    """Cross-entropy sharpens a narrowly wrong prediction; the correctness loss softens it."""
    logits, label = jnp.log(jnp.array([0.45, 0.40, 0.10, 0.05])), 1

    def confidence(sharpness):
        return jnp.max(jax.nn.softmax(sharpness * logits))

    entropy = lambda b: -jax.nn.log_softmax(b * logits)[label]
    aware = lambda b: calibration.correctness_loss(confidence(b)[None], jnp.array([0]))
    assert jax.grad(confidence)(1.0) > 0
    assert jax.grad(entropy)(1.0) < 0  # so a step raises the sharpness, and the confidence
    assert jax.grad(aware)(1.0) > 0  # and this lowers them
    right = lambda b: calibration.correctness_loss(confidence(b)[None], jnp.array([1]))
    assert jax.grad(right)(1.0) < 0


def test_view_features():
    probs = jnp.array([[0.1, 0.6, 0.3], [0.5, 0.2, 0.3]])
    np.testing.assert_array_equal(calibration.view_features(probs, top=2), [0.6, 0.3, 0.2, 0.3])
    with pytest.raises(ValueError, match="top must be"):
        calibration.view_features(probs, top=4)
    with pytest.raises(ValueError, match="views"):
        calibration.view_features(probs[0])


def test_bad_input():
    z, y = jnp.array([[1.0, 2.0], [0.0, 1.0]]), jnp.array([0, 1])
    for call, message in [
        (lambda: calibration.temperature(z, jnp.array([0, 2])), "in 0 .. 1"),
        (lambda: calibration.temperature(z, jnp.array([0])), "temperature: logits"),
        (lambda: calibration.temperature(z / 0, y), "finite"),
        (lambda: calibration.temperature(y, y), "floating"),
        (lambda: calibration.temperature(z, y, least=2.0, most=1.0), "least < most"),
        (lambda: calibration.isotonic(z[0], z[:1, 0]), "isotonic: xs"),
        (lambda: calibration.isotonic(z[0] / 0, z[0]), "finite"),
        (lambda: calibration.kernel_targets(jnp.array([0.5]), y[:1], bandwidth=0.0), "positive"),
        (lambda: calibration.bin_targets(jnp.array([[0.5, 0.5]]), y[:1]), r"must be \[n\]"),
        (lambda: calibration.target_loss(z[0], z[:1, 0]), "target_loss"),
        (lambda: calibration.is_calibration_epoch(1, discriminations=-1), "discriminations"),
        (lambda: calibration.correctness_loss(jnp.array([1.2]), y[:1]), r"in \[0, 1\]"),
        (lambda: calibration.correctness_loss(jnp.array([0.2]), y), "correctness_loss"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()


def world(key, n):
    """Events in ten dimensions whose chance bends along one direction and never is certain."""
    key_x, key_y = jax.random.split(key)
    x = jax.random.normal(key_x, (n, 10))
    p = 0.1 + 0.7 * jax.nn.sigmoid(3 * jnp.sin(1.5 * x[:, 0]) + x[:, 1])
    return x, p, jax.random.bernoulli(key_y, p)


def network(params, x):
    hidden = jnp.tanh(x @ params["in"] + params["shift"][None])
    return hidden @ params["out"] + params["bias"]


@pytest.mark.slow
def test_cape_is_nearer_the_truth_than_an_over_trained_network():
    """Stopped early, then CaPE; chosen on held-out outcomes, or towards frequencies to the end."""
    width, n, steps = 64, 400, 800
    optimiser = optax.adam(3e-3)

    def train(params, x, y, held, discriminations):
        cape = discriminations is not None

        def step(carry, i):
            params, state, targets, best, least = carry
            said = jax.nn.sigmoid(network(params, x))
            fresh = calibration.bin_targets(said, y, bins=10)
            targets = jnp.where(i % 5 == 0, fresh, targets)  # five steps are an epoch
            turn = calibration.is_calibration_epoch(i // 5, discriminations=discriminations or 0)
            aim = jnp.where(cape & turn, targets, y.astype(float))
            slope = jax.grad(lambda p: calibration.target_loss(network(p, x), aim))(params)
            updates, state = optimiser.update(slope, state)
            params = optax.apply_updates(params, updates)
            loss = calibration.target_loss(network(params, held[0]), held[2])
            best = jax.tree.map(lambda new, old: jnp.where(loss < least, new, old), params, best)
            return (params, state, targets, best, jnp.minimum(loss, least)), None

        start = calibration.target_loss(network(params, held[0]), held[2])
        carry = (params, optimiser.init(params), jnp.zeros(n), params, start)
        (last, _, _, best, _), _ = jax.lax.scan(step, carry, jnp.arange(steps))
        return last, best

    def run(i):
        key = jax.random.fold_in(jax.random.key(9), i)
        key_data, key_held, key_test, key_in, key_out = jax.random.split(key, 5)
        x, _, y = world(key_data, n)
        held, (x_test, p_test, _) = world(key_held, n // 2), world(key_test, 4000)
        params = {
            "in": jax.random.normal(key_in, (10, width)) / jnp.sqrt(10),
            "shift": jnp.zeros(width),
            "out": jax.random.normal(key_out, (width,)) / jnp.sqrt(width),
            "bias": jnp.zeros(()),
        }
        entropy, stopped = train(params, x, y, held, None)
        chosen = train(stopped, x, y, held, 1)[1]
        frequencies = train(stopped, x, y, held, 0)[0]
        said = lambda p: jax.nn.sigmoid(network(p, x_test))
        return [
            calibration.probability_error(said(p), p_test) for p in (entropy, chosen, frequencies)
        ]

    entropy, chosen, frequencies = jax.jit(lambda: jax.lax.map(run, jnp.arange(5)))()
    assert jnp.all(chosen < 0.5 * entropy)
    assert jnp.all(frequencies < 0.7 * entropy)
