"""Training: `trainer(loss_fn, optimiser, *, ...) -> Trainer(init, step)`, and what surrounds it.

`averages` of parameters, `checkpoints` that survive a kill, `mesh` helpers for data parallelism,
and `save_denoiser` / `load_denoiser` for the finished network. optax and orbax live here.
"""

from jaxgen.training import averages as averages
from jaxgen.training import checkpoints as checkpoints
from jaxgen.training import mesh as mesh
from jaxgen.training._artefact import load_denoiser as load_denoiser
from jaxgen.training._artefact import save_denoiser as save_denoiser
from jaxgen.training._trainer import TrainerInfo as TrainerInfo
from jaxgen.training._trainer import TrainerState as TrainerState
from jaxgen.training._trainer import stratified as stratified
from jaxgen.training._trainer import trainer as trainer

__all__ = [
    "TrainerInfo",
    "TrainerState",
    "averages",
    "checkpoints",
    "load_denoiser",
    "mesh",
    "save_denoiser",
    "stratified",
    "trainer",
]
