"""Entropic transport by Sinkhorn's iteration, in the log domain, at the price of matrix products.

An iteration in the log domain costs two passes of exponentials. Between such passes the plan at
hand is absorbed in a matrix K, and the iteration is u <- 1 / K (b v), v <- 1 / Kᵀ (a u): about ten
times cheaper on a CPU. Where u or v leaves a safe range the block is dropped, and the log-domain
step before it stands; so nothing underflows at any epsilon.

Sources: Cuturi 2013, arXiv:1306.0895; Schmitzer 2019, arXiv:1610.06519, sections 2 and 3
(absorption, falling epsilon).
"""

import jax
import jax.numpy as jnp

from jaxgen.metrics.transport._problem import Info, checked, coupling, f_of_g, g_of_f, start_of

Array = jax.Array

BLOCK = 50  # iterations with one absorbed matrix
LOOSE = 0.1  # marginal error at which epsilon falls further


def _absorbed(cost, a, b, epsilon, f, g, tolerance, limit):
    """Scaling iterations from (f, g): the new pair, the marginal error, its rate, how many."""
    matrix = jnp.exp((f[:, None] + g[None, :] - cost) / epsilon)
    safe = float(jnp.finfo(cost.dtype).max) ** 0.3

    def more(s):
        _, _, error, _, k, sound = s
        return (error > tolerance) & (k < limit) & sound

    def body(s):
        u, v, before, _, k, _ = s
        rows = matrix @ (b * v)
        error = jnp.sum(a * jnp.abs(u * rows - 1))
        u = 1 / rows
        v = 1 / ((a * u) @ matrix)
        largest = jnp.maximum(jnp.max(u), jnp.max(v))
        least = jnp.minimum(jnp.min(u), jnp.min(v))
        return u, v, error, error / before, k + 1, (largest < safe) & (least > 1 / safe)

    one = jnp.ones_like
    infinite = jnp.asarray(jnp.inf, cost.dtype)
    state = (one(f), one(g), infinite, one(infinite), 0, jnp.array(True))
    u, v, error, rate, k, sound = jax.lax.while_loop(more, body, state)
    moved = lambda x, scale: jnp.where(sound, x + epsilon * jnp.log(jnp.where(sound, scale, 1)), x)
    return moved(f, u), moved(g, v), jnp.where(sound, error, jnp.inf), rate, jnp.where(sound, k, 0)


def iterate(cost, epsilon, a, b, g, tolerance, limit, *, first=None, decay=1.0, block=BLOCK):
    """Sinkhorn from g [m] until the marginal error is at most `tolerance` at `epsilon`.

    Returns g [m], the error [], its rate in one iteration [], and the number of iterations [].
    epsilon falls from `first` by `decay` whenever the error is below LOOSE.
    """
    first = epsilon if first is None else first

    def more(s):
        _, error, _, k, now = s
        return ((error > tolerance) | (now > epsilon)) & (k < limit)

    def body(s):
        g, _, _, k, now = s
        f = f_of_g(cost, b, now, g)
        g = g_of_f(cost, a, now, f)
        goal = jnp.where(now > epsilon, jnp.maximum(LOOSE, tolerance), tolerance)
        most = jnp.minimum(block, limit - k - 1)
        f, g, error, rate, used = _absorbed(cost, a, b, now, f, g, goal, most)
        now = jnp.where(error <= goal, jnp.maximum(epsilon, now * decay), now)
        return g, jnp.where(now < s[4], jnp.inf, error), rate, k + used + 1, now

    infinite = jnp.asarray(jnp.inf, cost.dtype)
    g, error, rate, k, _ = jax.lax.while_loop(more, body, (g, infinite, infinite, 0, first))
    return g, error, rate, k


def no_newton(iterations):
    """The Info of `iterations` Sinkhorn iterations alone."""
    zero = jnp.zeros((), jnp.int32)
    nan = jnp.full((), jnp.nan)
    return Info(nan, zero > 0, iterations, zero, zero, zero, zero > 0)


def sinkhorn(
    cost: Array,
    a: Array | None = None,
    b: Array | None = None,
    *,
    epsilon: float,
    tolerance: float | None = None,
    max_iterations: int = 10_000,
    decay: float = 0.25,
    initial: Array | None = None,
):
    """The entropic transport plan between weights a and b, a Coupling, by Sinkhorn's iteration.

    Potentials, plan, cost and value are differentiable in cost, a, b and epsilon, to any order
    where all weights are positive, without running the iteration backwards. In weights the
    derivatives are along the simplex: the value's are f - <a, f> and g - <b, g>.

    Args:
        cost: [n, m], finite.
        a: [n], at least 0, sum 1; None is uniform. A weight may be 0.
        b: [m], likewise.
        epsilon: regularisation, in units of the cost.
        tolerance: on the sum of |column sums - b|; None is the square root of the dtype's eps. The
            floor of rounding is about eps times the cost's range over epsilon.
        max_iterations: Sinkhorn iterations at most; `info.converged` says if they were enough.
        decay: epsilon falls to its value by this factor; 1 starts at epsilon.
        initial: g [m] to start from; use with decay=1.

    Raises ValueError on wrong shapes or dtypes, and where concrete values are not finite, weights
    negative or unnormalised, or numbers not positive.
    Source: Cuturi 2013, arXiv:1306.0895; Schmitzer 2019, arXiv:1610.06519.
    """
    problem = checked("sinkhorn", cost, epsilon, a, b, tolerance)
    falling("sinkhorn", decay, max_iterations)
    *held, tolerance = map(jax.lax.stop_gradient, problem)
    g = first_guess("sinkhorn", initial, held[0])
    first = start_of(held[0], held[1], decay)
    g, _, _, k = iterate(*held, g, tolerance, max_iterations, first=first, decay=decay)
    return coupling(*problem[:4], g, tolerance, no_newton(k))


def falling(where, decay, *limits):
    """Nothing; raises ValueError on a decay outside (0, 1] or a limit below 1."""
    if not isinstance(decay, jax.core.Tracer) and not 0 < decay <= 1:
        raise ValueError(f"{where}: decay must be in (0, 1]; got {decay}")
    for limit in limits:
        if limit < 1:
            raise ValueError(f"{where}: limits of iterations must be at least 1; got {limit}")


def first_guess(where, initial, cost):
    """g [m] to start from: zeros, or `initial` without its gradient."""
    if initial is None:
        return jnp.zeros_like(cost[0])
    if jnp.shape(initial) != cost.shape[1:]:
        raise ValueError(
            f"{where}: initial must be g {cost.shape[1:]}; got shape {jnp.shape(initial)}"
        )
    return jax.lax.stop_gradient(jnp.asarray(initial, cost.dtype))
