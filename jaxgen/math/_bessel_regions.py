"""Modified Bessel functions of one region each, free of overflow: the factors whose logarithm
`_bessel` takes.

Far (v or x large) is Debye's expansion, uniform in v down to 0; near is the power series for I, and
for K the orders v - round(v) and the next, by Temme's series below x = 3/2 and a Chebyshev table
above, followed by the recurrence upwards, which is stable for K.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxgen.math import _bessel_tables as tables

LOG_2 = 0.6931471805599453


class Plan(NamedTuple):
    """Where the regions end and how many terms they take, for one dtype."""

    order: float  # far from this v on
    argument: float  # or from this x on
    debye: int  # terms beyond the leading one
    series: int
    scale: float  # of one factor of the series, to stay in range
    temme: int
    gamma: int  # terms of the even and of the odd part of 1 / Gamma
    least: float  # Chebyshev coefficients below are dropped
    split: int  # bits of a half-length number, so that products are exact
    exponent: int  # bits of the dtype's exponent


PLANS = {
    "float64": Plan(14.5, 25.0, 13, 46, 2.0**-9, 12, 10, 0.0, 26, 11),
    "float32": Plan(7.5, 11.0, 6, 18, 2.0**-6, 7, 6, 1e-9, 11, 8),
}


def plan_of(dtype):
    return PLANS[jnp.dtype(dtype).name]


def polynomial(coefficients, x):
    """sum_i coefficients_i x^i [...], by Horner; coefficients are numbers or arrays [...]."""
    value = jnp.zeros_like(x) + coefficients[-1]
    for c in coefficients[-2::-1]:
        value = value * x + c
    return value


def radius(v, x):
    """sqrt(v^2 + x^2) [...], without overflow; v + x > 0."""
    large, small = jnp.maximum(v, x), jnp.minimum(v, x)
    return large * jnp.sqrt(1 + (small / large) ** 2)


def leading(v, x):
    """(a, base, rest), each [...]: a + v (log(base) + rest) = radius - v asinh(v / x), accurate
    relative to itself, also where it crosses zero at x = 0.66 v.

    With S = radius, S_0 and x_0 = z_0 v its values at the zero, and d = x - x_0 kept to twice the
    working precision, S - S_0 = d (x + x_0) / (S + S_0), and the logarithm is that of 1 + y, y =
    (exp(s_0) d - (S - S_0)) / (v + S). Source: derived; DLMF 10.41.3 for what it stands for.
    """
    plan = plan_of(x.dtype)
    z1, z2, z3 = tables.parts(tables.ZERO, plan.split)
    high = jax.lax.reduce_precision(v, plan.exponent, plan.split - 1)
    low = v - high
    zero = v * float(tables.ZERO)
    gap = ((x - high * z1) - low * z1) - high * z2 - (low * z2 + v * z3)
    s = radius(v, x)
    rise = gap * ((x + zero) / (s + v * float(tables.ROOT)))
    y = (tables.GROWTH * gap - rise) / (v + s)
    near = x > zero / 2
    base = jnp.where(near, 1 + y, tables.GROWTH * (x / (v + s)))
    return rise, base, jnp.where(near, (y - (base - 1)) / base, 0)


def debye_factor(sign, v, x):
    """What exp(+-radius -+ v asinh(v / x)) must be multiplied by, [...], for I (sign 1) or K (-1).

    Terms u_k(p) / v^k, p = v / S, are written as q_k(p^2) / S^k, so that v = 0 is nothing special;
    None says that it is 0 and saves the polynomials.
    Source: DLMF 10.41.3, 10.41.4.
    """
    rows = tables.debye(plan_of(x.dtype).debye)
    if v is None:
        t = 1 / x
        total = polynomial([row[0] for row in rows], sign * t)
    else:
        t = 1 / radius(v, x)
        p2 = (v * t) ** 2
        total = polynomial([polynomial(row, p2) for row in rows], sign * t)
    return total * jnp.sqrt(t) * (0.3989422804014327 if sign > 0 else 1.2533141373155003)


def _reciprocal_gamma(m, terms):
    """The even and odd parts [...] of 1 / Gamma(1 + mu), odd divided by mu, at m = mu^2 <= 1/4."""
    even = polynomial(tables.RECIPROCAL_GAMMA_EVEN[:terms], m)
    return even, polynomial(tables.RECIPROCAL_GAMMA_ODD[:terms], m)


def series_factor(v, x):
    """I_v(x) / (x / 2)^v [...], v and x below the plan's order and argument.

    Source: DLMF 10.25.2; DLMF 5.5.1 for Gamma.
    """
    plan = plan_of(x.dtype)
    n = jax.lax.stop_gradient(jnp.round(v))
    mu = v - n
    even, odd = _reciprocal_gamma(mu**2, plan.gamma)
    gamma = 1 / (even + mu * odd)
    for k in range(1, int(plan.order + 0.5) + 1):
        gamma = jnp.where(k <= n, gamma * (mu + k), gamma)
    quarter = (x / 2) ** 2 * plan.scale
    above, below = jnp.ones_like(x), jnp.ones_like(x)
    for k in range(plan.series, 0, -1):
        following = below * (k * plan.scale * (v + k))
        above, below = following + quarter * above, following
    return above / (below * gamma)


def _sinhc(sigma, large):
    """sinh(sigma) / sigma [...], given exp(sigma) = large."""
    small = jnp.abs(sigma) < 1
    near, far = jnp.where(small, sigma, 0), jnp.where(small, 1, sigma)
    taylor = [1.0]
    for k in range(1, 9):
        taylor.append(taylor[-1] / (2 * k * (2 * k + 1)))
    large = jnp.where(small, 2, large)
    return jnp.where(small, polynomial(taylor, near**2), (large - 1 / large) / (2 * far))


def _temme(mu, x, log_x):
    """K_mu and x K_{mu + 1} [...] for |mu| <= 1/2 and small x. Source: Temme 1975, J. Comput. Phys.
    19, as in DLMF 10.31 in the limit of integer order.
    """
    plan = plan_of(x.dtype)
    even, odd = _reciprocal_gamma(mu**2, plan.gamma)
    away = LOG_2 - log_x
    sigma = mu * away
    large = jnp.exp(sigma)
    upper, lower = even + mu * odd, even - mu * odd  # 1 / Gamma(1 +- mu)
    cosh = (large + 1 / large) / 2
    f = (away * _sinhc(sigma, large) * even - cosh * odd) / (upper * lower)
    p, q = large / (2 * upper), 1 / (2 * large * lower)
    quarter = (x / 2) ** 2
    first, second, c = f, p, jnp.ones_like(x)
    for k in range(1, plan.temme + 1):
        inverse = 1 / (k * k - mu**2)
        f = (k * f + p + q) * inverse
        p, q = p * ((k + mu) * inverse), q * ((k - mu) * inverse)
        c = c * quarter / k
        first, second = first + c * f, second + c * (p - k * f)
    return first, 2 * second


def _scaled(mu, x):
    """exp(x) K_mu(x) and exp(x) x K_{mu + 1}(x) [...] for |mu| <= 1/2 and 3/2 <= x <= 26, from a
    table for the first; the second by K_{mu+1} = mu / x K_mu - K_mu'.
    """
    low, high = 1 / (1 + tables.SCALED_TO), 1 / (1 + tables.SCALED_FROM)
    inverse = 1 / (1 + x)
    tau = (inverse - (low + high) / 2) * (2 / (high - low))
    rows = tables.scaled_k(plan_of(x.dtype).least)
    side = 8 * mu**2 - 1
    value, slope = jnp.zeros_like(x), jnp.zeros_like(x)
    for row in reversed(rows):
        slope = slope * tau + value
        value = value * tau + polynomial(row, side)
    slope = slope * inverse**2 * (-2 / (high - low))
    root = 1.2533141373155003 / jnp.sqrt(x)
    return root * value, root * ((mu + x + 0.5) * value - x * slope)


def recurred_factor(v, x, log_x):
    """(a, n, c), each [...]: log K_v(x) = a - n log(x) + log(c), n = round(v), for v below the
    plan's order and x below its argument; log_x is log(x).

    Source: DLMF 10.29.1, stable upwards for K; x^n K_{mu+n} is what is carried, to stay in range.
    """
    plan = plan_of(x.dtype)
    n = jax.lax.stop_gradient(jnp.round(v))
    mu = v - n
    small = x < tables.SCALED_FROM
    tiny, wide = jnp.where(small, x, 1), jnp.where(small, 2, x)
    pair = zip(_temme(mu, tiny, jnp.where(small, log_x, 0)), _scaled(mu, wide), strict=True)
    lower, upper = (jnp.where(small, one, two) for one, two in pair)
    square, c = x**2, jnp.where(n == 0, lower, upper)
    for j in range(1, int(plan.order + 0.5)):
        lower, upper = upper, square * lower + 2 * (mu + j) * upper
        c = jnp.where(n == j + 1, upper, c)
    return jnp.where(small, 0, -x), n, c
