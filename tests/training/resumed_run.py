"""A small training that saves every 10 of 150 steps and goes on from its folder: `FOLDER`."""

import hashlib
import sys

import jax
import jax.numpy as jnp
import optax

from jaxgen import training
from jaxgen.training import averages, checkpoints

STEPS, EVERY, SETTINGS = 150, 10, {"rate": 0.01}


def loss_fn(params, key, x0, t):
    noise = jax.random.normal(key, x0.shape)
    return ((jnp.tanh(params["w"] @ (x0 + t * noise)) - x0) ** 2).sum()


def main(folder):
    made = training.trainer(
        loss_fn,
        optax.adam(0.01),
        averages={"ema": averages.ema(0.99), "power": averages.power(0.1)},
        time=lambda u: u,
    )
    state = made.init({"w": jnp.eye(4)})
    start, losses = 0, jnp.zeros(STEPS)
    if checkpoints.latest(folder) is not None:
        start, (state, losses) = checkpoints.restore(folder, (state, losses), SETTINGS)
    step = jax.jit(made.step)
    for i in range(start, STEPS):
        key_data, key_step = jax.random.split(jax.random.fold_in(jax.random.key(7), i))
        state, info = step(key_step, state, jax.random.normal(key_data, (8, 4)))
        losses = losses.at[i].set(info.loss)
        if (i + 1) % EVERY == 0:
            sys.stdout.write(f"saving {i + 1}\n")
            sys.stdout.flush()
            checkpoints.save(folder, i + 1, (state, losses), SETTINGS)
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves((state, losses)):
        digest.update(jax.device_get(leaf).tobytes())
    sys.stdout.write(f"{digest.hexdigest()}\n")


if __name__ == "__main__":
    main(sys.argv[1])
