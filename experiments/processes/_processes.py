"""The processes that are compared, all between the same two noise levels."""

import numpy as np

import jaxgen as jg
from experiments.images import _models

PROCESSES = tuple(name for name in _models.PROCESSES if name != "edm")
LEARNED = "mdm (learned)"


def named(name, noise_min, noise_max):
    """The process of a name between two noise levels sigma/alpha, for blocks gamma^(-1/2).

    Raises ValueError where the process does not reach them.
    """
    process = _models.process_between(name, noise_min, noise_max)
    ends = np.array([process.t_min, process.t_max], float)
    levels = np.exp(-jg.processes.log_snr(process, ends) / 2)
    if not np.allclose(levels, [noise_min, noise_max], rtol=1e-3):
        raise ValueError(
            f"processes: {name} must reach the noise levels {noise_min} and {noise_max}; "
            f"got {levels[0]:.4g} and {levels[1]:.4g}"
        )
    return process
