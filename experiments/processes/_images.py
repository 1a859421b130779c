"""One image network, trained under one process, sampled under every process."""

import pathlib

import jax
import numpy as np
from tqdm import tqdm

from experiments._rows import write_csv
from experiments.images import _models, _samplers, _settings
from experiments.processes import _figures, _processes
from jaxgen import metrics, training

BUDGETS = (5, 10, 20, 40)
SOLUTION = 100


def study(settings, folder, processes):
    """images.csv and images.png: distances of samples to the network's own fine solution."""
    stored = _settings.read(pathlib.Path(settings.images) / "settings.json")
    model = _models.build(stored)
    params, _ = training.load_denoiser(pathlib.Path(settings.images) / "denoiser")
    network = _samplers.Network(model, params)
    labels = np.arange(settings.image_samples) % (model.classes or 1)
    ends = stored.sample_noise_min, min(stored.noise_max, settings.noise_max)
    rows, key = [], jax.random.key(settings.seed)

    def draw(name, steps, seed):
        process = _processes.named(name, *ends)
        at = _samplers.under(network.at, model.process, process)
        start = _samplers.starting_noise(
            process, model.images.event_shape, len(labels), jax.random.fold_in(key, seed)
        )
        made = _samplers.run(
            key, _samplers.ACROSS, process, at(labels), start.astype("float32"), steps
        )
        return np.asarray(made.x).reshape(len(labels), -1)

    reference = draw("vp", SOLUTION, 1)
    floor = apart(draw("vp", SOLUTION, 2), reference)
    names = [name for name in processes if name in _processes.PROCESSES]
    for name in tqdm(names, desc="images"):
        for budget in BUDGETS:
            found = apart(draw(name, budget, 3), reference)
            rows.append({"process": name, "evaluations": budget, "distance": found, "floor": floor})
        write_csv(folder / "images.csv", rows)
    _figures.images(folder / "images.png", rows)
    for row in rows:
        print("images", row, flush=True)


def apart(samples, reference):
    """The Fréchet distance of the 40 leading principal components of the reference."""
    mean = reference.mean(0)
    axes = np.linalg.svd(reference - mean, full_matrices=False)[2][:40]
    return float(metrics.frechet((reference - mean) @ axes.T, (samples - mean) @ axes.T))
