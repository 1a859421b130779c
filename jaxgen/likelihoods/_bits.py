"""The unit of the image tables."""

import math


def bits_per_dim(log_prob, dim, *, levels=None, width=2.0):
    """-log2 p per dimension [...] from log_prob [...] in nats over `dim` dimensions.

    Args: levels: when the density is of data dequantised uniformly and scaled to an interval of
        this `width` from integers 0 ... levels - 1, the number of integers; the result is then bits
        per dimension of the integers (an upper bound for one draw of dequantisation noise, on
        average).
    Raises ValueError on dim < 1. Source: Theis et al. 2016, arXiv 1511.01844, section 3.1.
    """
    if dim < 1:
        raise ValueError(f"likelihoods.bits_per_dim: dim must be at least 1; got {dim}")
    scale = 0.0 if levels is None else math.log(levels / width)
    return (scale - log_prob / dim) / math.log(2)
