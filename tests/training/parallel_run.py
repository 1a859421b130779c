"""A training on a mesh: `DEVICES MESH FOLDER [STEPS ADDRESS PROCESS]`; prints losses."""

import os
import sys

DEVICES = int(sys.argv[1])
os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={DEVICES}"
os.environ["JAX_PLATFORMS"] = "cpu"

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import optax  # noqa: E402

from jaxgen import training  # noqa: E402
from jaxgen.training import checkpoints, mesh  # noqa: E402

SETTINGS = {"rate": 0.01}


def loss_fn(params, key, x0, t, *, scale):
    h = jnp.tanh(params["w"] @ (x0 + 0.1 * t * jax.random.normal(key, x0.shape)))
    return ((params["v"] @ h - scale * x0) ** 2).sum()


def main(text, folder, steps="20", address=None, process="0"):
    if address:
        mesh.join_processes(address, 2, int(process))
    made = mesh.parse(text)
    assert len(jax.devices()) == DEVICES * jax.process_count()
    train = training.trainer(loss_fn, optax.adam(0.05), time=lambda u: u)
    draw = np.random.default_rng(0)
    params = {
        "w": jnp.asarray(draw.standard_normal((16, 4)) / 2, jnp.float32),
        "v": jnp.asarray(draw.standard_normal((4, 16)) / 4, jnp.float32),
    }
    state = mesh.replicate(made, train.init(params))
    if checkpoints.latest(folder) is not None:
        _, state = checkpoints.restore(folder, state, SETTINGS)
    step = jax.jit(train.step, donate_argnums=1)
    rows = 16 // jax.process_count()
    mine = slice(rows * jax.process_index(), rows * (jax.process_index() + 1))
    losses = []
    for i in range(int(state.step), int(steps)):
        x0 = np.random.default_rng(i).standard_normal((16, 4)).astype(np.float32)
        batch = mesh.shard_batch(made, {"x0": x0[mine], "scale": np.full(16, 0.5)[mine]})
        key = mesh.replicate(made, jax.random.fold_in(jax.random.key(1), i))
        state, info = step(key, state, batch)
        losses.append(float(info.loss))
    checkpoints.save(folder, int(state.step), state, SETTINGS)
    sys.stdout.write("".join(f"loss {loss!r}\n" for loss in losses))


if __name__ == "__main__":
    main(*sys.argv[2:])
