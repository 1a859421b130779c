"""The doors of math.divergence and math.derivatives: f(...) -> estimator(fn, x) -> (value, found).

One table over both: the divergence of a mixture's score is the Laplacian of its log-density.
"""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.math import derivatives, divergence

D, K = 6, 3000
MEANS = jnp.asarray(np.random.default_rng(1).standard_normal((3, D)))
LOG_WEIGHTS = jnp.log(jnp.asarray([0.5, 0.3, 0.2]))
WIDTH = jnp.linspace(0.7, 1.4, D)
X = jnp.linspace(-1.0, 0.8, D)


def logdensity(x):
    parts = -0.5 * jnp.sum(
        ((x[None] - MEANS.astype(x.dtype)) / WIDTH.astype(x.dtype)[None]) ** 2, -1
    )
    return jax.nn.logsumexp(LOG_WEIGHTS.astype(x.dtype) + parts)


def closed_form():
    """-tr P + tr Cov of the slopes P (m_k - x) under the posterior of the component."""
    parts = LOG_WEIGHTS - 0.5 * jnp.sum(((X[None] - MEANS) / WIDTH[None]) ** 2, -1)
    posterior = jnp.exp(parts - jax.nn.logsumexp(parts))
    slopes = (MEANS - X[None]) / WIDTH[None] ** 2
    mean = posterior @ slopes
    return float(-jnp.sum(WIDTH**-2.0) + posterior @ jnp.sum(slopes**2, -1) - mean @ mean)


def signs(shape=(K, D)):
    return jax.random.rademacher(jax.random.key(0), shape, float)


def normals(shape=(K, D)):
    return jax.random.normal(jax.random.key(1), shape)


SCORE = jax.grad(logdensity)
EVERY = jnp.arange(D)
# name: (function, estimator, exact). Those of order 2 all find the same number.
DOOR = {
    "divergence.exact": (SCORE, divergence.exact(), True),
    "divergence.hutchinson": (SCORE, divergence.hutchinson(signs()), False),
    "divergence.hutch_plus_plus": (SCORE, divergence.hutch_plus_plus(signs((12, D))), False),
    "laplacian": (logdensity, derivatives.laplacian(), True),
    "dense_laplacian": (logdensity, derivatives.dense_laplacian(signs()), False),
    "dense_laplacian_chunked": (logdensity, derivatives.dense_laplacian(signs(), chunk=7), False),
    "sparse_laplacian": (
        logdensity,
        derivatives.sparse_laplacian(jax.random.randint(jax.random.key(2), (K,), 0, D)),
        False,
    ),
    "generator": (
        logdensity,
        derivatives.generator(jnp.zeros(D), jnp.sqrt(2.0) * jnp.eye(D)),
        True,
    ),
    "dense_generator": (
        logdensity,
        derivatives.dense_generator(jnp.zeros(D), jnp.sqrt(2.0) * jnp.eye(D), normals()),
        False,
    ),
    "operator": (logdensity, derivatives.operator(normals(), 2), False),
    "directional": (logdensity, derivatives.directional(jnp.eye(D), 2), None),
    "mixed": (logdensity, derivatives.mixed(normals((3, D))), None),
    "biharmonic": (logdensity, derivatives.biharmonic(chunk=8), None),
    "dense_biharmonic": (logdensity, derivatives.dense_biharmonic(normals((4, D))), None),
}


def test_the_list_is_the_door():
    names = set(derivatives.__all__) | {f"divergence.{name}" for name in divergence.__all__}
    assert names == set(DOOR) - {"dense_laplacian_chunked"}
    for name in derivatives.__all__:
        kinds = [p.kind for p in inspect.signature(getattr(derivatives, name)).parameters.values()]
        assert inspect.Parameter.VAR_POSITIONAL not in kinds


SLOW = ("dense_laplacian_chunked", "biharmonic", "dense_biharmonic", "mixed", "directional")
NAMES = [pytest.param(n, marks=pytest.mark.slow if n in SLOW else []) for n in DOOR]


@pytest.mark.parametrize("name", NAMES)
def test_the_divergence_of_a_score_in_each_way(name):
    """Value and truth; the dtype of the point; one trace for a batch of points."""
    fn, estimator, exact = DOOR[name]
    at = jnp.stack([X, X + 0.1])
    values, found = jax.jit(jax.vmap(lambda x: estimator(fn, x)))(at)
    np.testing.assert_allclose(values[0], fn(X), rtol=1e-13)
    assert values.shape[:1] == found.shape[:1] == (2,)
    single = jax.eval_shape(lambda x: estimator(fn, x), jnp.zeros(D, jnp.float32))
    assert all(part.dtype == jnp.float32 for part in single)
    truth, found = closed_form(), found[0]
    if exact:
        assert found.shape == ()
        assert float(found) == pytest.approx(truth, rel=1e-12)
    elif exact is False:
        assert found.ndim == 1
        error = float(jnp.std(found, ddof=1)) / len(found) ** 0.5
        assert error > 1e-6
        assert abs(float(jnp.mean(found)) - truth) < 5 * error
    elif name == "directional":
        assert float(jnp.sum(found)) == pytest.approx(truth, rel=1e-12)
