"""How far a joint law is from independence, as a transport distance.

    I_W(X; Y) = W_1(p(x, y), p(x) p(y)),   ground metric d_x + d_y,

is finite, moves with the metric, and needs no ratio of densities. Its dual is a supremum over
critics f(x, y) that are 1-Lipschitz in x and in y; replacing the product's mean of f by the mean of
log E exp f (Jensen) can only lower it, so the contrastive bound stays below.

Sources: Ozair et al. 2019, arXiv:1903.11780, sections 3 and 4; Gulrajani et al. 2017,
arXiv:1704.00028, equation 3 (penalty).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp

from jaxgen.metrics._gaussian import gaussian_distance
from jaxgen.metrics.transport._costs import cost_matrix, euclidean
from jaxgen.metrics.transport._newton import newton
from jaxgen.metrics.transport._problem import weights

Array = jax.Array


def _paired(where, xs, ys, least):
    xs, ys = jnp.asarray(xs), jnp.asarray(ys)
    if xs.ndim < 1 or ys.ndim < 1 or xs.shape[0] != ys.shape[0] or xs.shape[0] < least:
        raise ValueError(
            f"{where}: xs [n, *event_x] and ys [n, *event_y] must be n >= {least} pairs; "
            f"got {xs.shape} and {ys.shape}"
        )
    return xs, ys


def wasserstein_dependency(
    xs: Array,
    ys: Array,
    *,
    epsilon: float,
    cost_x: Callable[[Array, Array], Array] = euclidean,
    cost_y: Callable[[Array, Array], Array] = euclidean,
    solver: Callable = newton,
    **options,
) -> Array:
    """I_W of the empirical law of n pairs, [], in units of the costs.

    The pairs (x_i, y_i) are carried to all n² pairs (x_j, y_k): memory n³. The value is the cost of
    the entropic plan, above the exact one by at most epsilon log n. An empirical law of independent
    pairs is not independent: expect an offset that falls with n.

    Args:
        xs: [n, *event_x], n >= 2.
        ys: [n, *event_y].
        epsilon: regularisation, in units of the costs; small against the answer.
        cost_x: (x, x') -> [], a metric.
        cost_y: (y, y') -> [], a metric.
        solver: `newton` or `sinkhorn`.
        **options: of the solver.

    Raises ValueError on unequal numbers of points and as the solver does.
    Source: Ozair et al. 2019, arXiv:1903.11780, equation 3.
    """
    xs, ys = _paired("wasserstein_dependency", xs, ys, 2)
    of_x, of_y = cost_matrix(xs, xs, cost_x), cost_matrix(ys, ys, cost_y)
    cost = (of_x[:, :, None] + of_y[:, None, :]).reshape(xs.shape[0], -1)
    return solver(cost, epsilon=epsilon, **options).cost


def table_dependency(
    joint: Array,
    cost_x: Array,
    cost_y: Array,
    *,
    epsilon: float,
    solver: Callable = newton,
    **options,
) -> Array:
    """I_W of a joint table, [], in units of the costs; within epsilon log(k l) above the exact one.

    Args:
        joint: [k, l], probabilities of (x, y); entries may be 0.
        cost_x: [k, k], the metric between values of x.
        cost_y: [l, l], between values of y.
        epsilon: regularisation, in units of the costs.
        solver: `newton` or `sinkhorn`.
        **options: of the solver.

    Raises ValueError where shapes disagree, the table is unnormalised or negative, and as the
    solver does.
    Source: Ozair et al. 2019, arXiv:1903.11780, equation 3.
    """
    joint, cost_x, cost_y = map(jnp.asarray, (joint, cost_x, cost_y))
    k, l = joint.shape if joint.ndim == 2 else (-1, -1)
    if cost_x.shape != (k, k) or cost_y.shape != (l, l):
        shapes = joint.shape, cost_x.shape, cost_y.shape
        raise ValueError(
            f"table_dependency: joint [k, l], cost_x [k, k], cost_y [l, l] must agree; got {shapes}"
        )
    flat = weights("table_dependency", "joint", joint.reshape(-1), joint.size, joint.dtype)
    joint = flat.reshape(k, l)
    product = jnp.sum(joint, axis=1)[:, None] * jnp.sum(joint, axis=0)[None, :]
    cost = cost_x[:, None, :, None] + cost_y[None, :, None, :]
    cost = jnp.broadcast_to(cost, (k, l, k, l)).reshape(k * l, k * l)
    return solver(cost, flat, product.reshape(-1), epsilon=epsilon, **options).cost


def gaussian_dependency(cov: Array, split: int) -> Array:
    """W_2², [], between N(0, cov [d, d]) and the product of its first `split` and other entries.

    For unit variances and correlation r it is 4 - 2 (√(1 + r) + √(1 - r)).

    Raises ValueError unless 0 < split < d and cov is a covariance.
    Source: Dowson and Landau 1982, on the joint and the block-diagonal covariance.
    """
    cov = jnp.asarray(cov)
    d = cov.shape[-1] if cov.ndim == 2 else 0
    if not 0 < split < d:
        raise ValueError(
            f"gaussian_dependency: split must be in (0, d) for cov [d, d]; got {split}, {cov.shape}"
        )
    first = jnp.arange(d) < split
    apart = jnp.where(first[:, None] == first[None, :], cov, 0)
    return gaussian_distance(jnp.zeros_like(cov[0]), cov, jnp.zeros_like(cov[0]), apart)


def contrastive_bound(critic: Callable[[Array, Array], Array], xs: Array, ys: Array) -> Array:
    """A lower bound on I_W of n pairs, [], from a critic: mean f(x_i, y_i) - mean log mean exp f.

    For a critic that is 1-Lipschitz in x and in y it never exceeds I_W between the n pairs and the
    n² pairs of `wasserstein_dependency`.

    Args:
        critic: (x [*event_x], y [*event_y]) -> [].
        xs: [n, *event_x], n >= 2.
        ys: [n, *event_y].

    Raises ValueError on unequal numbers of points.
    Source: Ozair et al. 2019, arXiv:1903.11780, section 4 (the contrast over all n pairs).
    """
    xs, ys = _paired("contrastive_bound", xs, ys, 2)
    table = jax.vmap(lambda x: jax.vmap(lambda y: critic(x, y))(ys))(xs)
    contrast = logsumexp(table, axis=1) - jnp.log(jnp.asarray(xs.shape[0], table.dtype))
    return jnp.mean(jnp.diagonal(table)) - jnp.mean(contrast)


def dependency_loss(apply: Callable[..., Array], *, penalty: float = 10.0) -> Callable[..., Array]:
    """loss_fn(params, key, xs [n, *event_x], ys [n, *event_y]) -> [] of a batch: the negative
    contrastive bound plus a penalty on slopes above 1.

    The slopes |∇_x f| and |∇_y f| (the ground metric is a sum, so each is bounded) are read at
    random points between a pair of the joint and one of the product. A trained critic's bound is
    valid only up to its measured slopes.

    Args:
        apply: (params, x [*event_x], y [*event_y]) -> [], the critic.
        penalty: weight of the mean square excess.

    Raises ValueError on a negative penalty and unequal numbers of points.
    Source: Ozair et al. 2019, arXiv:1903.11780, section 4; Gulrajani et al. 2017,
    arXiv:1704.00028, equation 3. Deviation: one-sided (slopes below 1 cost nothing), by block.
    """
    if not isinstance(penalty, jax.core.Tracer) and penalty < 0:
        raise ValueError(f"dependency_loss: penalty must be at least 0; got {penalty}")

    def loss_fn(params, key, xs, ys):
        xs, ys = _paired("dependency_loss", xs, ys, 2)
        critic = lambda x, y: apply(params, x, y)
        n = xs.shape[0]
        key_shuffle, key_between = jax.random.split(key)
        other = ys[jax.random.permutation(key_shuffle, n)]
        share = jax.random.uniform(key_between, (n,), ys.dtype)
        share = share.reshape(n, *(1,) * (ys.ndim - 1))
        between = share * ys + (1 - share) * other
        slopes = jax.vmap(jax.grad(critic, (0, 1)))(xs, between)
        excess = sum(jnp.mean(jnp.maximum(jax.vmap(_norm)(slope) - 1, 0) ** 2) for slope in slopes)
        return penalty * excess - contrastive_bound(critic, xs, ys)

    loss_fn.batch = True
    return loss_fn


def _norm(x):
    return euclidean(x, jnp.zeros_like(x))
