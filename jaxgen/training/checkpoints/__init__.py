"""Checkpoints of one run: `save(folder, step, tree, settings)`, `restore(folder, like, settings)`.

A run that is killed and started again with the same command goes on bit for bit: save everything
the next step needs (the trainer's state), and make keys by `jax.random.fold_in(key, step)`.
"""

from jaxgen.training.checkpoints._checkpoints import latest as latest
from jaxgen.training.checkpoints._checkpoints import restore as restore
from jaxgen.training.checkpoints._checkpoints import save as save

__all__ = ["latest", "restore", "save"]
