"""Bias, spread and cost of an estimator, by independent repeats against the exact value."""

import time

import jax
import jax.numpy as jnp
import numpy as np

CHUNK = 8  # repeats mapped at once: memory stays that of a few estimates


def measured(estimator, *, repeats, seed, smoke):
    """Rows of one estimator: a row for every d and n, with the rate of its error in n so far."""
    sizes = estimator.sizes[:1] if smoke else estimator.sizes
    dims = estimator.dims[:1] if smoke else estimator.dims
    repeats = repeats or estimator.repeats
    return [
        row
        for d in dims
        for row in _rates([_at(estimator, n, d, repeats, seed) for n in sizes], repeats)
    ]


def _at(estimator, n, d, repeats, seed):
    one = lambda index: estimator.estimate(jax.random.fold_in(jax.random.key(seed), index), n, d)
    many = jax.jit(lambda first: jax.lax.map(one, first + jnp.arange(repeats), batch_size=CHUNK))
    with jax.debug_key_reuse(False):
        values = np.asarray(many(0), np.float64)
        start = time.perf_counter()
        jax.block_until_ready(many(repeats))
    seconds = (time.perf_counter() - start) / repeats
    truth = float(estimator.truth(d))
    spread = float(values.std(ddof=1))
    error = spread / repeats**0.5
    bias = float(values.mean()) - truth
    return {
        "estimator": estimator.name,
        "case": estimator.case,
        "d": d,
        "n": n,
        "truth": truth,
        "mean": float(values.mean()),
        "bias": bias,
        "bias error": error,
        "spread": spread,
        "rmse": float(np.sqrt(np.mean((values - truth) ** 2))),
        "milliseconds": 1e3 * seconds,
        "claimed unbiased": estimator.unbiased,
        "finite": bool(np.all(np.isfinite(values))),
    }


def _rates(rows, repeats):
    """The rows, each with the slope of log error against log n since the row before."""
    for before, row in zip([None, *rows], rows, strict=False):
        row["rate"] = float("nan")
        if before and min(before["rmse"], row["rmse"]) > 0:
            row["rate"] = float(
                np.log(row["rmse"] / before["rmse"]) / np.log(row["n"] / before["n"])
            )
        # Of a claim of no bias: five standard errors, wider while the spread itself is uncertain.
        limit = 5 * (1 + 2 / repeats**0.5) * row["bias error"] + 1e-9 * abs(row["truth"])
        row["kept"] = bool(not row["claimed unbiased"] or abs(row["bias"]) <= limit)
    return rows
