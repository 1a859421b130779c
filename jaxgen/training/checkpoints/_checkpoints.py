"""Checkpoints of one training run, on orbax: complete or absent, and checked on reading."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from jaxgen.training import _store


def save(folder: str | Path, step: int, tree: Any, settings: Mapping, *, keep: int = 2) -> Path:
    """Return the path of a new checkpoint, `folder/step`, complete on disk.

    A kill at any moment leaves the previous checkpoint the latest. Once the new one is complete,
    all but the last `keep` are removed. With several processes, every process calls this,
    `folder` is one shared folder, and arrays are replicated or sharded over a global mesh.

    Args:
      folder: of one training run; made if missing.
      step: larger than every step saved there.
      tree: any pytree of JAX or NumPy arrays, typed keys included.
      settings: JSON values that decide what is trained; `restore` refuses to go on under others.
      keep: how many checkpoints stay.

    Raises:
      ValueError: a step not after the latest, leaves that are not arrays, settings that are not
        JSON or not those of the checkpoints already there.
      OSError: the folder cannot be written or the disk is full; what was there stays.

    Source: definition.
    """
    import orbax.checkpoint as ocp

    where, folder = "checkpoints.save", Path(folder).absolute()
    leaves, settings = _store.named_leaves(where, tree), _store.canonical(where, settings)
    if keep < 1:
        raise ValueError(f"{where}: keep must be at least 1; got {keep}")
    last = latest(folder)
    if step < 0 or (last is not None and step <= last):
        raise ValueError(f"{where}: step must follow the latest in {folder}, {last}; got {step}")
    if last is not None:
        _same_settings(where, folder / str(last), settings)
    options = ocp.CheckpointManagerOptions(max_to_keep=keep, enable_async_checkpointing=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _store.check_room(folder, leaves)
        with _store.quiet(), ocp.CheckpointManager(folder, options=options) as manager:
            manager.save(int(step), args=_store.save_args(leaves, settings), force=True)
    except Exception as error:
        raise OSError(
            f"{where}: {folder} must be writable and have room for step {step}, the latest is "
            f"still {last}; got {_store.first_line(error)}"
        ) from error
    return folder / str(step)


def restore(
    folder: str | Path, like: Any, settings: Mapping, *, step: int | None = None
) -> tuple[int, Any]:
    """Return `(step, tree)` of the latest checkpoint in a folder, bit for bit as saved.

    Nothing is written, whatever happens.

    Args:
      folder: what `save` was given.
      like: a tree of the same structure, shapes and dtypes: the fresh state of the same training,
        or its `jax.eval_shape`. JAX leaves come back with the sharding of their like, NumPy as
        NumPy.
      settings: must equal those saved.
      step: another than the latest.

    Raises:
      ValueError: no checkpoint; a damaged one; other settings, structure, shapes or dtypes. The
        message names the path and what differs.

    Source: definition.
    """
    where, folder = "checkpoints.restore", Path(folder).absolute()
    wanted, settings = _store.named_leaves(where, like), _store.canonical(where, settings)
    found = latest(folder) if step is None else step
    if found is None or not (folder / str(found)).is_dir():
        raise ValueError(f"{where}: {folder} must hold a checkpoint; got none of step {found}")
    path = folder / str(found)
    rows = _same_settings(where, path, settings)
    for name in [*rows, *wanted]:
        if (name in rows) != (name in wanted):
            raise ValueError(
                f"{where}: {path} must have the structure of like; got {name} only in "
                f"{'the checkpoint' if name in rows else 'like'}"
            )
    for name, leaf in wanted.items():
        now, saved = _store.describe(leaf), {k: v for k, v in rows[name].items() if k != "crc32"}
        if now != saved:
            raise ValueError(f"{where}: {path} must hold {now} at {name}; got {saved}")
    leaves = _store.read_leaves(where, path, rows, wanted)
    return int(found), jax.tree.unflatten(jax.tree.structure(like), list(leaves.values()))


def latest(folder: str | Path) -> int | None:
    """Return the step of the newest complete checkpoint in a folder, or None.

    A checkpoint gets its final name only once complete. Source: definition.
    """
    folder = Path(folder)
    names = [p.name for p in folder.iterdir() if p.is_dir()] if folder.is_dir() else []
    return max((int(name) for name in names if name.isdecimal()), default=None)


def _same_settings(where: str, path: Path, settings: dict) -> dict:
    """Return the rows of a checkpoint, or raise ValueError if it was saved under other settings."""
    saved, rows = _store.read_manifest(where, path)
    missing = "nothing"
    differ = [
        f"{name} was {saved.get(name, missing)!r} and is {settings.get(name, missing)!r}"
        for name in sorted({*saved, *settings})
        if repr(saved.get(name, missing)) != repr(settings.get(name, missing))
    ]
    if differ:
        raise ValueError(
            f"{where}: {path} must have been saved under the same settings; "
            f"got: {'; '.join(differ)}"
        )
    return rows
