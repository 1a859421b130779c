"""The pictures of the image experiment: sample grids and curves, written as PNG.

Drawn without a display. Colours are those of Okabe and Ito 2008, told apart under the common colour
deficiencies; lines also differ in marker.
"""

import itertools
import math
import os
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DPI = 160
TILE = 0.42  # inches a tile
GREY = "#555555"


def _figure(width, height):
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def _write(figure, path) -> str:
    """The path, after the figure lies there whole or not at all."""
    path = os.fspath(path)
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    partial = f"{path}.{os.getpid()}.partial"
    try:
        figure.savefig(partial, format="png")
        os.replace(partial, path)
    finally:
        if os.path.exists(partial):
            os.remove(partial)
    return path


def _shown(images) -> np.ndarray:
    """Images [k, H, W, C] in [-1, 1] (or uint8) as [k, H, W] or [k, H, W, 3] in [0, 1].

    A value that is not finite is shown in mid-grey rather than hidden.
    """
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise ValueError(f"pictures: images must be [k, H, W, 1 or 3]; got {images.shape}")
    if images.dtype == np.uint8:
        unit = images / 255.0
    else:
        unit = np.clip((np.nan_to_num(images.astype(np.float64), nan=0.0) + 1) / 2, 0, 1)
    return unit[..., 0] if images.shape[-1] == 1 else unit


def _mosaic(images, rows, columns) -> np.ndarray:
    """Images laid out in rows, with a hairline of light grey between them."""
    shown = _shown(images)
    k, height, width = shown.shape[:3]
    line = max(1, height // 14)
    size = (rows * (height + line) - line, columns * (width + line) - line)
    canvas = np.full(size + shown.shape[3:], 0.85)
    for i in range(min(k, rows * columns)):
        top, left = (i // columns) * (height + line), (i % columns) * (width + line)
        canvas[top : top + height, left : left + width] = shown[i]
    return canvas


def _place(figure, canvas, left, top, width, height):
    """Axes without frame holding a mosaic; inches from the top left corner of the figure."""
    whole_width, whole_height = figure.get_size_inches()
    box = (left / whole_width, 1 - (top + height) / whole_height)
    axes = figure.add_axes((*box, width / whole_width, height / whole_height))
    axes.imshow(canvas, cmap="gray", vmin=0, vmax=1, interpolation="nearest", aspect="auto")
    axes.set_axis_off()
    return axes


def _text(figure, words, left, top, **options):
    """Text at inches from the top left corner."""
    width, height = figure.get_size_inches()
    options = {"fontsize": 9, "ha": "left", "va": "center"} | options
    figure.text(left / width, 1 - top / height, words, **options)


def _block_size(images, columns):
    """Inches (width, height) of a block of images, `columns` across."""
    height, width = np.shape(images)[1:3]
    return columns * TILE * width / max(height, width), TILE * height / max(height, width)


def grid_of_rows(
    path: str | os.PathLike,
    rows: Mapping[str, Mapping[str, tuple[np.ndarray, int]]],
    *,
    title: str = "",
    note: str = "",
) -> str:
    """A picture with one row a sampler and one block a budget of evaluations; its path.

    Args:
        path: where to write the PNG.
        rows: label -> {budget: (images [k, H, W, C], evaluations)}; `evaluations` is the true count
            spent on one image, printed above its block. A missing budget leaves a gap.
        title: above the picture.
        note: one line below it.
    """
    budgets = list(dict.fromkeys(budget for row in rows.values() for budget in row))
    first = next(iter(next(iter(rows.values())).values()))[0]
    across = max(len(images) for row in rows.values() for images, _ in row.values())
    block, tile = _block_size(first, across)
    left = 0.35 + 0.078 * max(map(len, rows))
    gap, head, step = 0.18, 0.72 if title else 0.42, tile + 0.24
    width = left + len(budgets) * (block + gap)
    figure = _figure(width, head + len(rows) * step + (0.36 if note else 0.12))
    _text(figure, title, 0.15, 0.2, fontsize=11, fontweight="bold")
    for j, budget in enumerate(budgets):
        _text(figure, budget, left + j * (block + gap), head - 0.17, fontweight="bold")
    for i, (label, row) in enumerate(rows.items()):
        top = head + i * step + 0.17
        _text(figure, label, 0.15, top + tile / 2)
        for j, budget in enumerate(budgets):
            if budget not in row:
                continue
            images, count = row[budget]
            x = left + j * (block + gap)
            share = block * len(images) / across
            _place(figure, _mosaic(images, 1, len(images)), x, top, share, tile)
            words = f"{count} evaluation{'' if count == 1 else 's'}"
            _text(figure, words, x, top - 0.075, fontsize=6.5, color=GREY)
    if note:
        _text(figure, note, 0.15, head + len(rows) * step + 0.18, fontsize=7.5, color=GREY)
    return _write(figure, path)


def guidance_picture(
    path: str | os.PathLike,
    rows: Mapping[float, np.ndarray],
    classes: Sequence[str],
    *,
    title: str = "",
    note: str = "",
) -> str:
    """A picture with one row a guidance weight and one column a class; its path.

    Args:
        path: where to write the PNG.
        rows: weight -> images [k, r, H, W, C] for k classes, r (at least 1) under one another.
        classes: the names of the k classes, above the columns.
        title: above the picture.
        note: one line below it.
    """
    shape = np.shape(next(iter(rows.values())))
    if len(shape) != 5 or shape[0] != len(classes):
        raise ValueError(
            f"guidance_picture: images must be [{len(classes)} classes, r, H, W, C]; got {shape}"
        )
    number, repeats = shape[:2]
    block, tile = _block_size(np.zeros(shape[1:]), number)
    left, head, step = 1.0, 0.72 if title else 0.42, repeats * tile + 0.14
    bottom = head + len(rows) * step
    width = max(left + block + 0.2, 0.3 + 0.09 * len(title), 0.3 + 0.055 * len(note))
    figure = _figure(width, bottom + (0.3 if note else 0.05))
    _text(figure, title, 0.15, 0.2, fontsize=11, fontweight="bold")
    _text(figure, "class", 0.15, head - 0.13, color=GREY, fontsize=8)
    for j, name in enumerate(classes):
        _text(figure, str(name), left + (j + 0.5) * block / number, head - 0.13, ha="center")
    for i, (weight, images) in enumerate(rows.items()):
        top, ordered = head + i * step, np.swapaxes(np.asarray(images), 0, 1)
        _text(figure, f"weight {weight:g}", 0.15, top + repeats * tile / 2)
        canvas = _mosaic(ordered.reshape(-1, *shape[2:]), repeats, number)
        _place(figure, canvas, left, top, block, repeats * tile)
    if note:
        _text(figure, note, 0.15, bottom + 0.12, fontsize=7.5, color=GREY)
    return _write(figure, path)


def nearest_picture(
    path: str | os.PathLike,
    samples: np.ndarray,
    neighbours: np.ndarray,
    distances: np.ndarray,
    *,
    title: str = "",
    note: str = "",
    columns: int = 12,
) -> str:
    """A picture of samples with the nearest training image under each, and its distance; its path.

    Args:
        path: where to write the PNG.
        samples: [k, H, W, C].
        neighbours: the nearest training images, [k, H, W, C].
        distances: Euclidean, [k], printed under each pair.
        title: above the picture.
        note: one line below it.
        columns: pairs in a row.
    """
    number, columns = len(samples), min(columns, len(samples))
    block, tile = _block_size(samples, 1)
    left, head, step = 0.95, 0.5 if title else 0.15, 2 * tile + 0.36
    lines = math.ceil(number / columns)
    across = left + columns * (block + 0.1) + 0.1
    width = max(across, 0.3 + 0.09 * len(title), 0.3 + 0.055 * len(note))
    figure = _figure(width, head + lines * step + (0.24 if note else 0))
    _text(figure, title, 0.15, 0.2, fontsize=11, fontweight="bold")
    for i in range(number):
        top, x = head + (i // columns) * step, left + (i % columns) * (block + 0.1)
        pair = np.stack([np.asarray(samples[i]), np.asarray(neighbours[i])])
        _place(figure, _mosaic(pair, 2, 1), x, top, block, 2 * tile)
        words = f"{float(distances[i]):.2f}"
        _text(figure, words, x + block / 2, top + 2 * tile + 0.1, ha="center", fontsize=7)
    for line in range(lines):
        top = head + line * step
        _text(figure, "sample", 0.15, top + tile / 2)
        _text(figure, "nearest", 0.15, top + 1.5 * tile)
        _text(figure, "distance", 0.15, top + 2 * tile + 0.1, fontsize=7, color=GREY)
    if note:
        _text(figure, note, 0.15, head + lines * step + 0.06, fontsize=7.5, color=GREY)
    return _write(figure, path)


def _plain_ticks(axis, low, high):
    """Numbers instead of powers of ten on a log axis of less than two decades or so."""
    if low > 0 and high / low < 300:
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_major_formatter(ScalarFormatter())
        axis.set_minor_formatter(NullFormatter())


def _span(values):
    flat = np.concatenate([np.ravel(np.asarray(v, float)) for v in values])
    flat = flat[np.isfinite(flat) & (flat > 0)]
    return (flat.min(), flat.max()) if flat.size else (1.0, 1.0)


def curves(
    path: str | os.PathLike,
    lines: Mapping[str, tuple[np.ndarray, np.ndarray]],
    *,
    xlabel: str,
    ylabel: str,
    title: str = "",
    log_x: bool = False,
    log_y: bool = False,
    markers: bool = False,
    level: tuple[str, float] | None = None,
    bands: Mapping[str, np.ndarray] | None = None,
    xticks: Sequence[float] | None = None,
    faint: Sequence[str] = (),
) -> str:
    """A picture of curves; its path.

    Args:
        path: where to write the PNG.
        lines: label -> (x [n], y [n]). A point that is not finite breaks its line.
        xlabel: with the unit.
        ylabel: with the unit.
        title: above the picture.
        log_x: logarithmic axis.
        log_y: logarithmic axis.
        markers: mark every point.
        level: (label, y), drawn as a dashed line across.
        bands: label -> half-width [n] of a band around that curve, such as a standard error.
        xticks: where to print numbers along x.
        faint: labels of curves drawn thin and pale, behind the others.
    """
    figure = _figure(6.4, 4.2)
    axes = figure.add_axes((0.12, 0.13, 0.84, 0.77))
    styles = zip(itertools.cycle(COLOURS), itertools.cycle(MARKERS), strict=False)
    for (label, (x, y)), (colour, marker) in zip(lines.items(), styles, strict=False):
        x, y = np.asarray(x, float), np.asarray(y, float)
        shape = {"marker": marker, "markersize": 5} if markers or len(x) == 1 else {}
        pale = {"linewidth": 0.6, "alpha": 0.35, "color": GREY, "zorder": 1}
        look = pale if label in faint else {"linewidth": 1.6, "color": colour}
        axes.plot(x, y, label=label, **look, **shape)
        if bands and label in bands:
            half = np.asarray(bands[label], float)
            axes.fill_between(x, y - half, y + half, color=colour, alpha=0.2, linewidth=0)
    if level is not None:
        axes.axhline(level[1], color=GREY, linestyle="--", linewidth=1.2, label=level[0])
    for on, axis, scale, span in (
        (log_x, axes.xaxis, axes.set_xscale, _span([x for x, _ in lines.values()])),
        (log_y, axes.yaxis, axes.set_yscale, _span([y for _, y in lines.values()])),
    ):
        if on:
            scale("log")
            _plain_ticks(axis, *span)
    if xticks is not None:
        axes.set_xticks(list(xticks), labels=[f"{tick:g}" for tick in xticks])
        axes.set_xticks([], minor=True)
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.set_title(title, fontsize=11, fontweight="bold", loc="left")
    axes.grid(True, which="major", color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    if len(lines) > 1 or level is not None:
        axes.legend(fontsize=8, frameon=False)
    return _write(figure, path)


def loss_curve(path: str | os.PathLike, steps, losses, *, smooth: int = 50) -> str:
    """A picture of training loss [n] at steps [n], raw and as a running mean; its path."""
    steps, losses = np.asarray(steps, float), np.asarray(losses, float)
    smooth = max(1, min(smooth, len(losses) // 4))
    means = np.convolve(losses, np.ones(smooth) / smooth, mode="valid")
    middle = np.convolve(steps, np.ones(smooth) / smooth, mode="valid")
    lines = {f"mean of {smooth} steps": (middle, means), "one step": (steps, losses)}
    return curves(
        path,
        lines,
        xlabel="optimiser step",
        ylabel="weighted loss",
        title="Loss",
        log_y=True,
        faint=("one step",),
    )


def _apart(values, ratio=1.15):
    """The values, rising, less those within `ratio` of a larger one: labels that do not collide."""
    kept = []
    for value in sorted(set(values), reverse=True):
        if not kept or kept[-1] / value > ratio:
            kept.append(value)
    return kept[::-1]


def quality_against_evaluations(
    path: str | os.PathLike,
    lines: Mapping[str, tuple[np.ndarray, np.ndarray]],
    floor: float,
    *,
    n: int,
    title: str = "Sample quality against cost",
) -> str:
    """A picture of Fréchet distance against true evaluations an image, with its floor; its path.

    Args:
        path: where to write the PNG.
        lines: sampler -> (evaluations [b], Fréchet distance [b]).
        floor: the distance of training images to held-out ones at the same n.
        n: how many images on each side; printed, for the distance is biased in n.
        title: above the picture.
    """
    ticks = _apart(float(x) for xs, _ in lines.values() for x in np.asarray(xs).ravel())
    return curves(
        path,
        lines,
        xlabel="network evaluations an image",
        ylabel=f"Fréchet distance on features (n = {n} a side)",
        title=title,
        log_x=True,
        log_y=True,
        markers=True,
        level=("training images (floor)", floor),
        xticks=ticks if len(ticks) <= 12 else None,
    )


def loss_against_noise(
    path: str | os.PathLike,
    lines: Mapping[str, tuple[np.ndarray, np.ndarray]],
    bands: Mapping[str, np.ndarray] | None = None,
    *,
    xlabel: str = "noise level sigma / alpha (images in [-1, 1])",
    ylabel: str = "weighted denoising loss",
) -> str:
    """A picture of loss [b] against noise level [b], such as training and held-out; its path."""
    return curves(
        path,
        lines,
        xlabel=xlabel,
        ylabel=ylabel,
        title="Where the loss comes from",
        log_x=True,
        log_y=True,
        bands=bands,
    )
