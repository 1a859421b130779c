"""The mean of a Gaussian away from the noise: compositional likelihood against noise contrast.

The model is exp(-(x - theta)^2 / 2 - c), c its unknown log-normaliser: a parameter of the noise
contrast, read off the moving estimate otherwise. Rates fall as rate / (1 + t / horizon); both
methods take the best of the same table, by the first step from which the root mean square error of
theta over seeds stays below 1e-2. The first step that touches 1e-2, by the best of the same table,
stands beside it.
"""

import itertools

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from jax.scipy.stats import norm

import jaxgen as jg
from jaxgen.types import Distribution

SEEDS = 2
TABLE = np.array(list(itertools.product([0.3, 1.0, 3.0, 10.0, 30.0], [3.0, 30.0])))
SETTINGS = {"2 away, noise of width 1": (2.0, 1.0), "4 away, noise of width 4": (4.0, 4.0)}
POINTS = np.linspace(-12, 16, 281)


def f(theta, x):
    """The model, unnormalised: log Z = log sqrt(2 pi)."""
    return -((x - theta) ** 2) / 2


def study(settings, folder):
    """The landscape, both races, and Z; mean.png."""
    figure, axes = plt.subplots(1, 3, figsize=(14, 4))
    rows = landscape(axes[0])
    for name, axis in list(zip(SETTINGS, axes[1:], strict=True))[: 1 if settings.smoke else None]:
        rows += race(settings, name, axis)
    figure.tight_layout()
    figure.savefig(folder / "mean.png", dpi=110)
    plt.close(figure)
    return rows


def landscape(axis):
    """Sizes of the gradients at 0..3 for a truth at 4 and unit noise at 0, by quadrature."""
    normalised = lambda theta, x: norm.logpdf(x, theta, 1.0)

    def at(theta, x, y):
        noise = Distribution(lambda key: y, norm.logpdf)
        loss_fn = jg.losses.energy.noise_contrastive(normalised, noise)
        return loss_fn(theta, jax.random.key(0), x)

    both = jax.vmap(jax.vmap(jax.grad(at), (None, None, 0)), (None, 0, None))
    step = POINTS[1] - POINTS[0]
    p, q = (norm.pdf(POINTS, mean, 1.0) * step for mean in (4.0, 0.0))
    slope = jax.jit(lambda theta: -(p @ both(theta, POINTS, POINTS) @ q))
    thetas = np.linspace(0, 4, 17)
    contrast = np.array([slope(theta) for theta in thetas])
    axis.plot(thetas, 4 - thetas, label="likelihood")
    axis.plot(thetas, contrast, label="noise contrast")
    axis.set(xlabel="theta, truth 4, noise N(0, 1)", ylabel="size of the gradient")
    axis.set_title("where the landscape is flat")
    axis.legend(fontsize=8)
    claims = ("2.00", "0.29", "0.23", "0.13")
    return [
        (
            f"gradient of noise contrast at theta = {i}; likelihood {4 - i}",
            claims[i],
            contrast[4 * i],
            0,
        )
        for i in range(4)
    ]


def race(settings, name, axis):
    away, width = SETTINGS[name]
    noise = Distribution(
        lambda key: width * jax.random.normal(key), lambda y: norm.logpdf(y, 0.0, width)
    )
    keys = jax.random.split(jax.random.key(settings.seed + 2), SEEDS)
    found = {}
    for method, run in (("compositional", compositional), ("noise contrast", contrast)):
        one = lambda rate, key, run=run: run(settings, away, noise, rate, key)
        runs = jax.jit(jax.vmap(one, (None, 0)))
        paths = [runs(rates, keys) for rates in TABLE[: 1 if settings.smoke else None]]
        errors = np.array([np.sqrt(np.mean((path[0] - away) ** 2, 0)) for path in paths])
        errors = np.where(np.isfinite(errors), errors, np.inf)
        firsts = np.array([reached(row) for row in errors])
        best = np.lexsort((errors[:, -1], firsts))[0]
        below = errors < 1e-2
        touched = np.min(np.where(np.any(below, 1), 1 + np.argmax(below, 1), np.inf))
        found[method] = firsts[best], errors[best], np.asarray(paths[best][1])[:, -1], touched
        label = f"{method}, rate {TABLE[best, 0]:g} / (1 + t / {TABLE[best, 1]:g})"
        axis.loglog(np.arange(1, len(errors[best]) + 1), errors[best], label=label)
    axis.axhline(1e-2, color="grey", lw=0.8)
    axis.set(
        xlabel=f"steps of {settings.mean_batch} data and draws", ylabel="rms error of the mean"
    )
    axis.set_title(name)
    axis.legend(fontsize=7)
    ours, theirs = found["compositional"], found["noise contrast"]
    rows = [
        (f"steps to 1e-2, {method}, {name}", "", values[0], 0) for method, values in found.items()
    ]
    ratio = ours[0] / theirs[0] if np.isfinite(theirs[0]) else np.nan
    rows.append((f"their ratio, {name}", "<= 0.2", ratio, 0))
    for method, (_, errors, logs, touched) in found.items():
        rows.append((f"steps to touch 1e-2, {method}, {name}", "", touched, 0))
        rows.append((f"rms error at the end, {method}, {name}", "", errors[-1], 0))
        offs = np.exp(logs - np.log(2 * np.pi) / 2) - 1
        error = np.std(offs, ddof=1) / np.sqrt(SEEDS)
        rows.append((f"Z / truth - 1, {method}, {name}", "|.| < 0.01", np.mean(offs), error))
    return rows


def reached(errors):
    """The first step from which errors [steps] stay below 1e-2; infinite if the last is above."""
    above = np.flatnonzero(errors >= 1e-2)
    last = above[-1] + 1 if len(above) else 0
    return last + 1 if last < len(errors) else np.inf


def compositional(settings, away, noise, rates, key):
    rule = lambda decay: jg.losses.energy.compositional(
        f, noise, draws=settings.mean_batch, decay=decay
    )

    def body(carry, i):
        theta, state = carry
        key_data, key_loss = jax.random.split(jax.random.fold_in(key, i))
        xs = away + jax.random.normal(key_data, (settings.mean_batch,))
        # Z does not depend on theta here, so that its average may be over all steps
        loss = rule(1 / (2.0 + i)).loss
        slope, state = jax.grad(loss, has_aux=True)(theta, key_loss, xs, state)
        theta = theta - rates[0] / (1 + i / rates[1]) * slope
        return (theta, state), (theta, state.log_normaliser)

    start = jnp.zeros(()), rule(1.0).init(jnp.zeros(()), jax.random.fold_in(key, 2**30))
    return jax.lax.scan(body, start, jnp.arange(settings.mean_steps))[1]


def contrast(settings, away, noise, rates, key):
    log_prob = lambda params, x: f(params[0], x) - params[1]
    loss_fn = jg.losses.energy.noise_contrastive(log_prob, noise)

    def body(params, i):
        key_data, key_loss = jax.random.split(jax.random.fold_in(key, i))
        xs = away + jax.random.normal(key_data, (settings.mean_batch,))
        keys = jax.random.split(key_loss, settings.mean_batch)
        batch = lambda params: jnp.mean(jax.vmap(loss_fn, (None, 0, 0))(params, keys, xs))
        params = params - rates[0] / (1 + i / rates[1]) * jax.grad(batch)(params)
        return params, (params[0], params[1])

    # c starts at the truth: to its advantage
    start = jnp.array([0.0, np.log(2 * np.pi) / 2])
    return jax.lax.scan(body, start, jnp.arange(settings.mean_steps))[1]
