"""Flow matching on a batch whose noise is paired with its data by a transport plan."""

import chex
import jax
import jax.numpy as jnp

from jaxgen.losses.score import uniform_time
from jaxgen.math import working_dtype
from jaxgen.predictions import target
from jaxgen.processes import corrupt, num_blocks, scalar


def coupled_matching(apply, pair, *, process=None, time=None):
    """loss_fn(params, key, x0 [n, *event], t=None [n], **cond [n, ...]) -> []: mean squared error
    of a velocity over a batch, for `training.trainer(..., batch=True)`.

    As many draws of noise as data are paired by `pair(key, x0, eps) -> (i [n], j [n])`: x0[i] goes
    with eps[j], and with the conditioning of i. `metrics.transport.minibatch_pairs` is such a
    function. Paths get straighter and the target's variance given x_t falls; the ends keep their
    laws, up to the minibatch (a plan of few points is not that of the laws).
    Args: apply(params, x, t, **cond) -> [*event] for one example; process, scalar, the straight
    `scalar.linear_flow()` when None; time, the law u [] -> t [], uniform when None. Raises
    ValueError on a block process.
    Source: Tong et al. 2024, arXiv 2302.00482, algorithm 3; Pooladian et al. 2023, arXiv
    2304.14772.
    """
    process = scalar.linear_flow() if process is None else process
    if num_blocks(process) is not None:
        raise ValueError(
            "losses.flow.coupled_matching: the process must be scalar; "
            f"got {num_blocks(process)} blocks"
        )
    law = uniform_time(process) if time is None else time

    def loss_fn(params, key, x0, t=None, **cond):
        key_time, key_noise, key_pair = jax.random.split(key, 3)
        dtype, n = working_dtype(x0), x0.shape[0]
        if t is None:
            t = jax.vmap(law)(jax.random.uniform(key_time, (n,), dtype))
        eps = jax.random.normal(key_noise, x0.shape, x0.dtype)
        i, j = pair(key_pair, x0, eps)
        chex.assert_shape([i, j], (n,))

        def one(x0, eps, t, cond):
            prediction = apply(params, corrupt(process, x0, eps, t), t, **cond)
            chex.assert_equal_shape([prediction, x0])
            error = prediction - target(process, "velocity", x0, eps, t)
            return jnp.mean(error.astype(dtype) ** 2)

        cond = jax.tree.map(lambda leaf: leaf[i], cond)
        return jnp.mean(jax.vmap(one)(x0[i], eps[j], jnp.asarray(t, dtype), cond))

    loss_fn.time = law
    return loss_fn
