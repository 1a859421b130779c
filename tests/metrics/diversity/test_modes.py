import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.metrics import diversity

GRID = jnp.stack(jnp.meshgrid(jnp.arange(5.0), jnp.arange(5.0)), axis=-1).reshape(25, 2)


@pytest.mark.parametrize("chunk", [7, pytest.param(1000, marks=pytest.mark.slow)])
def test_a_grid_of_modes(chunk):
    rng = np.random.RandomState(0)
    which = np.repeat(np.arange(18), 6)  # seven modes lost
    xs = np.asarray(GRID)[which] + rng.uniform(-0.1, 0.1, (108, 2))
    xs[:6] += 0.5  # two of the modes are missed by all their points,
    xs[6:12] += 0.35  # one by less than the root of the radius
    got = diversity.mode_coverage(jnp.asarray(xs), GRID, 0.3, chunk=chunk)
    assert got.covered == 16
    np.testing.assert_array_equal(got.counts, [0] * 2 + [6] * 16 + [0] * 7)
    np.testing.assert_allclose(got.quality, 96 / 108)


def test_least_and_the_nearest_centre_only():
    xs = jnp.array([[0.0, 0.0], [0.1, 0.0], [1.0, 0.0], [0.4, 0.0]])
    fn = jax.jit(diversity.mode_coverage, static_argnames="least")
    got = fn(xs.astype(jnp.float32), GRID.astype(jnp.float32), 2.0, least=3)
    assert got.covered == 1
    assert got.covered.dtype == jnp.float32
    np.testing.assert_array_equal(got.counts[:2], [3, 1])
    edge = fn(jnp.array([[0.25, 0.0], [1.75, 0.0], [1.6, 0.0]]), GRID, 0.25)  # the ball is closed
    np.testing.assert_array_equal(edge.counts[:3], [1, 0, 1])


def test_bad_input():
    with pytest.raises(ValueError, match=r"radius must be positive; got 0"):
        diversity.mode_coverage(GRID, GRID, 0)
    with pytest.raises(ValueError, match=r"least must be at least 1; got 0"):
        diversity.mode_coverage(GRID, GRID, 1.0, least=0)
