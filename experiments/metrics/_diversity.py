"""Diversity: Vendi scores of known laws, and how well planted copies are found."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from experiments.metrics._study import Estimator, Study
from jaxgen import kernels, metrics
from jaxgen.metrics import diversity


def answers(key, d, n, share, noise):
    """Both looks at n samples of which a share are noisy copies of n training points."""
    key_points, key_noise = jax.random.split(key)
    training, held_out, samples = jax.random.normal(key_points, (3, n, d))
    copied = jnp.arange(n) < share * n
    near = training + noise * jax.random.normal(key_noise, (n, d))
    samples = jnp.where(copied[:, None], near, samples)
    test = diversity.copying_test(training, held_out, samples)
    rate = diversity.copy_rate(training, held_out, samples)
    return test.p_value, rate.value, rate.standard_error


def copy_rows(smoke, seed):
    """Rows over dimensions and shares of copies: how often they are found, and the copy rate."""
    found, repeats, n, level = [], 16 if smoke else 400, 50 if smoke else 200, 0.01
    run = jax.jit(
        lambda keys, d, share: jax.lax.map(
            lambda key: answers(key, d, n, share, 0.1), keys, batch_size=8
        ),
        static_argnums=1,
    )
    with jax.debug_key_reuse(False):
        keys = jax.random.split(jax.random.key(seed), repeats)
        for d in (2,) if smoke else (2, 16):
            for share in (0.0, 0.3) if smoke else (0.0, 0.05, 0.1, 0.2, 0.3, 0.5):
                p_value, rate, error = map(np.asarray, run(keys, d, share))
                power = float(np.mean(p_value < level))
                found.append(
                    {
                        "d": d,
                        "share copied": share,
                        "points": n,
                        "found at level 0.01": power,
                        "its standard error": (max(power * (1 - power), level) / repeats) ** 0.5,
                        "copy rate": float(rate.mean()),
                        "spread of the rate": float(rate.std(ddof=1)),
                        "stated error of the rate": float(np.sqrt(np.mean(error**2))),
                    }
                )
    return found


def copy_figure(path, found):
    """How often copies are found, and the copy rate with its error, against the share copied."""
    picture = Figure(figsize=(9, 3.8))
    FigureCanvasAgg(picture)
    left, right = picture.add_subplot(1, 2, 1), picture.add_subplot(1, 2, 2)
    for index, d in enumerate(dict.fromkeys(row["d"] for row in found)):
        line = [row for row in found if row["d"] == d]
        share = [row["share copied"] for row in line]
        left.plot(share, [row["found at level 0.01"] for row in line], ".-", label=f"d = {d}")
        right.errorbar(
            share,
            [row["copy rate"] for row in line],
            [row["stated error of the rate"] for row in line],
            fmt=".-",
            color=f"C{index}",
            capsize=3,
            label=f"d = {d}",
        )
    left.axhline(0.01, color="grey", linewidth=1, linestyle=":")
    right.axhline(0.5, color="grey", linewidth=1, linestyle=":")
    left.set_ylabel("share of runs with a p-value below 0.01")
    right.set_ylabel("copy rate, with its stated error")
    for axes in (left, right):
        axes.set_xlabel("share of samples that are copies")
        axes.grid(True, alpha=0.3)
        axes.legend(fontsize=8)
    picture.suptitle("200 training, held-out and generated points", fontsize=10)
    picture.tight_layout()
    picture.savefig(path, dpi=110)


STUDIES = (
    Study(
        "copies",
        "On fresh samples the test of copying is wrong as often as its level says, and the stated"
        " error of the copy rate is its spread; planted copies are found.",
        copy_rows,
        copy_figure,
    ),
)


def kinds(order, key, n, d):
    """The Vendi score of n draws among d kinds that have nothing in common."""
    which = jax.random.randint(key, (n,), 0, d)
    return diversity.vendi(jax.nn.one_hot(which, d), order=order)


def unlike(key, n, d):
    """Internal diversity of n points of N(0, I)."""
    bandwidth = d**0.5
    return diversity.internal_diversity(jax.random.normal(key, (n, d)), kernels.rbf(bandwidth))


def fresh(name, key, n, d):
    """The share on fresh samples."""
    sets = jax.random.normal(key, (3, n, d))
    if name == "copy_rate":
        return diversity.copy_rate(*sets).value
    return diversity.copying_test(*sets).closer


def manifold(name, key, n, d):
    """Of two samples of one law."""
    xs, ys = jax.random.normal(key, (2, n, d))
    return getattr(metrics, name)(xs, ys, k=5)


ESTIMATORS = (
    *(
        Estimator(
            "metrics.diversity.vendi",
            f"d unlike kinds, equally likely, order {order}",
            functools.partial(kinds, order),
            float,
        )
        for order in (1, 2)
    ),
    Estimator(
        "metrics.diversity.internal_diversity",
        "N(0, I), rbf of bandwidth √d",
        unlike,
        lambda d: 1 - (d / (d + 2)) ** (d / 2),
    ),
    *(
        Estimator(
            f"metrics.diversity.{name}",
            "fresh samples, as many as training and held-out points",
            functools.partial(fresh, name),
            lambda d: 0.5,
            sizes=(64, 256),
            unbiased=True,
        )
        for name in ("copy_rate", "copying_test")
    ),
    Estimator(
        "metrics.density",
        "equal laws N(0, I), k = 5",
        functools.partial(manifold, "density"),
        lambda d: 1.0,
        unbiased=True,
    ),
    Estimator(
        "metrics.coverage",
        "equal laws N(0, I), k = 5, against its limit 1 - 2^-5",
        functools.partial(manifold, "coverage"),
        lambda d: 1 - 2.0**-5,
    ),
)
