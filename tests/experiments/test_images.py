"""The main job end to end on 8 x 8 digits: kills, meshes, processes, and bad input."""

import csv
import fcntl
import gc
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time

import jax
import numpy as np
import pytest

from experiments.images import _models, _run, _samplers, _settings, _train
from jaxgen import training

ROOT = pathlib.Path(__file__).resolve().parents[2]
TINY = ["--smoke", "--steps", "24", "--checkpoint-every", "6", "--batch", "16", "--warmup", "4"]
pytestmark = pytest.mark.usefixtures("x32")


def environment(devices=1):
    """That of a user: the test settings of JAX do not reach the experiment."""
    kept = {k: v for k, v in os.environ.items() if k not in ("XLA_FLAGS", "JAX_ENABLE_X64")}
    return kept | {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}", "CI": "true"}


def start(*words, devices=1, before=None):
    command = [sys.executable, "-m", "experiments.images", *map(str, words)]
    if before is not None:
        command = ["bash", "-c", f'{before}; exec "$@"', "bash", *command]
    # Files, for a pipe that nobody reads stops a process that says much; heard() closes them.
    said = [tempfile.TemporaryFile("w+") for _ in range(2)]  # noqa: SIM115
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment(devices), stdout=said[0], stderr=said[1]
    )
    process.said = said
    return process


def heard(process):
    """What an ended process said on standard output and on standard error."""
    texts = []
    for file in process.said:
        file.seek(0)
        texts.append(file.read())
        file.close()
    return texts


def finish(process, code=0):
    try:
        process.wait(timeout=900)
    finally:
        process.kill()
    out, err = heard(process)
    assert process.returncode == code, f"exit {process.returncode}\n{out}\n{err}"
    return out, err


def losses(folder):
    with open(folder / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == list(range(1, len(rows) + 1))
    return np.array([float(row["loss"]) for row in rows])


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A training without interruption, made once for all workers; nothing is measured."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder, made = shared / "whole", shared / "whole-is-made"
    with open(shared / "whole-lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            finish(start(*TINY, "--no-measure", "--run", folder))
            made.touch()
    return folder


def parameters(folder):
    return training.load_denoiser(folder / "denoiser")[0]


def flat(tree, path=""):
    if not isinstance(tree, dict):
        return {path: np.asarray(tree)}
    return {k: v for name in tree for k, v in flat(tree[name], f"{path}/{name}").items()}


def test_a_killed_run_goes_on_bit_for_bit(whole, tmp_path):
    killed = start(*TINY, "--no-measure", "--run", tmp_path)
    table, deadline = tmp_path / "metrics.csv", time.monotonic() + 200
    while not table.exists() or table.read_bytes().count(b"\n") < 10:
        assert killed.poll() is None, "it ended before the kill"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    heard(killed)
    assert 6 <= training.checkpoints.latest(tmp_path / "checkpoints") < 24
    out, _ = finish(start(*TINY, "--no-measure", "--run", tmp_path))
    assert "going on after step" in out
    assert table.read_bytes() == (whole / "metrics.csv").read_bytes()
    ours, theirs = flat(parameters(tmp_path)), flat(parameters(whole))
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)
    settings = _settings.parse([*TINY, "--run", str(whole)])
    model, mesh = _models.build(settings), training.mesh.parse("data=1")
    ours, theirs = (
        jax.tree.leaves(_train.restore(model, settings, folder, mesh))
        for folder in (tmp_path, whole)
    )
    assert len(ours) > 100  # parameters, optimiser, averages
    assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.devices
def test_eight_devices_train_like_one(whole, tmp_path):
    finish(start(*TINY, "--no-measure", "--mesh", "data=8", "--run", tmp_path, devices=8))
    np.testing.assert_allclose(losses(tmp_path)[:12], losses(whole)[:12], rtol=2e-5)


@pytest.mark.devices
def test_two_processes_share_one_training_and_one_checkpoint(whole, tmp_path):
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    words = [*TINY, "--no-measure", "--mesh", "data=2", "--run", tmp_path]
    words += ["--coordinator", f"localhost:{port}", "--num-processes", "2"]
    both = [start(*words, "--process-id", i) for i in range(2)]
    for process in both:
        finish(process)
    np.testing.assert_allclose(losses(tmp_path)[:12], losses(whole)[:12], rtol=2e-5)
    assert training.checkpoints.latest(tmp_path / "checkpoints") == 24
    finish(start(*TINY, "--no-measure", "--run", tmp_path))  # one process reads what two saved


@pytest.mark.slow
def test_smoke_measures_everything_and_a_finished_run_is_sampled_again(tmp_path):
    out, _ = finish(start("--smoke", "--run", tmp_path))
    results = json.loads((tmp_path / "results.json").read_text())
    assert {row["sampler"] for row in results["samplers"]} == set(_samplers.SAMPLERS)
    assert all(row["evaluations"] <= row["budget"] for row in results["samplers"])
    numbers = [row["frechet"] for row in results["samplers"] + results["processes"]]
    assert np.all(np.isfinite(numbers))
    assert results["floor"]["frechet"] < min(numbers)
    assert results["reference"]["uncertainty"] < results["reference"]["ddim_40"][0]
    assert results["likelihood"]["probes"] == 0
    assert np.isfinite(results["likelihood"]["bits"])
    for name in ("samples", "quality", "guidance", "nearest", "processes", "loss", "noise_levels"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG"), name
        assert f"{name}.png" in out
    before = (tmp_path / "results.json").read_bytes()
    words = ["--from", tmp_path, "--samplers", "ddim", "--budgets", "4", "--likelihood-images", "0"]
    finish(start(*words))
    again = json.loads((tmp_path / "resampled" / "results.json").read_text())
    assert [row["evaluations"] for row in again["samplers"]] == [4]
    assert again["trained_steps"] == 0
    assert again["likelihood"] is None
    assert (tmp_path / "results.json").read_bytes() == before


def refused(capsys, words, *parts):
    """The experiment ends with 2 and one line that says what must hold and what was given."""
    assert _run.main([str(word) for word in words]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    assert all(part in lines[0] for part in parts), lines[0]


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--steps", "0"], ["steps must be at least 1", "got 0"]),
        (["--samplers", "ddmi"], ["samplers must be among ddim", "got ddmi"]),
        (["--grid", "cosine"], ["grid must be among", "got cosine"]),
        (["--process", "cld"], ["process must be among vp", "got cld"]),
        (["--data", "mnist"], ["data must be mnist5k", "got mnist"]),
        (["--data", "nowhere.npz"], ["path of a file", "nowhere.npz"]),
        (["--mesh", "data=3"], ["batch must be a multiple of the 3 devices", "got 32"]),
        (["--mesh", "data=4096"], ["4096", "devices"]),
        (["--batch", "5000"], ["batch must be at most the 1618 training images", "got 5000"]),
        (["--noise-max", "0.001"], ["noise_max must exceed noise_min", "got 0.001"]),
        (["--from", "nowhere"], ["nowhere/settings.json must exist"]),
        (["--patch", "3"], ["H and W must be multiples of 3", "got (8, 8, 1)"]),
    ],
)
def test_bad_settings_are_one_line(tmp_path, capsys, words, parts):
    refused(capsys, ["--smoke", "--run", tmp_path / "run", *words], *parts)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arrays", "part"),
    [
        ({"images": np.full((8, 4, 4), np.nan)}, "NaN"),
        ({"images": np.zeros((8, 4), np.uint8)}, "(8, 4)"),
        ({"pictures": np.zeros((8, 4, 4), np.uint8)}, "named 'images'"),
        ({"images": np.zeros((8, 4, 4), np.uint8), "labels": np.zeros(7, int)}, "(7,)"),
    ],
)
def test_bad_images_are_one_line(tmp_path, capsys, arrays, part):
    path = tmp_path / "mine.npz"
    np.savez(path, **arrays)
    words = ["--smoke", "--data", path, "--batch", "4", "--run", tmp_path / "run"]
    refused(capsys, words, str(path), part)


def test_another_training_is_not_mixed_into_a_folder(whole, capsys):
    before = sorted((str(p), p.stat().st_mtime_ns) for p in whole.rglob("*"))
    words = [*TINY, "--run", whole, "--learning-rate", "0.1"]
    refused(capsys, words, str(whole), "learning_rate 0.004 (given 0.1)")
    assert sorted((str(p), p.stat().st_mtime_ns) for p in whole.rglob("*")) == before


@pytest.mark.filterwarnings(  # orbax leaves coroutines behind when a read fails
    "ignore:coroutine:RuntimeWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
def test_a_corrupt_checkpoint_is_refused_by_name(whole, tmp_path, capsys):
    copy = tmp_path / "copy"
    subprocess.run(["cp", "-r", whole, copy], check=True)
    latest = copy / "checkpoints" / "24"
    files = [p for p in latest.rglob("*") if p.is_file() and p.stat().st_size > 4000]
    damaged = {p: bytearray(p.read_bytes()) for p in files}
    for path, data in damaged.items():  # all of them: orbax keeps some bytes that it never reads
        data[len(data) // 2] ^= 255
        path.write_bytes(bytes(data))
    refused(capsys, [*TINY, "--run", copy], str(latest), "undamaged")
    assert all(path.read_bytes() == bytes(data) for path, data in damaged.items())
    gc.collect()


def test_an_unwritable_folder_is_one_line(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    refused(capsys, ["--smoke", "--run", tmp_path / "file" / "run"], str(tmp_path / "file"))


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_keeps_the_rows(tmp_path):
    words = [*TINY, "--no-measure", "--run", tmp_path]
    _, err = finish(start(*words, before="ulimit -f 20"), code=2)  # no file above 20 kB
    assert "Traceback" not in err
    assert "must be writable and have room for step 6" in err.splitlines()[-1]
    assert len(losses(tmp_path)) == 6
