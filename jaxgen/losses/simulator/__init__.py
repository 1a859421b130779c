"""Models that can only be simulated, fitted by a distance between samples. Door: f(simulate,
kernel, inputs, *, draws) -> loss_fn(params, key, x0 [n, *event], t=None) -> [], a batch loss.

simulate(params, u) -> x [*event] turns one base draw u into one point, and gradients go through it.
inputs(key, draws) -> `Inputs`, the base draws and their weights: `base_inputs` makes independent,
evenly spread or optimally weighted ones; for a simulator that takes keys it is `lambda key, m:
Inputs(jax.random.split(key, m), None)`. Who passes one key in every step has common random numbers.
"""

from jaxgen.losses.simulator._inputs import Inputs, base_inputs
from jaxgen.losses.simulator._minimum_mmd import minimum_mmd

__all__ = ["Inputs", "base_inputs", "minimum_mmd"]
