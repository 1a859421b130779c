"""Log-densities of digits under a trained ladder of energies, by annealed importance sampling."""

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm
from sklearn.mixture import GaussianMixture

import jaxgen as jg
from experiments.energy import _digits_models as models
from experiments.energy._digits_uses import FREE, LEVELS, mean_of, outliers
from jaxgen.types import Distribution


def path_of(rungs, energy):
    """(path(exponent), kernel(exponent)): from unit noise down all levels to the lowest energy."""
    top = len(rungs.keep)

    def place(exponent):
        upper = jnp.minimum(jnp.floor(exponent * top), top - 1).astype(int)
        return upper, exponent * top - upper

    def path(exponent):
        upper, part = place(exponent)

        def logdensity_fn(z):
            noise = jnp.sum(norm.logpdf(z))
            above = energy(z, jnp.minimum(top - upper, top - 1))
            above = jnp.where(upper == 0, noise, above)
            return (1 - part) * above + part * energy(z, top - upper - 1)

        return logdensity_fn

    def kernel(exponent):
        upper, part = place(exponent)
        sigma = jnp.where(upper == 0, 1.0, rungs.sigma[top - upper])
        least = 1 / ((1 - part) / sigma**2 + part / rungs.sigma[top - upper - 1] ** 2)
        return blackjax.mala(path(exponent), models.STEP * least)

    return path, kernel


def whole(settings, key, ladder, params, zs):
    """(rows, log Z) of the lowest energy as one density: annealed, and upwards from samples zs."""
    energy = lambda z, level: ladder.energy(params[0], z, level, *FREE)
    path, kernel = path_of(ladder.rungs, energy)
    key_down, key_up = jax.random.split(key)
    stops, draws = np.linspace(0, 1, settings.digits_rungs + 1), settings.digits_chains
    start = Distribution(
        lambda key: jax.random.normal(key, (64,)), lambda z: jnp.sum(norm.logpdf(z))
    )
    down = jg.likelihoods.annealed_terms(path, kernel, stops, start, draws=draws)
    up = jg.likelihoods.annealed_reverse(path, kernel, stops)
    found, back = jax.jit(down)(key_down), jax.jit(up)(key_up, jnp.asarray(zs[:draws]))
    return [
        ("log Z of the lowest energy, annealed", "", found.log_normaliser, found.standard_error),
        ("mean of its log-weights", "below", found.bound, found.bound_error),
        ("effective chains of them", "", found.effective_draws, 0),
        ("mean of log-weights upwards from samples", "above", back.bound, back.bound_error),
    ], float(found.log_normaliser)


def rung_by_rung(ladder, params, *, rungs, chains):
    """log_prob(key, z [64]) -> (nats, error of the normalisers): how likely the levels above make
    the lowest, from below on average.

    The model that is trained and sampled is unit noise at the top and p(z_k | z_{k+1}) below. With
    q, the noise, above z_0, log p(z_0) >= E_q[log N(z_T) + sum_k log p(z_k | z_{k+1}) -
    log q(z_{k+1} | z_k)], and the bonds of the two cancel: a term is f_k(z_k) - log Z_k(z_{k+1}) +
    32 log(2 pi noise_k^2), Z_k annealed from the guess.
    """
    held, stops = ladder.rungs, np.linspace(0, 1, rungs + 1)
    energy = lambda params, z, level: ladder.energy(params, z, level, *FREE)
    conditional = jg.losses.energy.recovery.conditional(held, energy)
    least, widest = models.least_variance(held), models.most_variance(held)

    def term(key, z, noisy, level):
        mean = ladder.guess(params[1], noisy, level, *FREE)
        deviation = jnp.sqrt(jnp.sqrt(least[level] * widest[level]))
        start = Distribution(
            lambda key: mean + deviation * jax.random.normal(key, (64,)),
            lambda z: jnp.sum(norm.logpdf(z, mean, deviation)),
        )
        target = lambda z: conditional(params[0], z, noisy, level)
        path = jg.energies.geometric_path(start.logdensity, target)
        kernel = lambda exponent: blackjax.mala(path(exponent), models.STEP * least[level])
        found = jg.likelihoods.annealed_terms(path, kernel, stops, start, draws=chains)(key)
        value = energy(params[0], z, level) - found.log_normaliser
        return value + 32 * jnp.log(2 * jnp.pi * held.noise[level] ** 2), found.standard_error

    def log_prob(key, z):
        key_noise, key_terms = jax.random.split(key)

        def up(z, level):
            eps = jax.random.normal(jax.random.fold_in(key_noise, level), (64,))
            noisy = held.keep[level] * z + held.noise[level] * eps
            return noisy, (z, noisy)

        levels = jnp.arange(LEVELS)
        last, (zs, noisy) = jax.lax.scan(up, z, levels)
        values, errors = jax.vmap(term)(jax.random.split(key_terms, LEVELS), zs, noisy, levels)
        return jnp.sum(norm.logpdf(last)) + jnp.sum(values), jnp.sqrt(jnp.sum(errors**2))

    return log_prob


def densities(settings, key, data, ladder, params, zs, flow):
    """Log-densities of held-out digits with the noise of the lowest level, nats an image."""
    keys = jax.random.split(key, 6)
    rows, log_z = whole(settings, keys[0], ladder, params, zs)
    alpha, sigma = ladder.rungs.alpha[0], ladder.rungs.sigma[0]
    noised = lambda key, xs: alpha * xs + sigma * jax.random.normal(key, xs.shape)
    train, test = noised(keys[1], data.train), noised(keys[2], data.test)
    height = jax.jit(jax.vmap(lambda z: ladder.energy(params[0], z, 0, *FREE)))
    values = np.asarray(height(test)) - log_z
    rows.append(("log-density held out, the lowest energy alone", "", *mean_of(values)))
    n = settings.digits_exact
    for rungs in sorted({settings.digits_rungs // 24 + 1, settings.digits_rungs // 8 + 1}):
        log_prob = rung_by_rung(ladder, params, rungs=rungs, chains=4)
        values, errors = models.many(log_prob, jax.random.split(keys[3], n), test[:n])
        rows.append(
            (f"log-density held out, rung by rung, {rungs} exponents", "", *mean_of(values))
        )
        rows.append(("the normalisers' error in one of them", "", np.mean(errors), 0))
    values, _ = models.many(log_prob, jax.random.split(keys[3], n), train[:n])
    rows.append(("the same of training digits", "", *mean_of(values)))
    values = models.many(flow, test[:n])
    rows.append(("log-density held out, the diffusion model's flow", "", *mean_of(values)))
    parts = min(40, len(train) // 4)
    mixture = GaussianMixture(parts, reg_covar=1e-3, random_state=0).fit(np.asarray(train))
    rows.append(("log-density held out, 40 Gaussians", "", *mean_of(mixture.score_samples(test))))
    single = GaussianMixture(1, reg_covar=1e-3, random_state=0).fit(np.asarray(train))
    rows.append(("log-density held out, one Gaussian", "", *mean_of(single.score_samples(test))))
    return rows + outliers(height, test, data, keys[4], noised)
