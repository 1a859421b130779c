"""How fast forward processes forget their data, in closed form, at equal operator norm.

Data N(m, s^2) with m = 3, s = 0.1 in one dimension, auxiliaries at their stationary law: z is
Gaussian at all times, and its divergence from the stationary N(0, 1) has a closed form. A is scaled
to operator norm 1 (what limits the step of an explicit integrator), or to one trace (the total
friction, which is half of the noise that is injected).
"""

import numpy as np

import jaxgen as jg

MEAN, DEVIATION = 3.0, 0.1
TARGET = 1e-4  # nats


def matrices():
    """{name: A [c, c]} of processes with stationary law N(0, 1)."""
    turn = np.array([[0.0, 1.0], [-1.0, 0.0]])
    found = {"vp": np.array([[-1.0]])}
    for order in (2, 3, 4, 5):
        drift = np.asarray(jg.processes.augmented.hold(order, 1.0).drift(np.float64(0.5)))
        found["cld" if order == 2 else f"hold-{order}"] = drift
    # PSLD in units of its mass: damping on both blocks
    gamma, nu = 0.01, 4.01
    found["psld"] = -np.diag([gamma, nu]) / 2 + turn * (nu - gamma) / 4
    return found


def divergence(matrix, times):
    """KL [n] of z at times [n] from its stationary law, nats."""
    c = len(matrix)
    impulse = np.linalg.cholesky(np.maximum(-(matrix + matrix.T), 0) + 1e-300 * np.eye(c))
    whole = jg.processes.augmented.linear(
        matrix, impulse, np.ones(c - 1), t_min=float(times[0]), t_max=float(times[-1])
    )
    phi, chol = whole.transition(np.asarray(times, float))
    mean = phi[:, :, 0] * MEAN
    sigma = chol @ np.swapaxes(chol, 1, 2)
    sigma = sigma + DEVIATION**2 * phi[:, :, :1] * np.swapaxes(phi[:, :, :1], 1, 2)
    trace = np.trace(sigma, axis1=1, axis2=2)
    return (trace + np.sum(mean**2, 1) - c - np.linalg.slogdet(sigma)[1]) / 2


def rows():
    """Rows (process, scaling, time, KL) and rows of the times at which KL falls below TARGET."""
    curves, times = [], []
    for name, matrix in matrices().items():
        sizes = {"operator norm 1": np.linalg.norm(matrix, 2), "trace 1": -np.trace(matrix)}
        for scaling, size in sizes.items():
            ts = np.linspace(0.05, 120.0, 2400)
            kl = divergence(matrix / size, ts)
            below = float(ts[np.argmax(kl < TARGET)]) if np.any(kl < TARGET) else np.inf
            times.append({"process": name, "scaling": scaling, "mixing time": below})
            curves += [
                {"process": name, "scaling": scaling, "time": t, "KL": value}
                for t, value in zip(ts[::4], kl[::4], strict=True)
            ]
    return curves, times
