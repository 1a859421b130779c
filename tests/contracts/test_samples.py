"""Samples of every linear process with the exact denoiser: an asymmetric mixture comes back, by the
flow and by the reverse-time equation, in units of Monte Carlo standard error.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgen as jg
from jaxgen import densities, kernels, metrics, solvers
from jaxgen.processes import augmented, diagonal, scalar

WEIGHTS = np.array([0.7, 0.3])
MEANS = np.array([[1.0, -0.5], [-1.5, 1.0]])
COVS = np.array([[[0.3, 0.1], [0.1, 0.2]], [[0.1, 0.0], [0.0, 0.4]]])
GROUPS, SIZE = 12, 400
PROCESSES = {
    "vp": scalar.vp,
    "ve": scalar.ve,
    "subvp": scalar.subvp,
    "cosine": scalar.cosine,
    "linear_flow": scalar.linear_flow,
    "cld": augmented.cld,
    "psld": augmented.psld,
    "hold-3": augmented.hold,
    "hold-4": functools.partial(augmented.hold, 4),
    "hold-5": functools.partial(augmented.hold, 5),
    "mdm": lambda: augmented.mdm(
        [[0.1, 0.0, 0.0], [0.2, 0.3, 0.0], [0.5, -0.2, 1.2]],
        [[0.0, -1.0, 0.3], [0.2, 0.0, -1.4], [0.0, 0.4, 0.0]],
        beta_min=3.0,
    ),
    "underdamped": lambda: augmented.linear(
        [[0.0, 4.0], [-4.0, -3.0]], [[0.0], [np.sqrt(6.0)]], [0.5], beta_min=2.0
    ),
    "anisotropic": lambda: diagonal.anisotropic(scalar.vp, 0.1, np.array([8.0, 20.0])),
}
METHODS = {
    "flow": (functools.partial(solvers.exponential.deis, order=3), jg.grids.power, 120),
    "reverse": (solvers.sde.exponential_sde, jg.grids.log_snr, 250),
}
FAST = {("psld", "flow")}
CASES = [
    pytest.param(n, m, marks=() if (n, m) in FAST else pytest.mark.slow)
    for n in PROCESSES
    for m in METHODS
]


@pytest.mark.parametrize(("name", "method"), CASES)
def test_the_data_come_back(name, method):
    process, (build, grid, steps) = PROCESSES[name](), METHODS[method]
    law = densities.gaussian_mixture(WEIGHTS, MEANS, COVS)
    denoiser = densities.denoiser(law, process)
    noisy, clean = (densities.marginal(law, process, t) for t in (process.t_max, process.t_min))
    ts = grid(process, steps)

    def draw(key):
        key_start, key_solve, key_true = jax.random.split(key, 3)
        z, _ = jg.solve(key_solve, build(process, denoiser), noisy.sample(key_start), ts)
        return jg.data_part(process, z), jg.data_part(process, clean.sample(key_true))

    keys = jax.random.split(jax.random.key(11), GROUPS * SIZE)
    found, true = jax.jit(jax.vmap(draw))(keys)
    column = np.asarray(process.transition(np.float64(process.t_min))[0])
    alpha = column[0, 0] if column.ndim == 2 else column
    moments = np.concatenate([found, found**2, found[:, :1] * found[:, 1:]], 1)
    exact = WEIGHTS @ np.concatenate([alpha * MEANS, second(alpha, process)], 1)
    error = moments.std(0, ddof=1) / np.sqrt(len(moments))
    assert (np.abs(moments.mean(0) - exact) < 5 * error).all()
    split = lambda x: jnp.reshape(x, (GROUPS, SIZE, 2))
    mmd = jax.jit(jax.vmap(lambda x, y: metrics.mmd2(x, y, kernels.rbf(0.7))))
    values = np.asarray(mmd(split(found), split(true)))
    assert abs(values.mean()) < 5 * values.std(ddof=1) / np.sqrt(GROUPS)


def second(alpha, process):
    """E x_1^2, x_2^2 and x_1 x_2 [k, 3] of the noised components at t_min."""
    chol = np.asarray(process.transition(np.float64(process.t_min))[1])
    noise = chol[0, 0] ** 2 if chol.ndim == 2 else chol**2
    scaled = alpha * MEANS
    pair = np.broadcast_to(alpha, (2,))
    squares = scaled**2 + pair**2 * np.stack([COVS[:, 0, 0], COVS[:, 1, 1]], 1) + noise
    cross = scaled[:, 0] * scaled[:, 1] + pair[0] * pair[1] * COVS[:, 0, 1]
    return np.concatenate([squares, cross[:, None]], 1)
