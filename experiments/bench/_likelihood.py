"""Exact likelihood by the flow beside a loop by hand and other packages: the same work in each.

4,096 points in two dimensions, the denoiser of a mixture of 8, 50 evaluations with their exact
divergence, float32. Each is of order 2: ours and the loop by hand take 50 steps of one evaluation,
diffrax and torchdiffeq 25 steps of two.
"""

import importlib.util

import jax
import jax.numpy as jnp
import numpy as np

import jaxgen as jg

POINTS, COMPONENTS, STEPS = 4096, 8, 50


def problem():
    """VP, a mixture of 8 Gaussians in the plane, its exact denoiser, and points of it."""
    random = np.random.default_rng(0)
    means = random.normal(size=(COMPONENTS, 2))
    law = jg.densities.gaussian_mixture(np.ones(COMPONENTS), means, np.full(COMPONENTS, 0.1))
    x = means[random.integers(COMPONENTS, size=POINTS)] + 0.3 * random.normal(size=(POINTS, 2))
    return jg.processes.scalar.vp(), law, jnp.asarray(x, jnp.float32)


def ours(process, denoiser):
    """A jitted log-likelihood [n, d] -> [n]."""
    ts = jg.grids.power(process, STEPS)
    log_prob = jg.likelihoods.flow_ode(process, denoiser, ts, order=2)
    return jax.jit(lambda x: jax.vmap(log_prob, (None, 0))(jax.random.key(0), x))


def bare(process, denoiser):
    """The same as one would write it: constants, a scan, two tangents."""
    ts = np.asarray(jg.grids.power(process, STEPS))[::-1]
    solver = jg.solvers.exponential.adams_bashforth(process, denoiser, order=2, hold="eps")
    rows = solver.plan(ts)
    alpha, sigma = process.transition(np.asarray(rows.t))
    columns = [rows.t, rows.propagate, 1 / sigma, alpha / sigma, *rows.weights.T]
    # A trace is held in units of alpha at its time, and weighed by what multiplies the state.
    inner = rows.weights / (alpha * rows.propagate)[:, None]
    columns += [np.log(rows.propagate), *inner.T, alpha]
    table = np.stack(columns, 1).astype(np.float32)
    end = float(np.hypot(*process.transition(np.float64(process.t_max))))

    def one(x, t):
        value, push = jax.linearize(lambda x: denoiser(x, t), x)
        return value, push(jnp.array([1.0, 0.0]))[0] + push(jnp.array([0.0, 1.0]))[1]

    many = jax.vmap(one, (0, None))

    @jax.jit
    def run(x):
        def body(carry, row):
            x, before, trace_before, change = carry
            x0, slope = many(x, row[0])
            eps, trace = row[2] * x - row[3] * x0, row[9] * (2 * row[2] - row[3] * slope)
            change = change - 2 * row[6] - row[7] * trace - row[8] * trace_before
            x = row[1] * x + row[4] * eps + row[5] * before
            return (x, eps, trace, change), None

        nothing = jnp.zeros(len(x), x.dtype)
        (z, _, _, change), _ = jax.lax.scan(body, (x, 0 * x, nothing, nothing), table)
        prior = jnp.sum(jax.scipy.stats.norm.logpdf(z / end), 1) - 2 * jnp.log(end)
        return prior - change

    return run


def by_diffrax(process, denoiser):
    """A jitted log-likelihood by diffrax's Heun with fixed steps."""
    import diffrax

    field = jg.as_field(process, denoiser)
    low, high = float(process.t_min), float(process.t_max)
    end = float(np.hypot(*process.transition(np.float64(high))))

    def slope(t, state, args):
        value, push = jax.linearize(lambda x: field(x, t), state[0])
        return value, push(jnp.array([1.0, 0.0]))[0] + push(jnp.array([0.0, 1.0]))[1]

    def one(x):
        found = diffrax.diffeqsolve(
            diffrax.ODETerm(slope),
            diffrax.Heun(),
            low,
            high,
            (high - low) / (STEPS // 2),
            (x, jnp.zeros((), x.dtype)),
            stepsize_controller=diffrax.ConstantStepSize(),
            max_steps=STEPS,
        )
        z, change = found.ys[0][0], found.ys[1][0]
        return jnp.sum(jax.scipy.stats.norm.logpdf(z / end)) - 2 * jnp.log(end) + change

    return jax.jit(jax.vmap(one))


def by_torchdiffeq(law):
    """A log-likelihood run of torchdiffeq's midpoint method with fixed steps, or None."""
    if any(importlib.util.find_spec(name) is None for name in ("torch", "torchdiffeq")):
        return None
    import torch
    from torchdiffeq import odeint

    means = torch.tensor(np.asarray(law.means), dtype=torch.float32)
    _, _, x = problem()
    x = torch.tensor(np.asarray(x))
    eye = torch.eye(2)

    def score(x, t):
        integral = 0.1 * t + 19.9 * t**2 / 2
        alpha, variance = torch.exp(-integral / 2), 1 - torch.exp(-integral)
        total = alpha**2 * 0.1 + variance
        away = x[:, None] - alpha * means
        shares = torch.softmax(-(away**2).sum(2) / (2 * total), 1)
        pull = -(shares[..., None] * away).sum(1) / total
        # The exact Jacobian's trace: shares' covariance of the pulls, and the shrinkage.
        spread = (shares[..., None] * away**2).sum((1, 2)) / total**2 - (pull**2).sum(1)
        return pull, spread - 2 / total

    def field(t, state):
        rate = 0.1 + 19.9 * t
        pull, trace = score(state[0], t)
        return -rate / 2 * (state[0] + pull), -rate / 2 * (2 + trace)

    times = torch.tensor([1e-3, 1.0])
    options = {"step_size": (1.0 - 1e-3) / (STEPS // 2)}

    def run():
        with torch.no_grad():
            start = (x, torch.zeros(len(x)))
            z, change = odeint(field, start, times, method="midpoint", options=options)
            normal = torch.distributions.MultivariateNormal(torch.zeros(2), eye)
            return normal.log_prob(z[-1]) + change[-1]

    return run
