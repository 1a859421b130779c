"""Posteriors of models whose likelihood q(y | theta) / Z(theta) has an unknown Z.

The ratio Z(theta) / Z(theta') of Metropolis and Hastings is estimated by
q(w | theta) / q(w | theta') of data w simulated at theta', whose mean it is.

Sources: Moller et al. 2006; Murray, Ghahramani and MacKay 2006, arXiv 1206.6848 (exchange); Liang
2010 (double Metropolis-Hastings); Alquier et al. 2016, arXiv 1403.5496 (noisy).
"""

import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp

from jaxgen.mcmc._accept import decide
from jaxgen.mcmc.intractable._proposal import ParameterState, joint, start, with_density
from jaxgen.types import sampling_algorithm


def exchange(logprior_fn, loglikelihood_fn, y, proposal, simulate):
    """The exchange algorithm on parameters theta [*event]; as a `SamplingAlgorithm`.

    Exact: its law is the posterior, whatever Z is, if `simulate` draws exactly from the model. A
    step costs one simulation.

    Args: logprior_fn(theta) -> [], -inf outside the prior's support; loglikelihood_fn(y, theta) ->
    [], log q, unnormalised; y, the data, any tree; proposal, a `Proposal`; simulate(key, theta) ->
    data like y. Raises ValueError on a proposal without density; `init` where the log-density is
    NaN or +inf. A proposed theta at which it is, or whose ratio is NaN, is rejected and counted as
    divergent. Source: Murray, Ghahramani and MacKay 2006, arXiv 1206.6848, algorithm 2.
    """
    return _averaged(
        "mcmc.intractable.exchange", logprior_fn, loglikelihood_fn, y, proposal, simulate, 1
    )


def noisy_metropolis(logprior_fn, loglikelihood_fn, y, proposal, simulate, *, simulations):
    """Metropolis-Hastings on theta [*event] with the ratio of normalisers averaged over some
    simulations; as a `SamplingAlgorithm`.

    One simulation is `exchange`, which is exact. More accept more often, but leave a bias of
    O(1 / sqrt(simulations)) in acceptance; with infinitely many it is Metropolis-Hastings with
    known normalisers.

    Args: simulations, at least 1; the others, and what raises, as in `exchange`.
    Source: Alquier et al. 2016, arXiv 1403.5496, section 3.
    """
    where = "mcmc.intractable.noisy_metropolis"
    if simulations < 1:
        raise ValueError(f"{where}: simulations must be at least 1; got {simulations}")
    return _averaged(where, logprior_fn, loglikelihood_fn, y, proposal, simulate, simulations)


def double_metropolis(logprior_fn, loglikelihood_fn, y, proposal, inner, *, steps):
    """The exchange algorithm on theta [*event] whose simulation is a Markov chain from the data y;
    as a `SamplingAlgorithm`.

    As good as its inner chain is long: one that never leaves y would sample the prior.

    Args: inner(theta) -> SamplingAlgorithm on data, which leaves q(. | theta) invariant; steps of
    it; the others, and what raises, as in `exchange`. Raises ValueError on steps < 1.
    Source: Liang 2010, section 2.2.
    """
    where = "mcmc.intractable.double_metropolis"
    if steps < 1:
        raise ValueError(f"{where}: steps must be at least 1; got {steps}")

    def simulate(key, theta):
        algorithm = inner(theta)
        key_init, key_run = jax.random.split(key)

        def body(state, i):
            return algorithm.step(jax.random.fold_in(key_run, i), state)[0], None

        first = algorithm.init(y, key_init)
        return jax.lax.scan(body, first, jnp.arange(steps))[0].position

    return _averaged(where, logprior_fn, loglikelihood_fn, y, proposal, simulate, 1)


def _averaged(where, logprior_fn, loglikelihood_fn, y, proposal, simulate, simulations):
    with_density(where, proposal)

    def at(theta):
        value = joint(logprior_fn(theta), loglikelihood_fn(y, theta))
        return ParameterState(theta, value, ())

    def init(position, rng_key=None):
        del rng_key
        return start(where, position, at)

    def step(rng_key, state):
        key_propose, key_simulate, key_accept = jax.random.split(rng_key, 3)
        old = state.position
        theta = proposal.sample(key_propose, old)
        new = at(theta)

        def log_weight(i):
            w = simulate(jax.random.fold_in(key_simulate, i), theta)
            return loglikelihood_fn(w, old) - loglikelihood_fn(w, theta)

        log_weights = jax.vmap(log_weight)(jnp.arange(simulations))
        log_z_ratio = logsumexp(log_weights) - jnp.log(simulations).astype(log_weights.dtype)
        forward = proposal.logdensity(theta, old)
        hastings = proposal.logdensity(old, theta) - forward
        ratio = new.logdensity - state.logdensity + hastings + log_z_ratio
        # where the prior is 0, simulations and their ratios need not make sense
        ratio = jnp.where(state.logdensity == -jnp.inf, jnp.inf, ratio)
        ratio = jnp.where(new.logdensity == -jnp.inf, -jnp.inf, ratio)
        return decide(key_accept, ratio, new, state, forward)

    return sampling_algorithm(init, step)
