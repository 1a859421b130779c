"""The target, and every sampler: run(key) -> `Draws` from one key; the same start for all."""

import functools
from typing import Any, NamedTuple

import blackjax
import jax
import jax.numpy as jnp
import numpy as np

import jaxgen as jg
from jaxgen.predictions import from_density
from jaxgen.solvers import sde

WIDTH = 4.0  # deviation of what is known before: N(0, 16)
SHARE = 0.8  # of the mode on the right
SHIFT = 3.0  # log of the constant that nobody is told


class Draws(NamedTuple):
    """What a sampler returns."""

    x: Any  # [n, d]
    weights: Any  # [n], summing to 1
    log_z: Any  # [] or NaN
    inner: Any  # [] effective draws: of the weights, or the least over time of a score estimate
    steps: Any = np.nan  # [] gradients or steps that it chose to spend, where data decide


class Sampler(NamedTuple):
    """A sampler, and what one run of it asks of the target."""

    run: Any  # key -> Draws
    values: float  # evaluations of the log-density without gradient, a run or a step of `Draws`
    gradients: float  # evaluations with gradient, a run or a step


class Target(NamedTuple):
    """Two unit Gaussians eight deviations apart."""

    logdensity: Any
    reference: Any  # Distribution N(0, 16)
    d: int


def target(d):
    """The target in d dimensions: shares 0.2 and 0.8 at -4 and 4 on the first axis."""
    means = np.zeros((2, d))
    means[:, 0] = [-4.0, 4.0]
    law = jg.densities.distribution(
        jg.densities.gaussian_mixture([1 - SHARE, SHARE], means, np.ones(2))
    )
    reference = jg.densities.distribution(jg.densities.gaussian(np.zeros(d), np.full(d, WIDTH**2)))
    return Target(lambda x: law.logdensity(x) + SHIFT, reference, d)


def samplers(aim, settings):
    """name -> Sampler."""
    wanted = settings.samplers or tuple(MAKERS)
    return {name: MAKERS[name](aim, settings) for name in wanted}


def starts(aim, key, n):
    return jax.vmap(aim.reference.sample)(jax.random.split(key, n))


def equal(x):
    n = len(x)
    return Draws(x, jnp.full(n, 1 / n), jnp.nan, jnp.nan)


def chains(algorithm, aim, key, n, moves):
    """Last positions [n, d] of chains, and the sum of what their infos count."""
    key_start, key_init, key = jax.random.split(key, 3)
    init = lambda x, one: algorithm.init(x, one)
    states = jax.vmap(init)(starts(aim, key_start, n), jax.random.split(key_init, n))

    def turn(states, i):
        keys = jax.random.split(jax.random.fold_in(key, i), n)
        states, infos = jax.vmap(algorithm.step)(keys, states)
        return states, jnp.sum(getattr(infos, "num_integration_steps", jnp.ones(n)))

    states, counts = jax.lax.scan(turn, states, jnp.arange(moves))
    return states.position, jnp.sum(counts)


def ula(aim, settings):
    algorithm = jg.mcmc.ula(aim.logdensity, 0.1)
    run = lambda key: equal(chains(algorithm, aim, key, settings.chains, settings.moves)[0])
    return Sampler(run, 0, settings.chains * settings.moves)


def mala(aim, settings):
    algorithm = blackjax.mala(aim.logdensity, 0.5 if aim.d < 8 else 0.3)
    run = lambda key: equal(chains(algorithm, aim, key, settings.chains, settings.moves)[0])
    return Sampler(run, 0, settings.chains * settings.moves)


def nuts(aim, settings):
    algorithm = blackjax.nuts(aim.logdensity, 0.4, jnp.ones(aim.d), max_num_doublings=6)

    def run(key):
        x, count = chains(algorithm, aim, key, settings.nuts_chains, settings.nuts_moves)
        return equal(x)._replace(steps=count)

    return Sampler(run, 0, 1)


def ornstein_uhlenbeck():
    return jg.processes.scalar.vp(2.0, 2.0, t_min=1e-3, t_max=3.0)


def reverse(solver, aim, settings, key, effective):
    """Draws of a reverse Solver, and the least effective number of draws along their way."""
    process = ornstein_uhlenbeck()
    ts = np.asarray(jg.grids.log_snr(process, settings.stops, t_min=0.01))
    prior = jg.prior(process, (aim.d,))

    def one(key):
        key_start, key_run, key_look = jax.random.split(key, 3)
        start = prior.sample(key_start)
        path, infos = jg.solve(key_run, solver, start, ts, trajectory=True)
        log_weight = aim.logdensity(path[-1]) + infos.log_weight.sum() - prior.logdensity(start)
        look = lambda z, t: effective(key_look, z, t)
        return path[-1], log_weight, jax.vmap(look)(path[:-1], jnp.asarray(ts[:-1], start.dtype))

    keys = jax.random.split(key, settings.chains)
    x, logs, inner = jax.lax.map(one, keys, batch_size=100)
    log_z = jax.nn.logsumexp(logs) - jnp.log(settings.chains)
    return equal(x)._replace(log_z=log_z, inner=jnp.min(jnp.median(inner, 0)))


def fit(aim, settings, key):
    """A Gaussian fitted without gradients, from N(0, 16)."""
    start = jnp.zeros(aim.d), WIDTH**2 * jnp.eye(aim.d)
    return from_density.gaussian_fit(
        key, aim.logdensity, *start, draws=settings.candidates, rounds=20
    )


def reversed_diffusion(aim, settings, kind):
    process, m, event = ornstein_uhlenbeck(), settings.inner, (aim.d,)
    kernel = functools.partial(sde.frozen_score, process)

    def run(key):
        key_fit, key = jax.random.split(key)
        guess = None
        if kind == "fitted":
            fitted = fit(aim, settings, key_fit)
            guess = fitted.mean, jnp.diag(fitted.cov)
        draw = lambda key: jax.random.normal(key, (m, *event))
        make = functools.partial(from_density.importance, process, aim.logdensity, guess=guess)
        if kind == "langevin":
            draw = lambda key: from_density.inner_draws(
                key, event, starts=m // 2, chains=4, steps=max(m // 8, 1)
            )
            make = functools.partial(
                from_density.langevin, process, aim.logdensity, smoothness=1.0, adjusted=True
            )
        if kind == "rejection":  # kept up to the height of the larger mode
            top = jnp.zeros(aim.d).at[0].set(4.0)
            options = {"ceiling": aim.logdensity(top) + 1e-3}
            draw = lambda key: from_density.rejection_draws(key, event, m)
            make = functools.partial(from_density.rejection, process, aim.logdensity, **options)
        solver = sde.refreshed(kernel, lambda z, t, noise: make(noise)(z, t), draw)

        def effective(key, z, t):
            if kind == "rejection":
                look = from_density.kept(process, aim.logdensity, draw(key), **options)
                return m * look(z, t).share
            eps = jax.random.normal(key, (m, *event))
            look = from_density.effective_draws(process, aim.logdensity, eps, guess=guess)
            return look(z, t)

        return reverse(solver, aim, settings, key, effective)

    evaluations = settings.chains * settings.stops * m
    if kind == "langevin":
        return Sampler(run, evaluations / 2, evaluations / 2)
    return Sampler(run, evaluations + (20 * settings.candidates if kind == "fitted" else 0), 0)


def ensemble(aim, settings):
    process = ornstein_uhlenbeck()

    def run(key):
        key_fit, key_draw, key = jax.random.split(key, 3)
        fitted = fit(aim, settings, key_fit)
        law = jg.densities.distribution(jg.densities.gaussian(fitted.mean, fitted.cov))
        points = jax.vmap(law.sample)(jax.random.split(key_draw, settings.candidates))
        denoiser = from_density.ensemble(process, aim.logdensity, points, law.logdensity)
        logs = jax.vmap(aim.logdensity)(points) - jax.vmap(law.logdensity)(points)
        kept = 1 / jnp.sum(jax.nn.softmax(logs) ** 2)
        solver = sde.frozen_score(process, denoiser)
        found = reverse(solver, aim, settings, key, lambda key, z, t: jnp.inf)
        return found._replace(inner=kept)

    return Sampler(run, 21 * settings.candidates, 0)


def tempering(aim, settings):
    exponents = np.concatenate([[0.0], np.geomspace(0.01, 1, settings.replicas - 1)])
    many, moves = max(settings.chains // 10, 1), settings.moves

    def kernel(logdensity_fn, exponent):
        precision = exponent + (1 - exponent) / WIDTH**2
        return blackjax.mala(logdensity_fn, 0.3 / precision)

    algorithm = jg.mcmc.parallel_tempering(
        aim.logdensity, kernel, exponents, reference_fn=aim.reference.logdensity
    )

    def run(key):
        key_start, key = jax.random.split(key)
        xs = starts(aim, key_start, many * settings.replicas)
        xs = xs.reshape(many, settings.replicas, aim.d)
        states = jax.vmap(lambda xs: algorithm.init(None, replicas=xs))(xs)

        def turn(states, i):
            keys = jax.random.split(jax.random.fold_in(key, i), many)
            states, _ = jax.vmap(algorithm.step)(keys, states)
            return states, states.position

        _, path = jax.lax.scan(turn, states, jnp.arange(moves))
        return equal(path[moves // 2 :: 10].reshape(-1, aim.d))

    return Sampler(run, 0, many * moves * settings.replicas)


def sequential(aim, settings):
    likelihood = lambda x: aim.logdensity(x) - aim.reference.logdensity(x)

    def kernel(logdensity_fn, exponent):
        precision = exponent + (1 - exponent) / WIDTH**2
        return blackjax.mala(logdensity_fn, 0.3 / precision)

    algorithm = jg.smc.tempered(aim.reference.logdensity, likelihood, kernel, moves=5)

    def run(key):
        key_start, key = jax.random.split(key)
        xs = starts(aim, key_start, settings.particles)
        state, info = jg.smc.run(key, algorithm, xs)
        found = state.particles, state.weights, state.log_normaliser, info.effective_draws
        return Draws(*found, info.steps)

    n = settings.particles
    # A step: the ladder, the weights and a count of divergences; a start and five moves
    return Sampler(run, 3 * n, 6 * n)


MAKERS = {
    "ULA": ula,
    "MALA": mala,
    "NUTS": nuts,
    "rdMC, importance": functools.partial(reversed_diffusion, kind="importance"),
    "rdMC, inner MALA": functools.partial(reversed_diffusion, kind="langevin"),
    "rdMC, fitted guess": functools.partial(reversed_diffusion, kind="fitted"),
    "ZOD-MC": functools.partial(reversed_diffusion, kind="rejection"),
    "ensemble": ensemble,
    "parallel tempering": tempering,
    "tempered SMC": sequential,
}


def effective_by_dimension(settings, dims, m=1000):
    """Rows: the effective draws of one score estimate at the noisy start, by dimension."""
    rows = []
    for d in dims:
        aim, process = target(d), ornstein_uhlenbeck()
        key_fit, key_z, key_eps = jax.random.split(jax.random.key(settings.seed + 1), 3)
        fitted = jax.jit(functools.partial(fit, aim, settings))(key_fit)
        guesses = {
            "flat": None,
            "N(0, 16)": (0.0, WIDTH**2),
            "fitted": (fitted.mean, jnp.diag(fitted.cov)),
        }
        z = jax.random.normal(key_z, (20, d))
        eps = jax.random.normal(key_eps, (m, d))
        for name, guess in guesses.items():
            look = from_density.effective_draws(process, aim.logdensity, eps, guess=guess)
            found = jax.jit(jax.vmap(lambda z, look=look: look(z, 3.0)))(z)
            rows.append({"d": d, "guess": name, "draws": m, "effective": float(found.mean())})
    return rows
