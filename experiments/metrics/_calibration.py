"""Calibration and outliers: estimators with known answers, and four studies."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.special
import scipy.stats
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from sklearn.datasets import load_digits

from experiments.metrics._study import Estimator, Study
from jaxgen.metrics import calibration, outliers


def _events(key, n, gap=0.0, most=1.0):
    """Probabilities on (0, most) and outcomes that come by `gap` more often."""
    key_p, key_y = jax.random.split(key)
    probs = most * jax.random.uniform(key_p, (n,))
    return probs, jax.random.bernoulli(key_y, probs + gap).astype(int)


def _error(key, n, d, gap=0.0, most=1.0, **options):
    probs, outcomes = _events(key, n, gap, most)
    return calibration.calibration_error(probs, outcomes, bins=d, spacing="mass", **options).value


def _score(key, n, d, rule):
    return rule(*_events(key, n))


def _temperature(key, n, d):
    key_z, key_y = jax.random.split(key)
    z = 2 * jax.random.normal(key_z, (n, d))
    return calibration.temperature(2 * z, jax.random.categorical(key_y, z, axis=-1))


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


_FAIR = "calibrated, p uniform, d bins of equal mass"
_OFF = "frequency p + 0.1, d bins of equal mass"


def _errors(norm, form, case, truth, unbiased, **law):
    return Estimator(
        f"metrics.calibration.calibration_error, norm {norm}, {form}",
        case,
        functools.partial(_error, norm=norm, estimator=form, **law),
        lambda d: truth,
        unbiased=unbiased,
    )


_SHIFTED = {"gap": 0.1, "most": 0.8}
ESTIMATORS = (
    _errors(1, "plugin", _FAIR, 0.0, False),
    _errors(1, "debiased", _FAIR, 0.0, True),
    _errors(2, "plugin", _FAIR, 0.0, False),
    _errors(2, "debiased", _FAIR, 0.0, True),
    _errors(1, "plugin", _OFF, 0.1, False, **_SHIFTED),
    _errors(1, "debiased", _OFF, 0.1, False, **_SHIFTED),
    _errors(2, "debiased", _OFF, 0.01, True, **_SHIFTED),
    Estimator(
        "metrics.calibration.kolmogorov_smirnov_error",
        "calibrated, p uniform",
        functools.partial(_score, rule=calibration.kolmogorov_smirnov_error),
        lambda d: 0.0,
        dims=(1,),
    ),
    Estimator(
        "metrics.calibration.brier",
        "calibrated, p uniform",
        functools.partial(_score, rule=calibration.brier),
        lambda d: 1 / 6,
        dims=(1,),
        unbiased=True,
    ),
    Estimator(
        "metrics.calibration.log_loss",
        "calibrated, p uniform",
        functools.partial(_score, rule=calibration.log_loss),
        lambda d: 0.5,
        dims=(1,),
        unbiased=True,
    ),
    Estimator(
        "metrics.calibration.temperature",
        "d classes, logits twice too large",
        _temperature,
        lambda d: 2.0,
    ),
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


def bias_rows(smoke, seed):
    """Mean calibration error of a calibrated predictor by n, beside the formula."""
    rows, repeats = [], 50 if smoke else 400
    for n in (100, 400) if smoke else (50, 100, 200, 400, 800, 1600, 3200, 6400):

        def one(i, n=n):
            key = jax.random.fold_in(jax.random.key(seed), i)
            probs, outcomes = _events(key, n)
            both = [
                calibration.calibration_error(probs, outcomes, estimator=form).value
                for form in ("plugin", "debiased")
            ]
            return jnp.stack([*both, calibration.bias_when_calibrated(probs)])

        with jax.debug_key_reuse(False):
            values = np.asarray(jax.jit(lambda: jax.lax.map(one, jnp.arange(repeats)))())  # noqa: B023
        error = values.std(axis=0, ddof=1) / repeats**0.5
        rows.append(
            {
                "n": n,
                "plugin": values[:, 0].mean(),
                "plugin error": error[0],
                "formula": values[:, 2].mean(),
                "debiased": values[:, 1].mean(),
                "debiased error": error[1],
            }
        )
    return [{name: float(value) for name, value in row.items()} for row in rows]


def bias_figure(path, rows):
    """Calibration error of a predictor without any, against n."""
    figure = Figure(figsize=(6.4, 4.2))
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    n = [row["n"] for row in rows]
    for index, form in enumerate(("plugin", "debiased")):
        axes.errorbar(
            n,
            [row[form] for row in rows],
            [5 * row[f"{form} error"] for row in rows],
            fmt="o",
            capsize=3,
            markersize=4,
            color=f"C{index}",
            label=f"{form} (bars: 5 standard errors)",
        )
    axes.plot(n, [row["formula"] for row in rows], "C0--", label="bias_when_calibrated")
    axes.axhline(0, color="0.6", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_xlabel("predictions n (15 bins of equal width)")
    axes.set_ylabel("mean calibration error (true: 0)")
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=130)


WIDTH, TRAIN, HELD = 64, 400, 200


def _world(key, n):
    """Events whose chance bends along two of ten directions and is never certain."""
    key_x, key_y = jax.random.split(key)
    x = jax.random.normal(key_x, (n, 10))
    p = 0.1 + 0.8 * jax.nn.sigmoid(2 * x[:, 0] + jnp.sin(2 * x[:, 1]))
    return x, p, jax.random.bernoulli(key_y, p).astype(int)


def _logits(params, x):
    return jnp.tanh(x @ params["in"] + params["shift"][None]) @ params["out"] + params["bias"]


def _train(params, data, held, targets_of, discriminations, steps):
    """The last parameters, and those of least log loss on held-out outcomes.

    targets_of: (probabilities, outcomes) -> empirical probabilities, or None: towards outcomes. An
    epoch is five steps.
    """
    cape = targets_of is not None
    optimiser = optax.adam(3e-3)
    (x, _, y), (x_held, _, y_held) = data, held

    def step(carry, i):
        params, state, targets, best, least = carry
        said = jax.nn.sigmoid(_logits(params, x))
        fresh = targets_of(said, y) if cape else targets
        targets = jnp.where(i % 5 == 0, fresh, targets)
        turn = cape & calibration.is_calibration_epoch(i // 5, discriminations=discriminations)
        aim = jnp.where(turn, targets, y.astype(targets.dtype))
        slope = jax.grad(lambda p: calibration.target_loss(_logits(p, x), aim))(params)
        updates, state = optimiser.update(slope, state)
        params = optax.apply_updates(params, updates)
        loss = calibration.target_loss(_logits(params, x_held), y_held)
        keep = lambda new, old: jnp.where(loss < least, new, old)
        best = jax.tree.map(keep, params, best)
        return (params, state, targets, best, jnp.minimum(loss, least)), None

    start = calibration.target_loss(_logits(params, x_held), y_held)
    carry = (params, optimiser.init(params), jnp.zeros(TRAIN), params, start)
    (last, _, _, best, _), _ = jax.lax.scan(step, carry, jnp.arange(steps))
    return last, best


@functools.partial(jax.jit, static_argnames=("steps", "variants"))
def _methods(key, steps, variants):
    """What every method says on test points, [method, n], the true chances and the outcomes."""
    keys = jax.random.split(key, 5)
    data, held, test = (_world(keys[i], n) for i, n in enumerate((TRAIN, HELD, 4000)))
    params = {
        "in": jax.random.normal(keys[3], (10, WIDTH)) / 10**0.5,
        "shift": jnp.zeros(WIDTH),
        "out": jax.random.normal(keys[4], (WIDTH,)) / WIDTH**0.5,
        "bias": jnp.zeros(()),
    }
    bins = functools.partial(calibration.bin_targets, bins=10)
    kernel = functools.partial(calibration.kernel_targets, bandwidth=0.05)
    last, stopped = _train(params, data, held, None, 0, steps)
    fitted = {"over-trained": last, "stopped early": stopped}
    for name, targets_of, discriminations in (
        ("CaPE bins", bins, 1),
        ("CaPE kernel", kernel, 1),
        ("CaPE bins, no outcomes", bins, 0),
    )[:variants]:
        ends = _train(stopped, data, held, targets_of, discriminations, steps)
        fitted[f"{name}, last"], fitted[name] = ends
    x_held, _, y_held = held
    heat = calibration.temperature(_logits(last, x_held), y_held)
    said = {name: _logits(each, test[0]) for name, each in fitted.items()}
    said["over-trained, temperature"] = said["over-trained"] / heat
    return {name: jax.nn.sigmoid(z) for name, z in said.items()}, test[1], test[2]


@functools.lru_cache(maxsize=2)
def _runs(smoke, seed):
    steps, variants, count = (20, 1, 1) if smoke else (800, 3, 5)
    with jax.debug_key_reuse(False):
        return [
            _methods(jax.random.fold_in(jax.random.key(seed), i), steps, variants)
            for i in range(count)
        ]


def cape_rows(smoke, seed):
    """Distances to the known chances and computable metrics, a row a seed and method."""
    return [
        {
            "seed": index,
            "method": name,
            "MSE_p": float(calibration.probability_error(probs, true)),
            "KL_p": float(calibration.probability_divergence(probs, true)),
            "ECE": float(calibration.calibration_error(probs, came).value),
            "KS": float(calibration.kolmogorov_smirnov_error(probs, came)),
            "Brier": float(calibration.brier(probs, came)),
        }
        for index, (said, true, came) in enumerate(_runs(smoke, seed))
        for name, probs in sorted(said.items())
    ]


def cape_figure(path, rows):
    """MSE and divergence to the known chances, a dot a seed."""
    figure = Figure(figsize=(10, 3.8))
    FigureCanvasAgg(figure)
    names = sorted(
        {row["method"] for row in rows},
        key=lambda name: np.mean([row["MSE_p"] for row in rows if row["method"] == name]),
    )
    for place, metric in enumerate(("MSE_p", "KL_p", "ECE")):
        axes = figure.add_subplot(1, 3, place + 1)
        for height, name in enumerate(names):
            values = [row[metric] for row in rows if row["method"] == name]
            axes.plot(values, [height] * len(values), "o", alpha=0.5, color="C0")
            axes.plot(np.mean(values), height, "k|", markersize=14)
        axes.set_yticks(range(len(names)), names if place == 0 else [""] * len(names))
        axes.set_xlabel(metric)
        axes.set_xlim(left=0)
        axes.grid(True, axis="x", alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=130)


SHOWN = ("over-trained", "over-trained, temperature", "CaPE bins", "CaPE bins, no outcomes, last")


def reliability_rows(smoke, seed):
    """Reliability curves of four ways to train, pooled over seeds; a row a bin."""
    runs, rows = _runs(smoke, seed), []
    came = jnp.concatenate([run[2] for run in runs])
    for name in [name for name in SHOWN if name in runs[0][0]]:
        probs = jnp.concatenate([run[0][name] for run in runs])
        curve = calibration.reliability_curve(probs, came, bins=15)
        rows += [
            {"method": name} | {field: float(getattr(curve, field)[b]) for field in curve._fields}
            for b in range(15)
        ]
    return rows


def reliability_figure(path, rows):
    """Frequency against probability, with intervals of 95 %."""
    figure = Figure(figsize=(12, 3.6))
    FigureCanvasAgg(figure)
    names = list(dict.fromkeys(row["method"] for row in rows))
    for place, name in enumerate(names):
        axes = figure.add_subplot(1, len(names), place + 1)
        mine = [row for row in rows if row["method"] == name and row["count"] > 0]
        column = lambda field, mine=mine: np.array([row[field] for row in mine])
        frequency = column("frequency")
        bars = [frequency - column("lower"), column("upper") - frequency]
        axes.plot([0, 1], [0, 1], color="0.6", linewidth=0.8)
        axes.errorbar(column("confidence"), frequency, np.maximum(bars, 0), fmt="o-", markersize=4)
        share = column("count") / column("count").sum()
        axes.bar(column("confidence"), share, width=0.05, color="0.8", zorder=0)
        axes.set_title(name, fontsize=9)
        axes.set_xlabel("probability said (grey: share of predictions)", fontsize=8)
        axes.set_ylim(0, 1)
        if place == 0:
            axes.set_ylabel("frequency of the event")
    figure.tight_layout()
    figure.savefig(path, dpi=130)


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
        "calibration-bias",
        "The calibration error of a perfectly calibrated predictor is above 0 by a known amount, "
        "which the debiased form does not have.",
        bias_rows,
        bias_figure,
    ),
    Study(
        "cape",
        "Training towards empirical probabilities (Liu et al. 2022) comes nearer the true "
        "probabilities than cross-entropy: far nearer than an over-trained network, here no nearer "
        "than one stopped early.",
        cape_rows,
        cape_figure,
    ),
    Study(
        "reliability",
        "An over-trained network is over-confident; a temperature, an early stop or CaPE mends it.",
        reliability_rows,
        reliability_figure,
    ),
    Study(
        "outliers",
        "Directions of least variance tell outliers best (Rippel et al. 2020): not on pixels of "
        "digits, where those of most do; p = 2 is not the best norm (Peng et al. 2024): it is not.",
        outlier_rows,
        outlier_figure,
    ),
)
