"""The options that exponential integrators share, their checks, and start-up stops."""

import math

import jax.numpy as jnp
import numpy as np

from jaxgen.math import is_concrete, namespace, on_host
from jaxgen.solvers._solve import check_inside
from jaxgen.solvers._tables._entries import by_entry

HOLDS = ("eps", "x0")
CLOCKS = ("t", "log_snr", "rho")
STARTS = ("ramp", "exact")


def choose(name, option, value, choices, *, door="exponential"):
    """Raises ValueError unless an option is among its choices. Source: definition."""
    if value not in choices:
        raise ValueError(
            f"solvers.{door}.{name}: {option} must be one of {', '.join(map(str, choices))}; "
            f"got {value!r}"
        )


def whole_order(name, order, low=1, high=6, *, option="order", door="exponential"):
    """Raises ValueError unless low <= order <= high is an integer. Source: definition."""
    if not isinstance(order, int) or not low <= order <= high:
        raise ValueError(
            f"solvers.{door}.{name}: {option} must be an integer from {low} to {high}; "
            f"got {order!r}"
        )


def number_in(name, option, value, low=0.0, high=math.inf, *, door="exponential"):
    """Raises ValueError unless a concrete number [] is finite and lies in [low, high].

    Source: definition.
    """
    if not is_concrete(value):
        return
    if np.ndim(value) or not low <= float(value) <= high or np.isinf(float(value)):
        wanted = f"from {low}" + (f" to {high}" if high < math.inf else " and finite")
        raise ValueError(
            f"solvers.{door}.{name}: {option} must be a number {wanted}; got {value!r}"
        )


def check_span(name, option, span, *, door="exponential"):
    """Raises ValueError unless a span of times is None, () or (lo, hi) with numbers [] lo <= hi.

    Source: definition.
    """
    good = span is None or (isinstance(span, tuple | list) and len(span) in (0, 2))
    if not good or (span and is_concrete(span) and not span[0] <= span[1]):
        raise ValueError(
            f"solvers.{door}.{name}: {option} must be None, () or (lo, hi) with lo <= hi; "
            f"got {span!r}"
        )


def planner(
    name,
    process,
    build,
    *numbers,
    order=1,
    start="ramp",
    start_order=None,
    door="exponential",
    falling=False,
):
    """plan(ts [n + 1]) -> rows: checks the stops, adds start-up stops, and computes build(process,
    ts, *numbers) on the host, for a process diagonal in a basis entry by entry. Numbers [] may be
    traced, or functions of t.

    Raises ValueError (from plan) when there are fewer steps than nodes, stops leave [t_min, t_max],
    or rise where they must be falling. Source: definition.
    """
    where = [i for i, number in enumerate(numbers) if not callable(number)]
    given = [numbers[i] for i in where]
    made = by_entry(f"solvers.{door}.{name}", build)

    def plan(ts):
        steps = np.shape(ts)[0] - 1
        if order > steps and start == "ramp":
            raise ValueError(
                f"solvers.{door}.{name}: order must be at most the number of steps; "
                f"got order {order}, {steps} steps"
            )
        check_inside(f"solvers.{door}.{name}", process, ts, falling=falling)
        extra = start_steps(start_order or order, steps) if start == "exact" else 0

        def whole(process, ts, given):
            filled = list(numbers)
            for i, number in zip(where, given, strict=True):
                filled[i] = number
            if not is_concrete(given):
                ts = jnp.asarray(ts)
            return made(process, _with_start(ts, extra), *filled)

        return on_host(whole, process, ts, given)

    return plan


def start_steps(order, steps):
    """How many stops an exact start adds to the first of `steps` steps: 0 up to order 2.

    The start climbs orders 1, 2, ... over steps that double in length. Its error is that of the
    first, of length h 2^-m and order 1: below (h 2^-m)^2, which m = (order - 2) / 2 log2(steps)
    keeps under the method's own h^order.
    Source: derived.
    """
    return 0 if order <= 2 else math.ceil((order - 2) / 2 * math.log2(max(steps, 2)))


def counted(order, start):
    """The `Solver.evaluations` n -> count of one evaluation a step, and those of an exact start.

    Source: definition.
    """
    return lambda n: n + (start_steps(order, n) if start == "exact" else 0)


def _with_start(ts, extra):
    if not extra:
        return ts
    xp = namespace(ts)
    fractions = 2.0 ** np.arange(-extra, 0)
    return xp.concatenate([ts[:1], ts[0] + (ts[1] - ts[0]) * fractions, ts[1:]])
