"""Recovery likelihoods of Gaussian data, where every level and every conditional is closed form."""

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.stats import norm

from jaxgen import processes
from jaxgen.losses.energy import recovery

MEAN, DEVIATION = 0.7, 0.4
LADDER = recovery.ladder(processes.scalar.vp(), np.linspace(0.05, 1.0, 5))
LEVELS = len(LADDER.keep)
NOISES = "fresh", "shared", "coupled"


def level_law(level):
    """Mean and variance of z at a level: the data are N(0.7, 0.4^2)."""
    alpha, sigma = LADDER.alpha[level], LADDER.sigma[level]
    return alpha * MEAN, alpha**2 * DEVIATION**2 + sigma**2


def given(level, noisy):
    """Mean and variance of z given the next level, by Gaussian conditioning."""
    mean, variance = level_law(level)
    keep, noise = LADDER.keep[level], LADDER.noise[level]
    gain = keep * variance / (keep**2 * variance + noise**2)
    return mean + gain * (noisy - keep * mean), variance * (1 - gain * keep)


def logdensity_fn(params, z, level):
    """A quadratic for each level, params [LEVELS, 2]: slope and log-precision."""
    slope, log_precision = params[level]
    return jnp.sum(slope * z - jnp.exp(log_precision) * z**2 / 2)


def exact():
    mean, variance = level_law(np.arange(LEVELS))
    return jnp.stack([mean / variance, -jnp.log(variance)], axis=1)


def mala(logdensity_fn, variance):
    return blackjax.mala(logdensity_fn, 0.3 * variance)


def test_levels_follow_the_process():
    alpha, sigma = jax.vmap(processes.scalar.vp().transition)(jnp.linspace(0.05, 1.0, 5))
    np.testing.assert_allclose(LADDER.alpha[1:], LADDER.keep * alpha[:-1], rtol=1e-12)
    through = (LADDER.keep * sigma[:-1]) ** 2 + LADDER.noise**2
    np.testing.assert_allclose(through, sigma[1:] ** 2, rtol=1e-12)


def test_the_conditional_is_the_posterior():
    f = recovery.conditional(LADDER, logdensity_fn)
    zs = jnp.linspace(-1, 2, 7)[:, None]
    for level in range(LEVELS):
        noisy = jnp.array([0.3])
        mean, variance = given(level, noisy)
        gaps = jax.vmap(lambda z, n=noisy, k=level: f(exact(), z, n, k))(zs)
        gaps = gaps - norm.logpdf(zs[:, 0], mean, jnp.sqrt(variance))
        np.testing.assert_allclose(gaps, gaps[0], rtol=1e-9)


def test_the_gradient_vanishes_at_the_truth():
    """MALA from the noisy value, at level 1: within 5 standard errors, and not off the truth."""
    loss_fn = recovery.recovery(LADDER, logdensity_fn, mala, steps=40)
    n = 2000
    xs = MEAN + DEVIATION * jax.random.normal(jax.random.key(0), (n, 1))
    keys = jax.random.split(jax.random.key(1), n)
    one = lambda params, key, x: jax.grad(loss_fn)(params, key, x, 1)
    with jax.debug_key_reuse(False), jax.numpy_rank_promotion("allow"):
        slopes = jax.jit(jax.vmap(one, (None, 0, 0)))
        found, off = slopes(exact(), keys, xs)[:, 1], slopes(exact() + 1.0, keys, xs)[:, 1]
    for slopes, sound in ((found, True), (off, False)):
        ratio = np.abs(np.mean(slopes, 0)) / (np.std(slopes, 0) / np.sqrt(n))
        assert np.all(ratio < 5) if sound else np.any(ratio > 10)


@pytest.mark.usefixtures("same_key")
def test_noise_changes_the_variance_alone():
    """Off the truth: one mean gradient, within 5 standard errors, and falling variances."""
    near, n = recovery.ladder(processes.scalar.vp(), np.array([0.1, 0.2])), 3000
    variance = near.alpha[0] ** 2 * DEVIATION**2 + near.sigma[0] ** 2
    wrong = jnp.stack([near.alpha[0] * MEAN / variance + 1, -jnp.log(variance)])[None]
    xs = MEAN + DEVIATION * jax.random.normal(jax.random.key(6), (n, 1))
    keys = jax.random.split(jax.random.key(7), n)
    guess = lambda params, noisy, level: 0.6 * noisy + 0.4 * MEAN + 0.0 * params

    def slopes(noise):
        alone = recovery.recovery(near, logdensity_fn, mala, steps=6, noise=noise)
        both = recovery.cooperative(near, logdensity_fn, guess, mala, steps=6, noise=noise)
        first = lambda key, x: jax.grad(alone)(wrong, key, x, 0)[0]
        second = lambda key, x: jax.grad(both)((wrong, 0.0), key, x, 0)[0][0]
        return jax.vmap(lambda key, x: jnp.stack([first(key, x), second(key, x)]))(keys, xs)

    with jax.numpy_rank_promotion("allow"):
        found = [np.asarray(jax.jit(slopes, static_argnums=0)(noise)) for noise in NOISES]
    for other in found[1:]:
        gap, error = np.mean(other - found[0], 0), np.std(other - found[0], 0) / np.sqrt(n)
        assert np.all(np.abs(gap) < 5 * error)
    means, variances = np.mean(found[0], 0), np.array([np.var(a, 0)[:, 0] for a in found])
    assert np.all(np.abs(means[:, 0]) > 10 * np.std(found[0], 0)[:, 0] / np.sqrt(n))
    assert np.all(variances[1:] < 0.87 * variances[:-1])


def test_the_cooperative_loss_is_two_losses():
    """Its energy half has the gradient of a recovery; its other half pulls to the refined point."""

    def guess(params, noisy, level):
        return params[0] * noisy + params[1] + 0.0 * level

    still = lambda logdensity_fn, variance: blackjax.mala(logdensity_fn, 0.0 * variance)
    loss_fn = recovery.cooperative(LADDER, logdensity_fn, guess, still, steps=1)
    params = exact(), jnp.array([0.4, 0.2])
    x = jnp.array([0.9])
    with jax.debug_key_reuse(False), jax.numpy_rank_promotion("allow"):
        value, (slopes, pull) = jax.value_and_grad(loss_fn)(params, jax.random.key(2), x, 2)
        # A kernel that stays: the refined point is the guess plus its noise, which the loss sees
        _, key_rung, key_guess, _ = jax.random.split(jax.random.key(2), 4)
        eps = jax.random.normal(key_guess, (1,))
        key_z, key_noisy = jax.random.split(key_rung)
        z = LADDER.alpha[2] * x + LADDER.sigma[2] * jax.random.normal(key_z, (1,))
        noisy = LADDER.keep[2] * z + LADDER.noise[2] * jax.random.normal(key_noisy, (1,))
    deviation = LADDER.sigma[2] * LADDER.noise[2] / LADDER.sigma[3]
    negative = guess(params[1], noisy, 2) + deviation * eps
    np.testing.assert_allclose(slopes[2, 0], (negative - z)[0], rtol=1e-10)
    np.testing.assert_allclose(pull[1], -(eps / deviation)[0], rtol=1e-10)
    np.testing.assert_allclose(pull[0], -(eps * noisy / deviation)[0], rtol=1e-10)
    f = lambda z: logdensity_fn(params[0], z, 2)
    np.testing.assert_allclose(value, f(negative) - f(z) + eps[0] ** 2 / 2, rtol=1e-10)


def test_exact_energies_draw_the_data():
    """Mean and variance of level 0 within 5 standard errors, exact first guesses or none."""
    n = 1000
    guess = lambda params, noisy, level: given(level, noisy)[0] + 0.0 * params
    plain = recovery.draw(LADDER, logdensity_fn, mala, steps=25)
    guided = recovery.draw(LADDER, logdensity_fn, mala, guess, steps=25)
    keys = jax.random.split(jax.random.key(3), n)
    mean, variance = (float(a) for a in level_law(0))
    for sampler, params in ((plain, exact()), (guided, (exact(), 0.0))):
        with jax.debug_key_reuse(False), jax.numpy_rank_promotion("allow"):
            run = lambda key, sampler=sampler, params=params: sampler(params, key, (1,))
            x, zs = jax.jit(jax.vmap(run))(keys)
        z = np.asarray(x[:, 0]) * float(LADDER.alpha[0])
        np.testing.assert_allclose(zs[:, -1, 0], z, rtol=1e-12)
        assert zs.shape == (n, LEVELS, 1)
        assert abs(np.mean(z) - mean) < 5 * np.std(z) / np.sqrt(n)
        assert abs(np.var(z) / variance - 1) < 5 * np.sqrt(2 / n)


def test_the_known_part_stays():
    sampler = recovery.draw(LADDER, logdensity_fn, mala, steps=2)
    known, mask = jnp.array([5.0, 0.0]), jnp.array([True, False])
    with jax.debug_key_reuse(False), jax.numpy_rank_promotion("allow"):
        run = jax.jit(jax.vmap(lambda key: sampler(exact(), key, (2,), known, mask)[0]))
        x = run(jax.random.split(jax.random.key(4), 400))
    spread = LADDER.sigma[0] / LADDER.alpha[0]  # x0 of level 0 has that level's noise
    np.testing.assert_allclose(np.mean(x[:, 0]), 5.0, atol=5 * spread / np.sqrt(400))
    assert abs(np.mean(x[:, 1])) < 2


@pytest.mark.slow
def test_the_learned_curvature():
    """Precision of every level within 5 % after training from precision 1."""
    loss_fn = recovery.recovery(LADDER, logdensity_fn, mala, steps=20)

    def body(params, i):
        key_data, key_loss = jax.random.split(jax.random.fold_in(jax.random.key(5), i))
        xs = MEAN + DEVIATION * jax.random.normal(key_data, (1024, 1))
        keys = jax.random.split(key_loss, 1024)
        batch = lambda params: jnp.mean(jax.vmap(loss_fn, (None, 0, 0))(params, keys, xs))
        return params - 1.0 / (1 + i / 150) * jax.grad(batch)(params), None

    with jax.debug_key_reuse(False), jax.numpy_rank_promotion("allow"):
        params, _ = jax.jit(lambda p: jax.lax.scan(body, p, jnp.arange(1500)))(
            jnp.zeros((LEVELS, 2))
        )
    found, truth = np.exp(params[:, 1]), np.exp(exact()[:, 1])
    np.testing.assert_allclose(found, truth, rtol=0.05)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: recovery.ladder(processes.scalar.vp(), [0.5, 0.1]), "must rise"),
        (lambda: recovery.ladder(processes.augmented.cld(), [0.1, 0.5]), "must be scalar"),
        (lambda: recovery.recovery(LADDER, logdensity_fn, steps=0), "steps"),
        (
            lambda: recovery.recovery(LADDER, logdensity_fn)(
                exact(), jax.random.key(0), jnp.ones(1)
            ),
            "a negative or a kernel",
        ),
        (lambda: recovery.draw(LADDER, logdensity_fn, mala, steps=0), "steps"),
        (lambda: recovery.recovery(LADDER, logdensity_fn, mala, noise="same"), "noise must be"),
        (lambda: recovery.cooperative(LADDER, None, None, mala, noise=0), "noise must be"),
        (
            lambda: recovery.recovery(LADDER, logdensity_fn, noise="coupled")(
                exact(), jax.random.key(0), jnp.ones(1), 0, jnp.ones(1)
            ),
            "no chain to couple",
        ),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
