"""Trees of arrays as orbax items with a manifest: names, shapes, dtypes, checksums, settings.

Orbax writes a folder of its own name and renames it when complete. It does not notice every damaged
byte, so the manifest keeps a CRC-32 of each leaf, compared on reading.
"""

import contextlib
import json
import logging
import shutil
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def is_key(leaf: Any) -> bool:
    """Return whether a leaf is a typed random key (or its shape)."""
    return jnp.issubdtype(getattr(leaf, "dtype", None), jax.dtypes.prng_key)


def key_impl(leaf: Any) -> str:
    """Return the name of the generator of a typed key (or its shape)."""
    for name in ("threefry2x32", "rbg", "unsafe_rbg"):
        if jax.eval_shape(lambda name=name: jax.random.key(0, impl=name)).dtype == leaf.dtype:
            return name
    raise ValueError(f"checkpoints: keys must be threefry2x32, rbg or unsafe_rbg; got {leaf.dtype}")


def named_leaves(where: str, tree: Any) -> dict:
    """Return {name: leaf}; every leaf must be an array (or, to restore, its shape)."""
    leaves = {jax.tree_util.keystr(k) or "tree": v for k, v in jax.tree.leaves_with_path(tree)}
    for name, leaf in leaves.items():
        if not isinstance(leaf, jax.Array | np.ndarray | jax.ShapeDtypeStruct):
            raise ValueError(f"{where}: every leaf must be an array; got {leaf!r} at {name}")
    return leaves


def plain(leaf: Any) -> Any:
    """Return a leaf as orbax stores it: the data of a key, anything else unchanged."""
    if not is_key(leaf):
        return leaf
    if isinstance(leaf, jax.ShapeDtypeStruct):
        return jax.eval_shape(jax.random.key_data, leaf)
    return jax.random.key_data(leaf)


def describe(leaf: Any) -> dict:
    """Return what the manifest says of a leaf: shape, dtype, and the family of a key."""
    key = str(leaf.dtype) if is_key(leaf) else None
    stored = plain(leaf)
    return {"shape": list(stored.shape), "dtype": np.dtype(stored.dtype).name, "key": key}


def checksum(leaf: Any) -> int | None:
    """Return the CRC-32 of a plain leaf; None for one that no single process holds whole."""
    if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
        if not leaf.is_fully_replicated:
            return None
        leaf = leaf.addressable_data(0)
    return zlib.crc32(np.ascontiguousarray(leaf).reshape(-1).view(np.uint8))


def canonical(where: str, settings: Mapping) -> dict:
    """Return settings as JSON gives them back, or raise ValueError."""
    try:
        return json.loads(json.dumps(dict(settings), allow_nan=True))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: settings must be JSON values; got {error}") from error


def save_args(leaves: dict, settings: dict) -> Any:
    """Return orbax's arguments for {name: leaf} and settings."""
    import orbax.checkpoint as ocp

    stored = {name: plain(leaf) for name, leaf in leaves.items()}
    rows = {
        name: describe(leaf) | {"crc32": checksum(stored[name])} for name, leaf in leaves.items()
    }
    numbered = {f"{i:05d}": leaf for i, leaf in enumerate(stored.values())}
    manifest = {"settings": settings, "leaves": [[name, row] for name, row in rows.items()]}
    return ocp.args.Composite(
        leaves=ocp.args.PyTreeSave(numbered), manifest=ocp.args.JsonSave(manifest)
    )


def read_manifest(where: str, path: Path) -> tuple[dict, dict]:
    """Return (settings, {name: row}) of a checkpoint folder, or raise ValueError naming it."""
    import orbax.checkpoint as ocp

    try:
        with quiet(), ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as reader:
            args = ocp.args.Composite(manifest=ocp.args.JsonRestore())
            manifest = reader.restore(path, args=args)["manifest"]
        return manifest["settings"], dict(manifest["leaves"])
    except Exception as error:
        raise damaged(where, path, error) from error


def read_leaves(where: str, path: Path, rows: dict, like: dict) -> dict:
    """Return {name: leaf} of a checkpoint whose rows agree with like, each the kind of its like."""
    import orbax.checkpoint as ocp

    def how(leaf):
        leaf = plain(leaf)
        if isinstance(leaf, np.ndarray):
            return ocp.RestoreArgs(restore_type=np.ndarray)
        sharding = leaf.sharding or jax.sharding.SingleDeviceSharding(jax.devices()[0])
        return ocp.ArrayRestoreArgs(restore_type=jax.Array, sharding=sharding)

    number = {name: f"{i:05d}" for i, name in enumerate(rows)}
    wanted = {number[name]: how(leaf) for name, leaf in like.items()}
    try:
        with quiet(), ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as reader:
            args = ocp.args.Composite(leaves=ocp.args.PyTreeRestore(restore_args=wanted))
            stored = reader.restore(path, args=args)["leaves"]
        found = {name: stored[number[name]] for name in like}
    except Exception as error:
        raise damaged(where, path, error) from error
    for name, leaf in found.items():
        now, saved = describe(leaf) | {"crc32": checksum(leaf)}, rows[name]
        same_form = all(now[k] == saved[k] for k in ("shape", "dtype"))
        if not same_form or now["crc32"] not in (None, saved["crc32"]):
            raise damaged(where, path, f"bytes of {name} that differ from those saved")
    rekey = lambda leaf, data: jax.random.wrap_key_data(data, impl=key_impl(leaf))
    return {k: rekey(like[k], leaf) if is_key(like[k]) else leaf for k, leaf in found.items()}


def check_room(folder: Path, leaves: dict) -> None:
    """Raise OSError if the disk of a folder has no room for the leaves."""
    needed = sum(plain(leaf).nbytes for leaf in leaves.values())
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OSError(f"{free} bytes free, {needed} needed")


@contextlib.contextmanager
def quiet():
    """Keep orbax from printing the traceback of a failure that we report in one line."""
    loggers = [logging.getLogger(name) for name in ("absl", "asyncio", "concurrent.futures")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL + 1)
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def first_line(error: Exception) -> str:
    """Return the kind of an error and the first line of its message, shortened in the middle."""
    line = (str(error).strip() or "no message").splitlines()[0]
    line = line if len(line) < 240 else f"{line[:80]} ... {line[-150:]}"
    return f"{type(error).__name__}: {line}"


def damaged(where: str, path: Path, got: Any) -> ValueError:
    """Return the error for a checkpoint that cannot be read, in one line."""
    got = first_line(got) if isinstance(got, Exception) else got
    return ValueError(f"{where}: {path} must be a complete, undamaged checkpoint; got {got}")
