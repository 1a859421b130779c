"""Flow matching: denoising with the velocity of a straight (or any scalar) path as its target."""

from jaxgen.losses.score import denoising
from jaxgen.processes import num_blocks, scalar


def conditional_matching(apply, *, process=None, time=None):
    """loss_fn(params, key, x0 [*event], t=None, **cond) -> []: mean squared error of a velocity,
    for one example.

    The target is d/dt (alpha x0 + sigma eps), which for the default `scalar.linear_flow()` is eps -
    x0 (time grows with noise); read the trained network with kind="velocity". Args: time, the law u
    [] -> t [], uniform when None. Raises ValueError on a block process.
    Source: Lipman et al. 2023, arXiv 2210.02747, equation 9; Liu et al. 2023, arXiv 2209.03003,
    equation 1.
    """
    process = scalar.linear_flow() if process is None else process
    if num_blocks(process) is not None:
        raise ValueError(
            "losses.flow.conditional_matching: the process must be scalar; "
            f"got {num_blocks(process)} blocks"
        )
    return denoising(process, apply, kind="velocity", time=time)
