"""Amortised posteriors: the loss is a divergence, minimal and level at the exact map."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import densities
from jaxgen.losses import latent

NOISE = 0.4
EYE = jnp.ones((1, 1))


def simulate(key):
    """A random two-component prior in one dimension, x from it, y = x + noise."""
    key_prior, key_x, key_y = jax.random.split(key, 3)
    rows = jax.random.normal(key_prior, (2, 3)) * jnp.array([[0.5, 1.0, 0.3]])
    x = densities.rows_distribution(rows).sample(key_x)
    y = x + NOISE**0.5 * jax.random.normal(key_y, (1,))
    return x, (rows, y)


def exact(problem):
    rows, y = problem
    prior = densities.rows_mixture(rows)
    return densities.distribution(densities.linear_posterior(prior, EYE, jnp.full(1, NOISE), y)[0])


def posterior(params, problem):
    """The exact posterior under a noise exp(params) times too large."""
    rows, y = problem
    noise = jnp.exp(params) * jnp.full(1, NOISE)
    prior = densities.rows_mixture(rows)
    return densities.distribution(densities.linear_posterior(prior, EYE, noise, y)[0])


@pytest.mark.usefixtures("same_key")
def test_loss_is_a_divergence_and_level_at_the_exact_map():
    loss_fn = latent.posterior_map(simulate, posterior, target=exact)
    plain = latent.posterior_map(simulate, posterior)
    keys = jax.random.split(jax.random.key(0), 2000)
    both = jax.jit(
        jax.vmap(
            lambda p, key: (jax.value_and_grad(loss_fn)(p, key), jax.value_and_grad(plain)(p, key)),
            (None, 0),
        )
    )
    (at, slope), (_, raw_slope) = both(0.0, keys)
    np.testing.assert_allclose(at, 0, atol=1e-12)  # on every draw
    assert abs(np.mean(slope)) < 5 * np.std(slope) / 2000**0.5
    np.testing.assert_allclose(slope, raw_slope, atol=1e-12)
    for params, sign in ((0.7, 1), (-0.7, -1)):
        (gap, slope), (raw, _) = both(params, keys)
        assert np.mean(gap) > 5 * np.std(gap) / 2000**0.5
        assert sign * np.mean(slope) > 5 * np.std(slope) / 2000**0.5
    # A single problem with one component: KL of two Gaussians, in closed form.
    rows = jnp.array([[0.0, 0.3, 0.0], [-800.0, 0.0, 0.0]])

    def one(key):
        key_x, key_y = jax.random.split(key)
        x = 0.3 + jax.random.normal(key_x, (1,))
        return x, (rows, x + NOISE**0.5 * jax.random.normal(key_y, (1,)))

    loss_fn = latent.posterior_map(one, posterior, target=exact)
    found = jax.jit(jax.vmap(loss_fn, (None, 0)))(0.7, keys)
    variance, wrong = NOISE / (1 + NOISE), NOISE * np.exp(0.7) / (1 + NOISE * np.exp(0.7))
    pull = 1 / (1 + NOISE) - 1 / (1 + NOISE * np.exp(0.7))
    gap = pull**2 * (1 + NOISE)  # mean square of the difference of the means
    kl = (variance / wrong - 1 - np.log(variance / wrong) + gap / wrong) / 2
    assert abs(np.mean(found) - kl) < 5 * np.std(found) / 2000**0.5
