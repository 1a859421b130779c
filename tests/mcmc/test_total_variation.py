"""The total variation of a line: what a minimiser satisfies, and every pattern of jumps tried."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import mcmc

WEIGHT = 0.7
prox = jax.jit(mcmc.prox.tv_1d(WEIGHT))


def lines(n, count, seed=0):
    """Noise, walks, steps of whole numbers, constants: [count, n]."""
    rng = np.random.RandomState(seed)  # noqa: NPY002
    kinds = (
        lambda: rng.randn(n),
        lambda: np.cumsum(rng.randn(n)),
        lambda: np.round(2 * rng.randn(n)),
        lambda: np.full(n, rng.randn()),
        lambda: 5 * np.round(np.arange(n) / n) + 0.3 * rng.randn(n),
    )
    return np.stack([kinds[i % len(kinds)]() for i in range(count)])


def violation(x, y, w):
    """How far y is from optimal: with z = cumsum(y - x), z_k = w sign(jump k), or |z_k| <= w
    without a jump, and z_n = 0; necessary and sufficient, the problem being convex.
    """
    z, jump = np.cumsum(y - x, axis=-1), np.diff(y, axis=-1)
    away = np.where(jump != 0, np.abs(z[..., :-1] - w * np.sign(jump)), np.abs(z[..., :-1]) - w)
    return max(np.max(away, initial=0), np.max(np.abs(z[..., -1])))


@pytest.mark.parametrize("n", [1, 2, 60])
def test_it_is_optimal(n):
    x = lines(n, 40)
    for step in (1e-9, 0.2, 1.0, 4.0, 1e3):
        y = np.asarray(prox(jnp.asarray(x), step))
        assert violation(x, y, WEIGHT * step) < 1e-10
        if step == 1e3:  # one mean
            np.testing.assert_allclose(y, np.broadcast_to(x.mean(1)[:, None], y.shape), atol=1e-12)
    if n == 2:  # each end comes nearer by w, or both meet
        y = np.asarray(prox(jnp.asarray([[0.0, 5.0], [1.0, 0.4]]), 1.0))
        np.testing.assert_allclose(y, [[0.7, 4.3], [0.7, 0.7]], atol=1e-14)


def test_no_pattern_of_jumps_is_better():
    n, w = 4, WEIGHT * 0.8
    for x in lines(n, 15, seed=3):
        best = None
        for jumps in itertools.product((-1, 0, 1), repeat=n - 1):
            y, bounds = np.empty(n), [0, *(np.flatnonzero(jumps) + 1), n]
            for a, b in itertools.pairwise(bounds):
                behind, before = (*jumps, 0)[b - 1], (0, *jumps)[a]
                y[a:b] = x[a:b].mean() + w * (behind - before) / (b - a)
            value = np.sum((y - x) ** 2) / 2 + w * np.sum(np.abs(np.diff(y)))
            best = min(best or (value, y), (value, y), key=lambda pair: pair[0])
        np.testing.assert_allclose(prox(jnp.asarray(x[None]), 0.8)[0], best[1], atol=1e-12)


def test_derivatives_are_those_of_the_pieces():
    """Against differences, where a small change makes no new jump; both modes, weight and step."""
    x, step, h = jnp.asarray(lines(12, 5, seed=5)[4]), 0.6, 1e-6

    def f(x, weight, step):
        return mcmc.prox.tv_1d(weight)(x, step)

    def numbers(x, weight, step):
        forth = jax.jacfwd(f, (0, 1, 2))(x, weight, step)
        return f(x, weight, step), forth, jax.jacrev(f, (0, 1, 2))(x, weight, step)

    y, forth, back = jax.jit(numbers)(x, WEIGHT, step)
    assert 2 < len(np.unique(np.round(y, 9))) < 10
    shifts = h * np.concatenate([np.eye(12), -np.eye(12)])
    up, down = np.split(np.asarray(prox(np.asarray(x) + shifts, step)), 2)
    np.testing.assert_allclose(forth[0], (up - down).T / (2 * h), atol=1e-8)
    rows = jnp.broadcast_to(x, (24, 12))
    slope = (np.asarray(prox(rows, step + h)) - np.asarray(prox(rows, step - h)))[0] / (2 * h)
    np.testing.assert_allclose(forth[2], slope, atol=1e-8)
    np.testing.assert_allclose(WEIGHT * forth[1], step * forth[2], atol=1e-12)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-12), forth, back)


def test_rows_trees_and_float32():
    x = jnp.asarray(lines(30, 12, seed=7))
    rows = prox(x, 0.9)
    tree = jax.jit(jax.vmap(prox, (0, None)))({"a": x.reshape(3, 4, 30)}, 0.9)
    np.testing.assert_allclose(tree["a"].reshape(12, 30), rows, atol=1e-13)
    low = prox(x.astype(jnp.float32), 0.9)
    assert low.dtype == jnp.float32
    np.testing.assert_allclose(low, rows, atol=2e-5)
    assert np.all(np.isnan(prox(x.at[0, 3].set(jnp.nan), 0.9)[0]))


def test_what_must_hold_is_said():
    with pytest.raises(ValueError, match="weight must be a positive number"):
        mcmc.prox.tv_1d(0.0)
    with pytest.raises(ValueError, match=r"x must be \[..., n\]"):
        mcmc.prox.tv_1d()(jnp.zeros(()), 1.0)
