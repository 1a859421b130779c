"""Energies as score networks: score matching trains a log-density by its gradient."""

import jax


def score_apply(logdensity_fn):
    """apply(params, z [*event], t [], **cond) -> [*event] = grad_z log p(z; t), a prediction of
    kind "score".

    For `losses.score`: `denoising`, `implicit` and `sliced` then fit an energy without negatives or
    a normaliser. Args: logdensity_fn(params, z, t, **cond) -> [], unnormalised. Source: Hyvarinen
    2005, JMLR 6, equation 2.
    """
    return jax.grad(logdensity_fn, argnums=1)
