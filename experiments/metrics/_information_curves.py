"""Critics' bounds at the optimum, regimes of kernel densities, and the scale of a layer."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from experiments.metrics._information_laws import log_ratio, pairs
from jaxgen.metrics import information

# Critics: every bound at the optimal critic, over batches.

BOUNDS = {
    "InfoNCE": information.infonce,
    "NWJ": lambda scores: information.nwj(scores + 1),
    "Donsker-Varadhan": information.donsker_varadhan,
    "SMILE, clip 1": functools.partial(information.smile, clip=1.0),
    "SMILE, clip 5": information.smile,
}


def _reconstruction(key, n, r):
    xs, ys = pairs(key, n, 1, r)
    log_q = information.gaussian_reconstruction(ys, r * xs, jnp.sqrt(1 - r**2))
    return information.entropy_reconstruction(ys, log_q, k=3).value


def bounds_rows(smoke, seed):
    """A row for every bound and true information: mean, spread and error over batches."""
    n, batches = (32, 8) if smoke else (128, 200)
    totals = (0.5, 1.0) if smoke else (0.25, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0)
    keys = jax.random.split(jax.random.key(seed), batches)
    runs = {
        name: lambda key, r, fn=fn: fn(log_ratio(*pairs(key, n, 1, r), r)).value
        for name, fn in BOUNDS.items()
    }
    runs["entropy and reconstruction"] = lambda key, r: _reconstruction(key, n, r)
    found = []
    for name, run in runs.items():
        many = jax.jit(jax.vmap(run, (0, None)))
        for total in totals:
            with jax.debug_key_reuse(False):
                values = np.asarray(many(keys, math.sqrt(1 - math.exp(-2 * total))))
            found.append(
                {
                    "bound": name,
                    "n": n,
                    "true nats": total,
                    "nats": float(values.mean()),
                    "standard error": float(values.std(ddof=1) / math.sqrt(batches)),
                    "spread": float(values.std(ddof=1)),
                }
            )
    return found


def bounds_figure(path, rows):
    """Every bound's mean over batches against the truth, and its spread."""
    figure = Figure(figsize=(10.5, 4.2))
    FigureCanvasAgg(figure)
    left, right = figure.add_subplot(1, 2, 1), figure.add_subplot(1, 2, 2)
    most, n = max(row["true nats"] for row in rows), rows[0]["n"]
    left.plot([0, most], [0, most], "k--", linewidth=0.8, label="truth")
    left.axhline(math.log(n), color="grey", linestyle=":", label=f"log {n}")
    for name in dict.fromkeys(row["bound"] for row in rows):
        line = [row for row in rows if row["bound"] == name]
        truth = [row["true nats"] for row in line]
        left.errorbar(
            truth,
            [row["nats"] for row in line],
            [5 * row["standard error"] for row in line],
            marker=".",
            linewidth=1,
            capsize=2,
            label=name,
        )
        right.semilogy(truth, [row["spread"] for row in line], ".-", linewidth=1, label=name)
    left.set_ylim(-0.5, most + 0.5)
    left.set_ylabel("mean over batches (bars: 5 s.e.), nats")
    right.set_ylabel("spread of one batch, nats")
    for axes in (left, right):
        axes.set_xlabel("true information, nats")
        axes.grid(True, alpha=0.3)
    left.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=120)


# Kernel densities in many dimensions.


def regimes_rows(smoke, seed):
    """A row for every dimension and bandwidth: likelihood and participation at new points."""
    sizes = ((10, 300),) if smoke else ((16, 1339), (20, 8103), (30, 4447))
    found = []
    for d, n in sizes:
        key_data, key_new = jax.random.split(jax.random.fold_in(jax.random.key(seed), d))
        data = jax.random.normal(key_data, (n, d))
        new = jax.random.normal(key_new, (50 if smoke else 400, d))
        regimes = information.kde_regimes(math.log(n) / d)
        marks = [float(h) for h in regimes]
        grid = np.linspace(0.4, 1.6, 4 if smoke else 25)
        likely = jax.jit(information.kde_logdensity)
        share = jax.jit(information.participation_ratio)
        for h in sorted([*grid, *marks]):
            found.append(
                {
                    "d": d,
                    "n": n,
                    "bandwidth": float(h),
                    "mark": dict(zip(marks, ("h_G", "h_CLT", "best"), strict=True)).get(h, ""),
                    "tail index": float((h / marks[0]) ** 2),
                    "negative log-density": float(-jnp.mean(likely(new, data, h))),
                    "participation": float(jnp.mean(share(new, data, h))),
                }
            )
    return found


def regimes_figure(path, rows):
    """Negative log-density and participation ratio against the bandwidth, a column a dimension."""
    dims = list(dict.fromkeys(row["d"] for row in rows))
    figure = Figure(figsize=(3.6 * len(dims), 5.6))
    FigureCanvasAgg(figure)
    for place, d in enumerate(dims):
        shown = [row for row in rows if row["d"] == d]
        hs = [row["bandwidth"] for row in shown]
        best = min(row["negative log-density"] for row in shown)
        for line, field in enumerate(("negative log-density", "participation")):
            axes = figure.add_subplot(2, len(dims), place + 1 + line * len(dims))
            axes.plot(hs, [row[field] for row in shown], ".-", linewidth=1)
            for row in shown:
                if row["mark"]:
                    colour = {"h_G": "C3", "h_CLT": "C2", "best": "C1"}[row["mark"]]
                    axes.axvline(row["bandwidth"], color=colour, linewidth=1, label=row["mark"])
            if line == 0:
                axes.set_ylim(best - 0.5, best + 12)
                axes.set_title(f"d = {d}, n = {shown[0]['n']}", fontsize=9)
            axes.set_xlabel("bandwidth", fontsize=8)
            axes.set_ylabel(field, fontsize=8)
            axes.grid(True, alpha=0.3)
            if place == 0 and line == 0:
                axes.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=120)


# A layer and its scale.


def layers_rows(smoke, seed):
    """A row for every scale of a layer: its information by bins and kernels, adapted or fixed."""
    n = 60 if smoke else 500
    key_x, key_w = jax.random.split(jax.random.key(seed))
    layer = jnp.tanh(jax.random.normal(key_x, (n, 4)) @ jax.random.normal(key_w, (4, 3)))
    kde = jax.jit(information.mi_layer_kde)
    found = []
    for scale in (0.0, 1e-3, 1e-2, 0.1, 1.0, 10.0):
        ts = scale * layer
        fixed = jnp.floor(jnp.clip((ts + 1) / 2, 0, 1) * 30)
        # Fixed noise: the width of the kernel that suits scale 1.
        reach = float(jnp.max(jnp.abs(ts - jnp.mean(ts, axis=0, keepdims=True))))
        width = 0.05 * float(jnp.max(jnp.abs(layer))) / reach if reach else 1e9
        adapted, rigid = kde(ts), kde(ts, width=width)
        found.append(
            {
                "scale": scale,
                "log n": math.log(n),
                "adaptive bins": float(information.mi_layer_binned(ts).value),
                "fixed bins": float(information.entropy_discrete(fixed).value),
                "adaptive kernels, lower": float(adapted.lower),
                "adaptive kernels, upper": float(adapted.upper),
                "fixed kernels, upper": float(rigid.upper),
            }
        )
    return found


def layers_figure(path, rows):
    """Information against the layer's scale; the constant layer is in the table only."""
    figure = Figure(figsize=(6.2, 4.0))
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(1, 1, 1)
    shown = [row for row in rows if row["scale"] > 0]
    for name in list(rows[0])[2:]:
        axes.semilogx(
            [row["scale"] for row in shown],
            [row[name] for row in shown],
            "--" if name.startswith("fixed") else "-",
            marker=".",
            label=name,
        )
    axes.axhline(rows[0]["log n"], color="grey", linestyle=":", label="log n")
    axes.set_xlabel("scale of the layer")
    axes.set_ylabel("information about the input, nats")
    axes.grid(True, alpha=0.3)
    axes.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
