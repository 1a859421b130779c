"""Laws of independent entries, to forget data into: one wave or one heavy tail per entry.

Their numbers cross jit, vmap and grad.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from jaxgen.types import Distribution


def logistic(loc, scale=1.0):
    """The logistic `Distribution` over [*event]: density sech^2((x - loc) / (2 scale)) / (4 scale)
    in each entry, nats.

    Args: loc [*event], whose shape is that of a sample; scale, positive, [] or [*event].
    Raises ValueError on a scale that is not positive. Source: definition (Balakrishnan 1991).
    """
    _check_positive("logistic", scale=scale)
    return Distribution(
        Partial(_logistic_sample, loc, scale), Partial(_logistic_logdensity, loc, scale)
    )


def student_t(loc, scale=1.0, df=4.0):
    """Student's t `Distribution` over [*event], df degrees of freedom in each entry, nats.

    Args: loc [*event], whose shape is that of a sample; scale and df, positive, [] or [*event].
    Raises ValueError on a scale or df that is not positive. Source: definition (Student 1908).
    """
    _check_positive("student_t", scale=scale, df=df)
    return Distribution(
        Partial(_student_sample, loc, scale, df), Partial(_student_logdensity, loc, scale, df)
    )


def _check_positive(name, **numbers):
    for label, number in numbers.items():
        if not isinstance(number, jax.core.Tracer) and not np.all(np.asarray(number) > 0):
            raise ValueError(f"densities.{name}: {label} must be positive; got {number}")


def _logistic_sample(loc, scale, key):
    loc = jnp.asarray(loc, float)
    return loc + scale * jax.random.logistic(key, loc.shape, loc.dtype)


def _logistic_logdensity(loc, scale, x):
    away = (x - jnp.asarray(loc, x.dtype)) / scale
    return jnp.sum(-jax.nn.softplus(away) - jax.nn.softplus(-away) - jnp.log(scale))


def _student_sample(loc, scale, df, key):
    loc = jnp.asarray(loc, float)
    return loc + scale * jax.random.t(key, df, loc.shape, loc.dtype)


def _student_logdensity(loc, scale, df, x):
    return jnp.sum(jax.scipy.stats.t.logpdf(x, df, jnp.asarray(loc, x.dtype), scale))
