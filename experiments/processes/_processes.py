"""The processes that are compared, all between the same two noise levels."""

import numpy as np

import jaxgen as jg

_SCALAR, _AUGMENTED = jg.processes.scalar, jg.processes.augmented
PROCESSES = {
    "vp": (_SCALAR.vp, 1e-7, 1.0),
    "subvp": (_SCALAR.subvp, 1e-7, 1.0),
    "ve": (_SCALAR.ve, 0.0, 1.0),
    "cosine": (_SCALAR.cosine, 1e-7, 1 - 1e-4),
    "linear_flow": (_SCALAR.linear_flow, 1e-7, 1 - 1e-4),
    "cld": (_AUGMENTED.cld, 1e-4, 3.0),
    "psld": (_AUGMENTED.psld, 1e-4, 3.0),
    "hold-3": (lambda **ends: _AUGMENTED.hold(3, **ends), 1e-3, 3.0),
    "hold-4": (lambda **ends: _AUGMENTED.hold(4, **ends), 5e-3, 3.0),
}
LEARNED = "mdm (learned)"


def between(build, t_min, t_max, noise_min, noise_max):
    """build(t_min=, t_max=) between two noise levels sigma/alpha, for blocks gamma^(-1/2).

    Raises ValueError where the process does not reach them.
    """
    levels = _SCALAR.edm(t_min=noise_min, t_max=noise_max)
    whole = build(t_min=t_min, t_max=t_max)
    t_min, t_max = (float(t) for t in jg.predictions.matched_times(whole, levels))
    process = build(t_min=t_min, t_max=t_max)
    ends = np.exp(-log_snr_ends(process) / 2)
    if not np.allclose(ends, [noise_min, noise_max], rtol=1e-3):
        raise ValueError(
            f"processes: noise levels must be reached; got {ends} instead of "
            f"{noise_min} and {noise_max}"
        )
    return process


def log_snr_ends(process):
    """log-SNR at t_min and t_max [2], nats."""
    return jg.processes.log_snr(process, np.array([process.t_min, process.t_max], float))


def named(name, noise_min, noise_max):
    """The process of a name between two noise levels."""
    return between(*PROCESSES[name], noise_min, noise_max)
