"""Cooperative recovery likelihoods on the checkerboard's eight squares, and sums of energies.

Levels, energies and guesses are learned together; samples come down the ladder; the energy of the
lowest level is normalised by annealing and compared with the exact log-density.
"""

import blackjax
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

import jaxgen as jg
from experiments._descent import descended
from jaxgen.types import Distribution

TIMES, LANGEVIN, SIDE, CELLS = (0.004, 0.05, 0.12, 0.22, 0.36, 0.6, 1.0), 10, 160, 8
EDGES = np.linspace(-2, 2, SIDE + 1)
CENTRES = (EDGES[1:] + EDGES[:-1]) / 2
GRID = np.stack(np.meshgrid(CENTRES, CENTRES, indexing="ij"), -1).reshape(-1, 2).astype(np.float32)
CELL = (EDGES[1] - EDGES[0]) ** 2


def boards():
    """Eight squares on [-2, 2]^2, in units of deviation about 1."""
    return jg.data.checkerboard(cells=4, side=1.0)


def mala(logdensity_fn, variance):
    return blackjax.mala(logdensity_fn, 0.15 * variance)


def features(x):
    """x [2] and waves of it: edges of squares are sharp, and a small network smooth."""
    waves = jnp.concatenate([jnp.pi / 2 * k * x for k in (1.0, 2.0, 3.0)])
    return jnp.concatenate([x, jnp.sin(waves), jnp.cos(waves)])


def networks(settings):
    """f(params, z, level), the energy, and guess(params, noisy, level)."""
    width, top = settings.ladder_width, len(TIMES) - 1
    scalar = jg.nets.mlp((14,), width=width, depth=2, out_shape=())
    vector = jg.nets.mlp((14,), width=width, depth=2, out_shape=(2,))

    def f(params, z, level):
        time = jnp.asarray(level, z.dtype) / top
        return scalar.apply(params, features(z), time) - jnp.sum(z**2) / 2

    def guess(params, noisy, level):
        return noisy + vector.apply(params, features(noisy), jnp.asarray(level, noisy.dtype) / top)

    def init(key):
        key_scalar, key_vector = jax.random.split(key)
        return scalar.init(key_scalar), vector.init(key_vector)

    return f, guess, init


def study(settings, folder):
    """Train, sample, normalise, compose; ladder.png."""
    process = jg.processes.scalar.vp()
    ladder = jg.losses.energy.recovery.ladder(process, np.array(TIMES))
    ladder = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), ladder)
    f, guess, init = networks(settings)
    keys = jax.random.split(jax.random.key(settings.seed + 4), 6)
    params = trained(settings, ladder, f, guess, init(keys[0]), keys[1])
    draw = jg.losses.energy.recovery.draw(ladder, f, mala, guess, steps=3 * LANGEVIN)
    samples = np.asarray(
        jax.jit(jax.vmap(lambda key: draw(params, key, (2,))[0]))(
            jax.random.split(keys[2], settings.ladder_draws)
        )
    )
    exact = np.asarray(jax.vmap(boards().sample)(jax.random.split(keys[3], settings.ladder_draws)))
    rows = [
        (f"TV of {CELLS} x {CELLS} histograms, samples", "< 0.1", variation(samples), 0),
        ("the same for as many exact draws", "", variation(exact), 0),
    ]
    lowest = lambda x: f(params[0], ladder.alpha[0] * x, 0)
    heights = np.asarray(jax.jit(jax.vmap(lowest))(GRID))
    log_z = np.logaddexp.reduce(heights.astype(float)) + np.log(CELL)
    squares = np.exp(heights - log_z) * CELL
    masses = squares.reshape(4, SIDE // 4, 4, SIDE // 4).sum((1, 3))
    exact_masses = (np.indices((4, 4)).sum(0) % 2 == 0) / 8
    rows.append(
        (
            "TV of the lowest energy alone, a cell a square",
            "",
            np.abs(masses - exact_masses).sum() / 2,
            0,
        )
    )
    if not settings.smoke:
        rows += normaliser(settings, lowest, log_z, keys[4])
    rows += outside(lowest, exact, keys[5])
    pictures(folder, f, params, ladder, samples, heights)
    return rows


def trained(settings, ladder, f, guess, params, key):
    """The averages of the parameters after training."""
    loss_fn = jg.losses.energy.recovery.cooperative(ladder, f, guess, mala, steps=LANGEVIN)
    adam = optax.adam(optax.cosine_decay_schedule(2e-3, settings.ladder_steps))
    n, top = settings.ladder_batch, len(TIMES) - 1

    def gradient(params, key, carry):
        key_data, key_loss = jax.random.split(key)
        xs = jax.vmap(boards().sample)(jax.random.split(key_data, n))
        levels, keys = jnp.arange(n) % top, jax.random.split(key_loss, n)
        batch = lambda p: jnp.mean(jax.vmap(loss_fn, (None, 0, 0, 0))(p, keys, xs, levels))
        return jax.grad(batch)(params), carry

    return descended(adam, gradient, params, settings.ladder_steps, key, average=lambda i: 0.005)


def variation(points):
    """Total variation to the eight squares, of a histogram with four cells to each square."""
    edges = np.linspace(-2, 2, CELLS + 1)
    counts = np.histogram2d(*points.T, bins=edges)[0] / len(points)
    middles = (edges[1:] + edges[:-1]) / 2
    table = np.stack(np.meshgrid(middles, middles, indexing="ij"), -1).reshape(-1, 2)
    logs = np.asarray(jax.vmap(boards().logdensity)(jnp.asarray(table, jnp.float32)))
    truth = np.exp(logs).reshape(CELLS, CELLS) * (edges[1] - edges[0]) ** 2
    return (np.sum(np.abs(counts - truth)) + 1 - np.sum(counts)) / 2


def normaliser(settings, lowest, log_z, key):
    """log Z of the lowest energy by annealing from a Gaussian, against the sum on a grid."""
    start = Distribution(
        lambda key: 1.3 * jax.random.normal(key, (2,)),
        lambda x: -jnp.sum(x**2) / (2 * 1.3**2) - jnp.log(2 * jnp.pi * 1.3**2),
    )
    path = jg.energies.geometric_path(start.logdensity, lowest)
    kernel = lambda exponent: blackjax.mala(path(exponent), 0.02)
    stops = np.linspace(0, 1, settings.rungs + 1)
    terms = jg.likelihoods.annealed_terms(
        path, kernel, stops, start, draws=max(2, settings.draws // 4)
    )
    found = jax.jit(terms)(key)
    return [
        (
            "log Z of the lowest energy, annealed",
            f"{log_z:.3f}",
            found.log_normaliser,
            found.standard_error,
        )
    ]


def outside(lowest, exact, key):
    """Area under the curve of the energy: the squares against uniform points off them."""
    points = jax.random.uniform(key, (len(exact), 2), minval=-2, maxval=2)
    off = np.asarray(jax.vmap(boards().logdensity)(points)) == -np.inf
    points = np.asarray(points)[off]
    inside, other = (np.asarray(jax.jit(jax.vmap(lowest))(jnp.asarray(x))) for x in (exact, points))
    ranks = np.argsort(np.argsort(np.concatenate([inside, other])))
    n, m = len(inside), len(other)
    area = (np.sum(ranks[:n]) - n * (n - 1) / 2) / (n * m)
    return [("area under the curve, squares against the blanks", "> 0.5", area, 0)]


def pictures(folder, f, params, ladder, samples, heights):
    """Energies of the levels, samples, and the lowest energy times a ring."""
    figure, axes = plt.subplots(2, 4, figsize=(15, 7.4))
    for axis, level in zip(axes[0], (5, 3, 1, 0), strict=True):
        values = jax.jit(jax.vmap(lambda z, k=level: f(params[0], z, k)))(GRID)
        show(axis, np.asarray(values), f"level {level}, sigma {float(ladder.sigma[level]):.2f}")
    axes[1, 0].plot(*samples[:5000].T, ".", ms=1)
    axes[1, 0].set(xlim=(-2, 2), ylim=(-2, 2), aspect="equal")
    axes[1, 0].set_title(f"samples, TV {variation(samples):.3f}")
    exact = np.asarray(jax.vmap(boards().logdensity)(jnp.asarray(GRID)))
    show(axes[1, 1], exact, "the squares")
    ring = -((np.linalg.norm(GRID, axis=1) - 1.2) ** 2) / (2 * 0.2**2)
    show(axes[1, 2], ring, "a ring")
    show(axes[1, 3], heights + ring, "squares and ring: energies summed")
    figure.tight_layout()
    figure.savefig(folder / "ladder.png", dpi=110)
    plt.close(figure)


def show(axis, logs, title):
    picture = np.exp(logs - np.max(logs)).reshape(SIDE, SIDE).T
    axis.imshow(picture, origin="lower", extent=(-2, 2, -2, 2))
    axis.set_title(title, fontsize=10)
