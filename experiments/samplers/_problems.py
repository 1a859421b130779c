"""Exact mixtures under linear processes, guided or not, and where their flows end."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jaxgen as jg

PROCESSES = {
    "vp": jg.processes.scalar.vp,
    "edm": jg.processes.scalar.edm,
    "linear_flow": jg.processes.scalar.linear_flow,
    "cld": jg.processes.augmented.cld,
    "hold": jg.processes.augmented.hold,
}
COMPONENTS = 6
# The mixture of the order tests: three bumps of different weights and widths in two dimensions.
TEXTBOOK = (
    np.array([0.3, 0.5, 0.2]),
    np.array([[-2.0, 0.0], [1.5, 1.5], [0.5, -2.0]]),
    np.array([0.09, 0.16, 0.04]),
)


class Problem(NamedTuple):
    """A flow to be followed: from starts [n, ...] at t_max to solution [n, ...] at t_min."""

    name: str
    process: Any
    numbers: Any  # (all components, those of one class, guidance weight), what the denoiser reads
    starts: Any
    solution: Any
    uncertainty: float  # mean distance between the solution and one with half the steps


def denoise(process, numbers, z, t):
    """E[x0 | z], pushed towards one class by classifier-free guidance."""
    everything, one_class, weight = numbers
    plain = jg.densities.denoiser(jg.densities.gaussian_mixture(*everything), process)
    if one_class is None:
        return plain(z, t)
    conditional = jg.densities.denoiser(jg.densities.gaussian_mixture(*one_class), process)
    return jg.predictions.guidance.cfg(conditional, plain, weight)(z, t)


def mixture(dim, seed):
    """Weights, means and variances of a random mixture; the order tests' own for dim 0."""
    if dim == 0:
        return TEXTBOOK
    random = np.random.default_rng(seed)
    weights = random.dirichlet(np.full(COMPONENTS, 3.0))
    means = random.normal(size=(COMPONENTS, dim)) * 1.5
    return weights, means, random.uniform(0.03, 0.25, COMPONENTS)


def build(process_name, dim, guidance, starts, seed, steps):
    """The `Problem` of a process, a dimension (0: the textbook mixture) and a guidance weight."""
    process, whole = PROCESSES[process_name](), mixture(dim, seed)
    half = tuple(part[: len(part) // 2] for part in whole) if guidance else None
    numbers = (whole, half, float(guidance))
    random = np.random.default_rng(seed + 1)
    event = whole[1].shape[1:]
    noise = random.normal(size=(starts, *jg.processes.noise_shape(process, event)))
    phi, chol = process.transition(np.asarray(float(process.t_max)))
    if jg.processes.num_blocks(process) is None:
        x = phi * whole[1][random.choice(len(whole[0]), starts, p=whole[0] / whole[0].sum())]
        x = x + chol * noise
    else:
        x = np.einsum("ij,nj...->ni...", chol, noise)
    fine = follow(process, numbers, x, steps)
    rough = follow(process, numbers, x, steps // 2)
    name = f"{process_name}, {'textbook' if dim == 0 else f'{dim}-D'}" + (
        f", guidance {guidance:g}" if guidance else ""
    )
    return Problem(name, process, numbers, x, fine, distance(fine, rough))


def follow(process, numbers, x, steps):
    """Where the flow ends, by fourth-order Runge-Kutta steps of the data prediction in log-SNR."""
    ts = jg.grids.log_snr(process, steps)

    @jax.jit
    def run(numbers, x):
        solver = jg.solvers.exponential.rho_rk(
            process, lambda z, t: denoise(process, numbers, z, t), hold="x0", clock="log_snr"
        )
        return jax.vmap(lambda x: jg.solve(jax.random.key(0), solver, x, ts)[0])(x)

    return np.asarray(run(numbers, jnp.asarray(x)))


def distance(ends, solution):
    """The mean Euclidean distance between states, [n, ...] each."""
    return float(np.linalg.norm((ends - solution).reshape(len(ends), -1), axis=1).mean())
