"""The logarithm of a density ratio by logistic regression on given features.

The classifier log p(x) / q(x) = w · features(x) + b, fitted by Newton's method on the convex
objective; unequal numbers of points are corrected for by their log-ratio. With features that hold
the sufficient statistics of both laws it is consistent, and of least variance.

Sources: Qin 1998, Inferences for case-control and semiparametric two-sample density ratio models;
Sugiyama, Suzuki and Kanamori 2012, section 4.1.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from jaxgen.metrics.information._points import points, positive

Array = jax.Array


def _evaluate(features, mean, scale, weights, bias, x):
    values = jnp.reshape(features(x), (-1,))
    return jnp.dot((values - mean) / scale, weights, precision="highest") + bias


def fit_log_ratio(
    features: Callable[[Array], Array],
    xs: Array,
    ys: Array,
    *,
    ridge: float = 1e-6,
    steps: int = 20,
) -> Callable[[Array], Array]:
    """The fitted log p / q in nats, x [*event] -> [], a pytree of its numbers.

    Args:
        features: x [*event] -> [m]; a constant is added.
        xs: [n, *event] from p.
        ys: [m, *event] from q.
        ridge: > 0, on the weights of the standardised features: keeps them finite where the two
            samples can be separated.
        steps: of Newton's method, halved until the objective falls.

    Raises ValueError on fewer than two points, unequal events, or ridge <= 0.
    Source: Sugiyama et al. 2012, section 4.1.
    """
    points("fit_log_ratio", "xs", xs), points("fit_log_ratio", "ys", ys)
    positive("fit_log_ratio", "ridge", ridge)
    if jnp.shape(xs)[1:] != jnp.shape(ys)[1:]:
        raise ValueError(
            f"fit_log_ratio: xs and ys must have one event shape; "
            f"got {jnp.shape(xs)}, {jnp.shape(ys)}"
        )
    n, m = jnp.shape(xs)[0], jnp.shape(ys)[0]
    rows = jax.vmap(features)(jnp.concatenate([xs, ys])).reshape(n + m, -1)
    mean, scale = jnp.mean(rows, axis=0), jnp.std(rows, axis=0)
    scale = jnp.where(scale > 0, scale, 1)
    rows = (rows - mean[None]) / scale[None]
    rows = jnp.concatenate([rows, jnp.ones((n + m, 1), rows.dtype)], axis=1)
    sign = jnp.where(jnp.arange(n + m) < n, 1, -1).astype(rows.dtype)
    share = jnp.where(jnp.arange(n + m) < n, 0.5 / n, 0.5 / m).astype(rows.dtype)
    penalty = ridge * jnp.ones(rows.shape[1], rows.dtype).at[-1].set(0)
    dot = lambda a, b: jnp.matmul(a, b, precision="highest")

    def objective(w):
        loss = jnp.sum(share * jax.nn.softplus(-sign * dot(rows, w)))
        return loss + jnp.sum(penalty * w**2) / 2

    def newton(_, w):
        chance = jax.nn.sigmoid(dot(rows, w))
        curve = share * chance * (1 - chance)
        hessian = dot(rows.T, curve[:, None] * rows) + jnp.diag(penalty)
        lift = jnp.finfo(rows.dtype).eps * jnp.eye(rows.shape[1], dtype=rows.dtype)
        step = jnp.linalg.solve(hessian + lift, jax.grad(objective)(w))
        sizes = 0.5 ** jnp.arange(8, dtype=rows.dtype)
        values = jax.vmap(lambda size: objective(w - size * step))(sizes)
        best = jnp.argmin(jnp.where(jnp.isfinite(values), values, jnp.inf))
        return jnp.where(values[best] < objective(w), w - sizes[best] * step, w)

    w = jax.lax.fori_loop(0, steps, newton, jnp.zeros(rows.shape[1], rows.dtype))
    return Partial(Partial(_evaluate, features), mean, scale, w[:-1], w[-1])
