"""Derivatives of scalar functions of any order: exact, or estimated with random probes.

Door: f(...) -> estimator(fn, x) -> (fn(x), estimates), as in `math.divergence`, for fn:
[*event] -> []. A linear operator of order k is a law of directions v: if E[v ⊗ ... ⊗ v] is its
coefficient tensor, the k-th derivative of t -> fn(x + t v) at 0 is an unbiased estimate of it.
Probes lie on a leading axis, so that the spread of the estimates is the standard error. `chunk`
says how many directions are in memory at once (None: all).

The variance of one estimate of the Laplacian, the trace of a Hessian H, is 2 (|H|_F² - |diag H|²)
for Rademacher signs, 2 |H|_F² for normals, and d |diag H|² - (tr H)² for coordinates. Signs suit a
Hessian near a diagonal one, coordinates one whose diagonal is even.

Everything is forward mode along one direction, nested k times. The repeated tangents of the
nesting are the same computation, and XLA merges them: a layer costs k + 1 products, as a Taylor
series does, fewer where it meets the input, whose higher terms are zero. jax.experimental.jet costs
as much or more, and lacks rules for softplus, relu, scans and solves. Outside `jit`, and through
the carry of a scan, nothing is merged, and the cost is 2^k.

Source: Shi et al. 2024, arXiv 2412.00088 (stochastic Taylor derivative estimator); Hu et al. 2024,
arXiv 2312.14499 (Hutchinson's probes for differential equations).
"""

import jax
import jax.numpy as jnp

__all__ = [
    "biharmonic",
    "dense_biharmonic",
    "dense_generator",
    "dense_laplacian",
    "directional",
    "generator",
    "laplacian",
    "mixed",
    "operator",
    "sparse_laplacian",
]


def _check(where, chunk):
    if chunk is not None and chunk < 1:
        raise ValueError(f"derivatives.{where}: chunk must be at least 1; got {chunk}")


def _some(where, probes, what="probe"):
    if jnp.ndim(probes) == 0 or len(probes) == 0:
        shape = jnp.shape(probes)
        raise ValueError(f"derivatives.{where}: at least one {what} is needed; got shape {shape}")


def _fits(where, x, directions):
    """Raises unless directions [k, *event] are directions at x [*event]."""
    if jnp.shape(directions)[1:] != jnp.shape(x):
        raise ValueError(
            f"derivatives.{where}: directions must be [k, *event] for x {jnp.shape(x)}; "
            f"got shape {jnp.shape(directions)}"
        )


def _derivative(fn, directions):
    """x -> D^k fn(x)[v_1, ..., v_k], in forward mode, nested."""
    for direction in directions:
        # x itself carries no probe, so that its part of the network is evaluated once for all.
        fn = lambda x, fn=fn, v=direction: jax.jvp(fn, (x,), (v,))[1]
    return fn


def _over(one, items, chunk):
    """One [] for each of the items, a pytree of leading axis k: [k]."""
    if chunk is None:
        return jax.vmap(one)(items)
    return jax.lax.map(one, items, batch_size=chunk)


def _scalar(where, fn, x):
    """The value fn(x) []."""
    value = fn(x)
    if jnp.shape(value) != ():
        raise ValueError(f"derivatives.{where}: fn must return a scalar; got {jnp.shape(value)}")
    return value


def _unit(x, index):
    """The direction of entry `index` of x, flattened: [*event]."""
    return jnp.zeros(x.size, x.dtype).at[index].set(1).reshape(x.shape)


def operator(probes, order, *, scale=1.0, chunk=None):
    """An estimator of scale · E[D^order fn[v, ..., v]], one [] for each probe v: [k].

    Any linear operator <C, D^order fn> is one, given a law of probes with scale · E[v ⊗ ... ⊗ v] =
    C. A factor of C that is no matrix is applied to the probes beforehand.

    Args:
        probes: [k, *event].
        order: at least 1.
        scale: [] or [k], so that it may weigh the probes.
        chunk: probes in memory at once.

    Raises ValueError on no probe, an order below 1, chunk < 1 or probes of another shape.
    Source: Shi et al. 2024, arXiv 2412.00088.
    """
    return _operator("operator", probes, order, scale, chunk)


def _operator(where, probes, order, scale, chunk):
    _check(where, chunk)
    _some(where, probes)
    if order < 1:
        raise ValueError(f"derivatives.{where}: order must be at least 1; got {order}")

    def estimator(fn, x):
        _fits(where, x, probes)
        value = _scalar(where, fn, x)
        one = lambda v: _derivative(fn, [v] * order)(x)
        found = _over(one, jnp.asarray(probes, x.dtype), chunk)
        return value, found * jnp.broadcast_to(jnp.asarray(scale, x.dtype), found.shape)

    return estimator


def directional(directions, order, *, chunk=None):
    """An estimator of the derivatives of an order along each of k directions, exact: [k].

    Args: directions [k, *event]; order, at least 1; chunk, directions in memory at once. Raises
    ValueError as `operator` does.
    Source: definition, d^order/dt^order fn(x + t v) at t = 0.
    """
    return _operator("directional", directions, order, 1.0, chunk)


def mixed(directions):
    """An estimator of one mixed derivative D^k fn[v_1, ..., v_k], exact: [].

    Forward mode nested along k directions is multilinear in them, so that no polarisation is
    needed; where they differ nothing merges, and the cost is 2^k.

    Args: directions [k, *event]. Raises ValueError on no direction or another shape.
    Source: definition.
    """
    _some("mixed", directions, "direction")

    def estimator(fn, x):
        _fits("mixed", x, directions)
        value = _scalar("mixed", fn, x)
        return value, _derivative(fn, list(jnp.asarray(directions, x.dtype)))(x)

    return estimator


def laplacian(*, chunk=None):
    """An estimator of the Laplacian, exact: [], by d second derivatives.

    Of a log-density it is the divergence of the score.

    Args: chunk, coordinates in memory at once. Raises ValueError on chunk < 1.
    Source: definition.
    """
    _check("laplacian", chunk)

    def estimator(fn, x):
        value = _scalar("laplacian", fn, x)
        one = lambda i: _derivative(fn, [_unit(x, i)] * 2)(x)
        return value, jnp.sum(_over(one, jnp.arange(x.size), chunk))

    return estimator


def dense_laplacian(probes, *, chunk=None):
    """An estimator of the Laplacian, v . H v for each of k probes: [k].

    Args: probes [k, *event] of zero mean and unit covariance, Rademacher signs or normals; chunk,
    probes in memory at once. Raises ValueError as `operator` does.
    Source: Hutchinson 1990, doi 10.1080/03610919008812866; Shi et al. 2024, arXiv 2412.00088.
    """
    return _operator("dense_laplacian", probes, 2, 1.0, chunk)


def sparse_laplacian(coordinates, *, chunk=None):
    """An estimator of the Laplacian, d H_ii for each of k coordinates i: [k].

    Their mean over a subset J carries the factor d/|J|, and over all coordinates it is exact.

    Args: coordinates [k], integers into the flattened event, drawn uniformly (without replacement
    the spread overstates the error by √(d / (d - k)), roughly); chunk, coordinates in memory at
    once. Raises ValueError on no coordinate, another rank, numbers that are no integers, or chunk
    < 1.
    Source: Shi et al. 2024, arXiv 2412.00088; Hu et al. 2024, arXiv 2307.12306.
    """
    _check("sparse_laplacian", chunk)
    _some("sparse_laplacian", coordinates, "coordinate")
    coordinates = jnp.asarray(coordinates)
    if coordinates.ndim != 1 or not jnp.issubdtype(coordinates.dtype, jnp.integer):
        got = f"{coordinates.dtype} {coordinates.shape}"
        raise ValueError(f"derivatives.sparse_laplacian: coordinates must be integers [k]; {got=}")

    def estimator(fn, x):
        value = _scalar("sparse_laplacian", fn, x)
        one = lambda i: _derivative(fn, [_unit(x, i)] * 2)(x)
        return value, x.size * _over(one, coordinates, chunk)

    return estimator


def biharmonic(*, chunk=None):
    """An estimator of the biharmonic, the Laplacian of the Laplacian, exact: [].

    The sum of D⁴fn[e_i, e_i, e_j, e_j] over pairs i <= j, d (d + 1) / 2 of them.

    Args: chunk, pairs in memory at once. Raises ValueError on chunk < 1.
    Source: definition.
    """
    _check("biharmonic", chunk)

    def estimator(fn, x):
        value = _scalar("biharmonic", fn, x)
        rows, columns = jnp.triu_indices(x.size)
        twice = jnp.where(rows == columns, 1, 2).astype(x.dtype)

        def one(pair):
            e, f = (_unit(x, index) for index in pair[:2])
            return pair[2] * _derivative(fn, [e, e, f, f])(x)

        return value, jnp.sum(_over(one, (rows, columns, twice), chunk))

    return estimator


def dense_biharmonic(probes, *, chunk=None, sphere=True):
    """An estimator of the biharmonic, from D⁴fn[v, v, v, v] for each of k normal probes v: [k].

    E D⁴fn[v, v, v, v] = 3 Δ²fn. Signs would not do: their fourth moments count the pure
    derivatives once, not three times.

    Args:
        probes: [k, *event], standard normals.
        chunk: probes in memory at once.
        sphere: True uses directions only, u = v/|v| with the factor E|v|⁴ / 3 = d (d + 2) / 3: the
            length of v is independent of its direction and adds nothing but variance (its square
            over the squared mean is at least 8/d). It is exact on |x|⁴. False is the paper's.

    Raises ValueError as `operator` does.
    Source: Shi et al. 2024, arXiv 2412.00088. Deviation: `sphere`, derived.
    """
    where = "dense_biharmonic"
    if not sphere:
        return _operator(where, probes, 4, 1 / 3, chunk)
    _check(where, chunk)
    _some(where, probes)
    k, axes = len(probes), tuple(range(1, jnp.ndim(probes)))
    square = jnp.sum(probes**2, axes, keepdims=True)
    unit = probes / jnp.sqrt(jnp.where(square > 0, square, 1))
    d = probes.size // k
    return _operator(where, unit, 4, d * (d + 2) / 3, chunk)


def _generator(where, drift, factor, chunk):
    _check(where, chunk)
    if jnp.ndim(factor) != jnp.ndim(drift) + 1 or jnp.shape(factor)[:-1] != jnp.shape(drift):
        raise ValueError(
            f"derivatives.{where}: factor must be [*event, m] for drift {jnp.shape(drift)}; "
            f"got shape {jnp.shape(factor)}"
        )

    def apply(fn, x, directions, scale):
        _fits(where, x, directions)
        value, first = jax.jvp(fn, (x,), (jnp.asarray(drift, x.dtype),))
        if jnp.shape(value) != ():
            got = jnp.shape(value)
            raise ValueError(f"derivatives.{where}: fn must return a scalar; {got=}")
        one = lambda v: _derivative(fn, [v, v])(x)
        return value, first, scale * _over(one, jnp.asarray(directions, x.dtype), chunk)

    return apply


def generator(drift, factor, *, chunk=None):
    """An estimator of b . ∇fn + ½ tr(σ σᵀ H), exact: [], the generator of dX = b dt + σ dW at x.

    With b = 0 and σ = √2 C it is tr(C Cᵀ H).

    Args: drift [*event], factor σ [*event, m], both at x; chunk, columns of σ in memory at once.
    Raises ValueError on chunk < 1 or shapes that do not fit.
    Source: Itô 1944; definition.
    """
    apply = _generator("generator", drift, factor, chunk)

    def estimator(fn, x):
        columns = jnp.moveaxis(jnp.asarray(factor), -1, 0)
        value, first, second = apply(fn, x, columns, 0.5)
        return value, first + jnp.sum(second)

    return estimator


def dense_generator(drift, factor, probes, *, chunk=None):
    """An estimator of b . ∇fn + ½ tr(σ σᵀ H), one [] for each of k probes ξ, along σ ξ: [k].

    Args: drift [*event] and factor σ [*event, m], both at x; probes [k, m] of zero mean and unit
    covariance; chunk, probes in memory at once. Raises ValueError on no probe, chunk < 1 or shapes
    that do not fit.
    Source: Shi et al. 2024, arXiv 2412.00088.
    """
    where = "dense_generator"
    apply = _generator(where, drift, factor, chunk)
    _some(where, probes)
    if jnp.shape(probes)[1:] != jnp.shape(factor)[-1:]:
        raise ValueError(
            f"derivatives.{where}: probes must be [k, m] for factor {jnp.shape(factor)}; "
            f"got shape {jnp.shape(probes)}"
        )

    def estimator(fn, x):
        directions = jnp.moveaxis(jnp.tensordot(factor, probes, (-1, -1)), -1, 0)
        value, first, second = apply(fn, x, directions, 0.5)
        return value, first + second

    return estimator
