"""Sequential Monte Carlo around blackjax. Door: f(...) -> SamplingAlgorithm over particles [n,
*event], `init(particles)` and `step(key, state) -> (state, info)`; the state carries weights.

`tempered` goes from a prior to prior x likelihood, keeps what blackjax leaves to its caller (log
Z), and is run to the end by `run`. Resampling functions are `blackjax.smc.resampling`'s. `abc` is
for models that can only be simulated, beside the chains and rejection of `mcmc.intractable`: its
`init` needs a key, and `abc_run` runs it.
"""

from jaxgen.smc._abc import AbcInfo, AbcRunInfo, AbcState, abc, abc_run
from jaxgen.smc._tempered import (
    RunInfo,
    TemperedInfo,
    TemperedState,
    equal_weights,
    run,
    tempered,
)

__all__ = [
    "AbcInfo",
    "AbcRunInfo",
    "AbcState",
    "RunInfo",
    "TemperedInfo",
    "TemperedState",
    "abc",
    "abc_run",
    "equal_weights",
    "run",
    "tempered",
]
