"""Outliers: estimators with known answers, and unseen digits told from seen ones."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special
import scipy.stats
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from sklearn.datasets import load_digits

from experiments.metrics._study import Estimator, Study
from jaxgen.metrics import outliers


def _separation(key, n, d):
    inside, outside = jax.random.normal(key, (2, n, d))
    square = lambda x: jnp.sum(x**2, axis=1)
    return outliers.auroc(square(inside), 2 * square(outside)).value


def _false_alarms(key, n, d):
    """The share of new inliers that a Gaussian fitted to n of them refuses."""
    fitted, new = jax.random.split(key)
    law = outliers.tied_gaussian(jax.random.normal(fitted, (n, d)), shrinkage=0.0)
    seen = jax.vmap(outliers.mahalanobis, (None, 0))(law, jax.random.normal(new, (1024, d)))
    return jnp.mean((seen > outliers.distance_threshold(0.05, d)).astype(float))


def _origin(d, q):
    """log Z at mean 0: the volume of the unit q-ball times 2^(d/2) Gamma(d/2 + 1)."""
    volume = d * np.log(2 * scipy.special.gamma(1 + 1 / q)) - scipy.special.gammaln(1 + d / q)
    return volume + d / 2 * np.log(2) + scipy.special.gammaln(d / 2 + 1)


def _partition(key, n, d):
    found = outliers.partition(key, jnp.zeros(d), 3.0, samples=n).value
    return jnp.exp(found - _origin(d, 1.5))


ESTIMATORS = (
    Estimator(
        "metrics.outliers.auroc",
        "|x|² of N(0, I) against N(0, 2 I)",
        _separation,
        lambda d: scipy.stats.f.sf(0.5, d, d),
        unbiased=True,
    ),
    Estimator(
        "metrics.outliers.distance_threshold",
        "false alarms at 5 %, N(0, I) fitted to n",
        _false_alarms,
        lambda d: 0.05,
    ),
    Estimator(
        "metrics.outliers.partition",
        "Z over the exact one, p = 3, mean 0",
        _partition,
        lambda d: 1.0,
        dims=(2, 8),
        unbiased=True,
    ),
)


def _digits(seed):
    """Digits 0 to 7 to fit and to hold out, and 8 and 9 as outliers: pixels in units of 16."""
    images, labels = load_digits(return_X_y=True)
    order = np.random.RandomState(seed).permutation(len(labels))
    images, labels = images[order] / 16, labels[order]
    known = images[labels < 8], labels[labels < 8]
    half = len(known[0]) // 2
    return *(part[:half] for part in known), known[0][half:], images[labels >= 8]


def outlier_rows(smoke, seed):
    """Separation of unseen digits by every score; a row a score."""
    xs, labels, inside, outside = (jnp.asarray(part) for part in _digits(seed))
    rows = []

    def add(name, score, dims):
        apart = jax.jit(jax.vmap(score))
        calm, alarm = apart(inside), apart(outside)
        area = outliers.auroc(calm, alarm)
        row = {
            "score": name,
            "AUROC": float(area.value),
            "AUROC error": float(area.standard_error),
            "FPR at 95 %": float(outliers.false_positive_rate(calm, alarm)),
            "false alarms at 5 %": float("nan"),
        }
        if dims:
            limit = outliers.distance_threshold(0.05, dims)
            row["false alarms at 5 %"] = float(jnp.mean(calm > limit))
        rows.append(row)

    for keep in (64,) if smoke else (64, 32, 16):
        for end in ("low",) if keep == 64 else ("low", "high"):
            fit = functools.partial(outliers.tied_gaussian, num_classes=8, keep=keep, end=end)
            law = jax.jit(fit)(xs, labels)
            name = "all directions" if keep == 64 else f"{keep} of {end} variance"
            add(name, functools.partial(outliers.mahalanobis, law), keep)
    means = jnp.stack([jnp.mean(xs[labels == c], axis=0) for c in range(8)])
    centre, scale = jnp.mean(xs, axis=0), jnp.std(xs - means[labels])
    fit = jax.jit(functools.partial(outliers.norm_family, samples=4096))
    for p in (2.0,) if smoke else (1.5, 2.0, 3.0):
        family = fit(jax.random.key(seed), (means - centre[None]) / scale, p)
        add(
            f"norm, p = {p:g}",
            lambda x, family=family: -outliers.norm_logdensity(family, (x - centre) / scale),
            None,
        )
    return rows


def outlier_figure(path, rows):
    """AUROC of every score."""
    figure = Figure(figsize=(7, 4))
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    height = np.arange(len(rows))[::-1]
    axes.barh(
        height,
        [row["AUROC"] for row in rows],
        xerr=[2 * row["AUROC error"] for row in rows],
        color="C0",
        alpha=0.7,
    )
    axes.set_yticks(height, [row["score"] for row in rows])
    axes.set_xlim(0.5, 1)
    axes.set_xlabel("AUROC, digits 8 and 9 against 0 to 7 (bars: 2 standard errors)")
    figure.tight_layout()
    figure.savefig(path, dpi=130)


STUDIES = (
    Study(
        "outliers",
        "Directions of least variance tell outliers best (Rippel et al. 2020): not on pixels of "
        "digits, where those of most do; p = 2 is not the best norm (Peng et al. 2024): it is not.",
        outlier_rows,
        outlier_figure,
    ),
)
