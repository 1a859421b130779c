"""Daily returns of stock indices, 1999-2018, from scattering moments, leverage and kurtosis."""

import importlib

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

from jaxgen.flows import microcanonical
from jaxgen.flows.microcanonical import statistics

SCALES = {"power": 0.5, "kurtosis": 0.05, "leverage": 0.3, "scattering": 0.4}
LAGS, STEP, BATCHES, LEVELS = (1, 2, 3, 4, 5), 0.05, 4, (0.3, 0.1, 0.05, 0.03)


def windows(name, length):
    """[m, length]: standardised logarithmic returns, cut into windows."""
    prices = importlib.import_module(f"arch.data.{name}").load()["Adj Close"].to_numpy()
    returns = np.diff(np.log(prices))
    returns = (returns - returns.mean()) / returns.std()
    return returns[: len(returns) // length * length].reshape(-1, length)


def study(name, settings, folder):
    """Entropy against error, and what the series look like; a picture each."""
    d, n, steps = settings.length, settings.particles, settings.steps
    data = windows(name, d)
    parts = {
        "power": statistics.moments((2,)),
        "kurtosis": statistics.kurtosis(),
        "leverage": statistics.leverage(LAGS),
        "scattering": statistics.scattering(statistics.morlet(d, 4), smoothing=0.3),
    }
    phi = statistics.concatenate(*parts.values(), scales=[SCALES[part] for part in parts])
    target = np.mean(jax.jit(jax.vmap(phi))(data), 0)
    look = jax.jit(jax.vmap(lambda x: {part: jnp.mean(fn(x)) for part, fn in parts.items()}))
    start = np.log(2 * np.pi * np.e) / 2
    rows = described("data", look(jnp.asarray(data)))
    noise = np.random.default_rng(settings.seed).standard_normal((BATCHES, n, d))
    rows += described("white noise", look(jnp.asarray(noise[0])))

    def along(build):
        rule = microcanonical.series(products=4, probes=2)
        descent = build(phi, target, step_size=STEP * d, log_det=rule)

        def step(state, key):
            state, info = descent.step(key, state)
            held = info.entropy_change, info.mean_error, info.error, info.truncation
            return state, (*held, info.invertible)

        keys = lambda key: jax.random.split(key, steps)
        return lambda key, x: jax.lax.scan(step, descent.init(x), keys(key))

    figure, axes = plt.subplots(1, 3, figsize=(14, 4))
    axes[2].plot(data[len(data) // 2] + 12, "k-", lw=0.7, label=name)
    methods = ("plain", "mean_field")[settings.smoke :]  # the second alone when time is short
    for index, method in enumerate(methods):
        compiled = jax.jit(along(getattr(microcanonical, method)))
        run = lambda *given, compiled=compiled: jax.block_until_ready(compiled(*given))
        states, found = zip(
            *(run(jax.random.key(settings.seed + i), x) for i, x in enumerate(noise)), strict=True
        )
        change, mean_error, error, truncation, sound = (
            np.array(part) for part in zip(*found, strict=True)
        )
        rows += described(method, *(look(state.x) for state in states))
        spread = lambda values: (np.mean(values), np.std(values, ddof=1) / np.sqrt(BATCHES))
        rows.append(("steps that were invertible, share", method, np.mean(sound), 0))
        tail = np.where(np.isfinite(truncation), truncation, 0).sum(1) / d
        rows.append(("bias of the entropy by truncation, at most", method, *spread(tail)))
        for level in LEVELS:
            first = np.argmax(mean_error < level * mean_error[:, :1], 1)
            if np.all(first > 0):
                at = start + change[np.arange(BATCHES), first]
                words = f"entropy per dimension at mean error {level:g}"
                rows.append((words, method, *spread(at)))
        rows.append(("entropy per dimension at the end", method, *spread(start + change[:, -1])))
        rows.append(
            (
                "error of the mean at the end, of start's",
                method,
                *spread(mean_error[:, -1] / mean_error[:, 0]),
            )
        )
        rows.append(("rms error over particles at the end", method, *spread(error[:, -1])))
        label = method.replace("_", " ")
        axes[0].semilogx(mean_error.mean(0), start + change.mean(0), label=label)
        axes[1].plot(np.arange(1, steps + 1), start + change.mean(0), label=label)
        axes[2].plot(states[0].x[0] - 12 * index, f"C{index}", lw=0.7, label=label)
    axes[0].invert_xaxis()
    axes[0].set(xlabel="error of the mean statistic", ylabel="entropy per dimension, nats")
    axes[1].set(xlabel="steps", ylabel="entropy per dimension, nats")
    axes[2].set(xlabel="day", yticks=[], title="a window, and one particle each")
    axes[2].set_ylim(-20, 30)
    for axis in axes:
        axis.legend(fontsize=8)
    figure.suptitle(f"{name}: windows of {d} days, {n} particles, {BATCHES} batches", fontsize=10)
    figure.tight_layout()
    figure.savefig(folder / f"{name}.png", dpi=110)
    plt.close(figure)
    return rows


def described(method, *looks):
    """Rows of every statistic over series; the error is over batches, or over series if one."""
    rows = []
    for part in looks[0]:
        each = (
            np.array([np.mean(look[part]) for look in looks]) if len(looks) > 1 else looks[0][part]
        )
        error = np.std(each, ddof=1) / np.sqrt(len(each))
        rows.append((f"{part}, mean over series", method, np.mean(each), error))
        spreads = np.mean([np.std(look[part], ddof=1) for look in looks])
        rows.append((f"{part}, standard deviation over series", method, spreads, 0))
    return rows
