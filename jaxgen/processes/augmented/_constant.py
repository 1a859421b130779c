"""Constant matrices under a rate."""


def times(xp, matrix, size):
    """size [...] times a matrix [c, c], [..., c, c], in the dtype of size. Source: definition."""
    matrix = xp.asarray(matrix, size.dtype)
    return size[..., None, None] * matrix.reshape((1,) * size.ndim + matrix.shape)
