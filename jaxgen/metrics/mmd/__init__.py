"""Squared maximum mean discrepancies with a standard error, in linear time, or of weighted points.

The door's signature is `f(xs [n, *event], ys [m, *event], kernel, *, ...)`; all but `weighted`
return an Estimate (value, standard error). `metrics.mmd2` is the plain value.
"""

from jaxgen.metrics.mmd._blocks import block, linear
from jaxgen.metrics.mmd._error import unbiased
from jaxgen.metrics.mmd._weighted import weighted

__all__ = ["block", "linear", "unbiased", "weighted"]
