"""What laws on spheres ask of I_v: its normalised logarithm and the ratio of neighbours, for one
fixed order and any argument from 0 on, without the cancellations that log_iv would leave them.

With v = d / 2 - 1 and t the first coordinate of a uniform point on the sphere in d dimensions,
E exp(x t) = Gamma(v + 1) (2 / x)^v I_v(x), and its logarithmic derivative is I_{v+1} / I_v.
"""

import functools
import math

import jax
import jax.numpy as jnp

from jaxgen.math import _bessel_regions as regions

Array = jax.Array


def log_iv_normalised(v: float, x: Array) -> Array:
    """log(Gamma(v + 1) (2 / x)^v exp(-x) I_v(x)) [...]: 0 at x = 0, and falling.

    Args:
        v: order, one Python number >= 0.
        x: argument [...], >= 0.

    The error is some eps of the dtype of x, relative above 1 and absolute below; differentiable in
    x, with derivative -(1 - I_{v+1} / I_v). nan for negative x. Raises ValueError on other v.
    Source: DLMF 10.25.2, 10.41.3.
    """
    v, x, dtype = _prepared("log_iv_normalised", v, x)
    return _log_normalised(v, x).astype(dtype)


def iv_ratio(v: float, x: Array, *, complement: bool = False) -> Array:
    """I_{v+1}(x) / I_v(x) [...], from 0 at x = 0 to 1; with `complement`, 1 minus it, which keeps
    its relative accuracy where the ratio is near 1.

    Arguments and errors as `log_iv_normalised`. Source: DLMF 10.29.2.
    """
    v, x, dtype = _prepared("iv_ratio", v, x)
    return (_complement(v, x) if complement else _ratio(v, x)).astype(dtype)


def _prepared(name, v, x):
    try:
        number = float(v)
    except (TypeError, ValueError, jax.errors.ConcretizationTypeError):
        number = math.nan
    if not 0 <= number < math.inf:
        raise ValueError(f"math.{name}: v must be one Python number, at least 0; got {v}")
    x = jnp.asarray(x)
    dtype = x.dtype if jnp.issubdtype(x.dtype, jnp.floating) else jnp.result_type(float)
    working = dtype if dtype in (jnp.float32, jnp.float64) else jnp.float32
    return number, x.astype(working), dtype


def _log_gamma_rest(v):
    """log Gamma(v + 1) - v log(v) + v, a float. Source: DLMF 5.11.1."""
    if v < 12:
        return math.lgamma(v + 1) - (v * math.log(v) if v else 0.0) + v
    series = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360)
    return math.log(2 * math.pi * v) / 2 + sum(c * v ** -(2 * k + 1) for k, c in enumerate(series))


def _series(v, x):
    """Gamma(v + 1) (2 / x)^v I_v(x) [...], a polynomial in x^2 whose coefficients v fixes."""
    coefficients = [1.0]
    for k in range(1, regions.plan_of(x.dtype).series + 1):
        coefficients.append(coefficients[-1] / (4 * k * (v + k)))
    return regions.polynomial(coefficients, x**2)


def _debye(v, x):
    """The factor of Debye's expansion [...]; at v = 0 its polynomials are their first numbers."""
    return regions.debye_factor(1, jnp.full_like(x, v) if v else None, x)


def _radius(v, x):
    return regions.radius(jnp.full_like(x, v), x) if v else x


def _regions(v, x, near_fn, far_fn):
    """near_fn of small x where v is small, else far_fn; a large v has no near region at all."""
    plan = regions.plan_of(x.dtype)
    if v >= plan.order:
        return far_fn(x)
    near = x < plan.argument
    x_near, x_far = jnp.where(near, x, 1), jnp.where(near, plan.argument, x)
    return jnp.where(near, near_fn(x_near), far_fn(x_far))


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _log_normalised(v, x):
    rest = _log_gamma_rest(v)

    def far(x):
        s = _radius(v, x)
        below = -x * ((v + v**2 / (s + x)) / (s + v))
        power = v * jnp.log1p((x / (s + v)) * (x / (2 * v))) if v else 0
        return below - power + rest + jnp.log(_debye(v, x))

    value = _regions(v, x, lambda x: jnp.log(_series(v, x)) - x, far)
    return jnp.where(x >= 0, value, jnp.nan)


@_log_normalised.defjvp
def _log_normalised_jvp(v, primals, tangents):
    return _log_normalised(v, *primals), -_complement(v, *primals) * tangents[0]


def _log_slope(fn, x):
    value, slope = jax.jvp(fn, (x,), (jnp.ones_like(x),))
    return slope / value


def _plain_ratio(v, x):
    def far(x):
        return x / (_radius(v, x) + v) + _log_slope(functools.partial(_debye, v), x)

    value = _regions(v, x, functools.partial(_log_slope, functools.partial(_series, v)), far)
    return jnp.where(x >= 0, value, jnp.nan)


def _plain_complement(v, x):
    def near(x):
        return 1 - _log_slope(functools.partial(_series, v), x)

    def far(x):
        s, slope = _radius(v, x), _log_slope(functools.partial(_debye, v), x)
        return (v + v**2 / (s + x)) / (s + v) - slope

    return jnp.where(x >= 0, _regions(v, x, near, far), jnp.nan)


_complement = jax.custom_jvp(_plain_complement, nondiff_argnums=(0,))
_ratio = jax.custom_jvp(_plain_ratio, nondiff_argnums=(0,))


@_complement.defjvp
def _complement_jvp(v, primals, tangents):
    # Taken forwards, so that reverse mode keeps one number a value.
    ones = (jnp.ones_like(primals[0]),)
    value, slope = jax.jvp(functools.partial(_plain_complement, v), primals, ones)
    return value, slope * tangents[0]


@_ratio.defjvp
def _ratio_jvp(v, primals, tangents):
    # That of the complement, which is accurate everywhere.
    return _ratio(v, *primals), -_complement_jvp(v, primals, tangents)[1]
