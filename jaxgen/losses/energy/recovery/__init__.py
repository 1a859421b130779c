"""Energies of noised data on a ladder of levels, each learned given the next. Door: f(ladder,
logdensity_fn, ...) -> loss_fn(params, key, x0 [*event], level=None, **cond) -> [], nats.

logdensity_fn(params, z [*event], level [], **cond) -> [] is the unnormalised log-density of level
0 .. T - 1. `draw` samples; minus the log-density of level 0 scores how far out of distribution a
point is.
"""

from jaxgen.losses.energy.recovery._ladder import Ladder, conditional, ladder
from jaxgen.losses.energy.recovery._losses import cooperative, draw, recovery

__all__ = ["Ladder", "conditional", "cooperative", "draw", "ladder", "recovery"]
