"""Distances to simulators by Bayesian quadrature: error of the embedding, and parameters found."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from experiments.metrics._study import Estimator, Study
from jaxgen import kernels
from jaxgen.math import quasi_uniform
from jaxgen.metrics import weighted

SHIFT = 0.5

WAVE = lambda u: jnp.sin(4 * u) + u
# name: (inputs d, u [d] -> point, embedding of the inputs). All are smooth but the last.
SIMULATORS = {
    "wave": (1, WAVE, weighted.matern(0.4)),
    "wave, stiff kernel": (1, WAVE, weighted.rbf(0.25)),
    "parabola": (1, lambda u: 3 * (u - 0.3) ** 2, weighted.matern(0.4)),
    "two inputs": (
        2,
        lambda u: jnp.stack([jnp.sin(3 * u[0]) + u[1], u[0] * u[1]]),
        weighted.matern(0.6),
    ),
    "four inputs": (
        4,
        lambda u: jnp.stack([u[0] + u[1] ** 2, jnp.sin(2 * u[2]) * u[3]]),
        weighted.matern(1.0),
    ),
    "kink": (1, lambda u: jnp.abs(2 * u - 0.7), weighted.matern(0.4)),
}
KERNEL = kernels.rbf(0.5)


def truth(d):
    """MMD² of N(0, I) and N(SHIFT, I), rbf of bandwidth 1."""
    return 2 * (1 / 3) ** (d / 2) * (1 - np.exp(-d * SHIFT**2 / 6))


def distance(key, n, d):
    """Between n data and 64 weighted points of N(SHIFT, I)."""
    key_x, key_u = jax.random.split(key)
    us = jax.random.normal(key_u, (64, d))
    found = weighted.weights(weighted.rbf(1.5, base="normal"), us)
    xs = jax.random.normal(key_x, (n, d))
    return weighted.mmd2(
        xs, us + SHIFT, found.weights, kernels.rbf(1.0), estimator="unbiased"
    )  # fmt: skip


def embedding_errors(name, m, repeats, seed):
    """Errors of plain, weighted and weighted even points, and `explained`: [repeats, 4]."""
    d, simulate, base = SIMULATORS[name]
    many = jax.vmap(simulate)(quasi_uniform(jax.random.key(1), 2048, d))
    own = jnp.mean(kernels.row_means(KERNEL, many, many))

    def error(ys, w):
        cross = w @ kernels.row_means(KERNEL, ys, many)
        return jnp.sqrt(jnp.maximum(own - 2 * cross + w @ kernels.gram(KERNEL, ys, ys) @ w, 0))

    def once(key):
        key_drawn, key_even = jax.random.split(key)
        found = []
        for us in (jax.random.uniform(key_drawn, (m, d)), quasi_uniform(key_even, m, d)):
            ys = jax.vmap(simulate)(us)
            found.append(error(ys, weighted.weights(base, us).weights))
            found.append(error(ys, jnp.full(m, 1 / m)))
            found.append(weighted.explained(base, us, ys, KERNEL))
        return jnp.stack([found[1], found[0], found[3], found[2]])

    keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), m), repeats)
    return np.asarray(jax.jit(lambda ks: jax.lax.map(once, ks))(keys))


def error_rows(smoke, seed):
    """Rows over simulators and numbers of points: embedding errors and their standard errors."""
    found = []
    repeats = 4 if smoke else 40
    for name in list(SIMULATORS)[: 1 if smoke else None]:
        for m in (8, 16) if smoke else (8, 16, 32, 64):
            values = embedding_errors(name, m, repeats, seed)
            plain, ours, even, trust = values.T
            guarded = np.where(trust > 0.95, ours, plain)
            row = {"simulator": name, "m": m}
            for label, numbers in (
                ("plain", plain),
                ("weighted", ours),
                ("weighted even", even),
                ("guarded", guarded),
            ):
                row[label] = numbers.mean()
                row[f"{label} error"] = numbers.std(ddof=1) / np.sqrt(repeats)
            row["explained"] = trust.mean()
            row["weighted is worse"] = float(np.mean(ours > plain))
            row["guarded is worse"] = float(np.mean(guarded > plain))
            found.append(row)
    return found


def _canvas(width, height):
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure


def error_figure(path, rows):
    """A panel a simulator: error against m, with two standard errors."""
    names = list(dict.fromkeys(row["simulator"] for row in rows))
    across = min(3, len(names))
    figure = _canvas(3.8 * across, 3.3 * -(-len(names) // across))
    for place, name in enumerate(names):
        axes = figure.add_subplot(-(-len(names) // across), across, place + 1)
        shown = [row for row in rows if row["simulator"] == name]
        m = np.array([row["m"] for row in shown])
        for label in ("plain", "weighted", "weighted even", "guarded"):
            bars = [2 * row[f"{label} error"] for row in shown]
            style = "k:" if label == "guarded" else ".-"
            axes.errorbar(m, [row[label] for row in shown], bars, fmt=style, label=label)
        axes.loglog(m, 0.5 * m**-0.5, color="0.7", linewidth=1)
        axes.set_xticks(m, [str(each) for each in m])
        axes.set_xticks([], minor=True)
        axes.set_title(name, fontsize=10)
        axes.set_xlabel("simulated points m")
        axes.grid(True, which="both", alpha=0.2)
    figure.axes[0].set_ylabel("distance to the simulator's law")
    figure.axes[0].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


THETA = 1.0


def bend(u):
    """The simulator's points before theta is added, [1] -> [1]."""
    return jnp.sin(4 * u) + u**2


def loss_of(key, m, optimal, data, even=False):
    """theta -> the distance [] from data to theta + bend(u), from m points."""
    us = quasi_uniform(key, m, 1) if even else jax.random.uniform(key, (m, 1))
    w = weighted.weights(weighted.matern(0.4), us).weights if optimal else jnp.full(m, 1 / m)
    points = jax.vmap(bend)(us)
    return lambda theta: weighted.mmd2(data, theta + points, w, kernels.rbf(1.0))


def minimiser(key, m, optimal, data):
    """The theta of least distance, by Newton's steps."""
    loss = loss_of(key, m, optimal, data)
    newton = lambda _, theta: theta - jax.grad(loss)(theta) / jax.hessian(loss)(theta)
    return jax.lax.fori_loop(0, 5, newton, jnp.asarray(0.9))


def accepted(key, m, optimal, data, proposals=200, kept=10):
    """The mean and spread [2] of the thetas whose simulations are nearest to the data."""
    key_theta, key_sim = jax.random.split(key)
    thetas = jax.random.uniform(key_theta, (proposals,), minval=-1.0, maxval=3.0)
    far = lambda i, theta: loss_of(jax.random.fold_in(key_sim, i), m, optimal, data)(theta)
    distances = jax.lax.map(lambda a: far(*a), (jnp.arange(proposals), thetas), batch_size=20)
    best = thetas[jax.lax.top_k(-distances, kept)[1]]
    return jnp.stack([jnp.mean(best), jnp.std(best)])


def recovery_rows(smoke, seed):
    """Rows over tasks, weights and m: root mean squared error of theta and its standard error."""
    data = THETA + jax.vmap(bend)((jnp.arange(100.0)[:, None] + 0.5) / 100)
    found = []
    for task, run, repeats in (("minimum distance", minimiser, 100), ("rejection", accepted, 20)):
        for optimal in (False, True):
            sizes = (8, 32, 128, 512) if task == "minimum distance" else (8, 32)
            for m in sizes[:1] if smoke else sizes:
                keys = jax.random.split(jax.random.key(seed + m), 2 if smoke else repeats)
                one = functools.partial(run, m=m, optimal=optimal, data=data)
                values = np.asarray(jax.jit(lambda ks, one=one: jax.lax.map(one, ks))(keys))
                centre = values[:, 0] if values.ndim == 2 else values
                squares = (centre - THETA) ** 2
                rmse = np.sqrt(squares.mean())
                found.append(
                    {
                        "task": task,
                        "weights": "weighted" if optimal else "plain",
                        "m": m,
                        "rmse": rmse,
                        "rmse error": squares.std(ddof=1) / np.sqrt(len(squares)) / (2 * rmse),
                        "accepted spread": values[:, 1].mean() if values.ndim == 2 else 0.0,
                    }
                )
    return found


def recovery_figure(path, rows):
    """Error of the parameter against m, a panel a task."""
    figure = _canvas(8.5, 3.6)
    for place, task in enumerate(dict.fromkeys(row["task"] for row in rows)):
        axes = figure.add_subplot(1, 2, place + 1)
        for label in ("plain", "weighted"):
            shown = [r for r in rows if (r["task"], r["weights"]) == (task, label)]
            bars = [2 * row["rmse error"] for row in shown]
            m = [row["m"] for row in shown]
            axes.errorbar(m, [row["rmse"] for row in shown], bars, fmt=".-", label=label)
            if shown[0]["accepted spread"]:
                spread = [row["accepted spread"] for row in shown]
                axes.plot(m, spread, ":", label=f"spread of accepted, {label}")
        axes.set_xscale("log")
        axes.set_yscale("log")
        sizes = sorted({row["m"] for row in rows if row["task"] == task})
        axes.set_xticks(sizes, [str(each) for each in sizes])
        axes.set_xticks([], minor=True)
        axes.set_title(task, fontsize=10)
        axes.set_xlabel("simulated points m")
        axes.grid(True, which="both", alpha=0.2)
        axes.legend(fontsize=8)
    figure.axes[0].set_ylabel("root mean squared error of theta")
    figure.tight_layout()
    figure.savefig(path, dpi=110)


ESTIMATORS = (
    Estimator(
        "metrics.weighted.mmd2",
        "N(0, I) against 64 weighted points of N(1/2, I), rbf of bandwidth 1",
        distance,
        truth,
        dims=(1, 2),
    ),
)
STUDIES = (
    Study(
        "weighted-errors",
        "Weighted points approach a smooth simulator's law faster than 1/sqrt(m); with too few "
        "points they can be worse than plain ones, which `explained` tells beforehand.",
        error_rows,
        error_figure,
    ),
    Study(
        "weighted-recovery",
        "With 32 weighted points a simulator's parameter is found better than with 512 plain ones.",
        recovery_rows,
        recovery_figure,
    ),
)
