"""A whole run: the table, and two pictures; user errors end in exit code 2."""

import dataclasses
import pathlib
import time

import jax
import numpy as np
from tqdm import tqdm

from experiments._command import ended
from experiments._kept import kept as stored
from experiments._rows import write_csv
from experiments.unnormalised import _figures, _samplers, _settings


def main(argv) -> int:
    """Runs the experiment on command-line words; the exit code."""
    return ended("experiments.unnormalised", run, argv)


def run(argv) -> None:
    """The comparison that command-line words ask for."""
    settings = _settings.parse(argv)
    unknown = [name for name in settings.samplers if name not in _samplers.MAKERS]
    if unknown:
        known = "; ".join(_samplers.MAKERS)
        raise ValueError(f"settings: samplers must be among {known}; got {unknown}")
    folder = pathlib.Path(settings.run)
    folder.mkdir(parents=True, exist_ok=True)
    rows, kept = [], {d: {} for d in settings.dims}
    for d in settings.dims:
        aim = _samplers.target(d)
        for name, sampler in tqdm(_samplers.samplers(aim, settings).items(), desc=f"d = {d}"):
            file = folder / f"{d}-{name.replace(' ', '-').replace(',', '')}"
            found = resumed(file, name, d, sampler, settings)
            rows.append(found[0])
            kept[d][name] = found[1:]
            write_csv(folder / "unnormalised.csv", rows)
    _figures.histograms(folder / "histograms.png", kept)
    dims = (1, 2) if settings.smoke else (1, 2, 4, 8, 12, 16)
    inner = _samplers.effective_by_dimension(settings, dims)
    write_csv(folder / "dimensions.csv", inner)
    _figures.dimensions(folder / "dimensions.png", inner)
    for row in rows:
        print(
            f"d={row['d']:2d} {row['sampler']:20s} share {row['share']:.3f} +- {row['spread']:.3f}"
            f"  error {row['error']:+.3f}  worth {row['worth']:8.1f}"
            f"  log Z {row['log z']:6.2f} +- {row['log z spread']:.2f}"
            f"  effective {row['effective']:9.1f}"
            f"  values {row['values']:.1e} gradients {row['gradients']:.1e}"
        )
    for row in inner:
        print(f"d={row['d']:2d} {row['guess']:9s} effective {row['effective']:.1f}")


def resumed(file, name, d, sampler, settings):
    """(row, first coordinates, weights), read back when found before under these settings."""
    stamp = dataclasses.asdict(settings) | {"run": "", "dims": "", "samplers": ""}

    def make():
        row, x, weights = measured(name, d, sampler, settings)
        return {"row": row, "x": x.tolist(), "weights": weights.tolist()}

    held = stored(file.with_suffix(".json"), stamp, make)
    return held["row"], np.array(held["x"]), np.array(held["weights"])


def measured(name, d, sampler, settings):
    """The row of a sampler, and the first coordinates and weights of its first run."""
    once, start = jax.jit(sampler.run), time.perf_counter()
    keys = jax.random.split(jax.random.key(settings.seed), settings.repeats)
    draws = [jax.tree.map(np.asarray, once(key)) for key in keys]
    seconds = time.perf_counter() - start
    shares = np.array([np.sum(one.weights * (one.x[:, 0] > 0)) for one in draws])
    error = shares - _samplers.SHARE
    logs = np.array([one.log_z for one in draws])
    effective = float(np.mean([one.inner for one in draws]))
    steps = np.mean([one.steps for one in draws])
    steps = 1.0 if np.isnan(steps) else float(steps)
    row = {
        "d": d,
        "sampler": name,
        "share": float(shares.mean()),
        "error": float(error.mean()),
        "spread": float(shares.std(ddof=1)),
        # Independent draws of the target whose share would be as far off as this run's
        "worth": float(0.16 / np.mean(error**2)) if np.any(error) else np.inf,
        "log z": float(logs.mean()),
        "log z spread": float(logs.std(ddof=1)),
        "effective": effective,
        "values": sampler.values * steps,
        "gradients": sampler.gradients * steps,
        "seconds": seconds,
    }
    pick = slice(None, None, max(len(draws[0].x) // 2000, 1))
    weights = draws[0].weights[pick]
    return row, draws[0].x[pick, 0].astype(float), (weights / weights.sum()).astype(float)
