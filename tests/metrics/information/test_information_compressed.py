import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import metrics
from jaxgen.metrics import information

mi_ksg = jax.jit(information.mi_ksg)
EXACT = -0.5 * math.log(1 - 0.9**2)  # 0.8304


@pytest.fixture(scope="module")
def lifted():
    a, b = jax.random.normal(jax.random.key(0), (2, 600, 1))
    xs, ys = a, 0.9 * a + math.sqrt(1 - 0.81) * b
    direction = np.linalg.qr(np.random.RandomState(0).randn(100, 1))[0][:, 0]
    return xs, ys, (xs * direction[None]).reshape(600, 10, 10) + 3


def test_a_lift_and_back_changes_nothing(lifted):
    xs, ys, images = lifted
    base = mi_ksg(xs, ys)
    assert abs(base.value - EXACT) < 5 * base.standard_error

    through = information.compressed(information.pca(images, 1), estimator=mi_ksg)
    np.testing.assert_allclose(through(images, ys), base, rtol=1e-10)
    other = information.compressed(lambda x: x, lambda y: -5 * y**3, estimator=mi_ksg)
    assert abs(other(xs, ys).value - EXACT) < 5 * base.standard_error + 0.03
    lost = information.compressed(lambda x: jnp.sign(x), estimator=mi_ksg)(xs, ys)
    assert lost.value < 0.75 * base.value


def test_pca_keeps_the_widest_directions():
    rng = np.random.RandomState(1)
    xs = rng.randn(50, 6) * np.array([3.0, 0.1, 2.0, 0.2, 1.0, 0.3]) + 4
    encode = information.pca(jnp.asarray(xs.reshape(50, 2, 3)), 3)
    codes = jax.vmap(encode)(jnp.asarray(xs.reshape(50, 2, 3)))
    spectrum = np.linalg.eigvalsh(np.cov(xs.T))[::-1][:3]
    np.testing.assert_allclose(np.cov(np.asarray(codes).T), np.diag(spectrum), atol=1e-10)
    assert jax.tree.leaves(encode)
    with pytest.raises(ValueError, match=r"pca: num must be an integer between 1 and 6; got 7"):
        information.pca(jnp.asarray(xs), 7)


def sliced_truth(r, d):
    """E -1/2 log(1 - r² c²), c the cosine of two uniform directions in d dimensions."""
    c = np.linspace(-1, 1, 200001)[1:-1]
    law = (1 - c**2) ** ((d - 3) / 2)
    return np.sum(law * -0.5 * np.log(1 - r**2 * c**2)) / law.sum()


def gaussian_fit(xs, ys):
    value = information.mi_gaussian(jnp.cov(jnp.concatenate([xs, ys], axis=1), rowvar=False), 1)
    return metrics.Estimate(value, jnp.zeros(()))


def test_sliced_information():
    d, r = 3, 0.9
    a, b = jax.random.normal(jax.random.key(2), (2, 4000, d))
    ys = r * a + math.sqrt(1 - r**2) * b
    sliced = jax.jit(
        functools.partial(information.mi_sliced, num_slices=400, estimator=gaussian_fit)
    )
    got = sliced(jax.random.key(3), a, ys)
    assert abs(got.value - sliced_truth(r, d)) < 5 * got.standard_error
    assert got.standard_error < 0.02
    few = jax.jit(functools.partial(information.mi_sliced, num_slices=8))
    rough = few(jax.random.key(4), a[:200], ys[:200])
    assert abs(rough.value - sliced_truth(r, d)) < 5 * rough.standard_error
    with pytest.raises(ValueError, match=r"mi_sliced: num_slices must be at least 2; got 1"):
        information.mi_sliced(jax.random.key(0), a, ys, num_slices=1)
