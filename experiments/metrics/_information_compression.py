"""Information kept by a lossy code: images of a few coordinates, with a known information."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from experiments.metrics._information_laws import pairs
from jaxgen.metrics import information

SIDE = 16
GRID = (np.arange(SIDE) + 0.5) / SIDE


def blobs(codes):
    """Round bumps [n, 16, 16] at positions [n, 2] in (0.2, 0.8)."""
    at = 0.2 + 0.6 * codes
    bump = lambda p: jnp.exp(-((jnp.asarray(GRID)[None] - p[:, None]) ** 2) / (2 * 0.1**2))
    return bump(at[:, 0])[:, :, None] * bump(at[:, 1])[:, None, :]


def rectangles(codes):
    """Soft-edged rectangles [n, 16, 16] of sides and corners [n, 4]."""

    def stripe(start, length):
        low, high = 0.05 + 0.4 * start, 0.55 + 0.4 * length
        soft = lambda a: jax.nn.sigmoid((jnp.asarray(GRID)[None] - a[:, None]) / 0.04)
        return soft(low) * (1 - soft(high))

    down, across = stripe(codes[:, 0], codes[:, 1]), stripe(codes[:, 2], codes[:, 3])
    return down[:, :, None] * across[:, None, :]


IMAGES = {"blobs": (blobs, 2), "rectangles": (rectangles, 4)}


def uniforms(key, n, d, total):
    """Two uniforms [n, d] of information `total`: a normal's, through its distribution function."""
    r = math.sqrt(1 - math.exp(-2 * total / d))
    return [jax.scipy.stats.norm.cdf(z) for z in pairs(key, n, d, r)]


def _layers(key, sizes):
    keys = jax.random.split(key, len(sizes) - 1)
    shapes = zip(keys, sizes[:-1], sizes[1:], strict=True)
    return [(jax.random.normal(k, (a, b)) / math.sqrt(a), jnp.zeros(b)) for k, a, b in shapes]


def _through(layers, x):
    for weight, bias in layers[:-1]:
        x = jnp.tanh(x @ weight + bias)
    return x @ layers[-1][0] + layers[-1][1]


def autoencoder(key, images, width, steps):
    """An encoder [16, 16] -> [width] fitted to images, and its relative squared error."""
    rows = images.reshape(images.shape[0], -1)
    mean, scale = jnp.mean(rows, axis=0), jnp.std(rows)
    rows = (rows - mean[None]) / scale
    key_in, key_out, key_steps = jax.random.split(key, 3)
    params = (
        _layers(key_in, (SIDE**2, 96, 48, width)),
        _layers(key_out, (width, 48, 96, SIDE**2)),
    )
    optimiser = optax.adam(optax.cosine_decay_schedule(3e-3, steps))
    loss = lambda p, x: jnp.mean(
        (jax.vmap(lambda a: _through(p[1], _through(p[0], a)))(x) - x) ** 2
    )

    def step(carry, index):
        params, state = carry
        batch = jax.random.randint(jax.random.fold_in(key_steps, index), (128,), 0, len(rows))
        updates, state = optimiser.update(jax.grad(loss)(params, rows[batch]), state)
        return (optax.apply_updates(params, updates), state), None

    carry = params, optimiser.init(params)
    fitted, _ = jax.jit(lambda c: jax.lax.scan(step, c, jnp.arange(steps)))(carry)[0]
    left = float(loss(fitted, rows) / jnp.mean(rows**2))
    return lambda x: _through(fitted[0], (x.reshape(-1) - mean) / scale), left


def _encoders(key, draw, width, n, steps):
    """name: (encoder, share of the variance it loses), fitted to images of their own."""
    key_codes, key_net = jax.random.split(key)
    images = draw(jax.random.uniform(key_codes, (n, width)))
    rows = images.reshape(n, -1)
    spectrum = jnp.linalg.svd(rows - jnp.mean(rows, axis=0)[None], compute_uv=False) ** 2
    lost = float(jnp.sum(spectrum[width:]) / jnp.sum(spectrum))
    return {
        "none": (lambda x: x, 0.0),
        f"PCA({width})": (information.pca(images, width), lost),
        f"autoencoder({width})": autoencoder(key_net, images, width, steps),
    }


ESTIMATES = {
    "KSG": information.mi_ksg,
    "KL": information.mi_knn,
    "weighted KL": functools.partial(information.mi_knn, k=20, weighted=True),
    "KDE": functools.partial(information.mi_kde, bandwidth=0.4),
}


def compression_rows(smoke, seed):
    """A row for every set of images, encoder, estimator and true information."""
    n, steps = (100, 10) if smoke else (1000, 3000)
    totals = (1.0,) if smoke else (0.0, 1.0, 2.0, 4.0)
    # Compiled once for every length of code.
    estimators = {name: jax.jit(fn) for name, fn in ESTIMATES.items()}
    if smoke:
        estimators = {"KSG": estimators["KSG"]}
    found = []
    for place, (kind, (draw, width)) in enumerate(list(IMAGES.items())[: 1 if smoke else 2]):
        key = jax.random.fold_in(jax.random.key(seed), place)
        encoders = _encoders(key, draw, width, n, steps)
        for code, (encoder, lost) in encoders.items():
            for name, fn in estimators.items():
                run = information.compressed(encoder, encoder, estimator=fn)
                for index, total in enumerate(totals):
                    xs, ys = uniforms(jax.random.fold_in(key, 10 + index), n, width, total)
                    got = run(draw(xs), draw(ys))
                    found.append(
                        {
                            "images": kind,
                            "code": code,
                            "estimator": name,
                            "n": n,
                            "lost variance": lost,
                            "true nats": total,
                            "nats": float(got.value),
                            "standard error": float(got.standard_error),
                        }
                    )
    return found


def compression_figure(path, rows):
    """A panel for every set of images and code: estimates against the truth."""
    panels = list(dict.fromkeys((row["images"], row["code"]) for row in rows))
    figure = Figure(figsize=(10.5, 6.4))
    FigureCanvasAgg(figure)
    most = max(row["true nats"] for row in rows) + 0.5
    for place, (kind, code) in enumerate(panels):
        axes = figure.add_subplot(2, 3, place + 1)
        shown = [row for row in rows if (row["images"], row["code"]) == (kind, code)]
        axes.plot([0, most], [0, most], "k--", linewidth=0.8, label="truth")
        for name in ESTIMATES:
            line = [row for row in shown if row["estimator"] == name]
            axes.errorbar(
                [row["true nats"] for row in line],
                [row["nats"] for row in line],
                [5 * row["standard error"] for row in line],
                marker=".",
                linewidth=1,
                capsize=2,
                label=name,
            )
        if code == "none":
            axes.set_yscale("symlog", linthresh=5)
        else:
            axes.set_ylim(-2, 1.4 * most)
        axes.set_title(f"{kind}, {code}, loses {shown[0]['lost variance']:.1%}", fontsize=9)
        axes.set_xlabel("true information, nats", fontsize=8)
        axes.set_ylabel("estimate (bars: 5 s.e.)", fontsize=8)
        axes.grid(True, alpha=0.3)
        if place == 0:
            axes.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
