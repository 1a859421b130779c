"""Training that can be killed at any moment: the same command goes on to the same bits.

Everything random in step i comes from `fold_in(seed key, i)`, the order of the images in epoch e
from `fold_in(another key, e)`; a checkpoint holds the rest (parameters, optimiser, averages).
"""

import csv
import os
import pathlib
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.images._models import Model, init_params
from experiments.images._progress import Progress
from experiments.images._settings import TRAINING, Settings
from jaxgen import data, training

WIDTHS = (0.15, 0.2)  # post-hoc averages that are compared, beside those of the settings
COLUMNS = ("step", "loss", "grad_norm")


class Trained(NamedTuple):
    """A finished training."""

    state: training.TrainerState
    seconds: float  # spent in this call
    steps: int  # made in this call


def keys(settings: Settings) -> dict[str, jax.Array]:
    """One key for each purpose of a run, from its seed."""
    names = ("init", "steps", "order", "sample", "likelihood", "levels")
    return dict(
        zip(names, jax.random.split(jax.random.key(settings.seed), len(names)), strict=True)
    )


def decided_by(settings: Settings) -> dict[str, Any]:
    """The settings that decide what is trained; checkpoints made under others are refused."""
    return {name: getattr(settings, name) for name in TRAINING}


def make_trainer(model: Model, settings: Settings):
    """The trainer of a run: Adam with a warm-up and a half cosine, and the averages."""
    rate = optax.warmup_cosine_decay_schedule(
        0.0, settings.learning_rate, settings.warmup, settings.steps, settings.learning_rate / 20
    )
    optimiser = optax.chain(optax.clip_by_global_norm(settings.clip), optax.adam(rate, b2=0.99))
    averages = {"ema": training.averages.ema(settings.ema_decay)}
    for width in settings.power_widths:
        averages[power_name(width)] = training.averages.power(width)
    return training.trainer(model.loss_fn, optimiser, averages=averages, time=model.loss_fn.time)


def power_name(width: float) -> str:
    """The name of a power-function average in the trainer's state."""
    return f"power {width:g}"


def make_step(model: Model, settings: Settings) -> Callable:
    """step(key, state, x uint8 [n, *event], labels [n]) -> (state, loss [], gradient norm []).

    Levels are dequantised uniformly, and some labels are dropped.
    """
    trainer, levels = make_trainer(model, settings), model.images.levels

    def step(key, state, x, labels):
        key_offset, key_drop, key_step = jax.random.split(key, 3)
        x0 = data.to_unit(x, levels, jax.random.uniform(key_offset, x.shape))
        dropped = jax.random.bernoulli(key_drop, settings.label_dropout, labels.shape)
        label = jnp.where(dropped, -1, labels)
        state, info = trainer.step(key_step, state, {"x0": x0, "label": label})
        return state, info.loss, info.grad_norm

    return step


def batch_rows(key_order, step: int, batch: int, number: int) -> np.ndarray:
    """Which of `number` images step `step` (from 0) sees, [batch]: every epoch a new order."""
    epoch, place = divmod(step, number // batch)
    return _order(jax.random.fold_in(key_order, epoch), number)[place * batch : (place + 1) * batch]


_last_order: dict[str, Any] = {"key": None, "order": None}


def _order(key, number):
    words = (*np.asarray(jax.random.key_data(key)).tolist(), number)
    if _last_order["key"] != words:
        _last_order.update(key=words, order=np.asarray(jax.random.permutation(key, number)))
    return _last_order["order"]


def snapshot_steps(settings: Settings) -> list[int]:
    """The steps after which the power-function averages are kept, the last one included."""
    count = settings.snapshots
    return sorted({max(1, round(settings.steps * (i + 1) / count)) for i in range(count)})


def _structure(model, settings, mesh):
    """The shapes of the trainer's state, each leaf whole on every device of the mesh."""
    whole = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    shapes = jax.eval_shape(
        lambda key: make_trainer(model, settings).init(model.net.init(key)), jax.random.key(0)
    )
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=whole), shapes)


def train(model: Model, settings: Settings, folder: pathlib.Path, mesh) -> Trained:
    """The state after settings.steps steps, from where the folder's last checkpoint stands.

    Raises ValueError on a damaged or foreign checkpoint or a loss that is not finite, OSError when
    something cannot be written; what was saved before stays.
    """
    key, saved = keys(settings), folder / "checkpoints"
    done = training.checkpoints.latest(saved)
    if done is not None:
        like = _structure(model, settings, mesh)
        done, state = training.checkpoints.restore(saved, like, decided_by(settings))
        if done < settings.steps:
            print(f"training: going on after step {done} of {saved}", flush=True)
    else:
        done = 0
        fresh = make_trainer(model, settings).init(init_params(model, key["init"]))
        state = training.mesh.replicate(mesh, fresh)
    rows = Rows(folder / "metrics.csv", done)
    if done >= settings.steps:
        return Trained(state, 0.0, 0)
    began = time.monotonic()
    try:
        state = _loop(model, settings, folder, mesh, state, done, rows)
    finally:
        rows.close()
    return Trained(state, time.monotonic() - began, settings.steps - done)


def _loop(model, settings, folder, mesh, state, done, rows):
    key, used = keys(settings), decided_by(settings)
    step = jax.jit(make_step(model, settings), donate_argnums=(1,))
    progress = Progress("training", settings.steps, start=done)
    share = settings.batch // jax.process_count()
    mine = slice(jax.process_index() * share, (jax.process_index() + 1) * share)
    keep = snapshot_steps(settings)
    for i in range(done, settings.steps):
        chosen = batch_rows(key["order"], i, settings.batch, len(model.images.train_x))[mine]
        batch = (model.images.train_x[chosen], model.images.train_labels[chosen])
        x, labels = training.mesh.shard_batch(mesh, batch)
        here = training.mesh.replicate(mesh, jax.random.fold_in(key["steps"], i))
        state, loss, norm = step(here, state, x, labels)
        loss, norm = float(loss), float(norm)
        if not np.isfinite(loss):
            raise ValueError(f"training: the loss must stay finite; got {loss} at step {i + 1}")
        rows.add(i + 1, loss, norm)
        progress.update(i + 1, loss)
        if i + 1 in keep:
            _keep_snapshot(folder / "snapshots", i + 1, state, used)
        if (i + 1) % settings.checkpoint_every == 0 or i + 1 == settings.steps:
            rows.sync()
            training.checkpoints.save(folder / "checkpoints", i + 1, state, used)
    progress.close()
    return state


def _keep_snapshot(folder, step, state, used):
    """Keeps the power-function averages after `step`, unless a run that was killed already has."""
    last = training.checkpoints.latest(folder)
    if last is None or last < step:
        powers = {name: a for name, a in state.averages.items() if name.startswith("power")}
        training.checkpoints.save(folder, step, powers, used, keep=10_000)


def restore(model: Model, settings: Settings, folder: pathlib.Path, mesh) -> training.TrainerState:
    """The state of a finished run. Raises ValueError where it is missing, damaged or unfinished."""
    like = _structure(model, settings, mesh)
    done, state = training.checkpoints.restore(folder / "checkpoints", like, decided_by(settings))
    if done < settings.steps:
        raise ValueError(
            f"--from: {folder} must be a finished run of {settings.steps} steps; got {done}"
        )
    return state


def candidates(state, settings: Settings, folder: pathlib.Path) -> dict[str, Any]:
    """Parameters that may be sampled, by name: the last ones, the EMA, and post-hoc averages.

    The post-hoc ones, of several widths, are made from the snapshots of the run; NumPy arrays.
    """
    names = {power_name(w): w for w in settings.power_widths}
    like, kept = {name: state.averages[name] for name in names}, []
    for step in snapshot_steps(settings):
        _, powers = training.checkpoints.restore(
            folder / "snapshots", like, decided_by(settings), step=step
        )
        kept += [training.averages.Snapshot(powers[name], step, w) for name, w in names.items()]
    found = {"raw": state.params, "ema": state.averages["ema"]}
    for width in sorted({*settings.power_widths, settings.posthoc_width, *WIDTHS}):
        synthesised = training.averages.posthoc(kept, width, step=settings.steps)
        found[posthoc_name(width)] = synthesised
    return jax.device_get(found)


def posthoc_name(width: float) -> str:
    """The name of a post-hoc average among the candidates."""
    return f"posthoc {width:g}"


class Rows:
    """metrics.csv of a run: one row a step, none twice. Only process 0 writes."""

    def __init__(self, path: pathlib.Path, done: int):
        """Keeps the first `done` rows of the file; those after the checkpoint are made again."""
        self.file = None
        if jax.process_index():
            return
        kept = self._read(path, done) if done else []
        partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
        with open(partial, "w", newline="") as file:
            csv.writer(file).writerows([COLUMNS, *kept])
        os.replace(partial, path)
        self.file = open(path, "a", newline="")  # noqa: SIM115

    @staticmethod
    def _read(path, done):
        try:
            with open(path, newline="") as file:
                kept = list(csv.reader(file))[1 : done + 1]
        except FileNotFoundError:
            kept = []
        if [row[0] for row in kept] != [str(i + 1) for i in range(done)]:
            raise ValueError(
                f"metrics: {path} must hold a row for each of the {done} steps of the checkpoint"
                f"; got {len(kept)} rows"
            )
        return kept

    def add(self, step: int, loss: float, norm: float) -> None:
        """Writes one row, with nine digits: float32 exactly."""
        if self.file is not None:
            self.file.write(f"{step},{loss:.9g},{norm:.9g}\r\n")
            self.file.flush()

    def sync(self) -> None:
        """Waits until the rows are on disk, so that no checkpoint is ahead of them."""
        if self.file is not None:
            os.fsync(self.file.fileno())

    def close(self) -> None:
        """Closes the file."""
        if self.file is not None:
            self.file.close()


def read_losses(path: pathlib.Path) -> np.ndarray:
    """Losses [n] of metrics.csv."""
    return np.loadtxt(path, delimiter=",", skiprows=1, ndmin=2)[:, 1]
