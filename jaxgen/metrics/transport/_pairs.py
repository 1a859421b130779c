"""Which noise meets which data: pairs of two minibatches drawn from a transport plan.

Flow matching on pairs of an optimal plan has straighter paths and a lower variance than on
independent pairs; its marginals stay those of the two batches.

Sources: Tong et al. 2024, arXiv:2302.00482, section 3.3; Pooladian et al. 2023, arXiv:2304.14772.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.metrics._clouds import finite
from jaxgen.metrics.transport._costs import cost_matrix, squared_euclidean
from jaxgen.metrics.transport._newton import newton

Array = jax.Array


def draw_pairs(key: Array, plan: Array, num: int) -> tuple[Array, Array]:
    """Indices (i [num], j [num]) of pairs drawn independently from a plan [n, m].

    Raises ValueError unless the plan is [n, m], at least 0 and sums to 1 where concrete, num >= 1.
    Source: Tong et al. 2024, arXiv:2302.00482, algorithm 3.
    """
    plan = jnp.asarray(plan)
    if plan.ndim != 2 or num < 1:
        raise ValueError(f"draw_pairs: plan must be [n, m], num >= 1; got {plan.shape}, {num}")
    finite("draw_pairs", "plan", plan)
    if not isinstance(plan, jax.core.Tracer):
        host = np.asarray(plan)
        least, total = float(host.min()), float(host.sum())
        if least < 0 or abs(total - 1) > 1e-3:
            raise ValueError(
                f"draw_pairs: plan must be at least 0 and sum to 1; got {least}, {total}"
            )
    pair = jax.random.categorical(key, jnp.log(plan.reshape(-1)), shape=(num,))
    return pair // plan.shape[1], pair % plan.shape[1]


def minibatch_pairs(
    key: Array,
    x0: Array,
    x1: Array,
    *,
    epsilon: float | None = None,
    cost: Callable[[Array, Array], Array] = squared_euclidean,
    assignment: Callable[[Array], tuple[Array, Array]] | None = None,
    solver: Callable = newton,
    **options,
) -> tuple[Array, Array]:
    """Indices (i [n], j [n]): x0[i], x1[j] are pairs of a transport plan of two minibatches.

    With an `assignment` the plan is the exact one and the key is not used. Otherwise every row i
    draws its partner from its row of the entropic plan, so each point of x0 is used once and each
    of x1 once on average. Nothing is differentiated.

    Args:
        key: draws the partners.
        x0: [n, *event].
        x1: [m, *event].
        epsilon: regularisation, in units of the cost; None is a hundredth of the mean cost.
        cost: (x [*event], y [*event]) -> [].
        assignment: cost [n, m] -> (rows, columns), such as
            `optax.assignment.hungarian_algorithm`.
        solver: `newton` or `sinkhorn`.
        **options: of the solver.

    Raises ValueError on unequal event shapes and as the solver does.
    Source: Tong et al. 2024, arXiv:2302.00482, section 3.3; Pooladian et al. 2023,
    arXiv:2304.14772. Deviation: rows are not drawn, which lowers the variance.
    """
    matrix = jax.lax.stop_gradient(cost_matrix(x0, x1, cost))
    if assignment is not None:
        i, j = assignment(matrix)
        order = jnp.argsort(i)
        return i[order], j[order]
    if epsilon is None:
        mean = jnp.mean(matrix)
        epsilon = jnp.where(mean > 0, mean, 1) / 100
    plan = solver(matrix, epsilon=epsilon, **options).plan
    i = jnp.arange(matrix.shape[0])
    return i, jax.random.categorical(key, jnp.log(plan), axis=1)
