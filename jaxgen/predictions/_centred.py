"""Networks that see points, used where only their shape is noised."""

from jaxgen.math import helmert, unhelmert


def in_shape(fn):
    """The function (..., y, t, **cond) of `math.helmert` coordinates y [m - 1, d] or [c, m - 1, d]
    made of one of points: fn(..., z, t, **cond) -> [m, d] is handed z = unhelmert(y), and its
    answer is read by `helmert`.

    So every linear process, loss, sampler and likelihood becomes that of the subspace of centre of
    mass 0, in its (m - 1) d dimensions: noise in these coordinates is projected noise. Works on
    apply(params, z, t, **cond) as on a denoiser. Data enter as `helmert(x0)`, samples leave by
    `unhelmert`. What comes back is translation invariant; it is invariant under rotations and
    permutations where fn is equivariant.
    Source: Hoogeboom et al. 2022, arXiv 2203.17003, section 3; Xu et al. 2023, arXiv 2305.01140; as
    orthonormal coordinates, derived.
    """

    def reduced(*args, **cond):
        *front, y, t = args
        return helmert(fn(*front, unhelmert(y), t, **cond))

    return reduced
