"""The ground floor: formulas that every room stands on.

Where tables are computed (`on_host`, `namespace`), the phi functions of exponential integrators,
block coefficients (scalar [] or matrix [c, c]), transitions of linear equations, quadrature and
interpolation, even points and harmonics for means over cubes and spheres, and divergences.
Functions of arrays take and return arrays [...]; nothing here knows of processes.
"""

from jaxgen.math import derivatives, divergence, exponential_family
from jaxgen.math._bessel import log_iv, log_kv
from jaxgen.math._bessel_sphere import iv_ratio, log_iv_normalised
from jaxgen.math._blocks import (
    Channel,
    apply,
    channel,
    channel_log_gain,
    contract,
    data_column,
    lower_inverse,
    total,
    van_loan,
    working_dtype,
)
from jaxgen.math._gramian import (
    doublings_for,
    factor_of_rows,
    linear_transition,
    semidefinite_factor,
    square_root,
)
from jaxgen.math._harmonics import count_harmonics, harmonics
from jaxgen.math._helmert import centre, helmert, unhelmert
from jaxgen.math._host import is_concrete, iterate, namespace, on_host
from jaxgen.math._lyapunov import lyapunov
from jaxgen.math._phi import phi
from jaxgen.math._quadrature import gauss_legendre, invert, lagrange
from jaxgen.math._quasi import quasi_uniform

__all__ = [
    "Channel",
    "apply",
    "centre",
    "channel",
    "channel_log_gain",
    "contract",
    "count_harmonics",
    "data_column",
    "derivatives",
    "divergence",
    "doublings_for",
    "exponential_family",
    "factor_of_rows",
    "gauss_legendre",
    "harmonics",
    "helmert",
    "invert",
    "is_concrete",
    "iterate",
    "iv_ratio",
    "lagrange",
    "linear_transition",
    "log_iv",
    "log_iv_normalised",
    "log_kv",
    "lower_inverse",
    "lyapunov",
    "namespace",
    "on_host",
    "phi",
    "quasi_uniform",
    "semidefinite_factor",
    "square_root",
    "total",
    "unhelmert",
    "van_loan",
    "working_dtype",
]
