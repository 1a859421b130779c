"""A learned table for a trained image model against named samplers at as many evaluations.

`python -m experiments.samplers._learned_images --images runs/images`. The error of an image is its
root mean square distance from the model's own fine solution of the flow; tables are learned from
some starting noises and scored on others. The first prediction is the mean image of the class.
"""

import dataclasses
import pathlib
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import tyro

import jaxgen as jg
from experiments._command import ended
from experiments.images import _models, _settings
from jaxgen import data, training
from jaxgen.solvers import exponential, search

GRIDS = {"power": jg.grids.power, "karras": jg.grids.karras, "log_snr": jg.grids.log_snr}
NAMED = [
    (grid, order, hold, clock)
    for grid in GRIDS
    for order, hold, clock in (
        (2, "x0", "t"),
        (3, "x0", "t"),
        (2, "x0", "log_snr"),
        (3, "eps", "t"),
    )
]


@dataclasses.dataclass(frozen=True)
class Settings:
    """Learn a table for the model of an image run."""

    images: str = "runs/images"
    """Folder of a run of experiments.images."""
    run: str = "runs/samplers/learned_images"
    """Folder of the table."""
    evaluations: int = 5
    """Network evaluations."""
    starts: int = 16
    """Starting noises of each class; half to learn from, half to be scored on."""
    batch: int = 3
    """Starting noises of each class in a step."""
    steps: int = 8
    """Gauss-Newton steps."""
    solution_steps: int = 200
    """Steps of the solution."""


class Scene:
    """A trained model, its process, and noises with their solutions."""

    def __init__(self, settings):
        """Loads the model and solves the flow from every start."""
        folder = pathlib.Path(settings.images)
        stored = _settings.read(folder / "settings.json")
        self.model = _models.build(stored)
        self.params, _ = training.load_denoiser(folder / "denoiser")
        ends = stored.sample_noise_min, stored.noise_max
        self.process = _models.process_between(stored.process, *ends)
        self.network = jax.jit(jax.vmap(self.denoise, (0, 0, None)))
        images = self.model.images
        classes, event = range(self.model.classes or 1), images.event_shape
        random = np.random.default_rng(0)
        self.starts = random.normal(size=(len(classes), settings.starts, *event)).astype("float32")
        self.labels = jnp.repeat(jnp.arange(len(classes)), settings.starts)
        real = np.asarray(data.to_unit(images.train_x, images.levels), np.float32)
        of = lambda k: real if self.model.classes is None else real[images.train_labels == k]
        self.means = np.stack([of(k).mean(0) for k in classes])
        self.ends = self.run(named(self.process, NAMED[1], settings.solution_steps))

    def denoise(self, label, z, t):
        """E[x0 | z, label] of one image."""
        return self.model.denoiser(self.params, label)(z, t)

    def run(self, rows, first="evaluated"):
        """Images [classes, starts, *event] of a table, walked around one compiled network."""
        flat = lambda leaf: leaf.reshape(-1, *leaf.shape[2:])
        means = np.repeat(self.means, self.starts.shape[1], 0)
        denoiser = lambda z, t: self.network(self.labels, z, t)
        z = jnp.asarray(flat(self.starts))
        z = search.run_rows(self.process, denoiser, rows, z, first=first, mean=means)
        return np.asarray(z).reshape(self.starts.shape)

    def error(self, images, seen):
        """Mean and median over unseen images of the distance to the solution."""
        apart = (images - self.ends)[:, seen:]
        each = np.sqrt((apart**2).reshape(*apart.shape[:2], -1).mean(-1))
        return float(each.mean()), float(np.median(each))


def named(process, choice, n):
    """The table of a named sampler on its grid."""
    grid, order, hold, clock = choice
    options = {"order": min(order, n), "hold": hold, "clock": clock}
    solver = exponential.adams_bashforth(process, None, **options)
    return exponential.generalise(process, solver.plan(GRIDS[grid](process, n)))


def study(settings):
    """Prints the named samplers, and the table after each two steps; saves it."""
    scene, seen = Scene(settings), settings.starts // 2
    n, process = settings.evaluations, scene.process
    errors = {choice: scene.error(scene.run(named(process, choice, n)), seen) for choice in NAMED}
    for choice, (mean, median) in errors.items():
        print(*choice, f"mean {mean:.4f}, median {median:.4f}", flush=True)
    best = min(errors, key=errors.get)
    start = named(process, (best[0], best[1], "x0", best[3]), n + 1)
    family = search.learnable(process, start, first="known")
    # The mean distance: classes are alike, and near forks of the flow logarithms see little.
    trainer = search.gauss_newton(process, scene.denoise, family, relative=False, scan=True)
    state = trainer.init(jax.tree.map(lambda leaf: leaf.astype(jnp.float32), family.params))
    step, random, began = jax.jit(trainer.step), np.random.default_rng(0), time.monotonic()
    folder = pathlib.Path(settings.run)
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(settings.steps):
        some = random.choice(seen, settings.batch, replace=False)
        classes = jnp.arange(len(scene.means))
        batch = search.Batch(classes, scene.starts[:, some], scene.ends[:, some], scene.means)
        state, _ = step(None, state, batch)
        if i % 2 and i != settings.steps - 1:
            continue
        table = search.table_of(family, state.params)
        mean, median = scene.error(scene.run(table.rows, table.first), seen)
        ratios = mean / errors[best][0], median / errors[best][1]
        print(
            f"step {i + 1}: mean {mean:.4f}, median {median:.4f}; of the best named "
            f"{ratios[0]:.3f}, {ratios[1]:.3f}; {time.monotonic() - began:.0f} s",
            flush=True,
        )
    search.save(folder / f"table-{n}.npz", table, process, note=settings.images)


def main(argv) -> int:
    """Runs the study on command-line words; the exit code."""
    name = "experiments.samplers._learned_images"
    work = lambda argv: study(tyro.cli(Settings, args=argv, prog=f"python -m {name}"))
    return ended(name, work, argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
