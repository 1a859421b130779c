"""The picture of all estimators: error against sample size, a panel a room."""

import math

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


def errors(path, rows):
    """A panel a room: root mean squared error, relative where the truth is not 0, against n."""
    rooms = list(dict.fromkeys(row["room"] for row in rows))
    across = min(3, len(rooms))
    down = math.ceil(len(rooms) / across)
    figure = Figure(figsize=(5.2 * across, 4.0 * down))
    FigureCanvasAgg(figure)
    for place, room in enumerate(rooms):
        axes = figure.add_subplot(down, across, place + 1)
        shown = [row for row in rows if row["room"] == room]
        dims = sorted({row["d"] for row in shown})
        lines = list(dict.fromkeys((row["estimator"], row["case"]) for row in shown))
        for index, line in enumerate(lines):
            for d in dims:
                points = [r for r in shown if (r["estimator"], r["case"], r["d"]) == (*line, d)]
                if not points:
                    continue
                scale = abs(points[0]["truth"]) or 1
                axes.loglog(
                    [row["n"] for row in points],
                    [max(row["rmse"], 1e-17) / scale for row in points],
                    ".-" if d == dims[0] else ".--",
                    color=f"C{index % 10}",
                    linewidth=1,
                    label=line[0] if d == dims[0] else None,
                )
        axes.set_title(f"{room} (solid: lowest d)", fontsize=9)
        axes.set_xlabel("n", fontsize=8)
        axes.set_ylabel("error over truth", fontsize=8)
        axes.tick_params(which="both", labelsize=7)
        axes.grid(True, alpha=0.3)
        axes.legend(fontsize=5, ncols=2)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
