"""Information: estimators with known answers; compression, critics' bounds, regimes, layers."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from experiments.metrics._information_compression import compression_figure, compression_rows
from experiments.metrics._information_curves import (
    bounds_figure,
    bounds_rows,
    layers_figure,
    layers_rows,
    regimes_figure,
    regimes_rows,
)
from experiments.metrics._information_laws import EACH, UNIT, R, log_ratio, pairs
from experiments.metrics._study import Estimator, Study
from jaxgen.metrics import information


def _of(fn, **options):
    return lambda key, n, d: fn(jax.random.normal(key, (n, d)), **options).value


def _between(fn, **options):
    return lambda key, n, d: fn(*pairs(key, n, d), **options).value


def _critic(fn, shift=0.0):
    return lambda key, n, d: fn(log_ratio(*pairs(key, n, 1)) + shift).value


def _symbols(key, n, d, estimator):
    p = jnp.arange(1.0, d + 1) / (d * (d + 1) / 2)
    return information.entropy_discrete(
        jax.random.choice(key, d, (n,), p=p), estimator=estimator
    ).value


def _symbol_entropy(d):
    p = np.arange(1.0, d + 1) / (d * (d + 1) / 2)
    return -np.sum(p * np.log(p))


def _given(key, n, d):
    key_z, key_xy = jax.random.split(key)
    xs, ys = pairs(key_xy, n, 1)
    zs = jax.random.normal(key_z, (n, d))
    return information.cmi_ksg(xs + zs[:, :1], ys - zs[:, :1], zs).value


def _lifted(key, n, d):
    """Two coordinates of x in d dimensions, and PCA back."""
    xs, ys = pairs(key, n, 2)
    turn = np.linalg.qr(np.random.RandomState(0).randn(d, 2))[0].T
    images = jnp.matmul(xs * jnp.array([1.0, 0.8]), turn, precision="highest")
    return information.compressed(information.pca(images, 2))(images, ys).value


def _reconstructed(key, n, d):
    xs, ys = pairs(key, n, d)
    log_q = information.gaussian_reconstruction(ys, R * xs, math.sqrt(1 - R**2))
    return information.entropy_reconstruction(ys, log_q).value


def _sliced_truth(d):
    c = np.linspace(-1, 1, 200001)[1:-1]
    law = (1 - c**2) ** ((d - 3) / 2)
    return np.sum(law * -0.5 * np.log(1 - R**2 * c**2)) / law.sum()


def _classes(key, n, d):
    """Logits of a class plus noise; the truth is that of many points."""
    key_y, key_z = jax.random.split(key)
    labels = jax.random.randint(key_y, n, 0, d)
    sure = jax.random.bernoulli(key_z, 0.5, (n,))
    probs = jnp.where(sure[:, None], jax.nn.one_hot(labels, d), 1.0 / d)
    return information.cmi_classes(probs, labels, d).value


def _class_truth(d):
    centre = np.full(d, 0.5 / d)
    centre[0] += 0.5
    return -np.sum(centre * np.log(centre)) - 0.5 * math.log(d)


def _jensen_truth(d):
    grid = np.linspace(-8, 8, 1601)
    log_p = -(grid[:, None] ** 2 + grid[None] ** 2) / 2 - math.log(2 * math.pi)
    ratio = np.asarray(log_ratio(jnp.asarray(grid)[:, None], jnp.asarray(grid)[:, None]))
    apart, cell = np.exp(log_p), (grid[1] - grid[0]) ** 2
    joint = apart * np.exp(ratio)
    return math.log(2) - 0.5 * cell * np.sum(
        joint * np.logaddexp(0, -ratio) + apart * np.logaddexp(0, ratio)
    )


NORMAL, PAIR = "N(0, I)", "normals of correlation 0.75"
CRITIC = f"{PAIR}, the optimal critic"
SIZES = (100, 400, 1600)
SHORT = (50, 200, 800)  # where a bandwidth is searched


def _line(name, case, estimate, truth, dims=(1,), sizes=SIZES, **options):
    return Estimator(f"metrics.information.{name}", case, estimate, truth, sizes, dims, **options)


_entropy, _mutual = (lambda d: d * UNIT), (lambda d: d * EACH)
ESTIMATORS = (
    _line("entropy_knn", NORMAL, _of(information.entropy_knn), _entropy, (2, 16), repeats=24),
    _line(
        "entropy_knn",
        f"{NORMAL}, 40 weighted neighbours",
        _of(information.entropy_knn, k=40, weighted=True),
        _entropy,
        (2, 16),
        repeats=24,
    ),
    _line("entropy_kde", NORMAL, _of(information.entropy_kde), _entropy, (1, 2), SHORT, repeats=8),
    _line(
        "entropy_discrete",
        "d symbols",
        functools.partial(_symbols, estimator="plug_in"),
        _symbol_entropy,
        (8, 32),
    ),
    _line(
        "entropy_discrete",
        "d symbols, Miller-Madow",
        functools.partial(_symbols, estimator="miller_madow"),
        _symbol_entropy,
        (8, 32),
    ),
    _line("mi_ksg", PAIR, _between(information.mi_ksg), _mutual, (1, 4), repeats=24),
    _line(
        "mi_ksg",
        f"{PAIR}, version 2",
        _between(information.mi_ksg, version=2),
        _mutual,
        (1, 4),
        repeats=24,
    ),
    _line("mi_knn", PAIR, _between(information.mi_knn), _mutual, (1, 4), repeats=24),
    _line("mi_kde", PAIR, _between(information.mi_kde), _mutual, (1, 2), SHORT, repeats=8),
    _line("mi_binned", PAIR, _between(information.mi_binned, bins=8), _mutual, (1,), repeats=24),
    _line(
        "mi_sliced",
        f"{PAIR}, 16 slices",
        lambda key, n, d: (
            information.mi_sliced(
                jax.random.fold_in(key, 1), *pairs(key, n, d), num_slices=16
            ).value
        ),
        _sliced_truth,
        (3, 8),
        repeats=8,
    ),
    _line("cmi_ksg", f"{PAIR}, a common cause given", _given, lambda d: EACH, (1, 2), repeats=24),
    _line(
        "compressed", "two coordinates in d, PCA", _lifted, lambda d: 2 * EACH, (20,), repeats=16
    ),
    _line("infonce", CRITIC, _critic(information.infonce), lambda d: EACH),
    _line("nwj", CRITIC, _critic(information.nwj, 1.0), lambda d: EACH, unbiased=True),
    _line("donsker_varadhan", CRITIC, _critic(information.donsker_varadhan), lambda d: EACH),
    _line("smile", CRITIC, _critic(information.smile), lambda d: EACH),
    _line(
        "jensen_shannon", CRITIC, _critic(information.jensen_shannon), _jensen_truth, unbiased=True
    ),
    _line(
        "entropy_reconstruction",
        f"{PAIR}, the true conditional",
        _reconstructed,
        _mutual,
        (1, 2),
        SHORT,
        repeats=8,
    ),
    _line("cmi_classes", "d classes, half of the outputs sure", _classes, _class_truth, (3, 10)),
)


STUDIES = (
    Study(
        "information_compression",
        "Of images made from a few coordinates, weighted neighbours find the information after an "
        "autoencoder to that many numbers; entropies of pixels say nothing, PCA that folds loses, "
        "and counted neighbours (KSG) do on pixels what they do on codes: too little above 2 nats.",
        compression_rows,
        compression_figure,
    ),
    Study(
        "information_bounds",
        "At the optimal critic NWJ is unbiased with noise that grows, Donsker-Varadhan drifts "
        "above the truth, InfoNCE stops at log n, clipping (SMILE) trades noise for excess; the "
        "entropy-and-reconstruction bound with the true conditional does none of it.",
        bounds_rows,
        bounds_figure,
    ),
    Study(
        "information_regimes",
        "Below h_G one or a few points rule a kernel density, and the likeliest bandwidth lies "
        "below h_CLT.",
        regimes_rows,
        regimes_figure,
    ),
    Study(
        "information_layers",
        "Adaptive bins and kernels give a layer the same information at every scale, fixed ones "
        "lose it; a constant layer has none.",
        layers_rows,
        layers_figure,
    ),
)
