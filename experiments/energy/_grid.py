"""The 4 x 4 periodic Ising grid, where everything is enumerated."""

import itertools

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import jaxgen as jg
from jaxgen.types import Distribution

SPINS = np.array(list(itertools.product([-1.0, 1.0], repeat=16)))
COLOURS = np.indices((4, 4)).sum(0).ravel() % 2
TRUTH = {0.2: (11.771470, 0.342766), 0.4: (14.561093, 0.764712)}
COIN = Distribution(
    lambda key: jax.random.rademacher(key, (16,), float), lambda s: -16 * jnp.log(2.0)
)
MODEL, DATA = 0.4, 0.2


def bonds(s):
    """The sum of the bonds of s [16]: the log-density at inverse temperature 1."""
    return jg.energies.ising(jg.energies.periodic_grid((4, 4)))(s)


def sweep(logdensity_fn):
    """Gibbs sampling, one colour of the chessboard after the other."""
    return jg.mcmc.coloured_gibbs(logdensity_fn, (-1.0, 1.0), COLOURS)


def sampled(key, logs, n):
    """n exact draws [n, 16]."""
    return SPINS[jax.random.choice(key, len(SPINS), (n,), p=jax.nn.softmax(jnp.asarray(logs)))]


def study(settings, folder):
    """log Z from both ends, and the bias of contrastive gradients; grid.png."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4))
    rows = normalisers(settings, left) + gradients(settings, right)
    figure.tight_layout()
    figure.savefig(folder / "grid.png", dpi=110)
    plt.close(figure)
    return rows


def normalisers(settings, axis):
    key, rows = jax.random.key(settings.seed), []
    for index, (beta, (log_z, size)) in enumerate(
        list(TRUTH.items())[: 1 if settings.smoke else 2]
    ):
        logs = beta * np.asarray(jax.vmap(bonds)(SPINS))
        exact = np.logaddexp.reduce(logs)
        rows.append((f"log Z enumerated, beta {beta}", log_z, exact, 0))
        mean = np.exp(logs - exact) @ np.abs(np.mean(SPINS, 1))
        rows.append((f"E|m| enumerated, beta {beta}", size, mean, 0))
        target = lambda s, beta=beta: beta * bonds(s)
        path = jg.energies.geometric_path(COIN.logdensity, target)
        kernel = lambda exponent, path=path: sweep(path(exponent))
        key, key_exact = jax.random.split(jax.random.fold_in(key, index))
        draws = sampled(key_exact, logs, settings.draws)
        lower, upper, counts = [], [], []
        for rungs in sorted(
            {max(2, settings.rungs // 16), max(2, settings.rungs // 4), settings.rungs}
        ):
            stops = np.linspace(0, 1, rungs + 1)
            key_forward, key_back = jax.random.split(jax.random.fold_in(key, rungs))
            forward = jg.likelihoods.annealed_terms(path, kernel, stops, COIN, draws=settings.draws)
            found = jax.jit(forward)(key_forward)
            back = jax.jit(jg.likelihoods.annealed_reverse(path, kernel, stops))(key_back, draws)
            counts.append(rungs)
            lower.append((found.bound - exact, found.bound_error))
            upper.append((back.bound - exact, back.bound_error))
        rows.append(
            (f"log Z annealed, beta {beta}", log_z, found.log_normaliser, found.standard_error)
        )
        rows.append(
            (f"log Z in reverse, beta {beta}", log_z, back.log_normaliser, back.standard_error)
        )
        rows.append((f"lower bound less log Z, beta {beta}", "< 0", *lower[-1]))
        rows.append((f"upper bound less log Z, beta {beta}", "> 0", *upper[-1]))
        weights = jax.nn.softmax(found.log_weights)
        sizes = jnp.abs(jnp.mean(found.particles, 1))
        held = weights @ sizes
        error = jnp.sqrt(jnp.sum((weights * (sizes - held)) ** 2))
        rows.append((f"E|m| of weighted particles, beta {beta}", size, held, error))
        for values, style in ((lower, "-"), (upper, "--")):
            heights, errors = np.array(values).T
            axis.errorbar(
                counts, heights, 4 * errors, fmt=f"C{index}o{style}", ms=3, label=f"beta {beta}"
            )
    axis.axhline(0, color="grey", lw=0.8)
    axis.set(xscale="log", xlabel="exponents", ylabel="bound less log Z, nats")
    axis.set_yscale("symlog", linthresh=0.03)
    axis.set_title("annealing (solid) and reverse (dashed) bracket log Z")
    axis.legend(fontsize=8)
    return rows


def gradients(settings, axis):
    """Contrastive gradients of a model at 0.4 on data at 0.2, less the enumerated one."""
    held = np.asarray(jax.vmap(bonds)(SPINS))
    laws = {beta: np.exp(beta * held - np.logaddexp.reduce(beta * held)) for beta in (MODEL, DATA)}
    exact = held @ (laws[MODEL] - laws[DATA])
    key_data, key_run, key_chain = jax.random.split(jax.random.key(settings.seed + 1), 3)
    xs = sampled(key_data, DATA * held, settings.draws)
    f = lambda beta, s: beta * bonds(s)
    keys = jax.random.split(key_run, len(xs))

    def measured(loss_fn, *negatives):
        one = lambda key, *rows: jax.grad(loss_fn)(MODEL, key, *rows)
        slopes = np.asarray(jax.jit(jax.vmap(one))(keys, xs, *negatives))
        return np.mean(slopes) - exact, np.std(slopes) / np.sqrt(len(xs))

    counts = (1,) if settings.smoke else (1, 4, 16, 64)
    rows, curves = [], {"CD-k": [], "persistent, k updates": []}
    for steps in counts:
        curves["CD-k"].append(
            measured(jg.losses.energy.contrastive_divergence(f, sweep, steps=steps))
        )
        rows.append(
            (f"bias of CD-{steps}, exact gradient {exact:.3f}", "falls", *curves["CD-k"][-1])
        )
    chains, start = jg.losses.energy.persistent(f, sweep), np.ones_like(xs)

    def body(state, i):
        state, _ = chains.step(MODEL, jax.random.fold_in(key_chain, i), state)
        return state, state.positions

    _, positions = jax.jit(lambda s: jax.lax.scan(body, chains.init(s), jnp.arange(max(counts))))(
        start
    )
    for updates in counts:
        value = measured(jg.losses.energy.contrastive_divergence(f), positions[updates - 1])
        curves["persistent, k updates"].append(value)
    rows.append((f"bias of persistent chains, {updates} updates", 0, *value))
    for name, values in curves.items():
        heights, errors = np.array(values).T
        axis.errorbar(counts, heights, 4 * errors, fmt="o-", ms=3, label=name)
    axis.axhline(0, color="grey", lw=0.8)
    axis.set(xscale="log", xlabel="k", ylabel="gradient less the enumerated one")
    axis.set_title("bias of contrastive gradients (bars: 4 s.e.)")
    axis.legend(fontsize=8)
    return rows
