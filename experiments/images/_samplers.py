"""The samplers that are compared, and how they are run.

Deterministic ones solve the probability-flow ODE from the same starting points, so they differ only
in how well they solve it. The whole batch is one event here: a linear process acts on it entry by
entry, and only the network needs `vmap`. The steps of a solver are walked in Python, around one
compiled network: two dozen samplers and budgets then share a single compilation, where `jax.jit` of
`jg.solve`, the choice for one sampler, compiles the network once for each.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jaxgen as jg

CHUNK = 64
_EXPONENTIAL = jg.solvers.exponential
GRIDS = {
    "uniform": jg.grids.uniform,
    "power": jg.grids.power,
    "log_snr": jg.grids.log_snr,
    "karras": jg.grids.karras,
}


class Sampler(NamedTuple):
    """A method with its usual grid."""

    title: str
    build: Callable  # (process, denoiser) -> Solver
    grid: str
    least: int  # steps below which the method does not exist
    deterministic: bool


SAMPLERS = {
    "ddim": Sampler("DDIM", _EXPONENTIAL.ddim, "power", 1, True),
    # The data prediction held polynomial in t: closer to the solution on images than the noise
    # prediction of the paper at these budgets.
    "deis3": Sampler(
        "DEIS, order 3",
        lambda p, d: _EXPONENTIAL.deis(p, d, order=3, hold="x0"),
        "power",
        3,
        True,
    ),
    "dpmpp_2m": Sampler("DPM-Solver++(2M)", _EXPONENTIAL.dpmpp_2m, "karras", 1, True),
    "unipc": Sampler(
        "UniPC-2", lambda p, d: _EXPONENTIAL.unipc(p, d, predictor_order=2), "karras", 2, True
    ),
    "heun": Sampler("EDM-Heun", _EXPONENTIAL.edm_heun, "karras", 1, True),
    "ancestral": Sampler("ancestral (SDE)", jg.solvers.sde.ancestral, "karras", 1, False),
}


# One method for all processes: in the clock log-SNR, with stops evenly spaced in it.
ACROSS = Sampler(
    "DEIS, order 3",
    lambda p, d: _EXPONENTIAL.deis(p, d, order=3),
    "karras",
    3,
    True,
)


def steps_within(sampler: Sampler, budget: int) -> int | None:
    """The most steps whose evaluations stay within the budget; None if the method needs more."""
    evaluations = sampler.build(jg.processes.scalar.vp(), lambda z, t: z).evaluations
    fitting = [n for n in range(sampler.least, budget + 1) if evaluations(n) <= budget]
    return max(fitting, default=None)


class Draw(NamedTuple):
    """Images that a sampler made, and what they cost."""

    x: np.ndarray  # [n, *event]
    evaluations: int  # of the denoiser, for one image


class Network:
    """The denoiser of a trained model for whole batches, compiled once for each chunk size.

    `at(labels)` is a denoiser(z [n, *event], t []) -> [n, *event]. A given sharding splits the
    chunks.
    """

    def __init__(self, model, params, sharding=None):
        """Keeps the parameters where the batches will be."""

        def evaluate(params, z, t, labels):
            return jax.vmap(lambda z, label: model.denoiser(params, label)(z, t))(z, labels)

        self.evaluate, self.params, self.sharding = jax.jit(evaluate), params, sharding

    def at(self, labels):
        """The denoiser that believes in `labels` [n], integers."""
        labels = np.asarray(labels, np.int32)
        size = min(CHUNK, len(labels))
        padded = np.concatenate([labels, np.zeros(-len(labels) % size, np.int32)])

        def denoiser(z, t):
            t = jnp.asarray(t, jnp.float32)
            rows = jnp.concatenate([z, jnp.zeros((len(padded) - len(z), *z.shape[1:]), z.dtype)])
            parts = [
                self._call(rows[start : start + size], t, padded[start : start + size])
                for start in range(0, len(padded), size)
            ]
            return jnp.concatenate(parts)[: len(z)]

        return denoiser

    def _call(self, z, t, labels):
        if self.sharding is None or len(labels) % self.sharding.num_devices:
            return self.evaluate(self.params, z, t, labels)
        z, labels = jax.device_put((z, labels), self.sharding)
        return jax.device_put(self.evaluate(self.params, z, t, labels), jax.devices()[0])


def under(network_at, trained_under, sampled_under):
    """`network_at` for another process, by `rechannel`: labels -> denoiser of whole batches."""

    @jax.jit
    def matched(z, t):
        return jg.rechannel(lambda z, s: (z, s), trained_under, sampled_under)(z, t)

    def at(labels):
        denoiser = network_at(labels)
        return lambda z, t: denoiser(*matched(z, jnp.asarray(t, jnp.float32)))

    return at


def run(key, sampler: Sampler, process, denoiser, start, steps: int, grid: str = "own") -> Draw:
    """Images [n, *event] from starting noise at t_max of the process, [(c,) n, *event].

    `denoiser` acts on whole batches; the loop is that of `jg.solve`. Raises ValueError as it does.
    """
    solver = sampler.build(process, denoiser)
    ts = GRIDS[sampler.grid if grid == "own" else grid](process, steps)
    rows, state = solver.plan(ts), solver.init(start, ts)
    for i in range(len(rows.t)):
        row = jax.tree.map(lambda leaf: jnp.asarray(leaf[i], start.dtype), rows)  # noqa: B023
        state, _ = solver.step(jax.random.fold_in(key, i), state, row)
    return Draw(np.asarray(jg.data_part(process, state[0])), solver.evaluations(steps))


def starting_noise(process, event_shape, number: int, key):
    """Starting points of `number` images at t_max of a process, one key's noise for all of them."""
    return jg.prior(process, (number, *event_shape)).sample(key)
