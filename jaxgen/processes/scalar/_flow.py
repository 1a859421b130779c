"""The straight line between data and noise: flow matching as one more linear process."""

from jaxgen.processes.scalar._schedule import from_schedule


def linear_flow(*, t_min=1e-3, t_max=1 - 1e-3):
    """The linear interpolant: alpha = 1 - t [], sigma = t.

    alpha(1) = 0, hence the default t_max; solvers that hold the data prediction polynomial in t
    accept t_max = 1.
    Raises ValueError as `from_schedule`. Source: Lipman et al. 2023, arXiv 2210.02747, equation 20
    with sigma_min = 0 and time reversed; Liu et al. 2023, arXiv 2209.03003, equation 1.
    """
    return from_schedule(
        _linear_flow, t_min=t_min, t_max=t_max, name="processes.scalar.linear_flow"
    )


def _linear_flow(t):
    return 1 - t, t
