"""Sequential Monte Carlo around blackjax. Door: f(...) -> SamplingAlgorithm over particles [n,
*event], `init(particles)` and `step(key, state) -> (state, info)`; the state carries weights.

`tempered` goes from a prior to prior x likelihood, keeps what blackjax leaves to its caller (log
Z), and is run to the end by `run`. Resampling functions are `blackjax.smc.resampling`'s.
"""

from jaxgen.smc._tempered import (
    RunInfo,
    TemperedInfo,
    TemperedState,
    equal_weights,
    run,
    tempered,
)

__all__ = ["RunInfo", "TemperedInfo", "TemperedState", "equal_weights", "run", "tempered"]
