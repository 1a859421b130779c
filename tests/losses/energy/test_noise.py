"""Noise-contrastive and compositional estimation of the mean of a Gaussian, by quadrature."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.stats import norm

from jaxgen import processes
from jaxgen.losses import energy, score
from jaxgen.types import Distribution

TRUTH = 4.0
POINTS = np.linspace(-9, 13, 221)


def log_prob(mean, x):
    return norm.logpdf(x, mean, 1.0)


def fixed(points):
    """N(0, 1) whose draws are given: one when scalar, else drawn from the rows of a table."""
    return Distribution(lambda key: jax.random.choice(key, points), norm.logpdf)


def slope(mean, make):
    """d loss / d mean of a loss that is a sum over the data and one draw of the noise, exactly."""

    def at(mean, x, y):
        noise = Distribution(lambda key: y, norm.logpdf)
        return make(noise)(mean, jax.random.key(0), x)

    both = jax.vmap(jax.vmap(jax.grad(at), (None, None, 0)), (None, 0, None))
    slopes = jax.jit(both)(mean, POINTS, POINTS)
    p, q = (norm.pdf(POINTS, m, 1.0) * (POINTS[1] - POINTS[0]) for m in (TRUTH, 0.0))
    return float(p @ slopes @ q)


def test_the_flat_landscape_of_noise_contrast():
    """At 0, 1, 2, 3 of a truth at 4: 2.00, 0.29, 0.23, 0.13 where the likelihood has 4, 3, 2, 1."""
    nce = lambda noise: energy.noise_contrastive(log_prob, noise)
    found = [-slope(float(mean), nce) for mean in range(5)]
    np.testing.assert_allclose(found, [2.00, 0.29, 0.23, 0.13, 0.0], atol=6e-3)
    assert abs(found[-1]) < 1e-12


def test_the_other_contrasts_vanish_at_the_truth():
    for make in (
        lambda noise: energy.ranking_noise_contrastive(log_prob, noise),
        lambda noise: energy.noise_contrastive(lambda m, x: log_prob(m, x) + 0 * m, noise),
    ):
        assert abs(slope(TRUTH, make)) < 1e-12
        assert slope(3.0, make) < -1e-3
    perturbed = lambda noise: energy.conditional_noise_contrastive(
        log_prob, lambda key, x: x + 0.7 * noise.sample(key)
    )
    assert abs(slope(TRUTH, perturbed)) < 1e-12
    assert slope(3.0, perturbed) < -1e-3


def test_an_asymmetric_perturbation_is_corrected():
    """y = x + 1 + 0.7 eps without its log-ratio is biased; with it the truth is a minimum."""
    step = lambda noise: lambda key, x: x + 1 + 0.7 * noise.sample(key)
    ratio = lambda x, y: norm.logpdf(y, x + 1, 0.7) - norm.logpdf(x, y + 1, 0.7)
    with_ratio = lambda noise: energy.conditional_noise_contrastive(
        log_prob, step(noise), log_ratio=ratio
    )
    without = lambda noise: energy.conditional_noise_contrastive(log_prob, step(noise))
    assert abs(slope(TRUTH, with_ratio)) < 1e-10
    assert abs(slope(TRUTH, without)) > 0.1


def test_small_perturbations_match_scores():
    """Excess over 2 log 2, over sigma^2 / 2: |s|^2 / 2 + s' = (x - m)^2 / 2 - 1."""
    sigma, x, mean = 1e-3, 1.7, 0.4
    losses = [
        energy.conditional_noise_contrastive(log_prob, lambda key, x, s=s: x + s * sigma)
        for s in (-1, 1)
    ]
    values = [loss_fn(mean, jax.random.key(0), x) for loss_fn in losses]
    excess = (np.mean(values) - 2 * np.log(2)) / (sigma**2 / 2)
    assert excess == pytest.approx((x - mean) ** 2 / 2 - 1, abs=1e-5)


def test_ratios_by_hand():
    """Three equal draws count three times; the logit of one in four, and the rank of four."""
    loss_fn = energy.noise_contrastive(log_prob, fixed(jnp.array([0.5])), ratio=3)
    logit = lambda x: norm.logpdf(x, 1.0, 1.0) - norm.logpdf(x) - np.log(3)
    expected = np.log1p(np.exp(-logit(2.0))) + 3 * np.log1p(np.exp(logit(0.5)))
    assert loss_fn(1.0, jax.random.key(0), 2.0) == pytest.approx(expected)
    ranked = energy.ranking_noise_contrastive(log_prob, fixed(jnp.array([0.5])), ratio=3)
    own, other = np.exp(logit(2.0)), np.exp(logit(0.5))
    expected = -np.log(own / (own + 3 * other))
    assert ranked(1.0, jax.random.key(0), 2.0) == pytest.approx(expected)


def tilted(theta, x):
    """exp(theta x - x^2 / 2): log Z = theta^2 / 2 + log sqrt(2 pi)."""
    return theta * x - x**2 / 2


NORMAL = Distribution(jax.random.normal, norm.logpdf)


def test_without_memory_it_is_the_log_of_the_mean():
    rule = energy.compositional(tilted, NORMAL, draws=64, decay=1.0)
    key, xs = jax.random.key(1), jnp.array([0.4, 2.0, 1.1])
    start = energy.CompositionalState(jnp.array(-7.0))
    (value, state), found = jax.value_and_grad(rule.loss, has_aux=True)(0.8, key, xs, start)

    def plain(theta):
        ys = jax.vmap(NORMAL.sample)(jax.random.split(key, 64))
        weights = jnp.exp(tilted(theta, ys) - norm.logpdf(ys))
        return jnp.log(jnp.mean(weights)) - jnp.mean(tilted(theta, xs))

    with jax.debug_key_reuse(False):
        expected, slope = jax.value_and_grad(plain)(0.8)
    assert value == pytest.approx(expected)
    assert found == pytest.approx(slope)
    with jax.debug_key_reuse(False):
        assert state.log_normaliser == pytest.approx(rule.init(0.8, key).log_normaliser)


def test_the_moving_estimate():
    """u <- (1 - g) u + g w, and weights w / u in the gradient, by hand."""
    noise = Distribution(lambda key: jnp.asarray(0.5), norm.logpdf)
    rule = energy.compositional(tilted, noise, draws=1, decay=0.25)
    start = energy.CompositionalState(jnp.log(3.0))
    loss = lambda theta: rule.loss(theta, jax.random.key(0), jnp.array([2.0]), start)
    (_, state), found = jax.value_and_grad(loss, has_aux=True)(1.5)
    w = np.exp(tilted(1.5, 0.5) - norm.logpdf(0.5))
    u = 0.75 * 3 + 0.25 * w
    assert state.log_normaliser == pytest.approx(np.log(u))
    assert found == pytest.approx(-2.0 + w / u * 0.5)


def run(theta, rate, decay, steps, key):
    """theta and log u after steps of gradient descent, 64 data and 64 draws, data from N(1, 1)."""
    rule = energy.compositional(tilted, NORMAL, draws=64, decay=decay)
    key_init, key_run = jax.random.split(key)

    def body(carry, i):
        theta, state = carry
        key_data, key_noise = jax.random.split(jax.random.fold_in(key_run, i))
        xs = 1 + jax.random.normal(key_data, (64,))
        slope, state = jax.grad(rule.loss, has_aux=True)(theta, key_noise, xs, state)
        return (theta - rate / (1 + i / 50) * slope, state), None

    start = jnp.asarray(theta), rule.init(jnp.asarray(theta), key_init)
    (theta, state), _ = jax.lax.scan(body, start, jnp.arange(steps))
    return theta, state.log_normaliser


def test_it_learns_the_mean_and_the_normaliser():
    """Within 5 times the spread over 20 independent runs, divided by its root."""
    keys = jax.random.split(jax.random.key(2), 20)
    thetas, logs = jax.jit(jax.vmap(lambda key: run(0.0, 0.5, 0.01, 1500, key)))(keys)
    for values, truth in ((thetas, 1.0), (logs, 0.5 + np.log(2 * np.pi) / 2)):
        assert abs(np.mean(values) - truth) < 5 * np.std(values) / np.sqrt(20) + 2e-3
        assert np.std(values) < 0.08


@pytest.mark.usefixtures("x32")
def test_weights_do_not_overflow():
    """A model e^200 times above the estimate: the weight is at most 1 / decay."""
    rule = energy.compositional(lambda a, x: a + 0 * x, NORMAL, draws=4, decay=0.1)
    start = energy.CompositionalState(jnp.zeros(()))
    (value, state), slope = jax.value_and_grad(rule.loss, has_aux=True)(
        jnp.asarray(200.0), jax.random.key(0), jnp.zeros(2), start
    )
    assert value.dtype == state.log_normaliser.dtype == jnp.float32
    assert np.isfinite(value)
    assert 0 < slope <= 9.1


def test_energies_open_the_score_losses():
    """The gradient of the implicit loss vanishes at the noised law of N(1, 4), and not off it."""
    process = processes.scalar.vp()
    alpha, sigma = process.transition(0.4)

    def energy_of(params, z, t):
        del t
        return -jnp.sum((z - alpha * params[0]) ** 2) / (2 * (alpha**2 * params[1] + sigma**2))

    loss_fn = score.implicit(process, energy.score_apply(energy_of), kind="score")
    xs = 1 + 2 * jax.random.normal(jax.random.key(4), (20_000, 1))
    one = lambda params, key, x: jax.grad(loss_fn)(params, key, x, 0.4)
    slopes = jax.jit(jax.vmap(one, (None, 0, 0)))
    for params, sound in ((jnp.array([1.0, 4.0]), True), (jnp.array([0.5, 3.0]), False)):
        keys = jax.random.split(jax.random.key(3), len(xs))
        found = slopes(params, keys, xs)
        ratio = np.abs(np.mean(found, 0)) / (np.std(found, 0) / np.sqrt(len(xs)))
        assert np.all(ratio < 5) if sound else np.all(ratio > 8)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: energy.noise_contrastive(log_prob, NORMAL, ratio=0), "ratio must be at least 1"),
        (lambda: energy.ranking_noise_contrastive(log_prob, NORMAL, ratio=0), "ratio"),
        (lambda: energy.conditional_noise_contrastive(log_prob, None, ratio=0), "ratio"),
        (lambda: energy.compositional(tilted, NORMAL, draws=0), "draws"),
        (lambda: energy.compositional(tilted, NORMAL, draws=4, decay=0.0), r"lie in \(0, 1\]"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
