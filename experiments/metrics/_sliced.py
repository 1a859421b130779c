"""Sliced distances: error against the number of directions, and what control variates are worth."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from experiments.metrics._study import Estimator, Study
from jaxgen import metrics

WAYS = {
    "plain": {},
    "orthogonal": {"directions": "orthogonal"},
    "quasi": {"directions": "quasi"},
    "lower": {"control": "lower"},
    "upper": {"control": "upper"},
    "gaussian": {"control": "gaussian"},
    "harmonics": {"control": "harmonics"},
    "gaussian, quasi": {"control": "gaussian", "directions": "quasi"},
    "harmonics, quasi": {"control": "harmonics", "directions": "quasi"},
}
RATES = ("plain", "quasi", "harmonics", "harmonics, quasi", "gaussian, quasi")
NUMBERS = {2: (8, 32, 128), 3: (16, 64, 256), 8: (160, 480, 1440)}  # of directions


def skewed(d, n=20):
    """Two skewed, anisotropic clouds [n, d] whose means are apart."""
    rng = np.random.RandomState(d)
    one = lambda: rng.gamma(2.0, size=(n, d)) * np.linspace(0.5, 1.5, d) @ rng.randn(d, d)
    return jnp.asarray(one() / d**0.5), jnp.asarray(one() / d**0.5 + 0.5)


def many(xs, ys, keys, num, options):
    """Estimates under many keys, as a NumPy array."""
    one = functools.partial(metrics.sliced_wasserstein, num_projections=num, **options)
    run = jax.jit(lambda keys, xs, ys: jax.lax.map(lambda key: one(key, xs, ys), keys))
    return np.asarray(run(keys, xs, ys))


def slope(sizes, errors, repeats):
    """The slope of log error in log size, and its standard error from that of every error."""
    x = np.log(sizes) - np.mean(np.log(sizes))
    return float(x @ np.log(errors) / (x @ x)), float((1 / (2 * repeats) / (x @ x)) ** 0.5)


def rated(d, smoke, seed):
    """Pairs in d dimensions by name: two clouds, p, and the value."""
    xs, ys = skewed(d)
    keys = jax.random.split(jax.random.key(seed + 1), 2 if smoke else 16)
    even = WAYS["quasi"] if d == 2 else WAYS["gaussian, quasi"]
    truth = many(xs, ys, keys, 2_000 if smoke else 2**15, even).mean()
    # Of one point and another, p = 1: the mean of |<theta, m>|, kinked where it is 0.
    move = jnp.arange(1.0, d + 1)
    mean = math.exp(math.lgamma(d / 2) - math.lgamma((d + 1) / 2)) / math.pi**0.5
    return {
        "two skewed clouds": (xs, ys, 2, truth),
        "two points, p = 1": (0 * move[None], move[None], 1, float(jnp.linalg.norm(move)) * mean),
    }


def rate_rows(smoke, seed):
    """Rows over dimensions, pairs, ways and numbers of directions L: error, and its slope in L."""
    found = []
    with jax.debug_key_reuse(False):
        for d in (2,) if smoke else (2, 3, 8):
            sizes = NUMBERS[d][:2] if smoke else NUMBERS[d]
            repeats = 8 if smoke else 24 if d == 8 else 40
            pairs = rated(d, smoke, seed)
            for (pair, (xs, ys, p, truth)), way in itertools.product(pairs.items(), RATES):
                errors = []
                for num in sizes:
                    keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), num), repeats)
                    values = many(xs, ys, keys, num, {"p": p, **WAYS[way]})
                    errors.append(float(np.sqrt(np.mean((values - truth) ** 2))) / truth)
                fall, error = slope(sizes, errors, repeats)
                about = {"d": d, "pair": pair, "way": way, "slope": fall, "slope error": error}
                found += [
                    {**about, "directions": num, "error over value": each}
                    for num, each in zip(sizes, errors, strict=True)
                ]
    return found


def rate_figure(path, found):
    """A panel a dimension and pair: error against the number of directions."""
    dims = list(dict.fromkeys(row["d"] for row in found))
    pairs = list(dict.fromkeys(row["pair"] for row in found))
    picture = Figure(figsize=(4.6 * len(dims), 7.6))
    FigureCanvasAgg(picture)
    for place, (pair, d) in enumerate(itertools.product(pairs, dims)):
        axes = picture.add_subplot(len(pairs), len(dims), place + 1)
        for index, way in enumerate(RATES):
            line = [row for row in found if (row["d"], row["pair"], row["way"]) == (d, pair, way)]
            axes.loglog(
                [row["directions"] for row in line],
                [row["error over value"] for row in line],
                ".-",
                color=f"C{index}",
                label=f"{way}: {line[0]['slope']:.2f} ± {line[0]['slope error']:.2f}",
            )
        axes.set_title(f"{pair}, {d} dimensions", fontsize=10)
        axes.set_xlabel("directions L")
        axes.set_ylabel("root mean squared error over value")
        axes.grid(True, alpha=0.3)
        axes.legend(fontsize=8, title="slope in L", title_fontsize=8, loc="lower left")
    picture.tight_layout()
    picture.savefig(path, dpi=110)


def clouds(name, n=150):
    """An anisotropic pair in eight dimensions, the second turned and moved, [n, 8] each."""
    rng, d = np.random.RandomState(0), 8
    turn = np.linalg.qr(rng.randn(d, d))[0]
    xs, ys = rng.randn(n, d), rng.randn(n, d)
    if name == "clusters":
        xs[: n // 2, 0] += 4
        ys[: n // 3, 1] -= 5
    apart = {"means close": 0.3, "means apart": 1.0, "means far": 3.0, "clusters": 0.3}[name]
    xs = xs * np.linspace(0.3, 2.5, d)
    ys = ys * np.linspace(2, 0.4, d) @ turn.T + apart * np.linspace(-1, 1, d)
    return jnp.asarray(xs), jnp.asarray(ys)


def control_rows(smoke, seed):
    """Rows over pairs and ways at 100 directions: variance, and that of the plain mean over it."""
    found, number, repeats = [], 100, 16 if smoke else 200
    names = ("means close", "means far") if smoke else ("means close", "means apart", "means far")
    pairs = {name: clouds(name) for name in (*names, *(() if smoke else ("clusters",)))}
    pairs["translation"] = clouds("means apart")[0], clouds("means apart")[0] + 1.0
    ways = {way: dict(options) for way, options in WAYS.items()}
    ways["harmonics"]["degree"] = 2
    del ways["gaussian, quasi"], ways["harmonics, quasi"]
    ways["gaussian, orthogonal"] = {"control": "gaussian", "directions": "orthogonal"}
    ways["upper, split"] = {"control": "upper", "split": True}
    plain = {}
    with jax.debug_key_reuse(False):
        keys = jax.random.split(jax.random.key(seed), repeats)
        for way, options in ways.items():
            one = functools.partial(metrics.sliced_wasserstein, num_projections=number, **options)
            run = jax.jit(
                lambda keys, xs, ys, one=one: jax.lax.map(lambda key: one(key, xs, ys), keys)
            )
            for name, (xs, ys) in pairs.items():
                values = np.asarray(run(keys, xs, ys))
                variance = float(values.var(ddof=1))
                plain.setdefault(name, variance)
                found.append(
                    {
                        "pair": name,
                        "way": way,
                        "mean": float(values.mean()),
                        "variance": variance,
                        "plain over this": plain[name] / max(variance, 1e-32),
                    }
                )
    return found


def control_figure(path, found):
    """A group of bars a pair: how many times less the variance is."""
    pairs = [name for name in dict.fromkeys(row["pair"] for row in found) if name != "translation"]
    ways = [way for way in dict.fromkeys(row["way"] for row in found) if way != "plain"]
    picture = Figure(figsize=(9, 4))
    FigureCanvasAgg(picture)
    axes = picture.add_subplot()
    for index, way in enumerate(ways):
        gains = [
            next(r["plain over this"] for r in found if (r["pair"], r["way"]) == (name, way))
            for name in pairs
        ]
        places = np.arange(len(pairs)) + 0.1 * (index - len(ways) / 2)
        axes.bar(places, gains, 0.09, label=way)
    axes.axhline(10, color="black", linewidth=1, linestyle="--")
    axes.set_yscale("log")
    axes.set_xticks(np.arange(len(pairs)), pairs)
    axes.set_ylabel("variance of the plain mean over this one's")
    axes.set_title("100 directions, two clouds of 150 points in eight dimensions", fontsize=10)
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    picture.tight_layout()
    picture.savefig(path, dpi=110)


STUDIES = (
    Study(
        "sliced",
        "On two skewed clouds the error of the mean over L directions falls as L^-1/2; on evenly "
        "spread ones as L^-2.3 in two dimensions, L^-0.97 in three (both ± 0.06) and L^-0.68 in "
        "eight (± 0.09); with L/4 spherical harmonics as control variates as L^-2.1, L^-1.4 and "
        "L^-0.97.",
        rate_rows,
        rate_figure,
    ),
    Study(
        "sliced_controls",
        "At 100 directions a control variate divides the variance by ten or more: the lower bound"
        " where means are far apart, the Gaussian distance on every pair; none is left on a"
        " translation.",
        control_rows,
        control_figure,
    ),
)


def spreads(d):
    """Standard deviations of the two Gaussian laws, [d] each; the second has mean 1/2."""
    return jnp.linspace(0.5, 1.5, d), jnp.linspace(1.2, 0.8, d)


def laws(d):
    """Two Gaussians: means and covariances."""
    one, two = spreads(d)
    return jnp.zeros(d), jnp.diag(one**2), jnp.full(d, 0.5), jnp.diag(two**2)


def samples(key, n, d):
    """n points of each of `laws(d)`."""
    one, two = spreads(d)
    xs, ys = jax.random.normal(key, (2, n, d))
    return xs * one[None], ys * two[None] + 0.5


def plugged(name, key, n, d):
    """A closed form at the moments of samples."""
    fit = lambda x: (jnp.mean(x, axis=0), jnp.cov(x, rowvar=False))
    xs, ys = samples(key, n, d)
    return getattr(metrics, name)(*fit(xs), *fit(ys))


def copies(d):
    """A fixed cloud [20, d], and it scaled and moved: every slice is known."""
    xs = np.random.RandomState(d).gamma(2.0, size=(20, d))
    xs -= xs.mean(0)
    return jnp.asarray(xs), jnp.asarray(1.5 * xs + np.linspace(0, 1, d))


def copies_truth(d):
    """|m|²/d + (1 - 1.5)² tr A / d."""
    xs = np.asarray(copies(d)[0])
    return float((np.sum(np.linspace(0, 1, d) ** 2) + 0.25 * xs.var(0).sum()) / d)


def of_directions(options, key, n, d):
    """The estimate on `copies` from n directions."""
    return metrics.sliced_wasserstein(key, *copies(d), num_projections=n, **options)


def line(key, n, d):
    """W_2² of n points of N(0, 1) and of N(1, 1.5²); d is not used."""
    xs, ys = jax.random.normal(key, (2, n))
    return metrics.wasserstein_1d(xs, 1.5 * ys + 1, p=2)


TWO = "two diagonal Gaussians"


def sliced_of_samples(options, key, n, d):
    """From n points of each law and 128 directions."""
    key_points, key_directions = jax.random.split(key)
    return metrics.sliced_wasserstein(key_directions, *samples(key_points, n, d), **options)


def exact(name, d):
    """The closed form at the laws themselves."""
    return float(getattr(metrics, name)(*laws(d)))


def gaps(extrapolate, key, n, d):
    """The Fréchet distance of n points of each law."""
    return metrics.frechet(*samples(key, n, d), extrapolate=extrapolate)


def spread_directions():
    """Estimators of which n is the number of directions."""
    for way in ("plain", "orthogonal", "quasi", "upper"):
        yield Estimator(
            "metrics.sliced_wasserstein",
            f"{way}; n directions, a cloud and its copy scaled and moved",
            functools.partial(of_directions, WAYS[way]),
            copies_truth,
            dims=(2, 8),
            unbiased=way != "upper",
        )


ESTIMATORS = (
    *spread_directions(),
    Estimator(
        "metrics.sliced_wasserstein",
        f"n points, {TWO}, 128 directions",
        functools.partial(sliced_of_samples, {}),
        functools.partial(exact, "gaussian_sliced"),
    ),
    Estimator(
        "metrics.sliced_wasserstein",
        f"n points, {TWO}, 128 directions, control gaussian",
        functools.partial(sliced_of_samples, {"control": "gaussian"}),
        functools.partial(exact, "gaussian_sliced"),
    ),
    Estimator(
        "metrics.wasserstein_1d", "N(0, 1) against N(1, 1.5²)", line, lambda d: 1.25, dims=(1,)
    ),
    Estimator(
        "metrics.frechet",
        TWO,
        functools.partial(gaps, False),
        functools.partial(exact, "gaussian_distance"),
    ),
    Estimator(
        "metrics.frechet",
        f"{TWO}, extrapolated",
        functools.partial(gaps, True),
        functools.partial(exact, "gaussian_distance"),
    ),
    *(
        Estimator(
            f"metrics.{name}",
            f"{TWO}, moments of the samples",
            functools.partial(plugged, name),
            functools.partial(exact, name),
        )
        for name in (
            "gaussian_kl",
            "gaussian_hellinger2",
            "gaussian_mmd2",
            "gaussian_energy_distance",
            "gaussian_sliced",
        )
    ),
)
