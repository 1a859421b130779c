"""Data parallelism: one script on eight devices, and on two processes."""

import pathlib
import socket
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.training import mesh

RUN = pathlib.Path(__file__).parent / "parallel_run.py"


def launch(*arguments):
    command = [sys.executable, str(RUN), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def losses(*processes):
    """The losses [processes, steps] that they print; gloo prints there too."""
    ends = [process.communicate(timeout=300) for process in processes]
    for process, (_, error) in zip(processes, ends, strict=True):
        assert process.returncode == 0, error[-2000:]
    lines = [[w for w in out.splitlines() if w.startswith("loss ")] for out, _ in ends]
    return np.asarray([[float(line.split()[1]) for line in one] for one in lines])


@pytest.mark.devices
def test_eight_devices_have_the_losses_of_one(tmp_path):
    one, eight = launch(1, "data=1", tmp_path / "one"), launch(8, "data=8", tmp_path / "eight")
    one, eight = losses(one, eight)
    assert one[-1] < 0.5 * one[0]
    np.testing.assert_allclose(eight, one, rtol=1e-5)
    assert one.shape == (20,)


@pytest.mark.devices
def test_two_processes_have_the_losses_of_one_and_share_a_checkpoint(tmp_path):
    """Each process feeds its own half of the batch; the run is cut in two by a checkpoint."""
    (single,) = losses(launch(1, "data=1", tmp_path / "one"))
    for steps in (10, 20):
        with socket.socket() as probe:
            probe.bind(("localhost", 0))
            address = f"localhost:{probe.getsockname()[1]}"
        pair = [launch(2, "data=4", tmp_path / "two", steps, address, i) for i in range(2)]
        first, second = losses(*pair)
        np.testing.assert_array_equal(first, second)
        np.testing.assert_allclose(first, single[steps - 10 : steps], rtol=1e-5)


def test_parse_makes_automatic_axes():
    made = mesh.parse("data=2")
    assert dict(made.shape) == {"data": 2}
    assert made.axis_types == (jax.sharding.AxisType.Auto,)
    assert dict(mesh.parse(" data = 2, model = 1").shape) == {"data": 2, "model": 1}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("data", "read like"),
        ("data=0", "read like"),
        ("data=2,data=2", "read like"),
        ("data=two", "read like"),
        ("", "read like"),
        ("model=2", "axis 'data'"),
        ("data=4096", "needs 4096 devices"),
    ],
)
def test_wrong_meshes_are_refused(text, words):
    with pytest.raises(ValueError, match=words):
        mesh.parse(text)


def test_batches_are_spread_and_trees_are_whole():
    made = mesh.parse("data=2")
    batch = mesh.shard_batch(made, {"x0": np.arange(12.0).reshape(4, 3), "label": np.arange(4)})
    assert batch["x0"].sharding.shard_shape((4, 3)) == (2, 3)
    np.testing.assert_array_equal(batch["x0"], np.arange(12.0).reshape(4, 3))
    tree = mesh.replicate(made, {"key": jax.random.key(0), "w": jnp.ones(3), "i": np.int32(1)})
    assert all(leaf.is_fully_replicated for leaf in jax.tree.leaves(tree))
    assert len(tree["w"].sharding.device_set) == 2
    for wrong in (np.ones((3, 2)), np.ones(())):
        with pytest.raises(ValueError, match="leading axis"):
            mesh.shard_batch(made, wrong)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("localhost", 2, 0), "host:port"),
        ((":99", 2, 0), "host:port"),
        (("localhost:x", 2, 0), "host:port"),
        (("localhost:99", 2, 2), "process_id"),
        (("localhost:99", 2, -1), "process_id"),
    ],
)
def test_processes_that_cannot_meet_are_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        mesh.join_processes(*arguments)


def test_joining_after_jax_was_used_is_one_clear_error():
    jnp.ones(1).block_until_ready()
    with pytest.raises(RuntimeError, match="before JAX"):
        mesh.join_processes("localhost:9", 1, 0)
