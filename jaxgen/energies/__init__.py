"""Models known up to a constant. Door: f(...) -> logdensity_fn(x [*event]) -> [], nats."""

from jaxgen.energies._density import log_density, product

__all__ = ["log_density", "product"]
