"""Data parallelism with jit and NamedSharding, in one process or several. Source: definitions."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec


def parse(text: str) -> Mesh:
    """Return the mesh that "data=8" or "data=4,model=2" describes, with automatic axes.

    Takes the first devices of all processes; with several processes, all of their devices.

    Raises:
      ValueError: not `name=count` with distinct names, no axis "data", or other than the devices.

    Source: definition.
    """
    where, sizes = "mesh.parse", {}
    for part in text.split(","):
        name, _, count = (piece.strip() for piece in part.partition("="))
        if not name.isidentifier() or name in sizes or not count.isdecimal() or int(count) < 1:
            raise ValueError(f"{where}: a mesh must read like 'data=8'; got {text!r}")
        sizes[name] = int(count)
    if "data" not in sizes:
        raise ValueError(f"{where}: a mesh must have an axis 'data'; got {text!r}")
    devices, needed = jax.devices(), int(np.prod(list(sizes.values())))
    if needed > len(devices) or (jax.process_count() > 1 and needed != len(devices)):
        raise ValueError(
            f"{where}: {text!r} needs {needed} devices; got {len(devices)} "
            f"in {jax.process_count()} process(es)"
        )
    axis_types = (AxisType.Auto,) * len(sizes)
    return jax.make_mesh(
        tuple(sizes.values()), tuple(sizes), axis_types=axis_types, devices=devices[:needed]
    )


def shard_batch(mesh: Mesh, batch: Any) -> Any:
    """Return a batch with its leading axis spread over the axis "data" of a mesh.

    With several processes each gives its own part, [n / processes, ...], and gets the whole batch
    [n, ...] as global arrays; process 0 holds the first rows.

    Raises:
      ValueError: a leading axis that does not divide over the devices.

    Source: definition.
    """
    sharding = NamedSharding(mesh, PartitionSpec("data"))
    parts = max(1, mesh.shape["data"] // jax.process_count())

    def place(leaf):
        if not np.ndim(leaf) or np.shape(leaf)[0] % parts:
            raise ValueError(
                f"mesh.shard_batch: the leading axis must be a multiple of the {parts} devices of "
                f"axis 'data' in this process; got shape {np.shape(leaf)}"
            )
        if jax.process_count() == 1:
            return jax.device_put(leaf, sharding)
        return jax.make_array_from_process_local_data(sharding, np.asarray(leaf))

    return jax.tree.map(place, batch)


def replicate(mesh: Mesh, tree: Any) -> Any:
    """Return a tree with every leaf whole on every device of a mesh, typed keys included.

    With several processes all must hold equal leaves. Source: definition.
    """
    sharding = NamedSharding(mesh, PartitionSpec())
    if jax.process_count() == 1:
        return jax.device_put(tree, sharding)

    def place(leaf):
        if jnp.issubdtype(jnp.result_type(leaf), jax.dtypes.prng_key):
            data, impl = place(jax.random.key_data(leaf)), jax.random.key_impl(leaf)
            return jax.random.wrap_key_data(data, impl=impl)
        return jax.make_array_from_process_local_data(sharding, np.asarray(leaf))

    return jax.tree.map(place, tree)


def join_processes(coordinator: str, num_processes: int, process_id: int) -> None:
    """Join this process to the others of one training, before JAX is used for anything else.

    Afterwards `jax.devices()` are those of all processes. On CPUs collectives run over gloo.

    Args:
      coordinator: "host:port" of process 0.
      num_processes: how many there are.
      process_id: 0 .. num_processes - 1, this one.

    Raises:
      ValueError: an address without a port, or numbers that do not fit.
      RuntimeError: the others did not answer, or JAX had been used before.

    Source: definition.
    """
    host, _, port = coordinator.rpartition(":")
    if not host or not port.isdecimal():
        raise ValueError(
            f"mesh.join_processes: coordinator must be 'host:port'; got {coordinator!r}"
        )
    if not 0 <= process_id < num_processes:
        raise ValueError(
            "mesh.join_processes: process_id must be in [0, num_processes); "
            f"got {process_id} of {num_processes}"
        )
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    try:
        jax.distributed.initialize(coordinator, num_processes, process_id)
    except Exception as error:
        raise RuntimeError(
            f"mesh.join_processes: {num_processes} processes must meet at {coordinator} before JAX "
            f"is used; got {str(error).splitlines()[0][:200]}"
        ) from error
