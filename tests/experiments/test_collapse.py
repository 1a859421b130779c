"""Refitting a Gaussian to its own samples, against the recursion of its moments."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.metrics import _collapse


def refitted(share, chains=4000, m=20, steps=10):
    real = lambda key, n: jax.random.normal(key, (n, 1))
    draw = lambda key, model, n: model[0] + jnp.sqrt(model[1]) * jax.random.normal(key, (n, 1))
    one = lambda key: _collapse.chain(key, _collapse.gaussian_fit, draw, real, steps, m, share)
    keys = jax.random.split(jax.random.key(0), chains)
    return jax.jit(lambda ks: jax.lax.map(one, ks, batch_size=200))(keys)


@pytest.mark.parametrize(("share", "exact"), [(0.0, 1.5), (0.5, 1.1034)])
def test_variance_of_a_point(share, exact):
    mean, variance = (np.asarray(a)[:, 9] for a in refitted(share))  # behind generation ten
    points = mean**2 + variance
    assert abs(points.mean() - exact) < 5 * points.std() / np.sqrt(4000)
    if share == 0:
        assert abs(variance.mean() - 1) < 5 * variance.std() / np.sqrt(4000)
        assert 0.55 < np.median(variance) < 0.65
