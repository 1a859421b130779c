"""Exact laws of samplers on Gaussian data: the mean and covariance of the state and of the
predictions that it remembers, passed through the rows of a table.
"""

import functools

import numpy as np
import textbook

MEAN, VARIANCE = 0.7, 0.25


def moments(name, t, variance=VARIANCE):
    """Mean [c] and covariance [c, c] of z_t, one entry of the event, for Gaussian data."""
    column, cov = textbook.channel(name, float(t))
    return MEAN * column, variance * np.outer(column, column) + cov


@functools.cache
def gaussian_denoiser(name, t, variance=VARIANCE):
    """(K [c], k []) with E[x0 | z] = K z + k."""
    column, _ = textbook.channel(name, float(t))
    pull = variance * column @ np.linalg.inv(moments(name, t, variance)[1])
    return pull, MEAN - pull @ column * MEAN


def flat(rows):
    """Rows of one table: what is done to z before an evaluation gets a row of its own, a churn
    before two evaluations, half a split step before one.
    """
    inner = getattr(rows, "stages", getattr(rows, "row", None))
    if inner is None:
        return rows
    if inner.t.ndim == 1:
        inner = type(inner)(*(leaf if leaf is None else leaf[:, None] for leaf in inner))

    def join(first, rest):
        return np.concatenate([first[:, None], rest], 1).reshape(-1, *rest.shape[2:])

    read, noise = inner.read, inner.noise
    return inner._replace(
        t=join(rows.t, inner.t),
        t_next=join(rows.t, inner.t_next),
        read=None if read is None else tuple(join(part[:, 0], part) for part in read),
        propagate=join(rows.lift, inner.propagate),
        weights=join(0 * inner.weights[:, 0], inner.weights),
        noise=join(rows.kick, 0 * inner.propagate if noise is None else noise),
    )


def propagate(solver, name, ts, variance=VARIANCE):
    """Mean [c] and covariance [c, c] at the end of the table, from the exact law at its start."""
    rows = flat(solver.plan(ts))
    mean, cov = moments(name, ts[0], variance)
    c, (n, k) = len(mean), rows.weights.shape[:2]
    weights = rows.weights.reshape(n, k, c, -1)
    m = weights.shape[-1]  # a held prediction has 1 or c blocks
    size, latest = c + (k - 1) * m, c + np.arange((k - 1) * m)
    mean, cov = np.pad(mean, (0, size - c)), np.pad(cov, (0, size - c))
    for i in range(n):
        pull, shift = gaussian_denoiser(name, float(rows.t[i]), variance)
        held, shift = pull[None], np.array([shift])
        if rows.read is not None:
            own, data = rows.read[0][i].reshape(c, c), rows.read[1][i].reshape(c)
            held, shift = own + np.outer(data, pull), data * shift[0]
        step, away = np.zeros((size, size)), np.zeros(size)
        step[:c, :c] = rows.propagate[i].reshape(c, c) + weights[i, 0] @ held
        step[:c, c:] = np.moveaxis(weights[i, 1:], 0, 1).reshape(c, -1)
        away[:c] = weights[i, 0] @ shift
        if k > 1:
            step[c : c + m, :c], away[c : c + m] = held, shift
            step[latest[m:], latest[:-m]] = 1.0
        mean, cov = step @ mean + away, step @ cov @ step.T
        if rows.noise is not None:
            noise = rows.noise[i].reshape(c, c)
            cov[:c, :c] += noise @ noise.T
    return mean[:c], cov[:c, :c]
