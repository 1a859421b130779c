"""What sample quality is measured on: features of a small classifier trained on the same images.

Public feature networks are not downloaded; a network this small learns the images at hand in
seconds, and what it reports is "distance on these features", to be compared with the floor that
held-out images reach against training images, and never with published numbers. The Fréchet
distance is biased upward by about 1/n: `quality` states n, and numbers compare at equal n only.

The features are centred and scaled by one number, so that over the training images their mean is 0
and their mean variance 1 (the covariance has trace d = 64); distances are in those units.
"""

import hashlib
import json
import os
import zipfile
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxgen import data, metrics

WIDTH = 64  # of a feature
WIDTHS = (24, 48, 64)  # of the convolutions; the last one repeats
BATCH = 64
CHUNK = 500
VERSION = 1
BROKEN = (OSError, EOFError, LookupError, ValueError, TypeError, AttributeError, RuntimeError)
BROKEN += (zipfile.BadZipFile, zlib.error)


class Features(NamedTuple):
    """A trained feature network and how well it classifies held-out images."""

    params: dict[str, jax.Array]
    accuracy: float  # in [0, 1], on the held-out images
    task: str  # "labels", or "turns" where the images have none


def _turned(x, labels, square):
    """Images without labels teach their orientation: every image in 4 (or 2) turns, and which."""
    turns = (0, 1, 2, 3) if square else (0, 2)
    every = np.concatenate([np.rot90(x, turn, axes=(1, 2)) for turn in turns])
    return every, np.repeat(np.arange(len(turns)), len(x)).astype(np.int32)


def _task(images):
    """(name, training images, their classes, test images, their classes, number of classes)."""
    sides = []
    for x, labels in ((images.train_x, images.train_labels), (images.test_x, images.test_labels)):
        sides.append((x[labels >= 0], labels[labels >= 0]))
    name, classes = "labels", 1 + max(int(labels.max(initial=-1)) for _, labels in sides)
    if classes < 2 or not len(sides[1][0]):
        square = images.train_x.shape[1] == images.train_x.shape[2]
        sides = [_turned(x, None, square) for x in (images.train_x, images.test_x)]
        name, classes = "turns", 4 if square else 2
    (train_x, train_labels), (test_x, test_labels) = sides
    unit = lambda x: jnp.asarray(data.to_unit(x, images.levels), jnp.float32)
    return name, unit(train_x), jnp.asarray(train_labels), unit(test_x), test_labels, classes


def _strides(height, width):
    """The stride of each convolution, at least two: halve until no side is above 4."""
    side = max(height, width)
    halvings = max(0, int(np.ceil(np.log2(side / 4))))
    return (1,) * max(0, 2 - halvings) + (2,) * halvings


def init_params(key: jax.Array, event_shape: tuple[int, int, int], classes: int) -> dict:
    """Fresh parameters for images [H, W, C] of so many classes, float32."""
    height, width, channels = event_shape
    params, strides = {}, _strides(height, width)
    normal = jax.nn.initializers.he_normal()
    for i, stride in enumerate(strides):
        out, side = WIDTHS[min(i, 2)], (5 if i == 0 and stride == 2 else 3)
        shape = (side, side, channels, out)
        params[f"conv{i}"] = normal(jax.random.fold_in(key, i), shape, jnp.float32)
        params[f"conv{i}_bias"] = jnp.zeros(out, jnp.float32)
        height, width, channels = -(-height // stride), -(-width // stride), out
    size = height * width * channels
    params["dense"] = normal(jax.random.fold_in(key, 100), (size, WIDTH), jnp.float32)
    params["dense_bias"] = jnp.zeros(WIDTH, jnp.float32)
    params["out"] = jnp.zeros((WIDTH, classes), jnp.float32)
    params["out_bias"] = jnp.zeros(classes, jnp.float32)
    params["mean"], params["scale"] = jnp.zeros(WIDTH, jnp.float32), jnp.ones((), jnp.float32)
    return params


def _penultimate(params, x):
    """The last hidden layer [n, 64] of images [n, H, W, C], as trained."""
    for i, stride in enumerate(_strides(*x.shape[1:3])):
        dims = ("NHWC", "HWIO", "NHWC")
        x = jax.lax.conv_general_dilated(
            x, params[f"conv{i}"], (stride, stride), "SAME", dimension_numbers=dims
        )
        x = jax.nn.relu(x + params[f"conv{i}_bias"][None, None, None])
    x = x.reshape(x.shape[0], -1) @ params["dense"]
    return jax.nn.relu(x + params["dense_bias"][None])


def _logits(params, x):
    return _penultimate(params, x) @ params["out"] + params["out_bias"][None]


@jax.jit
def _embed(params, x):
    return (_penultimate(params, x) - params["mean"][None]) / params["scale"]


_classify = jax.jit(lambda params, x: jnp.argmax(_logits(params, x), axis=1))


def _in_chunks(fn, params, x):
    """Run fn over rows, CHUNK at a time and padded, so that it is compiled once."""
    parts = []
    for start in range(0, len(x), CHUNK):
        part = jnp.asarray(x[start : start + CHUNK], jnp.float32)
        filled = jnp.pad(part, ((0, CHUNK - len(part)),) + ((0, 0),) * (x.ndim - 1))
        parts.append(fn(params, filled)[: len(part)])
    return jnp.concatenate(parts)


def features(params: dict[str, jax.Array], x: jax.Array) -> jax.Array:
    """Features [n, 64], float32, of images x [n, H, W, C] in [-1, 1]."""
    if x.ndim != 4 or not len(x):
        raise ValueError(f"features: x must be images [n, H, W, C], n >= 1; got {x.shape}")
    return _in_chunks(_embed, params, x)


def _shifted(key, x, reach):
    """Each image moved by up to `reach` pixels along both axes, its edge repeated."""
    padded = jnp.pad(x, ((0, 0), (reach, reach), (reach, reach), (0, 0)), mode="edge")
    corners = jax.random.randint(key, (x.shape[0], 2), 0, 2 * reach + 1)
    crop = lambda image, corner: jax.lax.dynamic_slice(
        image, (corner[0], corner[1], 0), x.shape[1:]
    )
    return jax.vmap(crop)(padded, corners)


def _stepper(train_x, labels, classes, optimiser):
    reach = max(1, min(train_x.shape[1:3]) // 14)

    def loss_fn(params, x, label):
        target = optax.smooth_labels(jax.nn.one_hot(label, classes, dtype=jnp.float32), 0.05)
        return jnp.mean(optax.softmax_cross_entropy(_logits(params, x), target))

    def step(key, params, opt_state, train_x, labels):
        key_batch, key_shift = jax.random.split(key)
        rows = jax.random.randint(key_batch, (BATCH,), 0, train_x.shape[0])
        x = _shifted(key_shift, train_x[rows], reach)
        loss, grads = jax.value_and_grad(loss_fn)(params, x, labels[rows])
        updates, opt_state = optimiser.update(grads, opt_state, params)
        return optax.apply_updates(params, updates), opt_state, loss

    jitted = jax.jit(step, donate_argnums=(1, 2))
    return lambda key, params, opt_state: jitted(key, params, opt_state, train_x, labels)


def train_features(
    images: data.ImageSet,
    seed: int = 0,
    steps: int = 600,
    progress: Callable[[int, int, float], Any] | None = None,
) -> Features:
    """A classifier trained on the training part of `images`, as a feature network.

    The same images, seed and steps give the same parameters on the same machine. Images without
    labels (or of one class) teach which way up they are instead; `task` says which was learned.

    Args:
        images: uint8 images and labels, split.
        seed: of the start, the batches and the shifts.
        steps: optimiser steps, at batch 64.
        progress: called as progress(step, steps, loss) every 50 steps and at the end.
    """
    if steps < 1:
        raise ValueError(f"train_features: steps must be at least 1; got {steps}")
    task, train_x, labels, test_x, test_labels, classes = _task(images)
    key_init, key_steps = jax.random.split(jax.random.key(seed))
    params = init_params(key_init, train_x.shape[1:], classes)
    rate = optax.warmup_cosine_decay_schedule(0.0, 3e-3, max(1, steps // 10), steps)
    optimiser = optax.adam(rate)  # mean and scale have no gradient, so they stay
    step, opt_state = _stepper(train_x, labels, classes, optimiser), optimiser.init(params)
    for i in range(steps):
        params, opt_state, loss = step(jax.random.fold_in(key_steps, i), params, opt_state)
        if progress is not None and ((i + 1) % 50 == 0 or i + 1 == steps):
            progress(i + 1, steps, float(loss))
    accuracy = float(np.mean(np.asarray(_in_chunks(_classify, params, test_x)) == test_labels))
    upright = data.to_unit(images.train_x, images.levels)
    raw = features(params, upright)
    params["mean"] = jnp.mean(raw, axis=0)
    params["scale"] = jnp.maximum(jnp.sqrt(jnp.mean(jnp.var(raw, axis=0))), 1e-6)
    return Features(params, accuracy, task)


def settings(images: data.ImageSet, seed: int, steps: int) -> dict:
    """What a saved feature network was trained on: enough to tell that it may be reused."""
    digest = hashlib.sha256()
    for part in (images.train_x, images.train_labels, images.test_x, images.test_labels):
        digest.update(np.ascontiguousarray(part).tobytes())
    row = {"version": VERSION, "name": images.name, "levels": int(images.levels)}
    row |= {"shape": list(images.train_x.shape), "seed": seed, "steps": steps}
    return row | {"batch": BATCH, "images": digest.hexdigest()[:16]}


def save_features(path: str | os.PathLike, trained: Features, used: dict) -> None:
    """Write a feature network, its accuracy and its settings to one .npz, whole or not at all."""
    path = os.fspath(path)
    about = {"settings": used, "accuracy": trained.accuracy, "task": trained.task}
    arrays = {name: np.asarray(value) for name, value in trained.params.items()}
    partial = f"{path}.{os.getpid()}.partial"
    try:
        with open(partial, "wb") as file:
            np.savez(file, about=json.dumps(about), **arrays)
        os.replace(partial, path)
    finally:
        if os.path.exists(partial):
            os.remove(partial)


def load_features(path: str | os.PathLike, expected: dict) -> Features:
    """The feature network saved at `path`, if its settings are the expected ones.

    Raises ValueError, naming the file, where it is damaged or was made with other settings.
    """
    path = os.fspath(path)
    try:
        with open(path, "rb") as raw, np.load(raw, allow_pickle=False) as file:
            about = json.loads(str(file["about"]))
            params = {name: jnp.asarray(file[name]) for name in file.files if name != "about"}
        found, accuracy, task = about["settings"], float(about["accuracy"]), str(about["task"])
        classes = params["out"].shape[1]
        shape = tuple(found["shape"][1:])
        wanted = jax.eval_shape(lambda: init_params(jax.random.key(0), shape, classes))
        sizes = lambda tree: {name: (a.shape, a.dtype) for name, a in tree.items()}
        whole = sizes(wanted) == sizes(params) and all(
            bool(jnp.all(jnp.isfinite(a))) for a in params.values()
        )
    except BROKEN as error:
        cause = " ".join(str(error).split())[:160] or type(error).__name__
        message = f"features: {path} must be a readable feature file; got {cause}"
        raise ValueError(message) from error
    if not whole:
        raise ValueError(f"features: {path} must hold finite parameters of the right shapes")
    for name, value in expected.items():
        if found.get(name) != value:
            raise ValueError(
                f"features: {path} must have been made with {name} = {value}; "
                f"got {found.get(name)}; move it away to train anew"
            )
    return Features(params, accuracy, task)


def saved_features(
    path: str | os.PathLike,
    images: data.ImageSet,
    seed: int = 0,
    steps: int = 600,
    progress: Callable[[int, int, float], Any] | None = None,
) -> Features:
    """The feature network at `path`; trained and saved there first if there is none.

    Raises ValueError, naming the file, rather than overwrite a damaged or different one.
    """
    used = settings(images, seed, steps)
    if os.path.exists(path):
        return load_features(path, used)
    trained = train_features(images, seed, steps, progress)
    save_features(path, trained, used)
    return trained


@jax.jit
def _all_distances(real, fake):
    kernel = metrics.kernel_distance(real, fake)
    row = {"frechet": metrics.frechet(real, fake), "kernel": kernel.value}
    row["kernel_se"] = kernel.standard_error
    row["precision"], row["recall"] = metrics.precision(real, fake), metrics.recall(real, fake)
    row["density"], row["coverage"] = metrics.density(real, fake), metrics.coverage(real, fake)
    return row


def quality(features_real: jax.Array, features_fake: jax.Array) -> dict[str, float]:
    """Distances between two sets of features, [n, d] and [m, d], with n and m beside them.

    frechet (squared, biased by n and m), kernel and its standard error kernel_se (unbiased),
    precision and recall (k = 3), density and coverage (k = 5).
    """
    row = _all_distances(features_real, features_fake)
    counts = {"n_real": len(features_real), "n_fake": len(features_fake)}
    return {name: float(value) for name, value in row.items()} | counts


def quality_floor(
    features_real: jax.Array,
    features_train: jax.Array,
    count: int,
    *,
    draws: int = 4,
    seed: int = 0,
) -> dict[str, float]:
    """The `quality` of training images passed off as samples: what a perfect model could reach.

    Means over up to `draws` disjoint sets of `count` training images, and frechet_sd, the spread of
    the Fréchet distance between them (0 with one set).

    Args:
        features_real: of held-out images, [n, d].
        features_train: of training images, [m, d].
        count: how many fakes the sampler is judged on; at most m.
        draws: how many disjoint sets at most.
        seed: of the choice.
    """
    if not 6 <= count <= len(features_train):
        raise ValueError(
            f"quality_floor: count must be between 6 and {len(features_train)}, the number of "
            f"training images; got {count}"
        )
    order = np.random.Generator(np.random.PCG64(seed)).permutation(len(features_train))
    sets = [order[i * count : (i + 1) * count] for i in range(min(draws, len(order) // count))]
    rows = [quality(features_real, features_train[rows]) for rows in sets]
    mean = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    whole = {"n_real": rows[0]["n_real"], "n_fake": rows[0]["n_fake"], "draws": len(rows)}
    return mean | whole | {"frechet_sd": float(np.std([row["frechet"] for row in rows]))}
