"""Overfitting on a manifold: the likelihood of a spline flow on points of a circle has no bound.

Three trainings of the same flow on the same points: of the data as they are, of data whose added
noise is annealed to nothing, and of data with a fixed noise, which is then removed from samples.
"""

import csv
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxgen as jg
from experiments.tabular import _figures

POINTS, NEW, LOOKS = 500, 2000, 10
NOISE = float(jg.losses.likelihood.instance_scale(POINTS, 1, scale=0.3))


def points(key, n):
    """n points [n, 2] of a circle, three times as many on one side as on the other."""
    angle = jax.random.uniform(key, (n,), maxval=2 * jnp.pi)
    angle = angle + 0.5 * jnp.sin(angle)
    return jnp.stack([jnp.cos(angle), jnp.sin(angle)], -1)


def losses(log_prob, steps):
    """The three trainings, each (key, batch, step) -> the loss of one example, of its params."""
    kinds = jg.losses.likelihood
    transform = kinds.mollifier(max(steps // 2, 1))
    plain = kinds.negative_log_likelihood(log_prob)
    return {
        "as they are": lambda *args, step: plain(*args),
        "mollified": kinds.mollified(log_prob, transform),
        "instance noise": lambda *args, step: kinds.instance_noise(log_prob, NOISE)(*args),
    }


def study(steps, seed=0, batch=128, width=32, layers=4):
    """(rows, samples, new data): likelihood and distances of every training at ten looks."""
    conditioner = functools.partial(jg.flows.perceptron, width=width, depth=2)
    flow = jg.flows.coupling(2, layers=layers, bins=8, bound=3.0, conditioner=conditioner)
    base = jg.densities.distribution(jg.densities.gaussian(np.zeros(2), np.eye(2)))
    law = lambda params: jg.flows.as_distribution(flow, params, base)
    log_prob = lambda params, x: law(params).logdensity(x)
    key_data, key_new, key_draw, key_flow, key_train, key_lines = jax.random.split(
        jax.random.key(seed), 6
    )
    data, new = points(key_data, POINTS), points(key_new, NEW)
    kernel = jg.kernels.rbf(0.3)
    length = max(steps // LOOKS, 1)
    optimiser = optax.adam(optax.cosine_decay_schedule(2e-3, steps, alpha=0.1))

    @jax.jit
    def look(params, sigma):
        keys = jax.random.split(key_draw, NEW)
        drawn = jax.vmap(law(params).sample)(keys)
        # The mean of the data behind a noised point, by Tweedie's formula; as drawn for sigma = 0.
        drawn += sigma**2 * jax.vmap(jax.grad(log_prob, 1), (None, 0))(params, drawn)
        nats = jnp.mean(jax.vmap(log_prob, (None, 0))(params, data))
        new_nats = jnp.mean(jax.vmap(log_prob, (None, 0))(params, new))
        return drawn, nats, new_nats

    rows, samples = [], {}
    for name, loss_fn in losses(log_prob, steps).items():
        trainer = jg.training.trainer(loss_fn, optimiser, averages={})

        def step(state, key, trainer=trainer):
            key_rows, key_step = jax.random.split(key)
            x0 = data[jax.random.randint(key_rows, (batch,), 0, POINTS)]
            rows = {"x0": x0, "step": jnp.full(batch, state.step)}
            return trainer.step(key_step, state, rows)[0], None

        run = jax.jit(lambda state, keys, step=step: jax.lax.scan(step, state, keys)[0])
        state = trainer.init(flow.init(key_flow))
        for done in range(length, steps + 1, length):
            keys = jax.random.split(jax.random.fold_in(key_train, done), length)
            state = run(state, keys)
            drawn, nats, new_nats = look(state.params, NOISE if name == "instance noise" else 0.0)
            kept = np.asarray(drawn)[np.all(np.isfinite(drawn), 1)]
            rows.append(
                {
                    "flow": name,
                    "step": done,
                    "nats": float(nats),
                    "nats of new data": float(new_nats),
                    "off": float(np.mean(np.abs(np.linalg.norm(kept, axis=1) - 1))),
                    "mmd2": float(jg.metrics.mmd2(kept, new, kernel)),
                    "sliced": float(
                        jg.metrics.sliced_wasserstein(key_lines, kept, np.asarray(new), p=1)
                    ),
                }
            )
        samples[name] = kept
    return rows, samples, np.asarray(new)


def write(settings, folder):
    """circle.csv and circle.png."""
    rows, samples, new = study(settings.circle_steps, settings.seed)
    with open(folder / "circle.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    _figures.circle(folder / "circle.png", new, samples, rows)
    for name in samples:
        last = [row for row in rows if row["flow"] == name][-1]
        print(
            f"circle, {name:15s} {last['nats']:7.3f} nats   off the circle {last['off']:.4f}   "
            f"MMD^2 {last['mmd2']:.2e}   sliced W1 {last['sliced']:.4f}"
        )
    print(f"  {folder}/circle.csv\n  {folder}/circle.png")
