"""What the splitting integrators share: their checks, and the equilibrium of a process."""

import functools

import numpy as np

from jaxgen.math import is_concrete, namespace
from jaxgen.processes import num_blocks, refuse_diagonal
from jaxgen.solvers._tables import _options as options

number_in = functools.partial(options.number_in, door="splitting")
planner = functools.partial(options.planner, door="splitting", falling=True)


def check_blocks(name, process):
    """Raises ValueError on a scalar process. Source: definition."""
    refuse_diagonal(f"solvers.splitting.{name}", process)
    if num_blocks(process) is None:
        raise ValueError(
            f"solvers.splitting.{name}: the process must have blocks; got a scalar process"
        )


def equilibrium(process, t):
    """The stationary covariance [c, c] of the dynamics frozen at time t []: F X + X F^T + G G^T =
    0.

    Source: Lyapunov's equation, by Kronecker products.
    """
    xp = namespace(process, t)
    drift, noise = process.drift(t), process.diffusion(t)
    c = drift.shape[-1]
    eye = xp.eye(c, dtype=drift.dtype)
    operator = xp.kron(drift, eye) + xp.kron(eye, drift)
    found = xp.linalg.solve(operator, -(noise @ noise.T).reshape(-1, 1)).reshape(c, c)
    return (found + found.T) / 2


def check_stationary(name, process):
    """Raises ValueError unless a concrete process has one equilibrium at all times. Source:
    definition.
    """
    if not is_concrete(process):
        return
    times = np.array([float(process.t_min), float(process.t_max)])
    found = [np.asarray(equilibrium(process, t)) for t in times]
    sound = np.allclose(*found, rtol=1e-6) and np.all(np.linalg.eigvalsh(found[0]) > 0)
    if not sound:
        raise ValueError(
            f"solvers.splitting.{name}: the process must have one equilibrium at all times; "
            f"got covariances {found[0].tolist()} and {found[1].tolist()}"
        )
