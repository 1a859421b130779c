"""Logarithms of modified Bessel functions, for orders and arguments of any size.

Two regions, both evaluated and one selected, so that nothing branches under vmap and jit: Debye's
uniform expansion where the order or the argument is large (in float64 v >= 14.5 or x >= 25, in
float32 v >= 7.5 or x >= 11), and below both a power series for I, Temme's series or a Chebyshev
table with the recurrence in the order for K. The logarithms are shared by the regions. Derivatives
in x and in v are those of the expansions; the leading part's are S / x and -asinh(v / x), S =
sqrt(v^2 + x^2).

Sources: Plesner, Sørensen and Hauberg 2024, arXiv:2409.08729, for the Debye expansion of the
logarithm by region; DLMF 10.25, 10.29, 10.41; Temme 1975. Deviations: no numerical integral and no
Hankel series; the leading exponent is arranged to keep its relative accuracy where it crosses zero.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.math import _bessel_regions as regions

Array = jax.Array


def log_iv(v: Array, x: Array) -> Array:
    """log I_v(x) [...], the modified Bessel function of the first kind, elementwise.

    Args:
        v: order [...], real and >= 0, or a negative integer (I is even there).
        x: argument [...], >= 0; the two broadcast.

    In float64 the error is below 1e-13, relative above 1 and absolute below; in float32 2e-6, for
    v to 1e5 and x to 1e6 at least. log_iv(0, 0) = 0, log_iv(v > 0, 0) = -inf, and nan for x < 0 and
    for negative orders that are not integers (I may be negative there). Differentiable in x and,
    for v >= 0, in v, any number of times. Half precision is computed in float32. Raises ValueError
    on complex numbers. Subnormal x count as 0 where the backend flushes them.
    Source: DLMF 10.41.3 and 10.25.2.
    """
    v, x, dtype = _prepared("log_iv", v, x)
    return _log_iv(v, x).astype(dtype)


def log_kv(v: Array, x: Array) -> Array:
    """log K_v(x) [...], the modified Bessel function of the second kind, elementwise.

    Args:
        v: order [...], any real number (K is even in it).
        x: argument [...], >= 0; the two broadcast.

    Accuracy and derivatives as `log_iv`. log_kv(v, 0) = inf, and nan for negative x.
    Source: DLMF 10.41.4, 10.29.1; Temme 1975.
    """
    v, x, dtype = _prepared("log_kv", v, x)
    return _log_kv(jnp.abs(v), x).astype(dtype)


def _prepared(name, v, x):
    """v and x of one shape [...] and dtype, and the dtype of the answer."""
    v, x = jnp.asarray(v), jnp.asarray(x)
    if any(jnp.issubdtype(part.dtype, jnp.complexfloating) for part in (v, x)):
        raise ValueError(f"math.{name}: v and x must be real; got {v.dtype} and {x.dtype}")
    dtype = jnp.result_type(v, x)
    if not jnp.issubdtype(dtype, jnp.floating):
        dtype = jnp.result_type(float)
    working = dtype if dtype in (jnp.float32, jnp.float64) else jnp.float32
    shape = np.broadcast_shapes(v.shape, x.shape)
    v, x = (jnp.broadcast_to(part.astype(working), shape) for part in (v, x))
    return v, x, dtype


def _split(v, x):
    """Whether far [...], and v, x as the far and as the near region may see them."""
    plan = regions.plan_of(x.dtype)
    far = (v >= plan.order) | (x >= plan.argument)
    v_far = jnp.where(far, v, plan.order)
    x_far = jnp.where(far & (x < jnp.inf), x, plan.argument)
    near = ~far & (x > 0)
    return far, (v_far, jnp.where(x == 0, 0, x_far)), (v * near, jnp.where(near, x, 1))


def _times_log(v, x):
    """v log(x) [...], 0 where v is."""
    return jnp.where(v == 0, 0, v * jnp.log(x))


def _even(v):
    """|v| [...] for integers below 0, v for all v >= 0, else nan."""
    return jnp.where(v >= 0, v, jnp.where(v == jnp.round(v), -v, jnp.nan))


@jax.custom_jvp
def _log_iv(v, x):
    v = _even(v)
    far, for_far, for_near = _split(v, x)
    rise, base, rest = regions.leading(*for_far)
    base = jnp.where(far, base, x / 2)
    factor = regions.debye_factor(1, *for_far), regions.series_factor(*for_near)
    outer = jnp.where(far, rise + v * rest, 0) + jnp.log(jnp.where(far, *factor))
    value = outer + _times_log(v, base)
    value = jnp.where(x == 0, jnp.where(v == 0, 0, -jnp.inf), value)
    return jnp.where((x >= 0) & (v >= 0), jnp.where(x == jnp.inf, jnp.inf, value), jnp.nan)


@jax.custom_jvp
def _log_kv(v, x):
    far, for_far, for_near = _split(v, x)
    rise, base, rest = regions.leading(*for_far)
    near_x = for_near[1]
    log_base = jnp.log(jnp.where(far, base, near_x))
    shift, n, near = regions.recurred_factor(*for_near, jnp.where(far, 0, log_base))
    factor = jnp.log(jnp.where(far, regions.debye_factor(-1, *for_far), near))
    power = jnp.where(far, v, n)
    value = jnp.where(far, -rise - v * rest, shift) + factor
    value = value - jnp.where(power == 0, 0, power * log_base)
    value = jnp.where(x == 0, jnp.inf, jnp.where(x == jnp.inf, -jnp.inf, value))
    return jnp.where((x >= 0) & (v >= 0), value, jnp.nan)


def _log_slope(fn, argument):
    """The derivative [...] of log fn, by the derivative of fn."""
    value, slope = jax.jvp(fn, (argument,), (jnp.ones_like(argument),))
    return slope / value


def _slope_x(sign, near_slope, v, x):
    far, (v_far, x_far), for_near = _split(v, x)
    lead = sign * (regions.radius(v_far, x_far) / x_far)
    lead += _log_slope(lambda x: regions.debye_factor(sign, v_far, x), x_far)
    at_zero = jnp.where(v == 0, 0 if sign > 0 else -jnp.inf, sign * jnp.inf)
    slope = jnp.where(x == 0, at_zero, jnp.where(far, lead, near_slope(*for_near)))
    return jnp.where(x == jnp.inf, sign, slope)


def _slope_v(sign, near_slope, v, x):
    far, (v_far, x_far), for_near = _split(v, x)
    lead = -sign * jnp.arcsinh(v_far / x_far)
    lead += _log_slope(lambda v: regions.debye_factor(sign, v, x_far), v_far)
    slope = jnp.where(far, lead, near_slope(*for_near))
    return jnp.where(x == 0, -sign * jnp.inf, jnp.where(x == jnp.inf, 0, slope))


def _near_i_x(v, x):
    return v / x + _log_slope(lambda x: regions.series_factor(v, x), x)


def _near_i_v(v, x):
    return jnp.log(x / 2) + _log_slope(lambda v: regions.series_factor(v, x), v)


def _near_k(v, x):
    shift, n, factor = regions.recurred_factor(v, x, jnp.log(x))
    return shift - n * jnp.log(x) + jnp.log(factor)


def _near_k_x(v, x):
    return jax.jvp(lambda x: _near_k(v, x), (x,), (jnp.ones_like(x),))[1]


def _near_k_v(v, x):
    return jax.jvp(lambda v: _near_k(v, x), (v,), (jnp.ones_like(v),))[1]


def _rule(fn, slopes, primals, tangents):
    """The derivative of fn as its slope in x and, only where v moves, its slope in v."""
    v, x = primals
    out, total = fn(v, x), jnp.zeros_like(x)
    for slope, tangent in zip(slopes, tangents, strict=True):
        if not isinstance(tangent, jax.custom_derivatives.SymbolicZero):
            total += slope(v, x) * tangent
    return out, total


_log_iv.defjvp(
    functools.partial(
        _rule,
        _log_iv,
        (
            lambda v, x: jnp.where(v < 0, jnp.nan, _slope_v(1, _near_i_v, v, x)),
            lambda v, x: _slope_x(1, _near_i_x, _even(v), x),
        ),
    ),
    symbolic_zeros=True,
)
_log_kv.defjvp(
    functools.partial(
        _rule,
        _log_kv,
        (
            lambda v, x: _slope_v(-1, _near_k_v, v, x),
            lambda v, x: _slope_x(-1, _near_k_x, v, x),
        ),
    ),
    symbolic_zeros=True,
)
