"""A trained denoiser as one folder: parameters and the configuration that rebuilds its network."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from jaxgen.training import _store


def save_denoiser(folder: str | Path, params: Mapping, config: Mapping) -> Path:
    """Return the folder, which now holds params and config, complete on disk.

    Args:
      folder: must not exist.
      params: dicts, nested, of arrays, as flax networks have.
      config: JSON values, whatever rebuilds the network and the process: sizes, kind, process.

    Raises:
      ValueError: the folder exists, params are not nested dicts of arrays, config is not JSON.
      OSError: the folder cannot be written or the disk is full.

    Source: definition.
    """
    import orbax.checkpoint as ocp

    where, folder = "training.save_denoiser", Path(folder).absolute()
    leaves = _flat(where, params)
    config = _store.canonical(where, config)
    if folder.exists():
        raise ValueError(f"{where}: {folder} must not exist")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _store.check_room(folder.parent, leaves)
        args = _store.save_args(leaves, config)
        with _store.quiet(), ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as writer:
            writer.save(folder, args=args)
    except Exception as error:
        got = _store.first_line(error)
        raise OSError(f"{where}: {folder} must be writable and have room; got {got}") from error
    return folder


def load_denoiser(folder: str | Path, *, dtype: Any = None) -> tuple[dict, dict]:
    """Return `(params, config)` as `save_denoiser` was given them, on the default device.

    Args:
      folder: what `save_denoiser` wrote, on any machine.
      dtype: dtype of the floating-point parameters; that of the saved ones if left out.

    Raises:
      ValueError: the folder is missing, damaged, or not a saved denoiser; dtype is not floating.

    Source: definition.
    """
    where, folder = "training.load_denoiser", Path(folder).absolute()
    if dtype is not None and not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(f"{where}: dtype must be a floating dtype; got {dtype}")
    if not folder.is_dir():
        raise ValueError(f"{where}: {folder} must be a folder made by save_denoiser; got no folder")
    config, rows = _store.read_manifest(where, folder)
    like = {
        name: jax.ShapeDtypeStruct(row["shape"], jnp.dtype(row["dtype"]))
        for name, row in rows.items()
    }
    leaves = _store.read_leaves(where, folder, rows, like)
    cast = lambda a: a.astype(dtype) if jnp.issubdtype(a.dtype, jnp.floating) else a
    params: dict = {}
    for name, leaf in leaves.items():
        *path, last = name.split("/")
        inner = params
        for part in path:
            inner = inner.setdefault(part, {})
        inner[last] = leaf if dtype is None else cast(leaf)
    return params, config


def _flat(where: str, params: Any, path: tuple = ()) -> dict:
    """Return {"a/b/c": leaf} of nested dicts, or raise ValueError."""
    if not isinstance(params, Mapping):
        name = "/".join(path)
        if not path or not hasattr(params, "dtype") or _store.is_key(params):
            raise ValueError(
                f"{where}: params must be nested dicts of arrays; got {params!r} {name}"
            )
        return {name: params}
    leaves: dict = {}
    for name, inner in params.items():
        if not isinstance(name, str) or "/" in name:
            raise ValueError(f"{where}: names in params must be words without '/'; got {name!r}")
        leaves |= _flat(where, inner, (*path, name))
    return leaves
