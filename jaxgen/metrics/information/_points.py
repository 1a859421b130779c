"""What every estimator of information asks of its points, and how it sums up its terms."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.metrics._mmd import Estimate

Array = jax.Array


def finite(where: str, name: str, x: Array) -> None:
    """Nothing; raises ValueError when x [...] is concrete and holds a nan or an infinity."""
    if isinstance(x, jax.core.Tracer):
        return
    # In NumPy: inside a jitted function JAX would trace the check of a concrete array.
    bad = int(np.sum(~np.isfinite(np.asarray(x))))
    if bad:
        raise ValueError(f"{where}: {name} must be finite; got {bad} nan or infinite of {x.size}")


def points(where: str, name: str, xs: Array, *, least: int = 2) -> Array:
    """A sample as rows [n, d]; raises ValueError unless floating, finite, and n >= least."""
    xs = jnp.asarray(xs)
    if xs.ndim < 1 or xs.size == 0 or xs.shape[0] < least:
        raise ValueError(
            f"{where}: {name} [n, *event] must hold at least {least} points; got shape {xs.shape}"
        )
    if not jnp.issubdtype(xs.dtype, jnp.floating):
        raise ValueError(f"{where}: {name} must be of a floating dtype; got {xs.dtype}")
    finite(where, name, xs)
    return xs.reshape(xs.shape[0], -1)


def paired(where: str, *clouds: Array, least: int = 2) -> tuple[Array, ...]:
    """Samples of equal length as rows [n, d_i], of one dtype; raises ValueError otherwise."""
    names = ("xs", "ys", "zs")
    rows = [points(where, *pair, least=least) for pair in zip(names, clouds, strict=False)]
    if len({x.shape[0] for x in rows}) > 1:
        got = ", ".join(str(x.shape[0]) for x in rows)
        raise ValueError(f"{where}: the samples must hold equally many points; got {got}")
    dtype = jnp.result_type(*rows)
    return tuple(x.astype(dtype) for x in rows)


def symbols(where: str, name: str, xs: Array, *, least: int = 1) -> Array:
    """Symbols [n, *event] of any dtype as rows [n, d]; raises ValueError on fewer than least."""
    xs = jnp.asarray(xs)
    if xs.ndim < 1 or xs.size == 0 or xs.shape[0] < least:
        raise ValueError(
            f"{where}: {name} [n, *event] must hold at least {least} symbols; got {xs.shape}"
        )
    return xs.reshape(xs.shape[0], -1)


def neighbours(where: str, k: int, n: int) -> None:
    """Nothing; raises ValueError unless k is an integer with 1 <= k < n."""
    if not isinstance(k, int) or not 1 <= k < n:
        raise ValueError(f"{where}: k must be an integer with 1 <= k < n = {n}; got {k!r}")


def norm_name(where: str, norm: str) -> None:
    """Nothing; raises ValueError unless the norm is "euclidean" or "max"."""
    if norm not in ("euclidean", "max"):
        raise ValueError(f'{where}: norm must be "euclidean" or "max"; got {norm!r}')


def positive(where: str, name: str, number: Array) -> None:
    """Nothing; raises ValueError unless every entry of a concrete number is positive, finite."""
    if isinstance(number, jax.core.Tracer):
        return
    if not np.all((np.asarray(number) > 0) & np.isfinite(np.asarray(number))):
        raise ValueError(f"{where}: {name} must be positive and finite; got {number}")


def mean_of(terms: Array) -> Estimate:
    """The mean of terms [n] and its standard error as if they were independent."""
    n = terms.shape[0]
    spread = jnp.sum((terms - jnp.mean(terms)) ** 2) / max(n - 1, 1)
    # A root of zero has no gradient: equal terms have the error 0 and the gradient 0.
    safe = jnp.where(spread > 0, spread, 1)
    return Estimate(jnp.mean(terms), jnp.where(spread > 0, jnp.sqrt(safe / n), 0))


def each_row(fn, xs, chunk: int):
    """fn(index [], x [d]) for every row of xs [n, d], `chunk` rows at a time."""
    n = xs.shape[0]
    if n <= chunk:
        return jax.vmap(fn)(jnp.arange(n), xs)
    return jax.lax.map(lambda pair: fn(*pair), (jnp.arange(n), xs), batch_size=chunk)
