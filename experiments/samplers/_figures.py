"""Pictures of errors against evaluations."""

import math

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, ScalarFormatter

MARKERS = "osD^v<>PX*"


def errors(path, rows):
    """One panel a problem: every sampler on its best grid."""
    problems = list(dict.fromkeys(row["problem"] for row in rows))
    names = list(dict.fromkeys(row["sampler"] for row in rows))
    _panels(path, rows, "problem", problems, names, "evaluations, each sampler on its best grid")


def orders(path, rows):
    """One panel a process: every sampler on the log-SNR grid."""
    processes = list(dict.fromkeys(row["process"] for row in rows))
    names = list(dict.fromkeys(row["sampler"] for row in rows))
    _panels(path, rows, "process", processes, names, "evaluations, log-SNR grid")


def _panels(path, rows, by, panels, names, xlabel):
    columns = min(3, len(panels))
    lines = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(5 * columns, 4 * lines + 0.02 * 20 * math.ceil(len(names) / 5) + 0.6))
    FigureCanvasAgg(figure)
    handles = {}
    for index, panel in enumerate(panels):
        axes = figure.add_subplot(lines, columns, index + 1)
        for position, name in enumerate(names):
            points = [
                (row["evaluations"], row["error"])
                for row in rows
                if row[by] == panel and row["sampler"] == name
            ]
            if points:
                handles[name] = axes.loglog(
                    *zip(*sorted(points), strict=True),
                    marker=MARKERS[position % len(MARKERS)],
                    color=f"C{position % 10}",
                    linestyle="-" if position < 10 else "--" if position < 20 else ":",
                    markersize=4,
                    linewidth=1,
                )[0]
        counts = sorted({row["evaluations"] for row in rows if row[by] == panel})
        axes.set_xticks([n for n in (5, 10, 20, 50, 64, 128, 256, 512) if n in counts])
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.xaxis.set_minor_formatter(NullFormatter())
        least = min(row["error"] for row in rows if row[by] == panel)
        axes.set_ylim(least / 3, min(axes.get_ylim()[1], 1e6 * least))
        axes.set_title(panel, fontsize=10)
        axes.set_xlabel(xlabel, fontsize=8)
        axes.set_ylabel("mean distance to the solution", fontsize=8)
        axes.tick_params(labelsize=7)
        axes.grid(True, which="major", alpha=0.3)
    figure.legend(
        handles.values(), handles.keys(), loc="lower center", ncol=min(5, len(names)), fontsize=8
    )
    bottom = (0.25 * math.ceil(len(names) / 5) + 0.1) / figure.get_size_inches()[1]
    figure.tight_layout(rect=(0, bottom, 1, 1))
    figure.savefig(path, dpi=100)
