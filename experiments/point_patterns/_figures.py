"""Patterns, their posteriors by every method, ABC as it keeps fewer, and models against data."""

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from experiments.point_patterns import _real

TITLES = {
    "whole": "all pairs interact: posterior known",
    "short": "pairs within the radius interact",
    **_real.TITLES,
}
LABELS = ("log beta", "gamma")


def draw(path, shown, falls):
    """A row a pattern: its points; marginal posteriors; ABC's means against what it keeps."""
    figure = Figure(figsize=(14, 3.4 * len(shown)))
    FigureCanvasAgg(figure)
    for index, (problem, found) in enumerate(shown):
        axes = [figure.add_subplot(len(shown), 4, 4 * index + i + 1) for i in range(4)]
        _row(axes, problem, found, falls)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def draw_real(path, problem, found, falls, tests, radii):
    """The row of `draw`; for each model L and G of the real pattern in the model's band; a pattern
    of the last two models.
    """
    figure = Figure(figsize=(14, 9.6))
    FigureCanvasAgg(figure)
    _row([figure.add_subplot(3, 4, i + 1) for i in range(4)], problem, found, falls)
    for column, (model, note, curves, _) in enumerate(tests):
        for line, (name, (p, real, low, high)) in enumerate(curves.items()):
            axes = figure.add_subplot(3, 4, 5 + 4 * line + column)
            middle = (low + high) / 2
            axes.fill_between(radii, low - middle, high - middle, color="0.85", label="95 % band")
            axes.plot(radii, real - middle, color="C3", lw=1.5, label="real pattern")
            axes.axvline(problem.radius, color="0.5", lw=0.8, ls=":")
            axes.set_title(f"{model}: p = {p:.4f}\n({note})", fontsize=8)
            axes.set_xlabel("distance r")
            axes.set_ylabel(f"{name}(r) less the model's", fontsize=8)
            if line == column == 0:
                axes.legend(fontsize=8)
    for line, (model, _, _, drawn) in enumerate(tests[-2:]):
        axes = figure.add_subplot(3, 4, 8 + 4 * line)
        _circles(axes, problem, drawn)
        axes.set_title(f"{model}: a simulated pattern", fontsize=9)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def _row(axes, problem, found, falls):
    _points(axes[0], problem)
    for i in range(2):
        _marginal(axes[1 + i], problem, found, i)
    _falls(axes[3], problem, found[0], [f for f in falls if f["pattern"] == problem.name])
    axes[0].set_title(TITLES[problem.name], fontsize=9)
    axes[2].legend(fontsize=7)


def _points(axes, problem):
    _circles(axes, problem, np.asarray(problem.pattern.points)[np.asarray(problem.pattern.mask)])


def _circles(axes, problem, x):
    axes.plot(*x.T, ".", color="0.2", markersize=6 if len(x) < 100 else 3)
    if problem.radius < 1:
        angle = np.linspace(0, 2 * np.pi, 60)
        for a, b in x:
            half = problem.radius / 2  # circles overlap where pairs are close
            axes.plot(a + half * np.cos(angle), b + half * np.sin(angle), color="C0", lw=0.5)
    top = float(problem.window.high[1])
    axes.set(xlim=(0, 1), ylim=(0, top), aspect="equal", xticks=(), yticks=())


def _marginal(axes, problem, found, i):
    flat = [each.thetas[..., i].ravel() for each in found]
    low, high = problem.low[i], problem.high[i]
    if problem.weights is None:  # as much of the prior's range as is used
        used = np.concatenate([np.quantile(x, (0.002, 0.998)) for x in flat])
        low, high = max(low, used.min()), min(high, used.max())
    edges = np.linspace(low, high, 26)
    for place, (each, x) in enumerate(zip(found, flat, strict=True)):
        density, _ = np.histogram(x, edges, density=True, weights=each.weights)
        axes.stairs(density, edges, color=f"C{place}", label=each.method)
    if problem.weights is not None:
        cells = problem.weights.sum(1 - i)
        middle = low + (high - low) * (np.arange(len(cells)) + 0.5) / len(cells)
        axes.plot(middle, cells * len(cells) / (high - low), color="k", lw=1.2, label="by sums")
    axes.set_xlabel(LABELS[i])
    axes.set_yticks(())


def _falls(axes, problem, exchange, falls):
    kept = [f["kept"] for f in falls]
    for i, label in enumerate(LABELS):
        best = problem.truth[0][i] if problem.truth else exchange.thetas[..., i].mean()
        values = [f[label] - best for f in falls]
        errors = [2 * f[f"{label} error"] for f in falls]
        axes.errorbar(kept, values, errors, fmt="o-", capsize=3, label=label, markersize=4)
    axes.axhline(0, color="0.7", lw=1)
    axes.set_xscale("log")
    axes.set_xticks(kept, [f"{part:.1%}" for part in kept])
    axes.minorticks_off()
    axes.set_xlabel("part that ABC by rejection keeps")
    axes.set_ylabel("posterior mean less " + ("truth" if problem.truth else "exchange"), fontsize=8)
    axes.legend(fontsize=8)
