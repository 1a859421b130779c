"""What `solve` costs beside the loop one would write by hand: same mixture, same grid."""

import time

import jax
import jax.numpy as jnp
import numpy as np

import jaxgen as jg

DIM, BATCH, COMPONENTS, STEPS = 64, 4096, 8, 20


def problem():
    """VP, the exact denoiser of 8 Gaussians in 64 dimensions, and a batch of float32 noise."""
    random = np.random.default_rng(0)
    mixture = jg.densities.gaussian_mixture(
        np.ones(COMPONENTS), random.normal(size=(COMPONENTS, DIM)), np.full(COMPONENTS, 0.1)
    )
    process = jg.processes.scalar.vp()
    x = jnp.asarray(random.normal(size=(BATCH, DIM)), jnp.float32)
    return process, jg.densities.denoiser(mixture, process), x


def ours(process, denoiser, make):
    """A jitted sampler [n, d] -> [n, d] by `solve`."""

    def draw(x):
        ts = jg.grids.log_snr(process, STEPS)
        return jg.solve(jax.random.key(0), make(process, denoiser), x, ts)[0]

    return jax.jit(jax.vmap(draw))


def bare(process, denoiser):
    """A jitted DPM-Solver++(2M) [n, d] -> [n, d] as one would write it: constants and a scan."""
    ts = np.asarray(jg.grids.log_snr(process, STEPS))
    alpha, sigma = process.transition(ts)
    h = np.diff(np.log(alpha / sigma))
    lean = np.concatenate([[0.0], h[1:] / (2 * h[:-1])])
    table = np.stack([ts[:-1], sigma[1:] / sigma[:-1], -alpha[1:] * np.expm1(-h), lean], 1).astype(
        np.float32
    )
    many = jax.vmap(denoiser, (0, None))

    @jax.jit
    def draw(x):
        def body(carry, row):
            x, before = carry
            now = many(x, row[0])
            x = row[1] * x + row[2] * ((1 + row[3]) * now - row[3] * before)
            return (x, now), None

        return jax.lax.scan(body, (x, jnp.zeros_like(x)), table)[0][0]

    return draw


def bare_deis(process, denoiser):
    """A jitted DEIS of order 3 [n, d] -> [n, d] as one would write it: constants and a scan."""
    rows = jg.solvers.exponential.deis(process, denoiser).plan(jg.grids.log_snr(process, STEPS))
    alpha, sigma = process.transition(np.asarray(rows.t))
    columns = [rows.t, rows.propagate, 1 / sigma, alpha / sigma, *rows.weights.T]
    table = np.stack(columns, 1).astype(np.float32)
    many = jax.vmap(denoiser, (0, None))

    @jax.jit
    def draw(x):
        def body(carry, row):
            x, one, two = carry
            eps = row[2] * x - row[3] * many(x, row[0])
            x = row[1] * x + row[4] * eps + row[5] * one + row[6] * two
            return (x, eps, one), None

        return jax.lax.scan(body, (x, jnp.zeros_like(x), jnp.zeros_like(x)), table)[0][0]

    return draw


def network_bound(batch=64, size=28, steps=10):
    """(ours, theirs): a sampler of `steps` evaluations of the main job's network, and as many
    jitted evaluations of it alone.
    """
    process, net = jg.processes.scalar.vp(), jg.nets.unet((size, size, 1), num_classes=10)
    params = net.init(jax.random.key(1))
    x = jax.random.normal(jax.random.key(2), (batch, size, size, 1))
    label = jnp.arange(batch) % 10
    ts = jg.grids.power(process, steps)

    def draw(params, x, label):
        predict = lambda z, t: net.apply(params, z, t, label=label)
        denoiser = jg.as_denoiser(process, predict, kind="v")
        solver = jg.solvers.exponential.deis(process, denoiser)
        return jg.solve(jax.random.key(0), solver, x, ts)[0]

    def evaluate(params, x, t, label):
        return net.apply(params, x, t, label=label)

    sample = jax.jit(jax.vmap(draw, (None, 0, 0)))
    single = jax.jit(jax.vmap(evaluate, (None, 0, None, 0)))

    def alone():
        out = x
        for t in np.asarray(ts[:-1], np.float32):
            out = single(params, x, t, label)
        return out

    return lambda: sample(params, x, label), alone


def first_call(which):
    """Seconds of the first call, tracing and compilation included; run it in a fresh process."""
    process, denoiser, x = problem()
    jax.block_until_ready(x)
    start = time.perf_counter()
    make = jg.solvers.exponential.dpmpp_2m
    run = ours(process, denoiser, make) if which == "ours" else bare(process, denoiser)
    jax.block_until_ready(run(x))
    return time.perf_counter() - start


def setup(process, denoiser, make, repeats=20):
    """Milliseconds to compute a solver's table for 20 steps, after the first time."""
    ts = jg.grids.log_snr(process, STEPS)
    make(process, denoiser).plan(ts)
    start = time.perf_counter()
    for _ in range(repeats):
        make(process, denoiser).plan(ts)
    return 1e3 * (time.perf_counter() - start) / repeats
