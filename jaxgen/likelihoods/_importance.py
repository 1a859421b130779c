"""Importance-weighted bounds: the logarithm of a mean instead of the mean of logarithms."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxgen.likelihoods._decoders import gaussian_decoder
from jaxgen.likelihoods._elbo import end_weight
from jaxgen.likelihoods._options import check_count, check_grid
from jaxgen.math import apply, contract, on_host, total, working_dtype
from jaxgen.processes import is_diagonal, log_snr, noise_shape, snr_gap
from jaxgen.processes import prior as unit_prior
from jaxgen.solvers import sde


class ImportanceTerms(NamedTuple):
    """An importance-weighted bound and how far to trust it, nats. Source: definition."""

    log_prob: Any  # [] log of the mean of the weights: a bound on average, tighter with more draws
    standard_error: Any  # [] of log_prob by the delta method, NaN for one draw
    jackknife: Any  # [] log_prob with its bias of order 1/k removed; no bound. NaN for one draw
    mean: Any  # [] mean of the logs: the bound of one draw
    effective_draws: Any  # [] (sum w)^2 / sum w^2, from 1 to k


def importance(log_prob, draws, *, chunk=None):
    """log_prob(key, x) -> [] nats: log mean exp of `draws` values of log_prob(key, x) under
    independent keys.

    A bound on average, which rises with the draws to log E exp(log_prob): for `flow_ode` of a block
    process to the density with the auxiliaries integrated out, for `path_weight` to that of the
    sampler's chain, for `dequantised` to the probability of the integers. exp(log_prob) must
    average to a density: not so for `elbo`, nor with random probes. Args: chunk, how many draws to
    run at once (None: all). Raises ValueError on draws or chunk < 1.
    Source: Burda et al. 2016, arXiv 1509.00519, theorem 1; Song et al. 2021, arXiv 2101.09258, for
    likelihoods of diffusions.
    """
    terms = importance_terms(log_prob, draws, chunk=chunk)
    return lambda key, x: terms(key, x).log_prob


def importance_terms(log_prob, draws, *, chunk=None):
    """terms(key, x) -> ImportanceTerms: `importance` with its error and diagnostics, nats [].

    Raises ValueError as `importance`. Source: as `importance`; Nowozin 2018, ICLR, section 4, for
    the jackknife.
    """
    for label, number in {"draws": draws, "chunk": chunk}.items():
        check_count("likelihoods.importance", label, number)

    def terms(key, x):
        one, keys = lambda key: log_prob(key, x), jax.random.split(key, draws)
        logs = jax.vmap(one)(keys) if chunk is None else jax.lax.map(one, keys, batch_size=chunk)
        value = jax.nn.logsumexp(logs) - math.log(draws)
        if draws == 1:
            unknown = jnp.full_like(value, jnp.nan)
            return ImportanceTerms(value, unknown, unknown, value, jnp.ones_like(value))
        weights = jnp.exp(logs - value)
        error = jnp.std(weights, ddof=1) / draws**0.5
        # Without draw i; the clip guards a single draw that is all of the mass
        others = jnp.log(jnp.maximum(draws - weights, jnp.finfo(value.dtype).tiny))
        left_out = value + jnp.mean(others) - math.log(draws - 1)
        jackknife = draws * value - (draws - 1) * left_out
        effective = draws**2 / jnp.sum(weights**2)
        return ImportanceTerms(value, error, jackknife, jnp.mean(logs), effective)

    return terms


def path_weight(process, denoiser, ts, *, variance=0.0, prior=None, decoder=None):
    """log_prob(key, x [*event]) -> [] nats: log p(x, path) - log q(path | x) of one noised path
    through the falling stops ts [n + 1], p the chain of `solvers.sde.ancestral`.

    exp of it averages to the density p(x) of the chain, for any denoiser; hand it to `importance`.
    Its mean is the bound `elbo(process, denoiser, ts)`, which has less variance. n evaluations,
    and one for the default decoder. Args and errors as `elbo`.
    Source: Burda et al. 2016, arXiv 1509.00519, with the chain of Ho et al. 2020, arXiv 2006.11239,
    equations 2-7; in terms of the channel derived.
    """
    check_grid("likelihoods.path_weight", process, ts)
    decoder = gaussian_decoder(process, denoiser, t=ts[-1]) if decoder is None else decoder
    rows = sde.ancestral(process, None, variance=lambda z, t: 0.0).plan(ts)
    stop, entries = process._replace(t_max=ts[0]), is_diagonal(process)
    table, levels = rows.table, on_host(log_snr, process, ts)
    gaps = on_host(snr_gap, levels[:-1], levels[1:])
    steps = (rows.t, table.propagate, table.weights[:, 0], table.noise, rows.direction)
    steps = (*steps, rows.log_widening, gaps)

    def log_prob(key, x):
        x = jnp.asarray(x)
        key_start, key_path = jax.random.split(key)
        shape, dtype = noise_shape(process, x.shape), working_dtype(x)
        law = unit_prior(stop, x.shape) if prior is None else prior
        eps = jax.random.normal(key_start, shape, x.dtype)
        z, start = end_weight(process, law, ts[0], x, eps)

        def body(carry, indexed):
            z, weight = carry
            index, (t, keep, pull, noise, direction, widening, gap) = indexed
            missed = x - denoiser(z, t)
            v = variance(z, t) if callable(variance) else variance
            xi = jax.random.normal(jax.random.fold_in(key_path, index), shape, x.dtype)
            along, wider = contract(direction, xi, entries=entries), v * widening
            needed = along + jnp.sqrt(gap) * missed
            change = jnp.sum(along**2 - needed**2 * jnp.exp(-wider) - wider) / 2
            moved = ((keep, z), (pull, x), (noise, xi))
            z = total([apply(*pair, entries=entries) for pair in moved])
            return (z, weight + change.astype(dtype)), None

        table = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), steps)
        indexed = jnp.arange(len(ts) - 1), table
        (z, weight), _ = jax.lax.scan(body, (z, start.astype(dtype)), indexed)
        return weight + decoder(x, z)

    return log_prob
