"""A whole run: training, likelihood, sampling, mixing; user errors become one line, exit code 2."""

import csv
import pathlib

import jax
import numpy as np
from tqdm import tqdm

import jaxgen as jg
from experiments._command import ended
from experiments._rows import write_csv
from experiments.processes import (
    _figures,
    _image_training,
    _images,
    _learn_process,
    _measure,
    _mixing,
    _processes,
    _settings,
    _train,
)


def main(argv) -> int:
    """Runs the experiment on command-line words; the exit code."""
    return ended("experiments.processes", run, argv)


def run(argv) -> None:
    """The comparison that command-line words ask for."""
    settings = _settings.parse(argv)
    folder = pathlib.Path(settings.run)
    folder.mkdir(parents=True, exist_ok=True)
    mixing(folder)
    processes = {
        name: _processes.named(name, settings.noise_min, settings.noise_max)
        for name in settings.processes
        if name != _processes.LEARNED
    }
    for name in settings.data:
        points = _train.load(name, settings.seed, max(settings.samples, settings.held_out))
        compare(settings, folder / name, name, points, processes)
    report(settings, folder)
    if settings.image_steps:
        _image_training.study(settings, folder, processes)
    if settings.images:
        _images.study(settings, folder, processes)


def mixing(folder):
    """mixing.csv, mixing_times.csv and mixing.png."""
    with jax.enable_x64(True):
        curves, times = _mixing.rows()
    write_csv(folder / "mixing.csv", curves)
    write_csv(folder / "mixing_times.csv", times)
    _figures.mixing(folder / "mixing.png", curves)


def compare(settings, folder, name, points, processes):
    """The CSV files of one law; a law whose files are there is not run again."""
    if (folder / "sampling.csv").exists():
        print(f"{name}: {folder} holds results; delete it to run again", flush=True)
        return
    folder.mkdir(parents=True, exist_ok=True)
    processes = dict(processes)
    if _processes.LEARNED in settings.processes:
        processes[_processes.LEARNED] = learned(settings, folder, points)
    curves, worth, sampling = [], [], []
    bar = tqdm(total=settings.steps * len(processes), desc=name, unit=" steps", mininterval=5)
    models = {}
    for process_name, process in processes.items():
        models[process_name] = model = _train.train(process, points, settings, bar.update)
        curves += [{"data": name, "process": process_name, **row} for row in model.curve]
    bar.close()
    base = models["vp"]
    for process_name, process in tqdm(processes.items(), desc=f"{name}: measuring"):
        head = {"data": name, "process": process_name}
        model = models[process_name]
        worth.append(head | _measure.likelihoods(model, points, settings))
        shared = lambda params: jg.rechannel(base.denoiser(params), base.process, process)  # noqa: B023, E731
        for network, denoiser, params in (
            ("own network", model.denoiser, model.params),
            ("vp's network", shared, base.params),
        ):
            found = _measure.sampled(process, denoiser, params, points, settings)
            sampling += [head | {"network": network} | row for row in found]
    write_csv(folder / "training.csv", curves)
    write_csv(folder / "likelihood.csv", [_filled(row, worth) for row in worth])
    write_csv(folder / "floor.csv", [{"data": name, "distance": floor(settings, points)}])
    write_csv(folder / "sampling.csv", sampling)


def learned(settings, folder, points):
    """The learned process of a law; learned_process.csv says what its steps were worth.

    The best denoiser is that of a kernel density of 400 training points.
    """
    law = jg.densities.gaussian_mixture(np.ones(400), points.train[:400], np.full(400, 0.01))
    curve = _learn_process.error_curve(jax.random.key(settings.seed), law, 2048, low=-8, high=10)
    process, merits = _learn_process.learn(
        curve, settings.noise_min, settings.noise_max, steps=settings.learn_steps
    )
    write_csv(folder / "learned_process.csv", [merit._asdict() for merit in merits])
    return process


def floor(settings, points):
    """The distance of as many true points to the held-out ones."""
    true = points.train[: settings.samples]
    return _measure.distance(true, points.test[-settings.samples :])


def _filled(row, rows):
    columns = list(dict.fromkeys(key for each in rows for key in each))
    return {column: row.get(column, "") for column in columns}


def report(settings, folder):
    """The pictures of all laws, and the tables on the screen."""
    read = lambda file: [row for name in settings.data for row in _read(folder / name / file)]
    sampling, worth = read("sampling.csv"), read("likelihood.csv")
    floors = {row["data"]: row["distance"] for row in read("floor.csv")}
    _figures.training(folder / "training.png", read("training.csv"))
    _figures.sampling(folder / "sampling.png", sampling, floors)
    for row in worth:
        numbers = [f"{k} {v:.3f}" for k, v in row.items() if isinstance(v, float)]
        print(f"{row['data']:14}{row['process']:15}" + ", ".join(numbers), flush=True)
    for network in ("own network", "vp's network"):
        for law in settings.data:
            for process in dict.fromkeys(row["process"] for row in sampling):
                found = [
                    _figures.best(sampling, law, network, process, budget)
                    for budget in settings.budgets
                ]
                print(
                    f"{law:14}{network:14}{process:15}"
                    + "  ".join(f"{row['distance']:.4f}" for row in found),
                    flush=True,
                )


def _read(path):
    with open(path, newline="") as file:
        return [{key: _number(value) for key, value in row.items()} for row in csv.DictReader(file)]


def _number(word):
    try:
        value = float(word)
    except ValueError:
        return word
    return int(value) if word.isdigit() else value
