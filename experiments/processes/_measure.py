"""What a trained network is worth: likelihood, and samples at every budget."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

import jaxgen as jg
from jaxgen import metrics
from jaxgen.solvers import exponential

METHODS = {
    "DEIS-3, t^2": (functools.partial(exponential.deis, order=3), jg.grids.power),
    "2M, karras": (exponential.dpmpp_2m, jg.grids.karras),
}
DRAWS = 8


def likelihoods(model, points, settings):
    """A row of nats a point, with standard errors: flow ODE, its importance-weighted bound over
    DRAWS auxiliaries, and the evidence lower bound. The flow's are densities of the data with noise
    of the clean end, in units of the data; the bound's is of the data themselves.
    """
    process = model.process
    ts = jg.grids.log_snr(process, settings.likelihood_steps)
    phi = np.asarray(process.transition(np.float64(process.t_min))[0])
    alpha = float(phi if phi.ndim == 0 else phi[0, 0])

    def flow_ode(params, draws=None):
        fn = jg.likelihoods.flow_ode(process, model.denoiser(params), ts, order=3)
        fn = fn if draws is None else jg.likelihoods.importance(fn, draws)
        return lambda key, x: fn(key, alpha * x) + x.size * np.log(alpha)

    def elbo(params):
        return jg.likelihoods.elbo(process, model.denoiser(params), points=64)

    found = {"flow ODE": flow_ode, "ELBO": elbo}
    if jg.processes.num_blocks(process) is not None:
        found["flow ODE, 8 draws"] = functools.partial(flow_ode, draws=DRAWS)
    row = {}
    keys = jax.random.split(jax.random.key(settings.seed + 1), settings.held_out)
    x = jnp.asarray(points.test[: settings.held_out])
    for name, build in found.items():
        # Parameters are arguments, so that all laws share a program.
        run = jax.jit(lambda params, keys, x: jax.vmap(build(params))(keys, x))  # noqa: B023
        values = np.asarray(run(model.params, keys, x), float)
        row[name] = values.mean()
        row[f"{name} s.e."] = values.std(ddof=1) / np.sqrt(len(values))
    return row


def draws(process, denoiser, params, method, settings):
    """{evaluations: samples [n, 2]} of a method at every budget; denoiser(params) is a function of
    (z, t). The starts have one key for all methods.
    """
    build, grid = METHODS[method]
    prior, capacity = jg.prior(process, (2,)), max(settings.budgets)
    keys = jax.random.split(jax.random.key(settings.seed + 2), settings.samples)

    @jax.jit
    def run(params, keys, rows, last):
        # Rows are padded to one length, so that all budgets share a program.
        solver = build(process, denoiser(params))._replace(plan=lambda ts: rows)

        def one(key):
            path, _ = jg.solve(
                jax.random.key(0), solver, prior.sample(key), np.array([1.0, 0.5]), trajectory=True
            )
            return jg.data_part(process, path[last])

        return jax.vmap(one)(keys)

    found = {}
    for budget in settings.budgets:
        rows = build(process, None).plan(grid(process, budget))
        rows = jax.tree.map(functools.partial(_padded, capacity), rows)
        found[budget] = np.asarray(run(params, keys, rows, budget))
    return found


def _padded(length, leaf):
    leaf = np.asarray(leaf, np.float32)
    return np.concatenate([leaf, np.repeat(leaf[-1:], length - len(leaf), 0)])


def distance(samples, points):
    """The root of the energy distance of samples [n, 2] to held-out points; 0 where it is below."""
    if not np.all(np.isfinite(samples)):
        return float("nan")
    squared = float(metrics.energy_distance(jnp.asarray(points), jnp.asarray(samples)))
    return float(np.sqrt(max(squared, 0.0)))


def sampled(process, denoiser, params, points, settings):
    """Rows (method, evaluations, distance), every method at every budget."""
    held_out = points.test[-settings.samples :]
    return [
        {"method": method, "evaluations": budget, "distance": distance(samples, held_out)}
        for method in METHODS
        for budget, samples in draws(process, denoiser, params, method, settings).items()
    ]
