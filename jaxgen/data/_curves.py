"""Toy laws along curves in the plane, with Gaussian noise: their log-densities are not known.

Every law is a pytree of its numbers, so it crosses jit. The moments in the docstrings are exact.
Sources: scikit-learn's make_moons and make_swiss_roll; Johnson et al. 2016, arXiv 1603.06277, code,
for pinwheel; Grathwohl et al. 2019, arXiv 1810.01367, code, for spirals.
"""

import math

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from jaxgen.data._numbers import check_number, check_whole
from jaxgen.types import Distribution


def _two_moons(noise, key):
    key_moon, key_angle, key_noise = jax.random.split(key, 3)
    upper = jax.random.bernoulli(key_moon)
    angle = jax.random.uniform(key_angle, maxval=math.pi)
    x, y = jnp.cos(angle), jnp.sin(angle)
    point = jnp.where(upper, jnp.stack([x, y]), jnp.stack([1 - x, 0.5 - y]))
    return point + noise * jax.random.normal(key_noise, (2,))


def two_moons(*, noise=0.05) -> Distribution:
    """Two interleaved half circles of radius 1, as sample(key) -> x [2]; logdensity is None.

    Mean (1/2, 1/4); covariance [[3/4, 1/8 - 1/pi], [1/8 - 1/pi, 9/16 - 1/pi]] + noise² I.
    Raises ValueError unless noise is at least 0. Source: scikit-learn, make_moons.
    """
    check_number("data.two_moons", "noise", noise)
    return Distribution(Partial(_two_moons, noise), None)


def _swiss_roll(scale, noise, key):
    key_angle, key_noise = jax.random.split(key)
    angle = jax.random.uniform(key_angle, minval=1.5 * math.pi, maxval=4.5 * math.pi)
    point = scale * angle * jnp.stack([jnp.cos(angle), jnp.sin(angle)])
    return point + noise * jax.random.normal(key_noise, (2,))


def swiss_roll(*, scale=0.2, noise=0.1) -> Distribution:
    """A spiral scale·a (cos a, sin a), a uniform on [3pi/2, 9pi/2], as sample(key) -> x [2].

    The logdensity is None. Mean scale (2, 2/(3pi)); second moments about 0, over scale²:
    xx 39pi²/8 - 1/4, yy 39pi²/8 + 1/4, xy 3pi/2, and noise² on the diagonal.
    Raises ValueError unless scale > 0 and noise >= 0. Source: scikit-learn, make_swiss_roll; the
    defaults divide by 5 as Grathwohl et al. 2019 do, with half of their noise.
    """
    check_number("data.swiss_roll", "scale", scale, above=0)
    check_number("data.swiss_roll", "noise", noise)
    return Distribution(Partial(_swiss_roll, scale, noise), None)


def _spirals(scale, noise, key):
    key_arm, key_angle, key_noise = jax.random.split(key, 3)
    sign = jax.random.rademacher(key_arm, (), float)
    angle = 3 * math.pi * jnp.sqrt(jax.random.uniform(key_angle))
    point = sign * scale * angle * jnp.stack([-jnp.cos(angle), jnp.sin(angle)])
    return point + noise * jax.random.normal(key_noise, (2,))


def spirals(*, scale=1 / 3, noise=0.1) -> Distribution:
    """Two spiral arms ±scale·a (-cos a, sin a), a = A sqrt(uniform), as sample(key) -> x [2].

    A = 3pi. The logdensity is None. Mean 0; covariance
    scale² [[A²/4 + 3/4, c], [c, A²/4 - 3/4]] + noise² I with c = A/2 - 3/(4A).
    Raises ValueError unless scale > 0 and noise >= 0.
    Source: Grathwohl et al. 2019, arXiv 1810.01367, code (2spirals), without their uniform jitter.
    """
    check_number("data.spirals", "scale", scale, above=0)
    check_number("data.spirals", "noise", noise)
    return Distribution(Partial(_spirals, scale, noise), None)


def _pinwheel(arms, radial, tangential, rate, scale, key):
    key_arm, key_noise = jax.random.split(key)
    along, across = jax.random.normal(key_noise, (2,)) * jnp.stack(
        [jnp.asarray(radial, float), jnp.asarray(tangential, float)]
    )
    along = 1 + along
    angle = 2 * math.pi * jax.random.randint(key_arm, (), 0, arms) / arms + rate * jnp.exp(along)
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    return scale * jnp.stack([along * cos + across * sin, across * cos - along * sin])


def pinwheel(*, arms=5, radial=0.3, tangential=0.1, rate=0.25, scale=2.0) -> Distribution:
    """Gaussian petals around the origin, each twisted by its radius, as sample(key) -> x [2].

    The logdensity is None. Mean 0; covariance scale² (1 + radial² + tangential²)/2 I for 3 or more
    arms. Raises ValueError unless arms >= 3, scale > 0 and the spreads are at least 0.
    Source: Johnson et al. 2016, arXiv 1603.06277, code (make_pinwheel_data); scale 2 as Grathwohl
    et al. 2019 use it.
    """
    check_whole("data.pinwheel", "arms", arms, least=3)
    check_number("data.pinwheel", "radial", radial)
    check_number("data.pinwheel", "tangential", tangential)
    check_number("data.pinwheel", "rate", rate)
    check_number("data.pinwheel", "scale", scale, above=0)
    return Distribution(Partial(_pinwheel, arms, radial, tangential, rate, scale), None)
