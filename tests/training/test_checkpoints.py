"""Checkpoints: bit for bit, complete or absent, refused by name when damaged or foreign."""

import gc
import json
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgen import training
from jaxgen.training import checkpoints

SETTINGS = {"lr": 1e-3, "sizes": (1, 2), "name": "run"}
RUN = pathlib.Path(__file__).parent / "resumed_run.py"


def tree():
    draw = np.random.default_rng(0)
    return {
        "key": jax.random.key(3),
        "rbg": jax.random.split(jax.random.key(4, impl="rbg"), 2),
        "list": [draw.standard_normal(2), draw.standard_normal((2, 3)).astype(np.float16)],
        "bf16": jnp.asarray(draw.standard_normal(5), jnp.bfloat16),
        "f64": jnp.asarray(draw.standard_normal(5)),
        "big": jnp.asarray(draw.standard_normal(20_000), jnp.float32),
        "count": jnp.int32(7),
        "flag": np.asarray(True),
        "optax": optax.adam(1e-3).init({"w": jnp.ones((2, 2), jnp.float32)}),
    }


def raw(leaf):
    return np.asarray(
        jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf
    )


def assert_same(ours, theirs):
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert (a.dtype, a.shape, isinstance(a, np.ndarray)) == (
            b.dtype,
            b.shape,
            isinstance(b, np.ndarray),
        )
        assert raw(a).tobytes() == raw(b).tobytes()


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "run"
    checkpoints.save(folder, 3, tree(), SETTINGS)
    return folder


@pytest.fixture
def copy(saved, tmp_path):
    return pathlib.Path(shutil.copytree(saved, tmp_path / "run"))


def contents(folder):
    return {p: p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_comes_back_bit_for_bit(saved):
    step, back = checkpoints.restore(saved, tree(), SETTINGS)
    assert step == 3
    assert_same(back, tree())


def test_the_shapes_of_a_state_are_enough(saved):
    like = {k: v for k, v in tree().items() if k != "list"}
    like = jax.eval_shape(lambda: like) | {"list": tree()["list"], "flag": np.asarray(False)}
    assert_same(checkpoints.restore(saved, like, SETTINGS)[1], tree())


def test_float64_survives_without_x64(tmp_path, x32):
    leaf = np.random.default_rng(0).standard_normal(3)
    checkpoints.save(tmp_path / "a", 1, {"a": leaf}, {})
    np.testing.assert_array_equal(
        checkpoints.restore(tmp_path / "a", {"a": leaf}, {})[1]["a"], leaf
    )


def test_keeps_the_last_and_knows_the_latest(tmp_path):
    folder = tmp_path / "deep" / "run"
    assert checkpoints.latest(folder) is None
    for step in (1, 2, 30, 100):
        checkpoints.save(folder, step, {"a": jnp.full(2, step)}, {}, keep=2)
        assert checkpoints.latest(folder) == step
    assert sorted(p.name for p in folder.iterdir()) == ["100", "30"]
    assert int(checkpoints.restore(folder, {"a": jnp.zeros(2, int)}, {}, step=30)[1]["a"][0]) == 30


def without(name):
    return {k: v for k, v in tree().items() if k != name}


@pytest.mark.parametrize(
    ("like", "settings", "words"),
    [
        (tree, SETTINGS | {"lr": 2e-3}, "lr was 0.001 and is 0.002"),
        (tree, SETTINGS | {"extra": 1}, "extra"),
        (tree, {"lr": 1e-3}, "name"),
        (lambda: without("bf16"), SETTINGS, "bf16"),
        (lambda: tree() | {"more": jnp.ones(2)}, SETTINGS, "more"),
        (lambda: tree() | {"count": jnp.ones(2, int)}, SETTINGS, "count"),
        (lambda: tree() | {"f64": jnp.ones(5, jnp.float32)}, SETTINGS, "f64"),
        (lambda: tree() | {"key": jax.random.key(3, impl="rbg")}, SETTINGS, "key"),
        (lambda: tree() | {"key": jnp.zeros(2, jnp.uint32)}, SETTINGS, "key"),
    ],
)
def test_another_run_is_refused_by_name(saved, like, settings, words):
    before = contents(saved)
    with pytest.raises(ValueError, match=words) as caught:
        checkpoints.restore(saved, like(), settings)
    assert str(saved / "3") in str(caught.value)
    assert "\n" not in str(caught.value)
    assert contents(saved) == before


# Orbax leaves coroutines behind when a read fails; Python says so when it collects them.
LEFT_BEHIND = pytest.mark.filterwarnings(
    "ignore:coroutine:RuntimeWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)


@pytest.fixture(autouse=True)
def collect():
    gc.freeze()  # what older tests left is much, and is not looked through
    yield
    gc.collect()
    gc.unfreeze()


@LEFT_BEHIND
def test_damage_is_refused_by_name_or_harmless(copy):
    """Each file lost, halved, emptied, flipped: the error names the path, or the bits are right."""
    refused = 0
    for path in list(contents(copy)):
        whole = path.read_bytes()
        for harm in ("missing", "truncated", "empty", "flipped"):
            if harm == "missing":
                path.unlink()
            elif harm == "flipped":
                middle = len(whole) // 2
                path.write_bytes(
                    whole[:middle] + bytes([whole[middle] ^ 0x10]) + whole[middle + 1 :]
                )
            else:
                path.write_bytes(whole[: len(whole) // 2] if harm == "truncated" else b"")
            before = contents(copy)
            error = ""
            try:
                assert_same(checkpoints.restore(copy, tree(), SETTINGS)[1], tree())
            except ValueError as caught:
                refused, error = refused + 1, str(caught)
            assert not error or str(copy / "3") in error, (path, harm)
            assert "\n" not in error
            assert contents(copy) == before, (path, harm)
            path.write_bytes(whole)
    assert refused >= 12
    assert_same(checkpoints.restore(copy, tree(), SETTINGS)[1], tree())


@LEFT_BEHIND
def test_a_damaged_run_is_not_written_over(copy):
    metadata = next(p for p in contents(copy) if p.name == "metadata")
    metadata.write_bytes(b"{")
    before = contents(copy)
    with pytest.raises(ValueError, match="undamaged"):
        checkpoints.save(copy, 4, tree(), SETTINGS)
    assert contents(copy) == before


@LEFT_BEHIND
def test_wrong_bytes_with_a_valid_file_are_noticed(copy):
    """The checksum in the manifest belongs to other numbers."""
    metadata = next(p for p in contents(copy) if p.name == "metadata")
    manifest = json.loads(metadata.read_text())
    next(row for name, row in manifest["leaves"] if "big" in name)["crc32"] ^= 1
    metadata.write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match="big"):
        checkpoints.restore(copy, tree(), SETTINGS)


def test_saving_refuses_what_it_cannot_keep(saved, tmp_path):
    before = contents(saved)
    for step, settings, words in ((3, SETTINGS, "follow"), (2, SETTINGS, "follow"), (4, {}, "lr")):
        with pytest.raises(ValueError, match=words):
            checkpoints.save(saved, step, tree(), settings)
    assert contents(saved) == before
    for kwargs, words in (
        ({"tree": {"a": 1.0}}, "array"),
        ({"settings": {"a": jnp.ones(2)}}, "JSON"),
        ({"keep": 0}, "keep"),
        ({"step": -1}, "step"),
    ):
        options = {"step": 1, "tree": {"a": jnp.ones(2)}, "settings": {}} | kwargs
        with pytest.raises(ValueError, match=words):
            checkpoints.save(tmp_path / "new", **options)
    assert not (tmp_path / "new").exists()
    with pytest.raises(ValueError, match="none"):
        checkpoints.restore(tmp_path / "new", tree(), SETTINGS)


def test_an_unwritable_folder_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="writable") as caught:
        checkpoints.save(tmp_path / "file" / "run", 1, {"a": jnp.ones(2)}, {})
    assert "\n" not in str(caught.value)


def test_no_room_left_is_seen_before_writing(copy, monkeypatch):
    usage = shutil.disk_usage(copy)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    before = contents(copy)
    with pytest.raises(OSError, match="1000 bytes free"):
        checkpoints.save(copy, 4, tree(), SETTINGS)
    assert contents(copy) == before


FULL_DISK = """
import resource, sys
import jax.numpy as jnp, numpy as np
from jaxgen.training import checkpoints
leaf = jnp.asarray(np.random.default_rng(0).standard_normal(20_000))
checkpoints.save(sys.argv[1], 1, {"a": leaf}, {})
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
try:
    checkpoints.save(sys.argv[1], 2, {"a": leaf + 1}, {})
except OSError as error:
    assert "latest is still 1" in str(error) and "\\n" not in str(error), error
else:
    raise SystemExit("no error")
assert checkpoints.latest(sys.argv[1]) == 1
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
assert (checkpoints.restore(sys.argv[1], {"a": leaf}, {})[1]["a"] == leaf).all()
checkpoints.save(sys.argv[1], 2, {"a": leaf + 1}, {})
assert (checkpoints.restore(sys.argv[1], {"a": leaf}, {})[1]["a"] == leaf + 1).all()
"""


def test_a_disk_that_fills_while_saving_leaves_the_previous_checkpoint(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path / "run")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_killed_run_goes_on_bit_for_bit(tmp_path):
    """kill -9 around three saves, the same command again: the end is that of a run left alone."""

    def run(folder, line=None, wait=0.0):
        command = [sys.executable, str(RUN), str(folder)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        if line is not None:
            while process.stdout.readline().strip() != line:
                assert process.poll() is None
            time.sleep(wait)
            process.kill()
        out, _ = process.communicate(timeout=300)
        assert process.returncode == (0 if line is None else -signal.SIGKILL)
        return out.splitlines()

    killed, latest = tmp_path / "killed", []
    for line, wait in (("saving 30", 0.0), ("saving 60", 0.02), ("saving 90", 0.05)):
        run(killed, line, wait)
        latest.append(checkpoints.latest(killed))
    assert all(step in (at - 10, at) for step, at in zip(latest, (30, 60, 90), strict=True))
    assert run(killed)[-1] == run(tmp_path / "alone")[-1]
    assert sorted(p.name for p in killed.iterdir()) == ["140", "150"]


def test_a_denoiser_comes_back_in_any_dtype(tmp_path):
    params = {"a": {"w": jnp.ones((2, 3), jnp.float32), "n": jnp.arange(3)}, "b": jnp.zeros(())}
    config = {"kind": "v", "channels": [1, 2], "sigma": 0.5}
    folder = training.save_denoiser(tmp_path / "new" / "denoiser", params, config)
    back, words = training.load_denoiser(folder)
    assert words == config
    assert_same(back, params)
    half, _ = training.load_denoiser(folder, dtype=jnp.bfloat16)
    assert (half["a"]["w"].dtype, half["a"]["n"].dtype) == (jnp.bfloat16, params["a"]["n"].dtype)


@LEFT_BEHIND
def test_denoisers_are_refused_by_name(tmp_path):
    params = {"a": jnp.ones(4)}
    folder = training.save_denoiser(tmp_path / "denoiser", params, {})
    with pytest.raises(ValueError, match="must not exist"):
        training.save_denoiser(folder, params, {})
    for wrong in ({"a": [jnp.ones(2)]}, jnp.ones(2), {"a/b": jnp.ones(2)}, {"a": 1.0}):
        with pytest.raises(ValueError, match="params"):
            training.save_denoiser(tmp_path / "other", wrong, {})
    with pytest.raises(ValueError, match="JSON"):
        training.save_denoiser(
            tmp_path / "other", params, {"f": test_denoisers_are_refused_by_name}
        )
    with pytest.raises(ValueError, match="no folder"):
        training.load_denoiser(tmp_path / "other")
    with pytest.raises(ValueError, match="floating"):
        training.load_denoiser(folder, dtype=int)
    shutil.rmtree(folder / "leaves" / "d")
    with pytest.raises(ValueError, match=str(folder)):
        training.load_denoiser(folder)
