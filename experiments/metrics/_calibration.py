"""Calibration: estimators with known answers, and three studies."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from experiments.metrics._study import Estimator, Study
from jaxgen.metrics import calibration


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
)
