"""AR(1) from its autocovariances: the divergence from the true process, step by step."""

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

from jaxgen.flows import microcanonical

A, S, LAGS, LEVELS, BATCHES = 0.7, 0.7, (0, 1, 2, 3), (0.3, 0.1, 0.03, 0.01), 4


def logdensity_fn(x):
    """log p of x [d] of the stationary process x_t = A x_(t-1) + S eps, nats."""
    first = jnp.log(1 - A**2) - x[0] ** 2 * (1 - A**2) / S**2
    rest = jnp.sum((x[1:] - A * x[:-1]) ** 2) / S**2 + len(x) * jnp.log(2 * jnp.pi * S**2)
    return (first - rest) / 2


def study(name, settings, folder):
    """KL per dimension, entropy and error along both descents; ar1.png."""
    del name
    d, n, steps = settings.ar_length, settings.ar_particles, settings.ar_steps
    target = S**2 / (1 - A**2) * A ** np.array(LAGS)
    phi = microcanonical.statistics.autocovariances(LAGS)
    start = d / 2 * np.log(2 * np.pi * np.e)
    entropy = d / 2 * np.log(2 * np.pi * np.e * S**2) - np.log(1 - A**2) / 2

    def along(build):
        descent = build(phi, target, step_size=0.05 * d)

        def step(state, _):
            state, info = descent.step(None, state)
            terms = microcanonical.reverse_kl(state, start, logdensity_fn)
            fit = jnp.mean(jax.vmap(logdensity_fn)(state.x)) / d
            held = jnp.mean(terms), info.entropy_change, fit, info.mean_error, info.error
            return state, (*held, info.invertible)

        return lambda x: jax.lax.scan(step, descent.init(x), None, length=steps)[1]

    rows = [
        ("entropy per dimension", "truth", entropy / d, 0),
        ("log p per dimension", "truth", -entropy / d, 0),
    ]
    xs = np.random.default_rng(settings.seed).standard_normal((BATCHES, n, d))
    figure, axes = plt.subplots(1, 3, figsize=(14, 4))
    curves = {}
    for method in ("plain", "mean_field"):
        compiled = jax.jit(along(getattr(microcanonical, method)))
        # One at a time: several at once may wait for each other's factorisations without end
        run = lambda x, compiled=compiled: jax.block_until_ready(compiled(x))
        # Independent batches: their spread is the standard error, coupled particles or not
        found = [np.array(part) for part in zip(*(run(x) for x in xs), strict=True)]
        kl, change, fit, mean_error, error, sound = found
        curves[method] = found
        spread = lambda values: (np.mean(values), np.std(values, ddof=1) / np.sqrt(BATCHES))
        rows.append(("steps that were invertible, share", method, np.mean(sound), 0))
        for level in LEVELS:
            first = np.argmax(mean_error < level * mean_error[:, :1], 1)
            if not np.all(first > 0):
                continue
            at = np.arange(BATCHES), first
            words = f"at mean error {level:g} of the start's"
            rows.append((f"reverse KL per dimension {words}", method, *spread(kl[at])))
            gain = start / d + change[at]
            rows.append((f"entropy per dimension {words}", method, *spread(gain)))
            rows.append((f"log p per dimension {words}", method, *spread(fit[at])))
            rows.append((f"steps {words}", method, *spread(first)))
        rows.append(("reverse KL per dimension at the end", method, *spread(kl[:, -1])))
        rows.append(
            ("entropy per dimension at the end", method, *spread(start / d + change[:, -1]))
        )
        rows.append(("log p per dimension at the end", method, *spread(fit[:, -1])))
        rows.append(("rms error over particles at the end", method, *spread(error[:, -1])))
        rows.append(("error of the mean at the end", method, *spread(mean_error[:, -1])))
        label = method.replace("_", " ")
        axes[0].loglog(mean_error.mean(0), np.maximum(kl.mean(0), 1e-4), "-", label=label)
        axes[1].semilogx(np.arange(1, steps + 1), kl.mean(0), label=label)
        axes[2].plot(start / d + change.mean(0), fit.mean(0), label=label)
    axes[0].set(xlabel="error of the mean statistic", ylabel="reverse KL, nats per dimension")
    axes[0].invert_xaxis()
    axes[1].set(xlabel="steps", ylabel="reverse KL, nats per dimension")
    axes[1].set_ylim(0, 3 * max(0.1, float(np.mean(curves["mean_field"][0][:, 0]))))
    axes[2].plot(entropy / d, -entropy / d, "k*", label="AR(1) itself")
    axes[2].set(xlabel="entropy per dimension, nats", ylabel="log p per dimension, nats")
    axes[2].set_xlim(entropy / d - 1.5, start / d + 0.1)
    for axis in axes:
        axis.legend(fontsize=8)
    figure.suptitle(f"AR(1), a = {A}, d = {d}, {n} particles, {BATCHES} batches", fontsize=10)
    figure.tight_layout()
    figure.savefig(folder / "ar1.png", dpi=110)
    plt.close(figure)
    return rows
