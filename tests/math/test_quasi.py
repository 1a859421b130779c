import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import math


def periodic(u):
    """A continuous periodic function of mean 1 with kinks, not symmetric between axes."""
    rate = 1 / jnp.arange(1.0, u.shape[1] + 1)
    return jnp.mean(jnp.prod(1 + rate[None] * (2 * jnp.abs(2 * u - 1) - 1), axis=1))


@pytest.mark.parametrize("n", [1, 3, 7, 64])
def test_a_lattice_up_to_its_shift(n):
    u = math.quasi_uniform(jax.random.key(0), n, 3)
    assert u.shape == (n, 3)
    assert jnp.all((u >= 0) & (u < 1))
    steps = np.asarray((u - u[:1]) * n)
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-9)
    for axis in steps.T.round().astype(int) % n:  # each axis alone is hit once in every cell
        assert len(set(axis)) == n


def test_every_point_is_uniform():
    draw = jax.jit(jax.vmap(lambda key: math.quasi_uniform(key, 5, 2)))
    u = np.asarray(draw(jax.random.split(jax.random.key(1), 4000)))
    for moment in (1, 2):
        spread = np.sqrt(1 / (2 * moment + 1) - 1 / (moment + 1) ** 2)
        assert np.abs((u**moment).mean(0) - 1 / (moment + 1)).max() < 5 * spread / np.sqrt(4000)
    both = np.prod(u - 0.5, axis=2).mean(0)  # axes are shifted apart
    assert np.abs(both).max() < 5 / 12 / np.sqrt(4000)


@pytest.mark.parametrize("d", [2, 5])
def test_far_below_the_error_of_random_points(d):
    keys = lambda n: jax.random.split(jax.random.key(n), 32)

    def rms(n):
        value = jax.vmap(lambda key: periodic(math.quasi_uniform(key, n, d)))
        return float(jnp.sqrt(jnp.mean((jax.jit(value)(keys(n)) - 1) ** 2)))

    random = np.sqrt((np.prod(1 + 1 / 3 / np.arange(1, d + 1) ** 2) - 1) / 1021)
    small, large = rms(61), rms(1021)
    assert large < random / 20
    assert large < small / 10  # 1/√n would give 4


def test_float32():
    u = math.quasi_uniform(jax.random.key(3), 100, 4, jnp.float32)
    assert u.dtype == jnp.float32
    assert jnp.all((u >= 0) & (u < 1))


def test_bad_input():
    with pytest.raises(ValueError, match="n and d must be at least 1; got 0 and 2"):
        math.quasi_uniform(jax.random.key(0), 0, 2)
    assert functools.reduce(max, math.quasi_uniform(jax.random.key(0), 1, 1).shape) == 1
