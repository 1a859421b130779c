"""Bounds on the likelihood of models with latent variables. Door: f(encoder, logdensity_fn, *,
draws) -> loss_fn(params, key, x0 [*event], t=None, **cond) -> [], nats.

`encoder(params, x0, **cond)` is a `Distribution` of z given x0, and `logdensity_fn(params, z, x0,
**cond)` the model's log p(x0, z); params is one tree that both read. `elbo`, `iwae` and `dreg` need
draws that carry gradients, such as those of `gaussian_encoder`; `vimco` does not.
`posterior_map` has no model but draws of one: f(simulate, posterior) -> loss_fn(params, key).
"""

from jaxgen.losses.latent._bounds import dreg, elbo, iwae
from jaxgen.losses.latent._encoder import gaussian_divergence, gaussian_encoder
from jaxgen.losses.latent._posterior_map import posterior_map
from jaxgen.losses.latent._vimco import vimco

__all__ = [
    "dreg",
    "elbo",
    "gaussian_divergence",
    "gaussian_encoder",
    "iwae",
    "posterior_map",
    "vimco",
]
