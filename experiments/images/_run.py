"""A whole run, from settings to the printed table; user errors become one line and exit code 2."""

import logging
import pathlib
import sys
import time
import traceback
import warnings

import jax

from experiments.images import (
    _features,
    _levels,
    _likelihood,
    _models,
    _report,
    _sample,
    _settings,
    _train,
)
from experiments.images._progress import Progress
from jaxgen import training


class Clock:
    """Wall time by part of a run."""

    def __init__(self):
        """Starts now."""
        self.seconds: dict[str, float] = {}
        self.last = self.began = time.monotonic()

    def stop(self, part: str) -> None:
        """Books the time since the last call on `part`."""
        now = time.monotonic()
        self.seconds[part] = self.seconds.get(part, 0.0) + now - self.last
        self.last = now


def main(argv) -> int:
    """Runs the experiment on command-line words; the exit code: 0, 2 for a user's error, 130."""
    try:
        settings = _settings.parse(argv)
        run(settings)
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from the last checkpoint", file=sys.stderr)
        return 130
    except (ValueError, OSError, ImportError, RuntimeError) as error:
        line = _one_line(error)
        if line is None:
            raise
        # What fails on the way out has been said in one line.
        logging.disable(logging.CRITICAL)
        warnings.simplefilter("ignore")
        print(f"experiments.images: {line}", file=sys.stderr)
        return 2
    return 0


def hook(*args) -> None:
    """Prints what nobody caught, but not the echo of a failed write in orbax's native threads."""
    error = args[1] if len(args) == 3 else args[0].exc_value
    if not (isinstance(error, RuntimeError) and "Event loop is closed" in str(error)):
        traceback.print_exception(error)


def _one_line(error) -> str | None:
    """The message for a person; None for an error that is ours, whose traceback is wanted."""
    text = " ".join(str(error).split())
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'file'} must be writable; got {error.strerror}"
    if isinstance(error, OSError | ImportError) or (" must " in text and ": " in text):
        return text
    if " needs " in text and text.startswith("mesh."):
        return text
    return None


def run(settings: _settings.Settings) -> None:
    """Trains (or goes on, or not at all), samples, measures, and writes everything."""
    clock = Clock()
    if settings.smoke:  # compiling is most of the smallest size
        jax.config.update("jax_disable_most_optimizations", True)
    if settings.num_processes > 1:
        training.mesh.join_processes(
            settings.coordinator, settings.num_processes, settings.process_id
        )
    mesh = training.mesh.parse(settings.mesh)
    if settings.batch % mesh.shape["data"]:
        raise ValueError(
            f"settings: batch must be a multiple of the {mesh.shape['data']} devices of the mesh; "
            f"got {settings.batch}"
        )
    model = _models.build(settings)
    folder = _settings.claim(settings)
    source = folder if settings.from_run is None else pathlib.Path(settings.from_run)
    _announce(settings, model, folder)
    if settings.from_run is None:
        trained = _train.train(model, settings, folder, mesh)
        state, steps, seconds = trained.state, trained.steps, trained.seconds
    else:
        state, steps, seconds = _train.restore(model, settings, source, mesh), 0, 0.0
    candidates = _train.candidates(state, settings, source)
    width = _train.posthoc_name(settings.posthoc_width)
    params = candidates[width if settings.average == "posthoc" else settings.average]
    save_denoiser(settings, folder, params)
    if settings.num_processes > 1:
        jax.distributed.shutdown()  # the first process measures alone
    clock.stop("training")
    if settings.process_id or not settings.measure:
        return
    results = {"trained_steps": steps, "training_seconds": seconds} | _report.machine()
    loss, images = _levels.make_loss(model), model.images
    results["averages"] = _levels.compare(
        model, loss, candidates, _train.keys(settings)["levels"], images.test_x, images.test_labels
    )
    clock.stop("comparing averages")
    measure(settings, model, params, folder, source, mesh, clock, results)


def _announce(settings, model, folder):
    if settings.process_id == 0:
        images = model.images
        words = f"{len(images.train_x)} training and {len(images.test_x)} held-out images"
        print(f"{images.name}: {words} {images.event_shape}; run folder {folder}", flush=True)


def measure(settings, model, params, folder, source, mesh, clock, results) -> None:
    """Everything after training."""
    say = lambda words: print(words, file=sys.stderr, flush=True)
    key = _train.keys(settings)
    say("features: training a small classifier to measure quality with")
    features = _feature_network(settings, model, source)
    clock.stop("features")
    results["features"] = {"accuracy": features.accuracy, "task": features.task}
    sharding = None
    if mesh.size > 1 and settings.num_processes == 1:
        sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
        params = training.mesh.replicate(mesh, params)
    scene = _sample.make_scene(settings, model, params, features, key["sample"], sharding)
    paths = _sampling(settings, scene, folder, clock, results, say)
    params = jax.device_get(params)
    paths += _losses(model, params, folder, source, key["levels"], results)
    clock.stop("loss by noise level")
    results["likelihood"] = _likelihood.bits_per_dim(
        settings, model, params, key["likelihood"], say
    )
    results["exact_check"] = _likelihood.exact_check(
        settings, model, params, key["likelihood"], say
    )
    clock.stop("likelihood")
    results["seconds"] = clock.seconds | {"all": time.monotonic() - clock.began}
    _report.write_json(folder / "results.json", results)
    print(_report.printed(results))
    print("\nwritten:", *[str(path) for path in [*paths, folder / "results.json"]], sep="\n  ")


def _feature_network(settings, model, source):
    progress = Progress("features", settings.feature_steps)
    found = _features.saved_features(
        source / "features.npz",
        model.images,
        settings.seed,
        settings.feature_steps,
        lambda step, steps, loss: progress.update(step, loss),
    )
    progress.close()
    return found


def _sampling(settings, scene, folder, clock, results, say):
    draws, rows = _sample.by_sampler(scene, say)
    clock.stop("sampling")
    results["reference"] = _sample.against_solution(scene, draws, rows, say)
    clock.stop("distance to the ODE's solution")
    results["samplers"] = rows
    results["floor"] = _features.quality_floor(scene.held_out, scene.train, settings.samples)
    best = draws[max(draws, key=lambda place: (place[1], place[0] == "deis3"))]
    copies = _sample.nearest(scene, best.x)
    results["nearest"] = {
        "samples": float(sorted(copies.distance)[len(copies.distance) // 2]),
        "held_out": copies.held_out,
    }
    guided = _sample.guided(scene, say)
    images = scene.model.images
    paths = _report.sample_pictures(folder, draws, rows, results["floor"])
    paths += _report.other_pictures(folder, guided, copies, best.x, images, scene.model.classes)
    clock.stop("guidance, nearest, pictures")
    others, results["processes"] = _sample.by_process(scene, say)
    paths.append(_report.process_picture(folder, others, results["processes"]))
    _report.write_rows(folder / "samplers.csv", rows)
    _report.write_rows(folder / "processes.csv", results["processes"])
    clock.stop("other processes")
    return paths


def _losses(model, params, folder, source, key, results):
    loss, images = _levels.make_loss(model), model.images
    train = _levels.by_level(model, loss, params, key, images.train_x, images.train_labels)
    held_out = _levels.by_level(model, loss, params, key, images.test_x, images.test_labels)
    results["noise_levels"] = {"training": train, "held_out": held_out}
    rows = [
        {"noise": a, "training": b, "training_se": c, "held_out": d, "held_out_se": e}
        for a, b, c, d, e in zip(
            train.noise, train.mean, train.error, held_out.mean, held_out.error, strict=True
        )
    ]
    _report.write_rows(folder / "noise_levels.csv", rows)
    losses = _train.read_losses(source / "metrics.csv")
    return _report.loss_pictures(folder, losses, train, held_out)


def save_denoiser(settings, folder, params) -> None:
    """The trained denoiser as one artefact, unless the folder has it already."""
    if not (folder / "denoiser").exists():
        training.save_denoiser(folder / "denoiser", params, _train.decided_by(settings))
