"""Data near a union of subspaces: the denoiser that decides, and how far apart two of them are."""

import jax.numpy as jnp

from jaxgen.densities._mixture import component_posteriors


def deciding_denoiser(mixture, process):
    """The denoiser (z, t) -> [d] that gives z_t to its most probable component and answers with
    E[x0 | z, k] of that one; z is [d] or [c, d].

    Where the components are far apart it is the exact `denoiser`; its parts are linear, so for
    subspaces it is a projection. Raises ValueError (when traced) on a process diagonal in a basis.
    Source: Wang et al. 2024, arXiv 2409.02426.
    """

    def deciding(z, t):
        shares, means = component_posteriors(mixture, process, z, t)
        return means[jnp.argmax(shares)]

    return deciding


def subspace_distance(first, second):
    """|U U^T - V V^T|_F [] of two subspaces, given by bases U, V [d, r] that need not be
    orthonormal; from 0 to sqrt(2 r).

    Raises ValueError on bases of unequal shape. Source: Wang et al. 2024, arXiv 2409.02426.
    """
    if jnp.ndim(first) != 2 or jnp.shape(first) != jnp.shape(second):
        raise ValueError(
            "densities.subspace_distance: the bases must both be [d, r]; "
            f"got {jnp.shape(first)} and {jnp.shape(second)}"
        )
    first, second = (jnp.linalg.qr(jnp.asarray(basis))[0] for basis in (first, second))
    return jnp.linalg.norm(first @ first.T - second @ second.T)
