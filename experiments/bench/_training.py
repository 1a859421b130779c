"""What the trainer costs beside a hand-written flax and optax loop of the same network."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxgen as jg


def steps(batch=64, size=28):
    """(ours, theirs): functions that run one training step each, on the main job's network."""
    process = jg.processes.scalar.vp()
    net = jg.nets.unet((size, size, 1), num_classes=10)
    row = jg.predictions.edm(0.5)
    loss_fn = jg.losses.score.denoising(process, net.apply, kind=row)
    optimiser = optax.adam(1e-3)
    averages = {"ema": jg.training.averages.ema(0.999)}
    trainer = jg.training.trainer(loss_fn, optimiser, averages=averages)
    random = np.random.default_rng(0)
    data = {
        "x0": jnp.asarray(random.normal(size=(batch, size, size, 1)), jnp.float32),
        "label": jnp.asarray(random.integers(0, 10, batch)),
    }
    key = jax.random.key(0)
    params = net.init(jax.random.key(1))

    def hand_written(key, params, opt_state, ema, batch):
        def mean_loss(params):
            key_time, key_noise = jax.random.split(key)
            n = len(batch["x0"])
            t = 1e-3 + 0.999 * (jax.random.uniform(key_time) + jnp.arange(n) / n) % 1
            eps = jax.random.normal(key_noise, batch["x0"].shape)
            alpha, sigma = (part.reshape(-1, 1, 1, 1) for part in process.transition(t))
            x = alpha * batch["x0"] + sigma * eps
            noise = sigma / alpha
            norm = jnp.sqrt(noise**2 + 0.25)
            target = noise / (0.5 * norm) * batch["x0"] - 0.5 / norm * eps
            apply = lambda x, t, label: net.apply(params, x, t, label=label)
            out = jax.vmap(apply)(x, t, batch["label"])
            return jnp.mean((out - target) ** 2)

        loss, grads = jax.value_and_grad(mean_loss)(params)
        updates, opt_state = optimiser.update(grads, opt_state, params)
        params = optax.apply_updates(params, updates)
        ema = jax.tree.map(lambda a, b: 0.999 * a + 0.001 * b, ema, params)
        return params, opt_state, ema, loss, optax.global_norm(grads)

    ours_step = jax.jit(trainer.step)
    their_step = jax.jit(hand_written)
    state, theirs = trainer.init(params), (params, optimiser.init(params), params)
    return lambda: ours_step(key, state, data), lambda: their_step(key, *theirs, data)
