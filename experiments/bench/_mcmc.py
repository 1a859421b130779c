"""What a Langevin step of many chains costs beside the gradient that it cannot do without."""

import jax
import jax.numpy as jnp
import numpy as np

import jaxgen as jg

DIM, CHAINS, HIDDEN, STEPS = 64, 1000, 2048, 20


def chains(name="ula"):
    """(ours, theirs): STEPS steps of `mcmc` on 1,000 chains in 64 dimensions, and as many vmapped
    gradients alone, of an energy with one hidden layer; float32.

    A step adds about 0.75 ms to any gradient, 0.45 of them the 64,000 normals, so the ratio falls
    as the energy grows.
    """
    random = np.random.default_rng(0)
    inside = jnp.asarray(random.normal(size=(HIDDEN, DIM)) / 8, jnp.float32)
    outside = jnp.asarray(random.normal(size=HIDDEN) / 20, jnp.float32)
    x = jnp.asarray(random.normal(size=(CHAINS, DIM)), jnp.float32)

    def logdensity_fn(x):
        return -0.5 * jnp.sum(x**2) + outside @ jnp.tanh(inside @ x)

    algorithm = getattr(jg.mcmc, name)(logdensity_fn, 1e-2)

    def one(x, key):
        def body(state, i):
            return algorithm.step(jax.random.fold_in(key, i), state)[0], None

        return jax.lax.scan(body, algorithm.init(x), jnp.arange(STEPS))[0].position

    def bare(x):
        gradient = jax.grad(logdensity_fn)
        return jax.lax.scan(lambda x, _: (x + 1e-2 * gradient(x), None), x, length=STEPS)[0]

    ours, theirs = jax.jit(jax.vmap(one)), jax.jit(jax.vmap(bare))
    keys = jax.random.split(jax.random.key(0), CHAINS)
    return lambda: ours(x, keys), lambda: theirs(x)
