"""The pictures."""

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from experiments.unnormalised._samplers import SHARE


def histograms(path, kept):
    """First coordinates of each sampler's draws, one row a dimension; kept[d][name] = (x, w)."""
    dims, names = list(kept), list(next(iter(kept.values())))
    figure, axes = plt.subplots(
        len(dims), len(names), figsize=(1.9 * len(names), 2.0 * len(dims)), squeeze=False
    )
    grid = np.linspace(-8, 8, 200)
    normal = lambda m: np.exp(-((grid - m) ** 2) / 2) / np.sqrt(2 * np.pi)
    truth = (1 - SHARE) * normal(-4) + SHARE * normal(4)
    for row, d in zip(axes, dims, strict=True):
        for axis, name in zip(row, names, strict=True):
            x, weights = kept[d][name]
            axis.hist(x, bins=np.linspace(-8, 8, 33), weights=weights * 2, color="0.75")
            axis.plot(grid, truth, color="C3", linewidth=1)
            axis.set_title(f"{name}, d = {d}", fontsize=7)
            axis.set_ylim(0, 0.5)
            axis.tick_params(labelsize=6)
            axis.set_yticks([])
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    plt.close(figure)


def dimensions(path, rows):
    """Effective draws of a score estimate against the dimension."""
    figure, axis = plt.subplots(figsize=(5, 3.2))
    for name in dict.fromkeys(row["guess"] for row in rows):
        mine = [row for row in rows if row["guess"] == name]
        axis.plot([r["d"] for r in mine], [r["effective"] for r in mine], "o-", label=name)
    axis.axhline(1, color="0.6", linewidth=0.8)
    axis.set_yscale("log")
    axis.set_xlabel("dimension")
    axis.set_ylabel(f"effective draws of {rows[0]['draws']}, at t = 3")
    axis.legend(title="proposals", fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    plt.close(figure)
