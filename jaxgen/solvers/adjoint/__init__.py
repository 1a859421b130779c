"""Gradients of samplers by the adjoint equation, in memory that does not grow with the steps.

Door: f(process, denoise, ts, *, ...) -> run(key, params, x) -> z at the end, differentiable with
respect to params and x; denoise(params, z, t) -> x0hat. Discretise-then-optimise gradients, exact
for the discrete sampler, are those of `solve(..., checkpoint=True)`.
"""

from jaxgen.solvers.adjoint._continuous import adjoint_deis, adjoint_dpm

__all__ = ["adjoint_deis", "adjoint_dpm"]
