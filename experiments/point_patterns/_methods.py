"""The posterior of a problem by each method: thetas [chains, n, 2], and simulations spent."""

import jax
import jax.numpy as jnp
import numpy as np

import jaxgen as jg
from experiments.point_patterns import _problems

intractable = jg.mcmc.intractable


def proposal(problem):
    """Steps of about a posterior deviation."""
    return intractable.random_walk(jnp.asarray(problem.walk))


def chains(algorithm, key, starts, steps):
    """Positions [chains, 5/6 steps, 2] of chains from the starts [chains, 2], and acceptance."""

    def chain(start, i):
        key_init, key_run = jax.random.split(jax.random.fold_in(key, i))

        def body(state, i):
            state, info = algorithm.step(jax.random.fold_in(key_run, i), state)
            return state, (state.position, info.acceptance_rate)

        return jax.lax.scan(body, algorithm.init(start, key_init), jnp.arange(steps))[1]

    x, rate = jax.jit(jax.vmap(chain))(starts, jnp.arange(len(starts)))
    return np.asarray(x)[:, steps // 6 :], float(jnp.mean(rate))


def starts(key, settings, problem):
    """Starts [chains, 2] near what the pseudo-likelihood, or the count alone, says."""
    if problem.start is not None:
        away = jnp.asarray(problem.walk) * jax.random.normal(key, (settings.chains, 2))
        near = jnp.asarray(problem.start) - jnp.abs(away)  # below: gamma may be at its end
        return jnp.clip(near, jnp.asarray(problem.low), jnp.asarray(problem.high))
    n = jnp.maximum(jg.points.count(problem.pattern), 6).astype(float)
    noise = jax.random.uniform(key, (settings.chains, 2))
    return jnp.stack([jnp.log(n) + noise[:, 0], 0.3 + 0.5 * noise[:, 1]], -1)


def exchange(key, settings, problem):
    """One simulation a step."""
    algorithm = intractable.exchange(*told(problem), problem.simulate)
    x, rate = chains(algorithm, key, starts(key, settings, problem), settings.steps)
    return x, rate, settings.steps * settings.chains


def noisy(key, settings, problem):
    """Several simulations a step."""
    algorithm = intractable.noisy_metropolis(
        *told(problem), problem.simulate, simulations=settings.noisy
    )
    steps = settings.noisy_budget // settings.noisy
    x, rate = chains(algorithm, key, starts(key, settings, problem), steps)
    return x, rate, steps * settings.noisy * settings.chains


def told(problem):
    """What both are told."""
    law = _problems.prior(problem).logdensity
    return law, _problems.loglikelihood(problem), problem.pattern, proposal(problem)


def features(problem):
    """pattern -> [6]: counts of points and close pairs, at two distances, and their logs."""

    def of(pattern):
        n = jg.points.count(pattern).astype(float)
        pairs = [
            jg.points.pair_count(pattern, r * problem.radius).astype(float) for r in (1.0, 2.0)
        ]
        return jnp.stack([n, *pairs, *(jnp.log(a + 1) for a in (n, *pairs))])

    return of


def simulated(key, settings, problem):
    """Thetas [n, 2] of the prior and features [n, 6] of patterns simulated there."""
    of = features(problem)

    def once(i):
        key_theta, key_data = jax.random.split(jax.random.fold_in(key, i))
        theta = _problems.prior(problem).sample(key_theta)
        return theta, of(problem.simulate(key_data, theta))

    many = jax.jit(lambda: jax.lax.map(once, jnp.arange(settings.simulations), batch_size=500))
    return many()


def distance_of(problem, thetas, found):
    """distance(pattern) -> [] between learned posterior means, in posterior-mean deviations."""
    summary = intractable.posterior_means(thetas, found)
    scale = jax.vmap(summary)(found).std(0)
    of = features(problem)
    here = summary(of(problem.pattern))
    return lambda y: jnp.linalg.norm((summary(of(y)) - here) / scale)


def rejection(key, settings, problem, distance, keep):
    """The closest of many simulations from the prior, as one sample of independent thetas."""
    call = lambda key: intractable.abc_rejection(
        key,
        _problems.prior(problem).sample,
        problem.simulate,
        distance,
        simulations=settings.simulations,
        keep=keep,
        batch=500,
    )
    kept = jax.jit(call)(key)
    return np.asarray(kept.theta), float(kept.tolerance)


def abc_chain(key, settings, problem, distance, tolerance, first):
    """Chains that start from thetas kept by rejection."""
    algorithm = intractable.abc_mcmc(
        _problems.prior(problem).logdensity,
        problem.simulate,
        distance,
        proposal(problem),
        tolerance=tolerance,
    )
    steps = max(settings.simulations // settings.chains, 12)
    x, rate = chains(algorithm, key, jnp.asarray(first[: settings.chains]), steps)
    return x, rate, steps * settings.chains


def population(key, settings, problem, distance):
    """A weighted population whose tolerance falls: (thetas [n, 2], weights [n], acceptance of its
    last step, simulations).
    """
    n, prior = 2 * settings.keep, _problems.prior(problem)
    algorithm = jg.smc.abc(prior, problem.simulate, distance, fresh=n, batch=500)
    key_start, key_run = jax.random.split(key)
    steps = max(settings.simulations // n - 1, 1)

    def whole(key_start, key_run):
        particles = jax.vmap(prior.sample)(jax.random.split(key_start, n))
        return jg.smc.abc_run(key_run, algorithm, particles, max_steps=steps)

    state, info = jax.jit(whole)(key_start, key_run)
    held = np.asarray(state.particles), np.asarray(state.weights)
    return *held, float(info.acceptance), int(info.simulations)
