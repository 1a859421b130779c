"""Particles that descend to given statistics: microcanonical flows with tracked entropy.

Door: f(statistics, target [k], *, step_size, log_det) -> Descent(init, step); init(x [n, d]) ->
State, step(key, state) -> (state, info); the user scans. `statistics` maps a series x [d] to [k]
(see `flows.microcanonical.statistics`). `plain` binds every particle to the target, `mean_field`
their average only. Log-determinants, in nats, are `exact()` or `series(...)`; the key is used by
the latter only.
"""

from jaxgen.flows.microcanonical import statistics
from jaxgen.flows.microcanonical._descent import (
    Descent,
    Info,
    State,
    mean_field,
    plain,
    reverse_kl,
)
from jaxgen.flows.microcanonical._log_det import LogDet, exact, series

__all__ = [
    "Descent",
    "Info",
    "LogDet",
    "State",
    "exact",
    "mean_field",
    "plain",
    "reverse_kl",
    "series",
    "statistics",
]
