"""The model of a run: images, noising process, network, and how the network is read.

EDM's preconditioning (Karras et al. 2022, arXiv 2206.00364, table 1) under any linear process: the
network sees z / sqrt(alpha^2 sigma_data^2 + sigma^2) and log(sigma/alpha)/4, and its output is read
by the row `predictions.edm(sigma_data)`.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

import jaxgen as jg
from jaxgen import data, losses, nets

_SCALAR, _AUGMENTED = jg.processes.scalar, jg.processes.augmented
PROCESSES = {
    "vp": (_SCALAR.vp, 1e-7, 1.0),
    "ve": (_SCALAR.ve, 0.0, 1.0),
    "subvp": (_SCALAR.subvp, 1e-7, 1.0),
    "cosine": (_SCALAR.cosine, 1e-7, 1 - 1e-5),
    "edm": (_SCALAR.edm, 1e-5, 1e4),
    "linear_flow": (_SCALAR.linear_flow, 1e-7, 1 - 1e-6),
    "cld": (_AUGMENTED.cld, 1e-4, 3.0),
    "psld": (_AUGMENTED.psld, 1e-4, 3.0),
    "hold-3": (functools.partial(_AUGMENTED.hold, 3), 1e-3, 3.0),
    "hold-4": (functools.partial(_AUGMENTED.hold, 4), 5e-3, 3.0),
}
BLOCKS = ("cld", "psld", "hold-3", "hold-4")  # sampled under, never trained under


def process_between(name: str, noise_min: float, noise_max: float):
    """The process of that name between two noise levels sigma/alpha (for blocks gamma^(-1/2)).

    Ends that the process does not reach are its own.
    """
    build, t_min, t_max = PROCESSES[name]
    levels = _SCALAR.edm(t_min=noise_min, t_max=noise_max)
    whole = build(t_min=t_min, t_max=t_max)
    t_min, t_max = (float(t) for t in jg.predictions.matched_times(whole, levels))
    return build(t_min=t_min, t_max=t_max)


class Model(NamedTuple):
    """What training, sampling and likelihood share."""

    images: data.ImageSet
    process: Any  # LinearForward, between noise_min and noise_max
    net: nets.Net
    apply: Callable  # (params, z [*event], t [], label=int []) -> [*event], the network's output
    kind: Callable  # the row that reads it
    loss_fn: Callable  # (params, key, x0 [*event], t=None, label=) -> []
    classes: int | None

    def denoiser(self, params, label):
        """The denoiser (z [*event], t []) -> E[x0 | z, label] [*event] for a label []."""
        return jg.as_denoiser(
            self.process, lambda z, t: self.apply(params, z, t, label=label), kind=self.kind
        )


def load_images(name: str) -> data.ImageSet:
    """The images of a run, validated. Raises ValueError on a user's file that does not fit."""
    if name in ("mnist5k", "digits8"):
        return getattr(data, name)()
    try:
        return data.load_npz(name)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def build(settings) -> Model:
    """The model that the settings describe. Raises ValueError where they do not fit the images."""
    images = load_images(settings.data)
    process = process_between(settings.process, settings.noise_min, settings.noise_max)
    classes = images.num_classes
    net = nets.unet(
        images.event_shape,
        channels=settings.channels,
        multipliers=settings.multipliers,
        blocks=settings.blocks,
        patch=settings.patch,
        num_classes=classes,
        noise_features=lambda t: -jg.processes.log_snr(process, t) / 8,
    )
    if settings.batch > len(images.train_x):
        raise ValueError(
            f"settings: batch must be at most the {len(images.train_x)} training images; "
            f"got {settings.batch}"
        )

    def apply(params, z, t, *, label):
        alpha, sigma = process.transition(t)
        scaled = z / jnp.sqrt((alpha * settings.sigma_data) ** 2 + sigma**2)
        return net.apply(params, scaled, t, label=None if classes is None else label)

    kind = jg.predictions.edm(settings.sigma_data)
    law = losses.score.log_normal_noise(process, settings.noise_mean, settings.noise_std)
    loss_fn = losses.score.denoising(process, apply, kind=kind, time=law)
    return Model(images, process, net, apply, kind, loss_fn, classes)


def init_params(model: Model, key: jax.Array):
    """Fresh parameters of the network, float32; compiled without optimisation, for one call."""
    return jax.jit(model.net.init, compiler_options={"xla_backend_optimization_level": 0})(key)
