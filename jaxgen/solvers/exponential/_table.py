"""From frames to tables: multistep weights by Lagrange interpolation, start-up, and the options all
solvers share.
"""

import math

import numpy as np

from jaxgen.math import gauss_legendre, lagrange, namespace, on_host
from jaxgen.solvers._solve import check_inside
from jaxgen.solvers.exponential._frame import NODES

HOLDS = ("eps", "x0")
CLOCKS = ("t", "log_snr", "rho")
STARTS = ("ramp", "exact")


def choose(name, option, value, choices):
    """Raises ValueError unless an option is among its choices. Source: definition."""
    if value not in choices:
        raise ValueError(
            f"solvers.exponential.{name}: {option} must be one of {', '.join(choices)}; "
            f"got {value!r}"
        )


def whole_order(name, order, low=1, high=6):
    """Raises ValueError unless low <= order <= high is an integer. Source: definition."""
    if not isinstance(order, int) or not low <= order <= high:
        raise ValueError(
            f"solvers.exponential.{name}: order must be an integer from {low} to {high}; "
            f"got {order!r}"
        )


def planner(name, process, build, *, order=1, start="ramp", start_order=None):
    """plan(ts [n + 1]) -> rows: checks the stops, adds start-up stops, and computes build(process,
    ts) on the host.

    Raises ValueError (from plan) when there are fewer steps than nodes, or stops leave [t_min,
    t_max]. Source: definition.
    """

    def plan(ts):
        steps = np.shape(ts)[0] - 1
        if order > steps and start == "ramp":
            raise ValueError(
                f"solvers.exponential.{name}: order must be at most the number of steps; "
                f"got order {order}, {steps} steps"
            )
        check_inside(f"solvers.exponential.{name}", process, ts)
        extra = start_steps(start_order or order, steps) if start == "exact" else 0
        return on_host(lambda process, ts: build(process, _with_start(ts, extra)), process, ts)

    return plan


def start_steps(order, steps):
    """How many stops an exact start adds to the first of `steps` steps: 0 up to order 2.

    The start climbs orders 1, 2, ... over steps that double in length. Its error is that of the
    first, of length h 2^-m and order 1: below (h 2^-m)^2, which m = (order - 2) / 2 log2(steps)
    keeps under the method's own h^order.
    Source: derived.
    """
    return 0 if order <= 2 else math.ceil((order - 2) / 2 * math.log2(max(steps, 2)))


def _with_start(ts, extra):
    if not extra:
        return ts
    xp = namespace(ts)
    fractions = 2.0 ** np.arange(-extra, 0)
    return xp.concatenate([ts[:1], ts[0] + (ts[1] - ts[0]) * fractions, ts[1:]])


def moments(frame, offsets, rows):
    """int_a^b l_j dV [m, k, ...] for the steps `rows` (a slice of length m), with nodes at the
    stops i + offset.

    The integral is taken by parts, l_j(b) (V(b) - V(a)) - int l_j' (V - V(a)) du, so that the
    weights sum to V(b) - V(a) exactly and no derivative of the schedule is needed. Source: derived;
    Zhang and Chen 2023, arXiv 2204.13902, equation 15.
    """
    u = frame.clock
    xp = namespace(u, frame.force)
    first, last = rows
    nodes = xp.stack([u[first + offset : last + offset] for offset in offsets], -1)
    a, b = u[first:last], u[first + 1 : last + 1]
    points, weights = gauss_legendre(NODES)
    inside = a[:, None] + (b - a)[:, None] * points[None]
    at_end, _ = lagrange(nodes, b)
    _, slopes = lagrange(nodes[:, None], inside)
    slopes = slopes * (b - a)[:, None, None] * weights[None, :, None]
    return xp.einsum("mk,m...->mk...", at_end, frame.force[first:last]) - xp.einsum(
        "mqk,mq...->mk...", slopes, frame.inner[first:last]
    )


def ramped(frame, order, offsets_of):
    """Moments [n, k, ...] of all n steps, with fewer nodes while there is no past: step i uses
    min(i + 1, order) of them.

    Args: offsets_of(nodes) -> the node offsets of a step with that many nodes of the past; k =
    len(offsets_of(order)).
    Source: definition.
    """
    xp = namespace(frame.clock, frame.force)
    n = frame.clock.shape[0] - 1
    width = len(offsets_of(order))
    parts = []
    for nodes in range(1, order + 1):
        first, last = nodes - 1, (nodes if nodes < order else n)
        if first < min(last, n):
            part = moments(frame, offsets_of(nodes), (first, min(last, n)))
            missing = width - part.shape[1]
            padding = xp.zeros((part.shape[0], missing, *part.shape[2:]), part.dtype)
            parts.append(xp.concatenate([part, padding], 1))
    return xp.concatenate(parts)


def carry(base, moments):
    """U(b) m_j [m, k, ...] for propagators base [m, ...] and moments [m, k, ...].

    Source: definition.
    """
    xp = namespace(base, moments)
    if base.ndim == 1:
        return base[:, None] * moments
    return xp.einsum("mij,mkj...->mki...", base, moments)
