"""A transformer from rows of a prior to rows of a posterior; tokens are components.

Components attend to each other; the observation, one datum, enters every token (cross-attention to
a single datum is a projection of it) as its residual from the component in units of what the
component expects. `plain` writes changes of the rows. `quadratic` adds to them a shift linear and a
log weight quadratic in the residual, whose coefficients it writes.
"""

import jax
import jax.numpy as jnp

import jaxgen as jg

BLOCKS, HEADS = 2, 4


def init(key, width):
    """Parameters of the network; its map is the identity at the start."""

    def dense(key, n, m, scale=1.0):
        return {"w": scale * jax.random.normal(key, (n, m)) / n**0.5, "b": jnp.zeros(m)}

    keys = iter(jax.random.split(key, 2 + 4 * BLOCKS))
    blocks = [
        {
            "qkv": dense(next(keys), width, 3 * width),
            "out": dense(next(keys), width, width, 0.3),
            "up": dense(next(keys), width, 2 * width),
            "down": dense(next(keys), 2 * width, width, 0.3),
        }
        for _ in range(BLOCKS)
    ]
    return {
        "in": dense(next(keys), 12, width),
        "blocks": blocks,
        "head": dense(next(keys), width, 13, 0.0),
    }


def apply(params, problem, *, quadratic):
    """Rows [k, 6] of the posterior of (rows [k, 6], y [2], noise [2])."""
    rows, y, noise = problem
    scales = jnp.exp(rows[:, 3:5])
    # Variances of the coordinates: row i of the Cholesky factor is scale_i (..., 1).
    variances = scales**2 * jnp.stack([jnp.ones(len(rows)), 1 + rows[:, 5] ** 2], 1)
    residual = (y[None] - rows[:, 1:3]) / jnp.sqrt(variances + noise[None])
    spread = jnp.broadcast_to(jnp.log(noise)[None], residual.shape)
    ratio = jnp.log(variances) - spread
    weight = jnp.maximum(rows[:, :1], -10.0) / 4
    tokens = [weight, rows[:, 1:3] / 2, rows[:, 3:], residual, spread, ratio]
    h = linear(params["in"], jnp.concatenate(tokens, 1))
    for block in params["blocks"]:
        h = h + linear(block["out"], attended(linear(block["qkv"], normed(h))))
        h = h + linear(block["down"], jax.nn.gelu(linear(block["up"], normed(h))))
    out = linear(params["head"], normed(h))
    change = out[:, :6].at[:, 1:3].multiply(scales)
    if quadratic:
        shift = jnp.einsum("kij,kj->ki", out[:, 6:10].reshape(-1, 2, 2), residual)
        first = jax.nn.softplus(out[:, 10]) * residual[:, 0] + out[:, 11] * residual[:, 1]
        square = first**2 + (jax.nn.softplus(out[:, 12]) * residual[:, 1]) ** 2
        change = change.at[:, 1:3].add(scales * shift).at[:, 0].add(-square / 2)
    new = rows + change
    return new.at[:, 0].set(jax.nn.log_softmax(new[:, 0]))


def linear(layer, x):
    return x @ layer["w"] + layer["b"][None]


def normed(h):
    centred = h - jnp.mean(h, 1, keepdims=True)
    return centred / jnp.sqrt(jnp.mean(centred**2, 1, keepdims=True) + 1e-6)


def attended(qkv):
    q, k, v = (part.reshape(len(qkv), HEADS, -1) for part in jnp.split(qkv, 3, 1))
    shares = jax.nn.softmax(jnp.einsum("qhc,khc->hqk", q, k) / q.shape[-1] ** 0.5)
    return jnp.einsum("hqk,khc->qhc", shares, v).reshape(len(qkv), -1)


def posterior(quadratic):
    """What `jg.losses.latent.posterior_map` asks for: (params, problem) -> Distribution."""
    return lambda params, problem: jg.densities.rows_distribution(
        apply(params, problem, quadratic=quadratic)
    )
