"""Classifier-free guidance."""

import jax


def cfg(conditional, unconditional, weight):
    """A denoiser (z, t) -> [*event] that leans towards the condition: D_c + weight (D_c - D_u).

    Args: two denoisers and a weight [], possibly traced; weight 0 is the conditional denoiser, -1
    the unconditional.
    Source: Ho and Salimans 2022, arXiv 2207.12598, equation 6 (their w).
    """

    def guided(z, t):
        with_condition, without = conditional(z, t), unconditional(z, t)
        return jax.tree.map(
            lambda c, u: c + jax.numpy.asarray(weight, c.dtype) * (c - u), with_condition, without
        )

    return guided
