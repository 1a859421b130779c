"""Marginalisation models: one network knows log p(x_S) of every subset S of sites, another the
conditionals p(x_i | x_S), and both must agree.

States are symbols x [d], integers from 0; S is seen [d], booleans. log_marginal(params, x, seen) ->
[], nats, must not read sites that are not seen, and must be 0 where none is: that fixes the
normaliser. conditional(params, x, seen) -> logits [d, k], read where seen is False. They agree when
log p(x_S) + log p(x_i | x_S) = log p(x_(S + i)) for every S and i.
Source: Liu, Ramadge and Adams 2024, arXiv 2310.12920. Deviations: draws are fresh and ancestral
instead of persistent and by blocks; the other draws' mean is the baseline.
"""

import jax
import jax.numpy as jnp

hold = jax.lax.stop_gradient


def any_order_draw(conditional, sites):
    """draw(params, key) -> (x [d], log_prob []): a state drawn site by site in a random order, and
    the log-probability, nats, of having drawn it in that order, for d = sites.

    Source: Uria, Murray and Larochelle 2014, arXiv 1310.1757.
    """
    _positive("any_order_draw", sites=sites)

    def draw(params, key):
        key_order, key_sites = jax.random.split(key)
        order = jax.random.permutation(key_order, sites)

        def body(held, i):
            x, seen, log_prob = held
            site = order[i]
            logits = jax.nn.log_softmax(conditional(params, x, seen)[site])
            symbol = jax.random.categorical(jax.random.fold_in(key_sites, i), logits)
            x = x.at[site].set(symbol.astype(x.dtype))
            return (x, seen.at[site].set(True), log_prob + logits[symbol]), None

        start = jnp.zeros(sites, int), jnp.zeros(sites, bool)
        kind = jax.eval_shape(conditional, params, *start)
        if kind.ndim != 2 or kind.shape[0] != sites:
            raise ValueError(
                f"losses.energy: conditional must return logits [{sites}, k]; got {kind.shape}"
            )
        held = (*start, jnp.zeros((), kind.dtype))
        (x, _, log_prob), _ = jax.lax.scan(body, held, jnp.arange(sites))
        return x, log_prob

    return draw


def any_order_likelihood(conditional):
    """loss_fn(params, key, x0 [d], t=None) -> [] nats: an unbiased estimate of minus the mean of
    log p(x0) over all orders, from one set of seen sites and all the others.

    The part that learns conditionals from data. Source: Uria, Murray and Larochelle 2014, arXiv
    1310.1757, equation 7.
    """

    def loss_fn(params, key, x0, t=None):
        _, rank, size = _split(key, x0.size, 1)
        seen = rank < size
        logs = jax.nn.log_softmax(conditional(params, x0, seen))
        picked = jnp.take_along_axis(logs, x0[:, None], 1)[:, 0]
        return -x0.size * jnp.sum(jnp.where(seen, 0, picked)) / jnp.sum(~seen)

    return loss_fn


def marginal_consistency(log_marginal, conditional, *, span=1, held=False):
    """loss_fn(params, key, x0 [d], t=None) -> [], nats squared: the square of log p(x_S) + log
    p(x_i | x_S) - log p(x_(S + i)) at a random size of S, S and i, all orders alike.

    0 everywhere only where marginals and conditionals agree, whatever law x0 has, if it reaches
    everything.
    Args: span, how many sites are added one by one between the two marginals, from 1 to d; long
        spans carry what the energy says to small sets at once. held: the conditionals are taken for
        given, and the marginals distilled from them.
    Raises ValueError (when traced) on a span outside 1 to d. Source: Liu et al. 2024, arXiv
    2310.12920, equation 7, span 1; longer ones derived, by adding up.
    """

    def loss_fn(params, key, x0, t=None):
        if not isinstance(span, int) or not 1 <= span <= x0.size:
            raise ValueError(
                f"losses.energy.marginal_consistency: span must be in 1 to {x0.size}; got {span}"
            )
        order, rank, size = _split(key, x0.size, span)

        def step(i):
            site = order[size + i]
            logits = conditional(params, x0, rank < size + i)[site]
            return jax.nn.log_softmax(logits)[x0[site]]

        steps = jnp.sum(jax.vmap(step)(jnp.arange(span)))
        steps = hold(steps) if held else steps
        after = log_marginal(params, x0, rank < size + span)
        return (log_marginal(params, x0, rank < size) + steps - after) ** 2

    return loss_fn


def marginal_reverse_kl(
    logdensity_fn, log_marginal, conditional, *, sites, draws, weight=1.0, spans=(1,)
):
    """loss_fn(params, key) -> [] nats: the mean of log p(x) - logdensity_fn(x) over `draws` states
    [draws, d] from the conditionals, plus `weight` times their mean inconsistency; no data.

    Where the two agree, the first part is on average KL(p || target) - log Z, and its gradient, a
    score-function estimate with the other draws' mean for a baseline, is exact on average; at the
    target it is 0 on every draw, and the value -log Z.
    Args: logdensity_fn(x [d]) -> [], unnormalised; sites, d; draws >= 2; spans, the
        `marginal_consistency` checks made of each draw. Raises ValueError on numbers out of range,
        and (when traced) on logits of another shape.
    Source: Liu et al. 2024, arXiv 2310.12920, equations 10-12.
    """
    _positive("marginal_reverse_kl", sites=sites, draws=draws - 1, spans=len(spans))
    draw = any_order_draw(conditional, sites)
    penalties = [marginal_consistency(log_marginal, conditional, span=span) for span in spans]
    everything = jnp.ones(sites, bool)

    def loss_fn(params, key):
        key_draw, key_check = jax.random.split(key)
        xs, _ = jax.vmap(draw, (None, 0))(hold(params), jax.random.split(key_draw, draws))
        logs = jax.vmap(lambda x: log_marginal(params, x, everything))(xs)
        gaps = hold(logs - jax.vmap(logdensity_fn)(xs))
        away = (gaps - jnp.mean(gaps)) * draws / (draws - 1)  # from the mean of the others
        surrogate = jnp.mean(away * logs)
        unequal = [
            jnp.mean(jax.vmap(penalty, (None, 0, 0))(params, jax.random.split(key, draws), xs))
            for key, penalty in zip(jax.random.split(key_check, len(spans)), penalties, strict=True)
        ]
        return jnp.mean(gaps) + surrogate - hold(surrogate) + weight * sum(unequal) / len(spans)

    return loss_fn


def _split(key, d, span):
    """A random order [d], the rank [d] of each site in it, and a size of S from 0 to d - span."""
    key_order, key_size = jax.random.split(key)
    order = jax.random.permutation(key_order, d)
    return order, jnp.argsort(order), jax.random.randint(key_size, (), 0, d - span + 1)


def _positive(where, **numbers):
    for name, value in numbers.items():
        if not isinstance(value, int) or value < 1:
            least = "2" if name == "draws" else "1"
            got = value + 1 if name == "draws" and isinstance(value, int) else value
            raise ValueError(
                f"losses.energy.{where}: {name} must be an integer, at least {least}; got {got}"
            )
