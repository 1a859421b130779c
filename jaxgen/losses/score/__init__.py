"""Score matching. Door: f(process, apply, *, kind, ...) -> loss_fn(params, key, x0 [*event],
t=None, **cond) -> [].

For one example; the trainer splits keys, maps over the batch and averages. `apply(params, z, t,
**cond) -> [*event]`, z [*event] or [c, *event]. Beside the losses stand their time laws u -> t and
weightings t -> [].
"""

from jaxgen.losses.score._denoising import denoising
from jaxgen.losses.score._hybrid import hybrid
from jaxgen.losses.score._implicit import implicit, sliced
from jaxgen.losses.score._local import local
from jaxgen.losses.score._propagation import propagation
from jaxgen.losses.score._second_moment import LossHistory, TimeSampler, loss_second_moment
from jaxgen.losses.score._soft_mixture import soft_mixture
from jaxgen.losses.score._subdivided import subdivided
from jaxgen.losses.score._subspaces import subspaces
from jaxgen.losses.score._times import (
    edm_weight,
    likelihood_time,
    likelihood_weight,
    log_normal_noise,
    min_snr_weight,
    snr_weight,
    uniform_time,
)

__all__ = [
    "LossHistory",
    "TimeSampler",
    "denoising",
    "edm_weight",
    "hybrid",
    "implicit",
    "local",
    "likelihood_time",
    "likelihood_weight",
    "log_normal_noise",
    "loss_second_moment",
    "min_snr_weight",
    "propagation",
    "sliced",
    "snr_weight",
    "soft_mixture",
    "subdivided",
    "subspaces",
    "uniform_time",
]
