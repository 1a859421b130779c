"""The patterns, their posteriors by every method, and ABC as it keeps fewer."""

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from experiments.point_patterns import _problems

TITLES = {
    "whole": "all pairs interact: posterior known",
    "short": "pairs within the radius interact",
}


def draw(path, shown, falls):
    """A row a pattern: its points; marginal posteriors; ABC's means against what it keeps."""
    figure = Figure(figsize=(14, 3.4 * len(shown)))
    FigureCanvasAgg(figure)
    for index, (problem, found) in enumerate(shown):
        axes = [figure.add_subplot(len(shown), 4, 4 * index + i + 1) for i in range(4)]
        _points(axes[0], problem)
        for i, label in enumerate(("log beta", "gamma")):
            _marginal(axes[1 + i], problem, found, i, label)
        _falls(axes[3], problem, found, [f for f in falls if f["pattern"] == problem.name])
        axes[0].set_title(TITLES[problem.name], fontsize=9)
        axes[2].legend(fontsize=7, loc="upper left")
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def _points(axes, problem):
    x = np.asarray(problem.pattern.points)[np.asarray(problem.pattern.mask)]
    axes.plot(*x.T, ".", color="0.2")
    if problem.radius < 1:
        angle = np.linspace(0, 2 * np.pi, 60)
        for a, b in x:
            half = problem.radius / 2  # circles overlap where pairs are close
            axes.plot(a + half * np.cos(angle), b + half * np.sin(angle), color="C0", lw=0.5)
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xticks=(), yticks=())


def _marginal(axes, problem, found, i, label):
    low, high = _problems.LOW[i], _problems.HIGH[i]
    edges = np.linspace(low, high, 26)
    for place, (name, x) in enumerate(found.items()):
        density, _ = np.histogram(x[..., i].ravel(), edges, density=True)
        axes.stairs(density, edges, color=f"C{place}", label=name)
    if problem.weights is not None:
        cells = problem.weights.sum(1 - i)
        middle = low + (high - low) * (np.arange(len(cells)) + 0.5) / len(cells)
        axes.plot(middle, cells * len(cells) / (high - low), color="k", lw=1.2, label="by sums")
    axes.set_xlabel(label)
    axes.set_yticks(())


def _falls(axes, problem, found, falls):
    kept = [f["kept"] for f in falls]
    for i, label in enumerate(("log beta", "gamma")):
        best = problem.truth[0][i] if problem.truth else found["exchange"][..., i].mean()
        values = [f[label] - best for f in falls]
        errors = [2 * f[f"{label} error"] for f in falls]
        axes.errorbar(kept, values, errors, fmt="o-", capsize=3, label=label, markersize=4)
    axes.axhline(0, color="0.7", lw=1)
    axes.set_xscale("log")
    axes.set_xticks(kept, [f"{part:.1%}" for part in kept])
    axes.minorticks_off()
    axes.set_xlabel("part of the simulations that ABC keeps")
    axes.set_ylabel("posterior mean less " + ("truth" if problem.truth else "exchange"), fontsize=8)
    axes.legend(fontsize=8)
