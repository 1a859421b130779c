"""What one trained network is made to draw, and how good it is.

Every sampler starts from the same noise with the same labels, so the deterministic ones share one
solution, that of the probability-flow ODE: each is measured against it, solved in many steps.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jaxgen as jg
from experiments.images import _features, _samplers
from experiments.images._models import Model, process_between
from experiments.images._samplers import SAMPLERS, Draw
from experiments.images._settings import Settings
from jaxgen import data, metrics

SHOWN = 10  # images of a block in the sample picture
OTHER_BUDGET = 40  # what DDIM gets, to be compared with others at 10


class Scene(NamedTuple):
    """What all drawings of a run share."""

    settings: Settings
    model: Model
    network: _samplers.Network
    process: Any  # of the model, ending at sample_noise_min
    key: jax.Array
    labels: np.ndarray  # [samples]
    params: dict  # of the feature network
    held_out: jax.Array  # features of the held-out images
    train: jax.Array  # features of the training images


def make_scene(settings: Settings, model: Model, params, features, key, sharding=None) -> Scene:
    """The scene of a run: parameters to sample with, and the features of the real images."""
    unit = lambda x: data.to_unit(x, model.images.levels)
    return Scene(
        settings,
        model,
        _samplers.Network(model, params, sharding),
        process_between(settings.process, settings.sample_noise_min, settings.noise_max),
        key,
        np.arange(settings.samples) % (model.classes or 1),
        features.params,
        _features.features(features.params, unit(model.images.test_x)),
        _features.features(features.params, unit(model.images.train_x)),
    )


def draw(scene: Scene, sampler, steps: int, number: int, process=None, network_at=None) -> Draw:
    """The first `number` images of the scene by one sampler, under its process or another."""
    sampler = SAMPLERS[sampler] if isinstance(sampler, str) else sampler
    process = scene.process if process is None else process
    network_at = scene.network.at if network_at is None else network_at
    key_start, key_run = jax.random.split(scene.key)
    shape, total = scene.model.images.event_shape, scene.settings.samples
    start = _samplers.starting_noise(process, shape, total, key_start)
    axis = start.ndim - 1 - len(shape)
    start = jax.lax.slice_in_dim(start, 0, number, axis=axis)
    denoiser, grid = network_at(scene.labels[:number]), scene.settings.grid
    return _samplers.run(key_run, sampler, process, denoiser, start, steps, grid)


def quality(scene: Scene, x) -> dict[str, float]:
    """Distances of drawn images [n, *event] from held-out ones, on the features."""
    return _features.quality(scene.held_out, _features.features(scene.params, clipped(x)))


def clipped(x) -> np.ndarray:
    """Images with their values brought into [-1, 1]."""
    return np.clip(np.asarray(x), -1, 1)


def by_sampler(scene: Scene, say: Callable) -> tuple[dict, list[dict]]:
    """(draws by sampler and budget, one row of numbers for each)."""
    draws, rows = {}, []
    for name in scene.settings.samplers:
        for budget in sorted(set(scene.settings.budgets)):
            steps = _samplers.steps_within(SAMPLERS[name], budget)
            if steps is None:
                continue
            say(f"sampling: {SAMPLERS[name].title}, at most {budget} evaluations")
            one = draw(scene, name, steps, scene.settings.samples)
            row = {"sampler": name, "budget": budget, "evaluations": one.evaluations}
            draws[name, budget] = one
            rows.append(row | {"steps": steps} | quality(scene, one.x))
    return draws, rows


def against_solution(scene: Scene, draws: dict, rows: list[dict], say: Callable) -> dict:
    """Adds to each row of a deterministic sampler its distance to the ODE's solution.

    The distance of an image is the root mean square over its pixels; the mean and the median over
    the first reference_starts images are kept (near a fork of the flow one image can dominate the
    mean). All deterministic samplers solve one ODE, so one solution of reference_steps steps serves
    them all; how far another method's with a fifth of the steps is from it is reported too. DDIM
    also gets 40.
    """
    count = min(scene.settings.reference_starts, scene.settings.samples)
    say(f"sampling: the {scene.settings.reference_steps}-step solution of {count} images")
    n = scene.settings.reference_steps
    solution = draw(scene, "deis3", n, count).x
    check = draw(scene, "dpmpp_2m", min(n, max(n // 5, 100)), count).x
    for row in rows:
        if SAMPLERS[row["sampler"]].deterministic:
            x = draws[row["sampler"], row["budget"]].x[:count]
            row["distance"], row["distance_median"] = distances(x, solution)
    more = draw(scene, "ddim", OTHER_BUDGET, count)
    deis = [r for r in rows if r["sampler"] == "deis3" and r["budget"] == 10]
    return {
        "steps": n,
        "images": count,
        "uncertainty": distances(check, solution)[0],
        "ddim_40": distances(more.x, solution),
        "deis3_10": (deis[0]["distance"], deis[0]["distance_median"]) if deis else None,
    }


def distances(x, y) -> tuple[float, float]:
    """Mean and median over images [n, *event] in [-1, 1] of their root mean square difference."""
    square = (np.asarray(x, float) - np.asarray(y, float)) ** 2
    each = np.sqrt(square.reshape(len(square), -1).mean(axis=1))
    return float(each.mean()), float(np.median(each))


def guided(scene: Scene, say: Callable) -> dict[float, np.ndarray]:
    """Images [classes, 2, *event] for each guidance weight, by DEIS with the largest budget."""
    if scene.model.classes is None or scene.model.classes < 2:
        return {}
    say("sampling: guidance")
    number = min(scene.model.classes, 10)
    labels = np.tile(np.arange(number), 2)
    key_start, key_run = jax.random.split(scene.key)
    shape, found = scene.model.images.event_shape, {}
    start = _samplers.starting_noise(scene.process, shape, len(labels), key_start)
    for weight in scene.settings.guidance:
        conditional = scene.network.at(labels)
        without = scene.network.at(np.full_like(labels, -1))
        cfg = jg.predictions.guidance.cfg(conditional, without, weight)
        denoiser = conditional if weight == 0 else cfg
        steps = max(max(scene.settings.budgets), 3)
        one = _samplers.run(
            key_run, SAMPLERS["deis3"], scene.process, denoiser, start, steps, scene.settings.grid
        )
        found[weight] = np.swapaxes(one.x.reshape(2, number, *shape), 0, 1)
    return found


def by_process(scene: Scene, say: Callable) -> tuple[dict, list[dict]]:
    """(draws, numbers) of the one network under several processes, same sampler and evaluations."""
    found, rows, steps = {}, [], max(max(scene.settings.budgets), 3)
    settings = scene.settings
    for name in settings.compare_processes:
        say(f"sampling: the same network under {name}")
        process = process_between(name, settings.sample_noise_min, settings.noise_max)
        network_at = _samplers.under(scene.network.at, scene.model.process, process)
        one = draw(scene, _samplers.ACROSS, steps, settings.samples, process, network_at)
        found[name] = one
        row = {"process": name, "evaluations": one.evaluations, "t_max": float(process.t_max)}
        rows.append(row | {"t_min": float(process.t_min)} | quality(scene, one.x))
    return found, rows


class Copies(NamedTuple):
    """How close samples come to training images."""

    index: np.ndarray  # [n] into the training images
    distance: np.ndarray  # [n], Euclidean, images in [-1, 1]
    held_out: float  # median distance of held-out images to their nearest training image


def nearest(scene: Scene, x) -> Copies:
    """The nearest training image of each drawn image."""
    unit = lambda images: jnp.asarray(data.to_unit(images, scene.model.images.levels))
    train = unit(scene.model.images.train_x)
    find = jax.jit(metrics.nearest)
    near = find(jnp.asarray(clipped(x)), train)
    usual = find(unit(scene.model.images.test_x), train)
    return Copies(
        np.asarray(near.index), np.asarray(near.distance), float(np.median(usual.distance))
    )
