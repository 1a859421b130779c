"""The whole configuration of a run, and the rule that one folder holds one training."""

import dataclasses
import json
import os
import pathlib
from typing import Annotated

import tyro

from experiments.images._models import BLOCKS, PROCESSES
from experiments.images._samplers import GRIDS, SAMPLERS

DATA = ("mnist5k", "digits8")
AVERAGES = ("posthoc", "ema", "raw")
DEFAULT_RUN = "runs/images"


@dataclasses.dataclass(frozen=True)
class Settings:
    """Train a class-conditional diffusion model on small real images; sample it and measure it."""

    run: str = DEFAULT_RUN
    """Folder of the run: settings, metrics.csv, checkpoints, results, pictures."""
    from_run: Annotated[str | None, tyro.conf.arg(name="from")] = None
    """A finished run to sample again without training; results go to <run>/resampled."""
    smoke: bool = False
    """The smallest size: 8 x 8 digits, a tiny network, seconds instead of minutes."""

    data: str = "mnist5k"
    """mnist5k, digits8, or the path of an .npz with `images` uint8 [n, H, W(, C)] and, if known,
    `labels` [n]."""
    process: str = "vp"
    """Noising process of training: vp, ve, subvp, cosine, edm or linear_flow."""
    noise_min: float = 0.002
    """Clean end of training and likelihood, as sigma/alpha; images lie in [-1, 1]."""
    noise_max: float = 80.0
    """Noisy end, as sigma/alpha; where sampling starts."""
    sigma_data: float = 0.6
    """Root mean square of the data around its mean that the preconditioning assumes."""
    noise_mean: float = -0.6
    """Mean of log(sigma/alpha) in training; the law is normal."""
    noise_std: float = 1.6
    """Standard deviation of log(sigma/alpha) in training."""
    channels: int = 32
    """Width of the network's first level."""
    multipliers: tuple[int, ...] = (1, 2)
    """Width of each level, in units of `channels`; each level halves the image."""
    blocks: tuple[int, ...] = (1, 2)
    """Residual blocks of each level, on the way down and again on the way up."""
    patch: int = 2
    """Side of the patches folded into channels before the first level."""
    steps: int = 2600
    """Optimiser steps; what bounds the training, so that it reproduces."""
    batch: int = 32
    """Images a step, over all devices."""
    learning_rate: float = 4e-3
    """Peak of Adam's learning rate: linear warm-up, then a half cosine to a twentieth of it."""
    warmup: int = 100
    """Steps of the warm-up."""
    clip: float = 1.0
    """Gradients are scaled down to this global norm."""
    label_dropout: float = 0.1
    """Share of training images shown without their label, for classifier-free guidance."""
    ema_decay: float = 0.99
    """Decay of the plain exponential average of the parameters."""
    power_widths: tuple[float, ...] = (0.05, 0.1)
    """Relative widths sigma_rel of the power-function averages kept in training."""
    snapshots: int = 8
    """Copies of the power-function averages kept over training, for synthesis afterwards."""
    seed: int = 0
    """Of everything random."""

    checkpoint_every: int = 200
    """Steps between checkpoints; after a kill the same command goes on from the last one."""
    measure: bool = True
    """Whether to sample and measure after training."""
    average: str = "posthoc"
    """Parameters that are sampled: posthoc (synthesised from the snapshots), ema, or raw."""
    posthoc_width: float = 0.1
    """Relative width sigma_rel of the synthesised average."""
    samplers: tuple[str, ...] = tuple(SAMPLERS)
    """Rows of the sample picture and of the quality table."""
    budgets: tuple[int, ...] = (5, 10, 20)
    """Network evaluations an image may cost; the true count is printed."""
    grid: str = "own"
    """Where samplers stop: uniform, power, log_snr or karras; own: each sampler's usual one."""
    sample_noise_min: float = 0.02
    """Clean end of sampling, as sigma/alpha."""
    samples: int = 192
    """Images drawn for each number of the quality table."""
    compare_processes: tuple[str, ...] = ("vp", "edm", "linear_flow", "cld")
    """Processes under which the one trained network is sampled."""
    guidance: tuple[float, ...] = (0.0, 1.0, 3.0)
    """Weights of the guidance picture; 0 is no guidance."""
    reference_steps: int = 1000
    """Steps of the solution that each deterministic sampler is measured against."""
    reference_starts: int = 16
    """Starting points of that comparison."""
    likelihood_images: int = 32
    """Held-out images whose bits/dim are computed; 0 leaves the likelihood out."""
    likelihood_steps: int = 64
    """Steps of the probability flow; half as many give the discretisation error."""
    probes: int = 2
    """Hutchinson probes an image, where the divergence is not exact (above 100 dimensions)."""
    exact_images: int = 1
    """Images of more than 100 dimensions whose divergence is also computed exactly, as a check."""
    exact_steps: int = 16
    """Steps of that check."""
    feature_steps: int = 600
    """Training steps of the small classifier on whose features quality is measured."""

    mesh: str = "data=1"
    """Devices that share each batch, such as data=8 (or data=-1: all of them)."""
    coordinator: str | None = None
    """host:port of the first process, to train in several processes."""
    num_processes: int = 1
    """How many processes."""
    process_id: int = 0
    """Which of them this one is, from 0."""


_NAMES = [field.name for field in dataclasses.fields(Settings)]
TRAINING = tuple(_NAMES[_NAMES.index("data") : _NAMES.index("seed") + 1])
SMOKE = {
    "data": "digits8",
    "channels": 8,
    "multipliers": (1,),
    "blocks": (1,),
    "patch": 1,
    "steps": 60,
    "warmup": 10,
    "snapshots": 3,
    "checkpoint_every": 20,
    "samples": 32,
    "reference_steps": 60,
    "reference_starts": 4,
    "likelihood_images": 4,
    "likelihood_steps": 8,
    "feature_steps": 100,
}


def parse(argv) -> Settings:
    """Settings from command-line words; with --from, its training settings are the defaults.

    Raises ValueError on settings that make no sense, SystemExit on words that cannot be read.
    """
    base = Settings()
    given = tyro.cli(Settings, args=argv, default=base, prog="python -m experiments.images")
    if given.smoke:
        base = dataclasses.replace(base, smoke=True, run=_smoke_run(base.run), **SMOKE)
        given = tyro.cli(Settings, args=argv, default=base, prog="python -m experiments.images")
    if given.from_run is not None:
        stored = read(pathlib.Path(given.from_run) / "settings.json")
        base = dataclasses.replace(stored, run=str(pathlib.Path(given.from_run) / "resampled"))
        base = dataclasses.replace(base, mesh="data=1", coordinator=None, from_run=given.from_run)
        base = dataclasses.replace(base, num_processes=1, process_id=0)
        given = tyro.cli(Settings, args=argv, default=base, prog="python -m experiments.images")
        refuse_changes("--from", pathlib.Path(given.from_run), stored, given)
    check(given)
    return given


def _smoke_run(run):
    return run + "-smoke"


def check(settings: Settings) -> None:
    """Raises ValueError, one line, on a setting out of its range or a name that is not known."""
    for name in ("steps", "batch", "channels", "patch", "checkpoint_every", "snapshots"):
        _require(name, getattr(settings, name) >= 1, "be at least 1", settings)
    for name in ("feature_steps", "reference_steps", "reference_starts", "probes", "num_processes"):
        _require(name, getattr(settings, name) >= 1, "be at least 1", settings)
    for name in ("likelihood_images", "exact_images", "warmup", "process_id"):
        _require(name, getattr(settings, name) >= 0, "be at least 0", settings)
    for name in ("sigma_data", "noise_min", "noise_std", "learning_rate", "clip"):
        _require(name, getattr(settings, name) > 0, "be positive", settings)
    _require("warmup", settings.warmup < settings.steps, "be below steps", settings)
    _require("batch", settings.batch % settings.num_processes == 0, "divide evenly", settings)
    _require("samples", settings.samples >= 8, "be at least 8", settings)
    _require("likelihood_steps", settings.likelihood_steps >= 8, "be at least 8", settings)
    _require("exact_steps", settings.exact_steps >= 8, "be at least 8", settings)
    _require("label_dropout", 0 <= settings.label_dropout < 1, "lie in [0, 1)", settings)
    _require("noise_max", settings.noise_max > settings.noise_min, "exceed noise_min", settings)
    inside = settings.noise_min <= settings.sample_noise_min < settings.noise_max
    _require("sample_noise_min", inside, "lie in [noise_min, noise_max)", settings)
    _require("budgets", len(settings.budgets) and min(settings.budgets) >= 1, "be >= 1", settings)
    _require("process_id", settings.process_id < settings.num_processes, "name one", settings)
    _among("process", (settings.process,), [name for name in PROCESSES if name not in BLOCKS])
    _among("compare_processes", settings.compare_processes, PROCESSES)
    _among("samplers", settings.samplers, SAMPLERS)
    _among("grid", (settings.grid,), ("own", *GRIDS))
    _among("average", (settings.average,), AVERAGES)
    if settings.data not in DATA and not settings.data.endswith(".npz"):
        raise ValueError(
            f"settings: data must be {', '.join(DATA)} or a path.npz; got {settings.data}"
        )
    if settings.num_processes > 1 and settings.coordinator is None:
        raise ValueError("settings: coordinator must be given with num_processes > 1; got none")


def _require(name, holds, must, settings):
    if not holds:
        raise ValueError(f"settings: {name} must {must}; got {getattr(settings, name)}")


def _among(name, values, known):
    unknown = [value for value in values if value not in known]
    if unknown or not values:
        raise ValueError(
            f"settings: {name} must be among {', '.join(known)}; got {', '.join(unknown) or 'none'}"
        )


def read(path: pathlib.Path) -> Settings:
    """The settings stored in a run folder. Raises ValueError where there are none."""
    try:
        stored = json.loads(path.read_text())
        fields = {field.name for field in dataclasses.fields(Settings)}
        lists = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in stored.items()
        }
        if set(lists) != fields:
            raise ValueError(f"unknown or missing settings {sorted(fields ^ set(lists))}")
        return Settings(**lists)
    except FileNotFoundError as error:
        raise ValueError(f"settings: {path} must exist; got no such file") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(
            f"settings: {path} must hold the settings of a run; got {error}"
        ) from error


def refuse_changes(what: str, folder: pathlib.Path, stored: Settings, given: Settings) -> None:
    """Raises ValueError if the training settings of a folder and the given ones differ."""
    changed = [name for name in TRAINING if getattr(stored, name) != getattr(given, name)]
    if changed:
        words = ", ".join(
            f"{name} {getattr(stored, name)} (given {getattr(given, name)})" for name in changed
        )
        raise ValueError(
            f"{what}: {folder} must be used with the settings it was trained with: {words}"
        )


def claim(settings: Settings) -> pathlib.Path:
    """The run folder, made and marked with its settings.

    Raises ValueError if it holds another training, OSError if it cannot be written.
    """
    folder = pathlib.Path(settings.run)
    path = folder / "settings.json"
    folder.mkdir(parents=True, exist_ok=True)
    if path.exists():
        refuse_changes("settings", folder, read(path), settings)
    if settings.process_id == 0:
        write_whole(path, json.dumps(dataclasses.asdict(settings), indent=1) + "\n")
    return folder


def write_whole(path: pathlib.Path, text: str) -> None:
    """Writes a text file whole or not at all."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        partial.write_text(text)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
