"""Energies become log-densities that blackjax samples."""

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.stats import norm

import jaxgen as jg


def test_temperature_divides_the_energy():
    logdensity_fn = jg.energies.log_density(lambda x: jnp.sum(x**2) / 2, temperature=0.25)
    x = jnp.array([0.3, -1.2])
    reference = jnp.sum(norm.logpdf(x, 0, 0.5)) - jnp.sum(norm.logpdf(0 * x, 0, 0.5))
    np.testing.assert_allclose(logdensity_fn(x) - logdensity_fn(0 * x), reference, rtol=1e-14)


def test_a_product_of_gaussians_is_the_gaussian_of_summed_precisions():
    def expert(m, s):
        return lambda x: norm.logpdf(x, m, s)

    together = jg.energies.product(expert(1.0, 0.5), expert(-2.0, 2.0), weights=jnp.array([1, 0.5]))
    precision = 4 + 0.5 / 4
    mean = (4 * 1.0 + 0.5 / 4 * -2.0) / precision
    xs = jnp.array([-1.0, 0.2, 3.0])
    expected = norm.logpdf(xs, mean, precision**-0.5) - norm.logpdf(0.0, mean, precision**-0.5)
    actual = jax.vmap(together)(xs) - together(0.0)
    np.testing.assert_allclose(actual, expected, rtol=1e-12)


def test_blackjax_samples_a_tempered_energy():
    """An asymmetric Gaussian at temperature 1/2: moments within five standard errors."""
    mean, variance = np.array([1.0, -3.0]), np.array([0.5, 2.0])
    logdensity_fn = jg.energies.log_density(
        lambda x: jnp.sum((x - mean) ** 2 / variance) / 2, temperature=0.5
    )
    nuts = blackjax.nuts(logdensity_fn, step_size=0.6, inverse_mass_matrix=jnp.ones(2))

    @jax.jit
    def chain(key):
        def step(state, i):
            state, _ = nuts.step(jax.random.fold_in(key, i), state)
            return state, state.position

        return jax.lax.scan(step, nuts.init(jnp.asarray(mean)), jnp.arange(400))[1]

    # The checkers object to the inside of blackjax, not to us.
    with jax.debug_key_reuse(False), jax.numpy_rank_promotion("allow"):
        xs = jax.vmap(chain)(jax.random.split(jax.random.key(0), 8))
    xs = np.asarray(xs)
    for values, truth in [(xs, mean), ((xs - mean) ** 2, variance / 2)]:
        ess = np.array([blackjax.ess(values[:, :, i]) for i in range(2)])
        spread = np.std(values, axis=(0, 1)) / np.sqrt(ess)
        np.testing.assert_array_less(np.abs(np.mean(values, (0, 1)) - truth), 5 * spread)


@pytest.mark.parametrize("temperature", [0.0, -1.0])
def test_temperature_must_be_positive(temperature):
    with pytest.raises(ValueError, match=r"energies\.log_density: temperature must be positive"):
        jg.energies.log_density(jnp.sum, temperature=temperature)


def test_weights_must_fit():
    with pytest.raises(ValueError, match=r"energies\.product: at least one log-density"):
        jg.energies.product()
    with pytest.raises(ValueError, match=r"weights of shape \(1,\)"):
        jg.energies.product(jnp.sum, jnp.sum, weights=np.ones(1))
