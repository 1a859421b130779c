"""Pictures of the comparison."""

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, ScalarFormatter

MARKERS = "osD^v<>PX*"
LEAST = 5e-3


def _panels(path, titles, draw, width=4.6, height=3.8):
    figure = Figure(figsize=(max(width * len(titles), 8.0), height), layout="constrained")
    FigureCanvasAgg(figure)
    handles = {}
    for index, title in enumerate(titles):
        axes = figure.add_subplot(1, len(titles), index + 1)
        axes.set_title(title, fontsize=10)
        handles |= draw(axes, title)
        axes.tick_params(labelsize=7)
        axes.grid(True, which="major", alpha=0.3)
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=5, fontsize=8)
    figure.savefig(path, dpi=110)


def _line(axes, position, points, plot="loglog"):
    return getattr(axes, plot)(
        *zip(*points, strict=True),
        marker=MARKERS[position % len(MARKERS)],
        color=f"C{position % 10}",
        markersize=4,
        linewidth=1,
    )[0]


def _evaluations(axes, budgets):
    """Plain ticks at the budgets."""
    axes.set_xticks(budgets)
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("network evaluations", fontsize=8)


def training(path, rows):
    """The denoiser's relative error against training steps, one panel a law."""
    names = list(dict.fromkeys(row["process"] for row in rows))

    def draw(axes, law):
        axes.set_xlabel("training steps", fontsize=8)
        axes.set_ylabel("denoising error at equal noise levels", fontsize=8)
        return {
            name: _line(
                axes,
                i,
                [
                    (row["step"], row["relative error"])
                    for row in rows
                    if row["data"] == law and row["process"] == name
                ],
                "semilogx",
            )
            for i, name in enumerate(names)
        }

    _panels(path, list(dict.fromkeys(row["data"] for row in rows)), draw)


def sampling(path, rows, floors):
    """Energy distance against evaluations, the best method of each: own networks and one network.

    One panel for each law and kind; the dotted line is what as many true points reach, and what is
    below LEAST is drawn there: the estimate is unbiased, and may be 0.
    """
    names = list(dict.fromkeys(row["process"] for row in rows))
    budgets = sorted({row["evaluations"] for row in rows})
    panels = {f"{row['data']}: {row['network']}": (row["data"], row["network"]) for row in rows}

    def draw(axes, title):
        law, network = panels[title]
        axes.axhline(floors[law], color="0.4", linestyle=":", linewidth=1)
        lines = {}
        for i, name in enumerate(names):
            points = [
                (budget, max(best(rows, law, network, name, budget)["distance"], LEAST))
                for budget in budgets
            ]
            lines[name] = _line(axes, i, points)
        _evaluations(axes, budgets)
        axes.set_ylabel("energy distance to held-out data", fontsize=8)
        return lines

    _panels(path, list(panels), draw)


def best(rows, law, network, process, budget):
    """The row of the method with the least distance."""
    found = [
        row
        for row in rows
        if (row["data"], row["network"], row["process"], row["evaluations"])
        == (law, network, process, budget)
    ]
    return min(found, key=lambda row: row["distance"])


def mixing(path, rows):
    """KL to the stationary law against time, one panel a scaling."""
    names = list(dict.fromkeys(row["process"] for row in rows))

    def draw(axes, scaling):
        lines = {}
        for i, name in enumerate(names):
            points = [
                (row["time"], row["KL"])
                for row in rows
                if row["process"] == name and row["scaling"] == scaling and row["KL"] > 1e-9
            ]
            (lines[name],) = axes.semilogy(*zip(*points, strict=True), color=f"C{i}", linewidth=1.2)
        axes.set_xlim(0, 40)
        axes.set_xlabel(f"time, A scaled to {scaling}", fontsize=8)
        axes.set_ylabel("KL(z_t | stationary), nats", fontsize=8)
        return lines

    _panels(path, list(dict.fromkeys(row["scaling"] for row in rows)), draw)


def images(path, rows):
    """Fréchet distance of one image model against evaluations, under every process."""
    names = list(dict.fromkeys(row["process"] for row in rows))
    budgets = sorted({row["evaluations"] for row in rows})

    def draw(axes, _):
        lines = {}
        for i, name in enumerate(names):
            points = [
                (row["evaluations"], row["distance"]) for row in rows if row["process"] == name
            ]
            lines[name] = _line(axes, i, sorted(points))
        axes.set_ylim(top=5 * min(row["distance"] for row in rows))  # what has diverged is cut off
        _evaluations(axes, budgets)
        axes.set_ylabel("distance to the network's own solution", fontsize=8)
        return lines

    _panels(path, ["one image network under every process"], draw, width=6.5, height=4.6)
