"""What a run leaves behind: pictures, tables as CSV, results.json, and the printed table."""

import csv
import io
import json
import pathlib
import platform

import jax
import numpy as np

from experiments.images import _pictures, _settings
from experiments.images._samplers import SAMPLERS
from jaxgen import data

SHOWN = 10


def write_rows(path: pathlib.Path, rows: list[dict]) -> None:
    """A CSV with the union of the rows' columns."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    _settings.write_whole(path, text.getvalue())


def write_json(path: pathlib.Path, results: dict) -> None:
    """Results as JSON, arrays as lists, numbers that are not finite as null."""
    _settings.write_whole(path, json.dumps(_plain(results), indent=1, allow_nan=False) + "\n")


def _plain(value):
    if isinstance(value, dict):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if hasattr(value, "_asdict"):
        return _plain(value._asdict())
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(inner) for inner in value]
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value


def machine() -> dict:
    """What the numbers were made with."""
    return {
        "python": platform.python_version(),
        "jax": jax.__version__,
        "device": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
    }


def sample_pictures(folder: pathlib.Path, draws: dict, rows: list[dict], floor: dict) -> list[str]:
    """samples.png and quality.png."""
    grid: dict = {}
    for (name, budget), one in draws.items():
        shown = np.clip(one.x[:SHOWN], -1, 1)
        grid.setdefault(SAMPLERS[name].title, {})[f"at most {budget}"] = (shown, one.evaluations)
    paths = [
        _pictures.grid_of_rows(
            folder / "samples.png",
            grid,
            title="Samples by network evaluations",
            note="Every block starts from the same noise and labels.",
        )
    ]
    lines = {}
    for name in dict.fromkeys(row["sampler"] for row in rows):
        mine = [row for row in rows if row["sampler"] == name]
        xy = [np.array([row[column] for row in mine]) for column in ("evaluations", "frechet")]
        lines[SAMPLERS[name].title] = tuple(xy)
    number = rows[0]["n_fake"]
    path = folder / "quality.png"
    paths.append(_pictures.quality_against_evaluations(path, lines, floor["frechet"], n=number))
    return paths


def process_picture(folder, draws, rows) -> str:
    """processes.png: one network under several processes, same sampler and evaluations."""
    grid = {
        f"{row['process']}  (Fréchet {row['frechet']:.1f})": {
            "": (np.clip(draws[row["process"]].x[:SHOWN], -1, 1), row["evaluations"])
        }
        for row in rows
    }
    return _pictures.grid_of_rows(
        folder / "processes.png",
        grid,
        title="One network, several processes",
        note="No retraining: DEIS of order 3 on one noise level grid.",
    )


def other_pictures(folder, guided, copies, x, images, classes) -> list[str]:
    """guidance.png (with classes) and nearest.png."""
    paths = []
    if guided:
        names = [str(i) for i in range(len(next(iter(guided.values()))))]
        shown = {weight: np.clip(rows, -1, 1) for weight, rows in guided.items()}
        paths.append(
            _pictures.guidance_picture(
                folder / "guidance.png",
                shown,
                names,
                title="Classifier-free guidance",
                note="The same noise in every row; weight 0 is the conditional model.",
            )
        )
    k = min(24, len(x))
    paths.append(
        _pictures.nearest_picture(
            folder / "nearest.png",
            np.clip(x[:k], -1, 1),
            data.to_unit(images.train_x[copies.index[:k]], images.levels),
            copies.distance[:k],
            title="Samples and the training images nearest to them",
            note=f"Held-out images lie {copies.held_out:.2f} from theirs (median).",
        )
    )
    return paths


def loss_pictures(folder, losses, train, held_out) -> list[str]:
    """loss.png and noise_levels.png."""
    lines = {"training": (train.noise, train.mean), "held out": (held_out.noise, held_out.mean)}
    bands = {"training": train.error, "held out": held_out.error}
    path = folder / "noise_levels.png"
    return [
        _pictures.loss_curve(folder / "loss.png", np.arange(1, len(losses) + 1), losses),
        _pictures.loss_against_noise(path, lines, bands),
    ]


def table(title: str, head: list[str], rows: list[list]) -> str:
    """A plain table with aligned columns."""
    cells = [head] + [[_cell(value) for value in row] for row in rows]
    widths = [max(len(row[j]) for row in cells) for j in range(len(head))]
    aligned = lambda row: "  ".join(
        cell.ljust(w) if j == 0 else cell.rjust(w)
        for j, (cell, w) in enumerate(zip(row, widths, strict=True))
    )
    rule = "-" * (sum(widths) + 2 * len(widths) - 2)
    return "\n".join([f"\n{title}", rule, aligned(head), rule, *map(aligned, cells[1:]), rule])


def _cell(value) -> str:
    if value is None:
        return "-"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def printed(results: dict) -> str:
    """The table at the end of a run."""
    rows, floor, reference = results["samplers"], results["floor"], results["reference"]
    columns = ("frechet", "kernel", "kernel_se", "precision", "recall", "density", "coverage")
    head = ["sampler", "evaluations", "Fréchet", "kernel", "±", "precision", "recall"]
    head += ["density", "coverage", "to its ODE solution", "median"]
    body = [
        [SAMPLERS[row["sampler"]].title, row["evaluations"]]
        + [float(row[column]) for column in columns]
        + [row.get("distance"), row.get("distance_median")]
        for row in rows
    ]
    body.append(["training images (floor)", "-", *[float(floor[c]) for c in columns], None, None])
    number, accuracy = rows[0]["n_fake"], 100 * results["features"]["accuracy"]
    parts = [
        table(
            f"Sample quality: {number} samples against {rows[0]['n_real']} held-out images, on "
            f"features of a classifier ({accuracy:.1f} % accurate);\n"
            f"the last columns: RMS per pixel (images in [-1, 1]), {reference['images']} images, "
            f"{reference['steps']} steps (itself known to {reference['uncertainty']:.1g})",
            head,
            body,
        )
    ]
    if reference["deis3_10"] is not None:
        (deis, deis_median), (ddim, ddim_median) = reference["deis3_10"], reference["ddim_40"]
        parts.append(
            f"From the solution, DEIS order 3 at 10 evaluations is {deis:.3g} (median "
            f"{deis_median:.3g}), DDIM at 40 is {ddim:.3g} (median {ddim_median:.3g})."
        )
    body = [
        [row["process"], row["evaluations"], row["frechet"], row["kernel"], row["kernel_se"]]
        for row in results["processes"]
    ]
    head = ["process", "evaluations", "Fréchet", "kernel", "±"]
    parts.append(table("The same network under other processes, without retraining", head, body))
    parts.append(_likelihood_table(results))
    body = [[name, loss] for name, loss in results["averages"].items()]
    parts.append(table("Which average: held-out denoising loss", ["parameters", "loss"], body))
    body = [[name, f"{seconds:.0f} s"] for name, seconds in results["seconds"].items()]
    parts.append(table("Where the time went", ["part", "wall time"], body))
    return "\n".join(part for part in parts if part)


def _likelihood_table(results) -> str:
    bits = results["likelihood"]
    if bits is None:
        return ""
    how = f"{bits.probes} Hutchinson probes" if bits.probes else "exact divergence"
    body = [
        ["bits/dim, held out", bits.bits],
        ["± standard error over images", bits.images_error],
        ["± probes, of the mean", bits.probe_error],
        ["dequantisation: spread between draws, one image", bits.dequantisation],
        ["truncation: change when ending at 5 times the noise", bits.truncation],
        ["discretisation left (Richardson)", bits.discretisation],
    ]
    check = results["exact_check"]
    if check is not None:
        for i in range(len(check.exact)):
            body.append([f"check, image {i + 1}: exact divergence", float(check.exact[i])])
            words = f"check, image {i + 1}: {check.probes} probes (± {check.error[i]:.2g})"
            body.append([words, float(check.estimated[i])])
    body = [[words, f"{value:.4f}"] for words, value in body]
    title = f"Likelihood: probability-flow ODE, {bits.images} images, {bits.steps} steps, {how}"
    return table(title, ["term", "bits/dim"], body)
