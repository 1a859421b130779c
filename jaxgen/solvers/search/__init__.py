"""Samplers that are found rather than derived: tables learned by gradients, and schedules searched
for.

A table has grid and weights, some tens of numbers, for a model (or a family of them) and a number
of evaluations: `learnable` makes the free numbers [q] around a named start, `gauss_newton` and
`first_order` learn them, `stages` searches among `Schedule`s and grids; `sampler` makes the Solver,
`save` and `load` keep it as data. `step_costs` prices steps for `grids.dynamic_programming`.
"""

from jaxgen.solvers.search._costs import step_costs
from jaxgen.solvers.search._file import evaluations, load, sampler, save, stops, table_of
from jaxgen.solvers.search._learn import (
    Batch,
    LearnInfo,
    LearnState,
    first_order,
    gauss_newton,
    misses,
    run_rows,
)
from jaxgen.solvers.search._parameters import Learnable, Table, learnable
from jaxgen.solvers.search._stages import Found, stages

__all__ = [
    "Batch",
    "Found",
    "LearnInfo",
    "LearnState",
    "Learnable",
    "Table",
    "evaluations",
    "first_order",
    "gauss_newton",
    "learnable",
    "load",
    "misses",
    "run_rows",
    "sampler",
    "save",
    "stages",
    "step_costs",
    "stops",
    "table_of",
]
