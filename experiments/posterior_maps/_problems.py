"""Random priors of three Gaussians in the plane, an observation of the point, exact posteriors."""

import jax
import jax.numpy as jnp

import jaxgen as jg

K, D = 3, 2
KEEP, DRIFT = 0.9, 0.3  # of the filter: x <- KEEP x + N(0, DRIFT) between observations


def prior_rows(key):
    """A random mixture as rows [K, 6]; see `jg.densities.mixture_rows`."""
    spread = jnp.array([1.5, 1.5, 1.5, 0.5, 0.5, 0.5])
    centre = jnp.array([0.0, 0.0, 0.0, -0.4, -0.4, 0.0])
    rows = centre[None] + spread[None] * jax.random.normal(key, (K, spread.size))
    return rows.at[:, 0].set(jax.nn.log_softmax(rows[:, 0]))


def noises(key):
    """Variances [D] of an observation's coordinates, from 0.1 to 2."""
    return jnp.exp(jax.random.uniform(key, (D,), minval=jnp.log(0.1), maxval=jnp.log(2.0)))


def simulate(key):
    """(x [D], (rows [K, 6], y [D], noise [D])): a prior, a point of it, and what is seen of it."""
    key_prior, key_x, key_noise, key_y = jax.random.split(key, 4)
    rows, noise = prior_rows(key_prior), noises(key_noise)
    x = jg.densities.rows_distribution(rows).sample(key_x)
    y = x + jnp.sqrt(noise) * jax.random.normal(key_y, (D,))
    return x, (rows, y, noise)


def exact_rows(problem):
    """The posterior of a problem as rows [K, 6]."""
    rows, y, noise = problem
    prior = jg.densities.rows_mixture(rows)
    posterior, _ = jg.densities.linear_posterior(prior, jnp.eye(D), noise, y)
    return jg.densities.mixture_rows(posterior)


def predicted(rows):
    """The law of KEEP x + N(0, DRIFT) as rows [K, 6], for x of these rows."""
    held = jg.densities.rows_mixture(rows)
    covs = jnp.einsum("kdr,kr,ker->kde", held.bases, held.spectra, held.bases)
    covs = covs + (held.floors[:, None, None] * jnp.eye(D)[None])
    covs = KEEP**2 * covs + DRIFT * jnp.eye(D)[None]
    moved = jg.densities.gaussian_mixture(jnp.ones(K), KEEP * held.means, covs)
    return jg.densities.mixture_rows(moved._replace(log_weights=held.log_weights))


def moments(rows):
    """Mean [D] and covariance [D, D] of the mixture of rows [K, 6]."""
    held = jg.densities.rows_mixture(rows)
    shares = jnp.exp(held.log_weights)
    covs = jnp.einsum("kdr,kr,ker->kde", held.bases, held.spectra, held.bases)
    covs = covs + held.floors[:, None, None] * jnp.eye(D)[None]
    mean = shares @ held.means
    away = held.means - mean[None]
    return mean, jnp.einsum("k,kde->de", shares, covs + away[:, None] * away[:, :, None])


def gaussian_rows(rows):
    """One Gaussian with the moments of rows [K, 6], as rows [1, 6]."""
    mean, cov = moments(rows)
    return jg.densities.mixture_rows(jg.densities.gaussian(mean, cov))
