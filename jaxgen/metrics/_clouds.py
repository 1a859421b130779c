"""What every metric asks of its two samples."""

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array


def finite(where: str, name: str, x: Array) -> None:
    """Nothing; raises ValueError when x [...] is concrete and holds a nan or an infinity."""
    if isinstance(x, jax.core.Tracer):
        return
    bad = int(np.sum(~np.isfinite(np.asarray(x))))  # NumPy: jax.numpy would be traced inside jit
    if bad:
        raise ValueError(f"{where}: {name} must be finite; got {bad} nan or infinite of {x.size}")


def points(where: str, xs: Array, ys: Array, *, least: int = 1) -> tuple[Array, Array]:
    """Two samples, xs [n, *event] and ys [m, *event], in one floating dtype.

    Raises ValueError unless both are floating [n, *event] with one event shape, at least `least`
    points each, and finite where they are concrete.
    """
    xs, ys = jnp.asarray(xs), jnp.asarray(ys)
    if xs.ndim < 1 or ys.ndim < 1 or xs.shape[1:] != ys.shape[1:]:
        raise ValueError(
            f"{where}: xs [n, *event] and ys [m, *event] must have one event shape; "
            f"got {xs.shape} and {ys.shape}"
        )
    for name, x in (("xs", xs), ("ys", ys)):
        if not jnp.issubdtype(x.dtype, jnp.floating):
            raise ValueError(f"{where}: {name} must be of a floating dtype; got {x.dtype}")
        if x.shape[0] < least:
            raise ValueError(f"{where}: {name} must hold at least {least} points; got {x.shape[0]}")
        if x.size == 0:
            raise ValueError(f"{where}: {name} must have entries; got shape {x.shape}")
        finite(where, name, x)
    dtype = jnp.result_type(xs, ys)
    return xs.astype(dtype), ys.astype(dtype)


def flat(where: str, xs: Array, ys: Array, *, least: int = 1) -> tuple[Array, Array]:
    """Two samples as rows, xs [n, d] and ys [m, d], of one floating dtype.

    Raises ValueError as `points` does.
    """
    xs, ys = points(where, xs, ys, least=least)
    return xs.reshape(xs.shape[0], -1), ys.reshape(ys.shape[0], -1)


def estimator_name(where: str, estimator: str) -> None:
    """Nothing; raises ValueError unless the name is "unbiased" or "biased"."""
    if estimator not in ("unbiased", "biased"):
        raise ValueError(f'{where}: estimator must be "unbiased" or "biased"; got {estimator!r}')
