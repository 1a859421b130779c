"""Probability currents: rates of entropy production by four ways, and a picture of a current."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from experiments.metrics._study import Estimator, Study
from jaxgen.metrics import currents

TURN = jnp.asarray([[0.0, 1.0], [-1.0, 0.0]])
SPEED = 1.7
SIDE = 3.2  # of the picture
DEGREE = 6


def energy(x):
    """U: a ring-shaped well with a low side, [2] -> []."""
    return 0.25 * (jnp.sum(x**2) - 3.0) ** 2 + 0.4 * x[0] + 0.3 * x[0] * x[1]


def drift(x):
    """-∇U + w J ∇U, which leaves exp(-U) as it is, with the current w J ∇U."""
    slope = jax.grad(energy)(x)
    return -slope + SPEED * TURN @ slope


def score(x):
    """The exact score, [2] -> [2]."""
    return -jax.grad(energy)(x)


@functools.partial(jax.jit, static_argnums=(0, 1))
def grid(n, side):
    """Points [n * n, 2] of a square, and the law exp(-U) on them, [n * n]."""
    axis = jnp.linspace(-side, side, n)
    cells = jnp.stack(jnp.meshgrid(axis, axis), -1).reshape(-1, 2)
    return cells, jax.nn.softmax(-jax.vmap(energy)(cells))


def exact_rate():
    """w² E |∇U|², by quadrature."""
    cells, mass = grid(801, 5.0)
    return float(SPEED**2 * mass @ jnp.sum(jax.vmap(score)(cells) ** 2, 1))


@functools.partial(jax.jit, static_argnums=1)
def draw(key, n):
    """Independent points [n, 2] of exp(-U)."""
    cells, mass = grid(401, 5.0)
    key_cell, key_place = jax.random.split(key)
    level = jax.random.uniform(key_cell, (n,), maxval=1 - 1e-9)
    place = jax.random.uniform(key_place, (n, 2), minval=-0.5, maxval=0.5)
    return cells[jnp.searchsorted(jnp.cumsum(mass), level)] + place * (10.0 / 400)


POWERS = np.asarray([(i, j) for i in range(DEGREE + 1) for j in range(DEGREE + 1 - i)])[1:]


def features(x):
    """Monomials of degree 1 to 6: [2] -> [p]."""
    powers = jnp.stack([x**i for i in range(DEGREE + 1)])
    return powers[POWERS[:, 0], 0] * powers[POWERS[:, 1], 1]


def fitted(xs):
    """A score [2] -> [2], the gradient of a polynomial, by implicit score matching on xs [n, 2]."""
    slopes = jax.vmap(jax.jacrev(features))(xs)
    spread = jax.vmap(lambda x: jnp.trace(jax.hessian(features)(x), axis1=1, axis2=2))(xs)
    gram = jnp.einsum("nkd,nld->kl", slopes, slopes) / len(xs)
    theta = jnp.linalg.solve(gram, -jnp.mean(spread, 0))
    return lambda x: jax.jacrev(features)(x).T @ theta


def paths(key, n, steps, dt, fine=4):
    """Stationary paths [n, steps + 1, 2], by Euler steps of dt / fine."""
    key_start, key_noise = jax.random.split(key)
    start = draw(key_start, n)
    small = dt / fine

    def step(xs, i):
        for j in range(fine):
            noise = jax.random.normal(jax.random.fold_in(key_noise, fine * i + j), xs.shape)
            xs = xs + small * jax.vmap(drift)(xs) + (2 * small) ** 0.5 * noise
        return xs, xs

    moved = jax.lax.scan(step, start, jnp.arange(steps))[1]
    return jnp.swapaxes(jnp.concatenate([start[None], moved]), 0, 1)


def rows(smoke, seed):
    """Rows over ways and numbers of points: the rate, its error and what it is off by."""
    truth, key = exact_rate(), jax.random.key(seed)
    found = []

    def add(way, n, estimate):
        value, error = (float(part) for part in estimate)
        found.append(
            {
                "way": way,
                "n": n,
                "rate": value,
                "standard error": error,
                "truth": truth,
                "off, percent": 100 * (value / truth - 1),
                "off, standard errors": (value - truth) / error,
            }
        )

    with jax.debug_key_reuse(False):
        for n in (1000,) if smoke else (1000, 4000, 16000, 64000):
            xs = draw(jax.random.fold_in(key, n), n)
            fresh = draw(jax.random.fold_in(key, n + 1), n)
            produced = jax.jit(lambda fn, xs: currents.entropy_production(drift, 1.0, fn, xs))
            exact = jax.tree_util.Partial(score)
            add("exact score", n, produced(exact, xs))
            learned = jax.jit(
                lambda xs, at: currents.entropy_production(drift, 1.0, fitted(xs), at)
            )
            add("learned score", n, learned(xs, fresh))
            add(
                "heat, no score",
                n,
                jax.jit(lambda xs: currents.heat_production(drift, 1.0, xs))(xs),
            )
        for dt in (0.02,) if smoke else (0.04, 0.02, 0.01, 0.005):
            steps, n = round((0.4 if smoke else 4.0) / dt), (50 if smoke else 1000)

            @jax.jit
            def reversal(key, steps=steps, n=n, dt=dt):
                walked = paths(key, n, steps, dt)
                return currents.path_entropy_production(drift, 1.0, walked, steps * dt)

            add(f"time reversal, step {dt}", n, reversal(key))
    return found


def figure(path, found):
    """The density and its current, exact and learned; where entropy is produced; the rates."""
    picture = Figure(figsize=(15, 4.2))
    FigureCanvasAgg(picture)
    n, few = 161, 25
    cells, mass = grid(n, SIDE)
    sparse, light = grid(few, SIDE)
    velocity = jax.vmap(currents.current_velocity(drift, 1.0, score))

    @jax.jit
    def arrows_of(xs):
        weight = light[:, None] / jnp.max(light)
        guess = jax.vmap(currents.current_velocity(drift, 1.0, fitted(xs)))
        produced = mass * jnp.sum(velocity(cells) ** 2, 1)
        return weight * velocity(sparse), weight * guess(sparse), produced

    exact_arrows, guess_arrows, produced = arrows_of(draw(jax.random.key(1), 16_000))
    extent = (-SIDE, SIDE, -SIDE, SIDE)

    def panel(place, values, title, colours="Greys"):
        axes = picture.add_subplot(1, 4, place)
        shown = np.asarray(values).reshape(n, n)
        axes.imshow(shown, origin="lower", extent=extent, cmap=colours)
        axes.set_title(title, fontsize=9)
        axes.tick_params(labelsize=7)
        return axes

    scale = 14 * float(np.max(np.linalg.norm(exact_arrows, axis=1)))
    for place, arrows, title in (
        (1, exact_arrows, "density and current"),
        (2, guess_arrows, "the same from a learned score"),
    ):
        axes = panel(place, mass, title)
        axes.quiver(
            *np.asarray(sparse).T, *np.asarray(arrows).T, color="C3", scale=scale, width=0.006
        )
    panel(3, produced, "entropy produced, by place", "inferno")
    axes = picture.add_subplot(1, 4, 4)
    ways = [row["way"] for row in found]
    for index, way in enumerate(dict.fromkeys(ways)):
        of = [row for row in found if row["way"] == way]
        shift = 1.1 ** (index - 3)
        axes.errorbar(
            [row["n"] * shift for row in of],
            [row["rate"] for row in of],
            [2 * row["standard error"] for row in of],
            fmt="o",
            markersize=3,
            label=way,
        )
    axes.axhline(found[0]["truth"], color="k", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_title("rate, two standard errors; line: exact", fontsize=9)
    axes.set_xlabel("n", fontsize=8)
    axes.tick_params(labelsize=7)
    axes.legend(fontsize=6, loc="lower right")
    picture.tight_layout()
    picture.savefig(path, dpi=110)


def turning(d):
    """The matrix 1 + w J in pairs of d dimensions: a rate of d w²."""
    return jnp.eye(d) + SPEED * jnp.kron(jnp.eye(d // 2), TURN)


def linear(key, n, d, estimate):
    """An estimate on n points of the turning law."""
    matrix = turning(d)
    return estimate(lambda x: -matrix @ x, jax.random.normal(key, (n, d))).value


TURNING = "dX = -(1 + wJ) X dt + √2 dW"
ESTIMATORS = (
    Estimator(
        "metrics.currents.entropy_production",
        TURNING,
        lambda key, n, d: linear(
            key, n, d, lambda b, xs: currents.entropy_production(b, 1.0, lambda x: -x, xs)
        ),
        lambda d: d * SPEED**2,
        unbiased=True,
    ),
    Estimator(
        "metrics.currents.heat_production",
        TURNING,
        lambda key, n, d: linear(key, n, d, lambda b, xs: currents.heat_production(b, 1.0, xs)),
        lambda d: d * SPEED**2,
        unbiased=True,
    ),
)

STUDIES = (
    Study(
        "currents",
        "A learned score gives the entropy production of a turned, ring-shaped well within five "
        "percent; the drift alone and time-reversed paths give the same number.",
        rows,
        figure,
    ),
)
