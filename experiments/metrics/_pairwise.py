"""Pairwise metrics: estimators with known answers, and what 100,000 against 100,000 points cost."""

import functools
import json
import math
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np

import jaxgen as jg
from experiments.metrics._study import Estimator, Study

SHIFT = 0.5  # in every axis
CASE = "N(0, I) against N(0.5, I), rbf of bandwidth sqrt(d)"
D = 64


def _clouds(key, n, d):
    key_x, key_y = jax.random.split(key)
    return jax.random.normal(key_x, (n, d)), jax.random.normal(key_y, (n, d)) + SHIFT


def _mmd_truth(d):
    """E k for differences of law N(0, 2 I) and N(shift, 2 I), bandwidth² = d."""
    inside = (d / (d + 2)) ** (d / 2)
    return 2 * inside * (1 - math.exp(-d * SHIFT**2 / (2 * (d + 2))))


def _mmd(value):
    return lambda key, n, d: value(*_clouds(key, n, d), jg.kernels.rbf(float(d) ** 0.5))


def _energy_truth(d):
    """2 E|N(shift, 2 I)| - 2 E|N(0, 2 I)| by quadrature over the noncentral chi law."""
    import scipy.integrate
    import scipy.stats

    far = scipy.stats.ncx2(d, d * SHIFT**2 / 2)
    mean = lambda law: scipy.integrate.quad(
        lambda r: math.sqrt(2 * r) * law.pdf(r), 0, np.inf, limit=200
    )[0]
    return 2 * mean(far) - 2 * mean(scipy.stats.chi2(d))


def _cubic_truth(d):
    """(<x, y> / d + 1)³ by its moments: E<x, x'>, E<x, x'>², E<x, x'>³ of the three pairs."""
    s = SHIFT**2 * d

    def cubic(a, b):  # means a·shift and b·shift, identity covariances; t = a b s + ...
        first = a * b * s
        second = d + (a * a + b * b) * s + first**2
        # third: with x = a m + e, <x, y>³ averaged over y given x, then over x.
        third = first**3 + 3 * a * b * s * (a * a + b * b) * s + 3 * a * b * s * (d + 2)
        return third / d**3 + 3 * second / d**2 + 3 * first / d + 1

    return cubic(0, 0) + cubic(1, 1) - 2 * cubic(0, 1)


def _ksd(key, n, d):
    ys = _clouds(key, n, d)[1]
    return jg.metrics.stein.ksd2(ys, lambda y: -y, jg.kernels.rbf(float(d) ** 0.5))


def _ksd_truth(d):
    return d * SHIFT**2 * (d / (d + 2)) ** (d / 2)


ESTIMATORS = (
    Estimator("metrics.mmd2", CASE, _mmd(jg.metrics.mmd2), _mmd_truth, unbiased=True),
    Estimator(
        "metrics.mmd2 (biased)",
        CASE,
        _mmd(functools.partial(jg.metrics.mmd2, estimator="biased")),
        _mmd_truth,
    ),
    Estimator(
        "metrics.mmd.linear",
        CASE,
        _mmd(lambda x, y, kernel: jg.metrics.mmd.linear(x, y, kernel).value),
        _mmd_truth,
        unbiased=True,
    ),
    Estimator(
        "metrics.mmd.block",
        CASE,
        _mmd(lambda x, y, kernel: jg.metrics.mmd.block(x, y, kernel).value),
        _mmd_truth,
        unbiased=True,
    ),
    Estimator(
        "metrics.energy_distance",
        "N(0, I) against N(0.5, I)",
        lambda key, n, d: jg.metrics.energy_distance(*_clouds(key, n, d)),
        _energy_truth,
        unbiased=True,
    ),
    Estimator(
        "metrics.kernel_distance",
        "N(0, I) against N(0.5, I), cubic kernel",
        lambda key, n, d: jg.metrics.kernel_distance(*_clouds(key, n, d)).value,
        _cubic_truth,
        unbiased=True,
    ),
    Estimator(
        "metrics.stein.ksd2",
        "N(0.5, I) against the score of N(0, I), rbf of bandwidth sqrt(d)",
        _ksd,
        _ksd_truth,
        unbiased=True,
    ),
)


def _product(xs, ys, tile=500):
    """The matrix product alone, tile by tile, each summed: the bound."""
    x, y = xs.reshape(-1, tile, D), ys.reshape(-1, tile, D)
    add = lambda a: lambda total, b: (total + jnp.sum(a @ b.T, axis=1), None)
    row = lambda a: jax.lax.scan(add(a), jnp.zeros(tile, xs.dtype), y)[0]
    return jnp.sum(jax.lax.map(row, x))


# name: (function of two clouds, how many products of one cloud with another its definition has)
COSTS = {
    "product": (_product, 1),
    "mmd2": (lambda x, y: jg.metrics.mmd2(x, y, jg.kernels.rbf(8.0)), 3),
    "energy_distance": (jg.metrics.energy_distance, 3),
    "nearest": (lambda x, y: jg.metrics.nearest(x, y).distance.sum(), 1),
    "kernel_distance": (lambda x, y: jg.metrics.kernel_distance(x, y).value, 3),
    "precision": (jg.metrics.precision, 2),
    "mmd2, gradient": (
        lambda x, y: jax.grad(lambda x: jg.metrics.mmd2(x, y, jg.kernels.rbf(8.0)))(x).sum(),
        9,
    ),
}


def measure(name, n, seed):
    """Seconds of processor time and GiB above the inputs, in a process of its own."""
    import resource
    import time

    rng = np.random.RandomState(seed)
    xs = jnp.asarray(rng.randn(n, D), jnp.float32)
    ys = jnp.asarray(rng.randn(n, D) + 0.1, jnp.float32)
    peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    run = {key: jax.jit(COSTS[key][0]) for key in ("product", name)}
    for fn in run.values():  # compile on the small
        jax.block_until_ready(fn(xs[:1000], ys[:1000]))
    before = peak()
    lowered = run[name].lower(xs, ys).compile()
    start = time.process_time()
    jax.block_until_ready(lowered(xs, ys))
    seconds = time.process_time() - start
    memory = peak() - before
    lowered = run["product"].lower(xs, ys).compile()
    start = time.process_time()
    jax.block_until_ready(lowered(xs, ys))
    product = time.process_time() - start
    return {
        "metric": name,
        "points": n,
        "cpu_seconds": round(seconds, 3),
        "product_cpu_seconds": round(product, 3),
        "products": COSTS[name][1],
        "ratio_to_products": round(seconds / product / COSTS[name][1], 2),
        "gib_above_inputs": round(memory, 3),
    }


def _rows(smoke, seed):
    sizes = (1000, 2000) if smoke else (10000, 30000, 100000)
    names = ("mmd2", "nearest") if smoke else [name for name in COSTS if name != "product"]
    code = (
        "import json, sys; from experiments.metrics import _pairwise as p; "
        "print(json.dumps(p.measure(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))"
    )
    lines = []
    for n in sizes:
        for name in names:
            if n > 30000 and name not in ("mmd2", "energy_distance", "nearest"):
                continue
            command = [sys.executable, "-c", code, name, str(n), str(seed)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            lines.append(json.loads(done.stdout.strip().splitlines()[-1]))
    return lines


def _figure(path: pathlib.Path, rows):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    fig, (left, right) = plt.subplots(1, 2, figsize=(10, 4))
    for name in dict.fromkeys(row["metric"] for row in rows):
        mine = [row for row in rows if row["metric"] == name]
        n = [row["points"] for row in mine]
        (line,) = left.loglog(n, [row["cpu_seconds"] for row in mine], "o-", label=name)
        right.semilogx(
            n, [row["gib_above_inputs"] for row in mine], "o-", color=line.get_color(), label=name
        )
    n = sorted({row["points"] for row in rows})
    product = [min(row["product_cpu_seconds"] for row in rows if row["points"] == k) for k in n]
    left.loglog(n, product, "k--", label="one matrix product")
    left.set(xlabel="points a side", ylabel="processor seconds", title=f"time, d = {D}, float32")
    right.axhline(2, color="k", ls=":", label="goal")
    right.set(xlabel="points a side", ylabel="GiB above the inputs", title="peak memory")
    left.legend(fontsize=8)
    right.legend(fontsize=8)
    fig.tight_layout()
    fig.savefig(path, dpi=120)
    plt.close(fig)


STUDIES = (
    Study(
        name="pairwise",
        claim=(
            "100,000 x 64 against 100,000 x 64 in float32 stays below 2 GiB above the inputs and "
            "within twice the time of the matrix products of its definition (ratio_to_products)"
        ),
        rows=_rows,
        figure=_figure,
    ),
)
