"""Training in one compiled loop, where a study fits in memory and needs no checkpoints."""

import jax
import jax.numpy as jnp
import optax


def descended(optimiser, gradient, params, steps, key, *, carry=(), average=None):
    """params after `steps` of gradient(params, key, carry) -> (slope, carry), by an optax rule;
    with average(i) -> [] their running mean, which moves by that share at step i.
    """

    @jax.jit
    def run(params, carry):
        def body(held, i):
            params, mean, state, carry = held
            slope, carry = gradient(params, jax.random.fold_in(key, i), carry)
            change, state = optimiser.update(slope, state)
            params = optax.apply_updates(params, change)
            moved = lambda a, b: b if average is None else a + average(i) * (b - a)
            return (params, jax.tree.map(moved, mean, params), state, carry), None

        start = params, params, optimiser.init(params), carry
        return jax.lax.scan(body, start, jnp.arange(steps))[0][1]

    return run(params, carry)
