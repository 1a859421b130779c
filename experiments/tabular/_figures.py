"""Pictures of the table, and of the circle."""

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


def table(path, rows):
    """One panel a set: how far each model is above the mixture, with two standard errors."""
    names = list(dict.fromkeys(row["set"] for row in rows))
    figure = Figure(figsize=(3.2 * len(names) + 1.6, 3.6))
    FigureCanvasAgg(figure)
    for index, name in enumerate(names):
        shown = [row for row in rows if row["set"] == name][::-1]
        axes = figure.add_subplot(1, len(names), index + 1)
        for place, row in enumerate(shown):
            learned = row["model"] not in ("normal", "mixture", "kernels")
            axes.errorbar(
                row["above"],
                place,
                xerr=2 * row["above error"],
                fmt="o",
                markersize=4,
                capsize=2,
                color="C0" if learned else "0.4",
            )
        axes.axvline(0, color="0.7", linewidth=1)
        axes.set_yticks(range(len(shown)), [row["model"] for row in shown] if not index else [])
        axes.set_title(f"{name}, {shown[0]['rows']} rows", fontsize=9)
        axes.set_xlabel("nats per row above the mixture", fontsize=8)
        axes.tick_params(labelsize=8)
        axes.grid(True, axis="x", alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def circle(path, data, samples, rows):
    """Samples of every flow on the circle, and likelihood and distance against training steps."""
    names = list(samples)
    figure = Figure(figsize=(3 * (len(names) + 1), 6.2))
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(2, 3 * (len(names) + 1))
    for index, (name, points) in enumerate([("data", data), *samples.items()]):
        axes = figure.add_subplot(grid[0, 3 * index : 3 * index + 3])
        axes.plot(*points.T, ".", markersize=1.5, color=f"C{index - 1}" if index else "0.3")
        axes.set(xlim=(-1.8, 1.8), ylim=(-1.8, 1.8), aspect="equal")
        axes.set_title(name, fontsize=9)
        axes.tick_params(labelsize=7)
    panels = [
        ("nats", "log-likelihood of data, nats", "linear"),
        ("off", "mean distance of samples from the circle", "log"),
        ("mmd2", "squared MMD to new data", "log"),
    ]
    wide = len(names) + 1
    for index, (column, label, scale) in enumerate(panels):
        axes = figure.add_subplot(grid[1, wide * index : wide * (index + 1)])
        for place, name in enumerate(names):
            shown = [row for row in rows if row["flow"] == name]
            steps = [row["step"] for row in shown]
            axes.plot(
                steps,
                [max(row[column], 1e-5) if scale == "log" else row[column] for row in shown],
                ".-",
                color=f"C{place}",
                label=name,
            )
        axes.set_yscale(scale)
        axes.set_xlabel("training steps", fontsize=8)
        axes.set_ylabel(label, fontsize=8)
        axes.tick_params(which="both", labelsize=7)
        axes.grid(True, alpha=0.3)
    axes.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
