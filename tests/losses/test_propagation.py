"""The propagation regulariser on normal data, where the sampler's law and the MMD are closed."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import textbook

from jaxgen import grids, kernels, processes
from jaxgen.losses import score
from jaxgen.solvers import exponential

MEAN, VARIANCE, WIDTH = 0.7, 0.25, 1.0
PROCESS = processes.scalar.vp()
TS = grids.power(PROCESS, 8)
RBF = kernels.rbf(WIDTH)


def apply(params, z, t):
    """E[x0 | z] of the normal data, moved by params: a wrong network."""
    alpha, sigma = PROCESS.transition(t)
    pull = VARIANCE * alpha / (alpha**2 * VARIANCE + sigma**2)
    return MEAN + pull * (z - alpha * MEAN) + params


def loss(run, n):
    fn = score.propagation(
        PROCESS, apply, kind="x0", solver=exponential.ddim, ts=TS, kernel=RBF, run=run
    )

    def one(params, key):
        key_data, key = jax.random.split(key)
        x0 = MEAN + np.sqrt(VARIANCE) * jax.random.normal(key_data, (n, 1))
        return fn(params, key, x0)

    return jax.jit(jax.vmap(one, (None, 0)))


def embedding(mean, variance):
    """E k(x, y) of an RBF kernel for x - y ~ N(mean, variance)."""
    return np.sqrt(WIDTH**2 / (WIDTH**2 + variance)) * np.exp(
        -(mean**2) / (2 * (WIDTH**2 + variance))
    )


def expected(run, bias, half, last=None):
    """The mean over starting stops of the biased MMD of two normal laws, half of each drawn; the
    last step may have another bias.
    """
    rows, alpha, sigma = exponential.ddim(PROCESS, None).plan(TS), *PROCESS.transition(TS)
    found = []
    for first in range(len(TS) - run):
        mean, variance = alpha[first] * MEAN, alpha[first] ** 2 * VARIANCE + sigma[first] ** 2
        for i in range(first, first + run):
            now = bias if last is None or i < first + run - 1 else last
            x0hat = lambda z, i=i, now=now: apply(now, z, TS[i])
            at = lambda z, i=i, f=x0hat: rows.propagate[i] * z + rows.weights[i, 0] * f(z)
            slope = at(1.0) - at(0.0)
            mean, variance = at(mean), slope**2 * variance
        stop = first + run
        true_mean, true = alpha[stop] * MEAN, alpha[stop] ** 2 * VARIANCE + sigma[stop] ** 2
        inside = lambda v: (1 + (half - 1) * embedding(0.0, 2 * v)) / half
        cross = embedding(mean - true_mean, variance + true)
        found.append(inside(variance) + inside(true) - 2 * cross)
    return np.mean(found)


@pytest.mark.parametrize(("run", "bias"), [(2, 0.3), (8, 0.3), (2, 0.0)])
def test_mean_is_the_closed_form(run, bias):
    values = loss(run, 16)(jnp.asarray(bias), jax.random.split(jax.random.key(0), 4000))
    mean, error = textbook.mean_and_error(np.asarray(values))
    textbook.within(mean, expected(run, bias, 8), error, "loss")


def test_descending_it_mends_a_biased_network():
    slope = jax.jit(jax.grad(lambda params, keys: jnp.mean(loss(2, 64)(params, keys))))
    params = jnp.asarray(0.5)
    for i in range(40):
        keys = jax.random.split(jax.random.fold_in(jax.random.key(1), i), 8)
        params = params - 2.0 * slope(params, keys)
    assert abs(float(params)) < 0.1


@pytest.mark.parametrize("run", [1, 3])
def test_only_the_last_step_has_a_gradient(run):
    slopes = jax.vmap(jax.grad(lambda p, key: loss(run, 16)(p, key[None])[0]), (None, 0))
    found = jax.jit(slopes)(jnp.asarray(0.4), jax.random.split(jax.random.key(2), 4000))
    mean, error = textbook.mean_and_error(np.asarray(found))
    up, down = (expected(run, 0.4, 8, 0.4 + step) for step in (1e-5, -1e-5))
    textbook.within(mean, (up - down) / 2e-5, error, "slope")


@pytest.mark.parametrize("run", [0, 9])
def test_run_must_fit(run):
    with pytest.raises(ValueError, match=rf"propagation: run must be from 1 to the 8 .*got {run}"):
        loss(run, 8)


def test_small_batches_are_refused():
    fn = functools.partial(loss(2, 2), jnp.asarray(0.0))
    with pytest.raises(ValueError, match="a batch must have at least 4; got 2"):
        fn(jax.random.split(jax.random.key(0), 1))
