"""A learned schedule on a mixture in two dimensions with the exact denoiser: no network."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import textbook

from jaxgen import densities, likelihoods, processes
from jaxgen.losses import score
from jaxgen.training import trainer

LAW = densities.gaussian_mixture(*textbook.MIXTURE)
START = likelihoods.Schedule(jnp.zeros(8), jnp.asarray(3.0), jnp.asarray(-2.0))
X = textbook.draw(4000, 3)


def denoiser_of(process):
    return densities.denoiser(LAW, process)


@functools.cache
def learned():
    loss_fn = likelihoods.schedule_loss(denoiser_of)
    learner = trainer(loss_fn, optax.adam(0.03), averages={}, time=loss_fn.time)
    data = jnp.asarray(textbook.draw(16_384, 4))

    def step(state, key):
        key_data, key_step = jax.random.split(key)
        batch = jax.random.choice(key_data, data, (256,))
        return learner.step(key_step, state, batch)[0], None

    with jax.debug_key_reuse(False):
        keys = jax.random.split(jax.random.key(0), 400)
        return jax.jit(lambda s: jax.lax.scan(step, s, keys)[0])(learner.init(START)).params


def diffusions(schedule, repeats=16):
    """The diffusion term [n] at one uniform time each."""
    process = processes.scalar.monotone(*schedule)
    parts = likelihoods.elbo_integrands(process, denoiser_of(process))
    weight = score.likelihood_weight(process)

    def one(key, x):
        key_time, key_noise = jax.random.split(key)
        t = jax.random.uniform(key_time)
        square = parts.squared_error(x, jax.random.normal(key_noise, x.shape), t)
        return weight(t) * jnp.sum(square)

    with jax.debug_key_reuse(False):
        keys = jax.random.split(jax.random.key(1), repeats * len(X))
        return np.asarray(jax.jit(jax.vmap(one))(keys, np.tile(X, (repeats, 1))))


def bounds(schedule):
    process = processes.scalar.monotone(*schedule)
    run = likelihoods.elbo(process, denoiser_of(process), points=16, data_std=None)
    with jax.debug_key_reuse(False):
        keys = jax.random.split(jax.random.key(2), len(X))
        return np.asarray(jax.jit(jax.vmap(run))(keys, X))


@pytest.mark.slow
def test_interior_lowers_the_variance_and_ends_raise_the_bound():
    ends = learned()[1:]
    assert ends[0] > START.log_snr_max + 1
    assert ends[1] < START.log_snr_min - 1
    terms = diffusions(likelihoods.Schedule(START.logits, *ends)), diffusions(learned())
    (mean, error), (other, other_error) = map(textbook.mean_and_error, terms)
    textbook.within(other, mean, np.hypot(error, other_error))  # the interior moves no mean
    moments = [textbook.mean_and_error((term - term.mean()) ** 2) for term in terms]
    (before, error), (after, other_error) = moments
    assert before - after > 5 * np.hypot(error, other_error)
    assert after < 0.8 * before
    gain, error = textbook.mean_and_error(bounds(learned()) - bounds(START))
    assert gain > 5 * error
    best = textbook.log_density(X, *textbook.MIXTURE)
    short, error = textbook.mean_and_error(best - bounds(learned()))
    assert -5 * error < short < gain


@pytest.mark.slow
@pytest.mark.usefixtures("same_key")
def test_gradients_go_where_they_should():
    """The ends get that of the bound, the logits that of the squared diffusion term; the value is
    the bound.
    """
    schedule = likelihoods.Schedule(jnp.asarray([0.4, -0.3]), jnp.asarray(4.0), jnp.asarray(-3.0))
    x, t, key = jnp.asarray([0.6, -0.9]), 0.4, jax.random.key(7)
    decoder_of = lambda process: lambda x, z: -jnp.sum((x - z) ** 2)
    smooth = lambda process: lambda z, t: jnp.tanh(z) / (1 + jnp.exp(processes.log_snr(process, t)))
    loss_fn = likelihoods.schedule_loss(smooth, decoder_of=decoder_of)

    def parts(schedule):
        process = processes.scalar.monotone(*schedule)
        keys = jax.random.split(key, 3)
        eps, last = (jax.random.normal(each, x.shape) for each in keys[1:])
        terms = likelihoods.elbo_integrands(process, smooth(process), decoder=decoder_of(process))
        slope = jax.grad(lambda t: processes.log_snr(process, t))(t)
        gamma = jnp.exp(processes.log_snr(process, t))
        diffusion = -slope * gamma / 2 * jnp.sum(terms.squared_error(x, eps, t))
        return diffusion - terms.prior(x, eps) - terms.reconstruction(x, last), diffusion

    @jax.jit
    def everything(schedule):
        found = jax.value_and_grad(loss_fn)(schedule, key, x, t)
        bound = jax.value_and_grad(lambda s: parts(s)[0])(schedule)
        return found, bound, jax.grad(lambda s: (parts(s)[1] / 2) ** 2)(schedule)

    (value, found), (bound, of_ends), of_interior = everything(schedule)
    assert float(value) == pytest.approx(float(bound), rel=1e-12)
    np.testing.assert_allclose(found.logits, of_interior.logits, rtol=1e-9)
    np.testing.assert_allclose(found[1:], of_ends[1:], rtol=1e-9)
