"""One network for each process: the same size, data, batches and steps.

The network sees every block of z, each scaled to unit variance, and the log-SNR; its output is read
by the row `predictions.edm`, so that only the process differs.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxgen as jg
from jaxgen import data, losses, nets, training

LAWS = {
    "checkerboard": data.checkerboard,
    "pinwheel": data.pinwheel,
    "spirals": data.spirals,
    "two_moons": data.two_moons,
}
CHUNK = 100
_SIZE = 20_000
LEVELS = np.geomspace(0.03, 10.0, 8)  # noise levels at which every network is judged


class Data(NamedTuple):
    """Standardised points of a law."""

    train: Any  # [n, 2]
    test: Any  # [m, 2]


class Model(NamedTuple):
    """A process and its trained network."""

    process: Any
    apply: Any  # (params, z, t) -> [2]
    params: Any
    curve: list  # rows of the training curve

    def denoiser(self, params):
        """The denoiser (z, t) -> E[x0 | z] [2] of a network with these parameters."""
        return denoiser_of(self.process, self.apply, params)


def denoiser_of(process, apply, params):
    """The denoiser (z, t) -> E[x0 | z] [2] of a network."""
    predict = lambda z, t: apply(params, z, t)  # noqa: E731
    return jg.as_denoiser(process, predict, kind=jg.predictions.edm(1.0))


def load(name, seed, test) -> Data:
    """Points of a law with mean 0 and variance 1, the same for every process."""
    key = jax.random.fold_in(jax.random.key(seed), sorted(LAWS).index(name))
    draw = jax.jit(jax.vmap(LAWS[name]().sample))
    points = np.asarray(draw(jax.random.split(key, _SIZE + test)), np.float32)
    points = (points - points[:_SIZE].mean(0)) / points[:_SIZE].std(0)
    return Data(points[:_SIZE], points[_SIZE:])


def scales_of(process, t, sigma_data=1.0):
    """Standard deviations [] or [c] of the blocks of z for data of deviation sigma_data."""
    phi, chol = process.transition(t)
    if jg.processes.num_blocks(process) is None:
        return jnp.sqrt((sigma_data * phi) ** 2 + chol**2)
    return jnp.sqrt((sigma_data * phi[:, 0]) ** 2 + jnp.sum(chol**2, 1))


def network(process, settings):
    """(net, apply): the network of a process."""
    net = nets.mlp(
        jg.processes.noise_shape(process, (2,)),
        out_shape=(2,),
        width=settings.width,
        depth=settings.depth,
        noise_features=lambda t: -jg.processes.log_snr(process, t) / 8,
    )

    def apply(params, z, t):
        scales = scales_of(process, t)
        return net.apply(params, z / scales.reshape(scales.shape + (1,) * scales.ndim), t)

    return net, apply


def train(process, points, settings, say) -> Model:
    """A trained `Model`; `say(done)` after every chunk of steps."""
    quick = jg.processes.tabulated(process) if process.t_min > 0 else process
    net, apply = network(quick, settings)
    loss_fn = losses.score.denoising(quick, apply, kind=jg.predictions.edm(1.0))
    rate = optax.cosine_decay_schedule(settings.learning_rate, settings.steps)
    trainer = training.trainer(
        loss_fn,
        optax.adam(rate),
        averages={"ema": training.averages.power(0.1)},
        time=loss_fn.time,
    )
    key_init, key_data, key_judge = jax.random.split(jax.random.key(settings.seed), 3)
    state = jax.jit(lambda key: trainer.init(net.init(key)))(key_init)
    points_train = jnp.asarray(points.train)

    def one(state, index):
        key_batch, key_step = jax.random.split(jax.random.fold_in(key_data, index))
        rows = jax.random.randint(key_batch, (settings.batch,), 0, len(points_train))
        state, info = trainer.step(key_step, state, points_train[rows])
        return state, info.loss

    @jax.jit
    def chunk(state, indices):
        state, losses_seen = jax.lax.scan(one, state, indices)
        return state, jnp.mean(losses_seen)

    judge = jax.jit(lambda params: judged(process, apply, params, key_judge, points.test[:512]))
    curve, size = [], min(CHUNK, settings.steps)
    marks = {min(settings.steps, size * 2**k) for k in range(20)}
    for start in range(0, settings.steps, size):
        indices = jnp.arange(start, min(start + size, settings.steps))
        state, loss = chunk(state, indices)
        done = start + len(indices)
        say(len(indices))
        if done in marks:
            error = float(judge(state.ema))
            curve.append({"step": done, "loss": float(loss), "relative error": error})
    if not np.isfinite(curve[-1]["relative error"]):
        raise ValueError("training: the loss must stay finite; lower the learning rate")
    return Model(process, apply, state.ema, curve)


def judged(process, apply, params, key, x):
    """The denoiser's mean squared error relative to the noise level, averaged over LEVELS: the same
    measure for every process, as it knows the signal-to-noise ratio only.
    """
    levels = jg.processes.scalar.edm(t_min=LEVELS[0] / 2, t_max=LEVELS[-1] * 2)
    denoiser = denoiser_of(process, apply, params)

    def one(key, x, level):
        shape = jg.processes.noise_shape(process, x.shape)
        eps = jax.random.normal(key, shape, x.dtype)
        t = time_at(process, levels, level)
        x0 = denoiser(jg.corrupt(process, x, eps, t), t)
        return jnp.mean((x0 - x) ** 2) * (1 + 1 / level**2)

    keys = jax.random.split(key, (len(LEVELS), len(x)))
    over_points = jax.vmap(one, (0, 0, None))
    return jnp.mean(jax.vmap(over_points, (0, None, 0))(keys, x, jnp.asarray(LEVELS, x.dtype)))


def time_at(process, levels, level):
    """The time [] at which a process has a noise level []."""
    ends = (jnp.asarray(end, level.dtype) for end in (process.t_min, process.t_max))
    return jg.math.invert(
        lambda t: jg.processes.log_snr(process, t), jg.processes.log_snr(levels, level), *ends
    )
