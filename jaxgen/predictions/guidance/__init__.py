"""Guidance. Door: f(denoiser, ...) -> denoiser (z, t) -> [*event]; weight 0 changes nothing."""

from jaxgen.predictions.guidance._cfg import cfg

__all__ = ["cfg"]
