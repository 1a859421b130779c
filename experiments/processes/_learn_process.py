"""A linear process learned from data: the matrices of `mdm` that make the bound's estimate good.

With the best denoiser, all linear processes with the same end points have the same continuous-time
bound; what differs is the variance of its estimate at a random time, and what a bound of few steps
loses. Both follow from the curve of the denoiser's error against the signal-to-noise ratio, which
no process changes, so that the process is learned without a network.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxgen as jg

CHAIN = 10
_WIDEST = 4.0  # no process that is learned takes longer


class Curve(NamedTuple):
    """The best denoiser's error at log-SNRs [k], rising: E|x - x0hat|^2 and its mean square."""

    log_snr: Any  # [k]
    error: Any  # [k]
    square: Any  # [k] E|x - x0hat|^4


class Merit(NamedTuple):
    """What a process makes of a curve, nats."""

    bound: Any  # [] the divergence of the paths in continuous time
    deviation: Any  # [] standard deviation of its estimate from one time, uniform in t
    chain: Any  # [] the divergence of a chain of CHAIN steps, even in t


def error_curve(key, law, draws, *, low, high, points=121):
    """The `Curve` of a mixture, from `draws` points at each of `points` log-SNRs."""
    edm = jg.processes.scalar.edm(t_min=1e-6, t_max=1e6)
    denoiser = jg.densities.denoiser(law, edm)

    key_data, key_noise = jax.random.split(key)
    sample = jg.densities.distribution(law).sample
    # The same draws at every level: a smooth curve.
    x = jax.jit(jax.vmap(sample))(jax.random.split(key_data, draws))
    eps = jax.random.normal(key_noise, x.shape, x.dtype)

    @jax.jit
    def errors_at(sigma):
        x0 = jax.vmap(denoiser, (0, None))(x + sigma * eps, sigma)
        return jnp.sum((x - x0) ** 2, 1)

    log_snrs = np.linspace(low, high, points)
    errors = np.stack([np.asarray(errors_at(np.exp(-lam / 2))) for lam in log_snrs])
    return Curve(log_snrs, errors.mean(1), (errors**2).mean(1))


def merit(process, curve, nodes=200):
    """The `Merit` of a process for a `Curve`."""
    share = np.linspace(0.0, 1.0, nodes * CHAIN + 1)
    ts = process.t_min + (process.t_max - process.t_min) * share
    return _merit(jg.processes.log_snr(process, ts), curve)


def _merit(lam, curve):
    """From log-SNRs [m CHAIN + 1] at times evenly spaced from the clean end to the noisy one."""
    middle = (lam[1:] + lam[:-1]) / 2
    fall = -jnp.diff(lam) * jnp.exp(middle) / 2  # -d gamma / 2 over a cell
    error, square = (
        jnp.interp(middle, curve.log_snr, values) for values in (curve.error, curve.square)
    )
    bound = jnp.sum(fall * error)
    second = jnp.sum(fall**2 * square) * len(middle)
    levels = lam[:: len(middle) // CHAIN]
    gammas = jnp.exp(levels)
    chain = jnp.sum(
        (gammas[:-1] - gammas[1:]) / 2 * jnp.interp(levels[1:], curve.log_snr, curve.error)
    )
    return Merit(bound, jnp.sqrt(second - bound**2), chain)


def start(blocks=3):
    """Numbers of an `mdm` near a critically damped chain: root [c, c], curl [c, c], ratio []."""
    drift = np.asarray(jg.processes.augmented.hold(blocks, 1.0).drift(np.float64(0.5)))
    root = 0.2 * np.eye(blocks)
    root[-1, -1] = np.sqrt(-drift[-1, -1])
    return {"root": root, "curl": -np.triu(drift, 1), "ratio": np.zeros(())}


def process_of(numbers, t_min, t_max):
    """The `mdm` of learnable numbers: beta rises from 2 at t = 0 to 2 e^ratio at t_max."""
    return jg.processes.augmented.mdm(
        numbers["root"],
        numbers["curl"],
        beta_min=2.0,
        beta_max=2.0 * jnp.exp(numbers["ratio"]),
        t_min=t_min,
        t_max=t_max,
    )


def learn(curve, noise_min, noise_max, *, steps=200, rate=0.03, blocks=3):
    """(process, merits) of the `mdm` whose chain of CHAIN steps and estimate are best.

    The objective is the chain's divergence plus the deviation of the estimate, both in nats. While
    it is learned, times are read off the log-SNR on a fixed grid.
    """
    adam = optax.adam(optax.cosine_decay_schedule(rate, steps))
    numbers = jax.tree.map(jnp.asarray, start(blocks))
    ts = _WIDEST * (np.arange(1, 401) / 400) ** 2
    ends = -2 * np.log([noise_min, noise_max])
    share = np.linspace(0.0, 1.0, 20 * CHAIN + 1)

    def objective(numbers):
        lam = jg.processes.log_snr(process_of(numbers, ts[0], _WIDEST), jnp.asarray(ts))
        first, last = jnp.interp(-ends, -lam, ts)
        found = _merit(jnp.interp(first + (last - first) * share, ts, lam), curve)
        return found.chain + found.deviation, found

    @jax.jit
    def step(numbers, state):
        (value, found), slope = jax.value_and_grad(objective, has_aux=True)(numbers)
        updates, state = adam.update(slope, state)
        return optax.apply_updates(numbers, updates), state, value, found

    state, best, merits = adam.init(numbers), (np.inf, numbers), []
    for _ in range(steps):
        before = numbers
        numbers, state, value, found = step(numbers, state)
        merits.append(jax.tree.map(float, found))
        if float(value) < best[0]:
            best = (float(value), before)
    return fixed(best[1], noise_min, noise_max), merits


def fixed(numbers, noise_min, noise_max):
    """The `mdm` of concrete numbers between two noise levels, its beta as it was."""
    numbers = jax.tree.map(lambda leaf: np.asarray(leaf, float), numbers)
    levels = jg.processes.scalar.edm(t_min=noise_min, t_max=noise_max)
    ratio = float(np.exp(numbers["ratio"]))
    whole = process_of({**numbers, "ratio": np.log(ratio)}, 1e-4, _WIDEST)
    t_min, t_max = (float(t) for t in jg.predictions.matched_times(whole, levels))
    at_end = 1 + (ratio - 1) * t_max / _WIDEST
    return process_of({**numbers, "ratio": np.log(at_end)}, t_min, t_max)
