import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.math import divergence

MATRIX = jnp.asarray([[0.5, 1.0, -2.0], [0.0, -0.3, 0.7], [1.1, 0.2, 0.9]])


def curved(x):
    return jnp.tanh(MATRIX @ x) * x


def mixed(z):
    """[2, 3] -> [3]."""
    return jnp.tanh(MATRIX.T @ z[0]) * (MATRIX @ z[1]) + z[1] ** 2


def rademacher(key, shape):
    return jax.random.rademacher(key, shape, float)


@pytest.mark.parametrize("chunk", [None, 1, 2])
def test_exact_is_the_trace_of_the_jacobian(chunk):
    x = jnp.asarray([0.3, -1.0, 0.8])
    value, trace = divergence.exact(chunk=chunk)(curved, x)
    np.testing.assert_allclose(value, curved(x), rtol=1e-15)
    assert trace.shape == ()
    assert float(trace) == pytest.approx(float(jnp.trace(jax.jacfwd(curved)(x))), rel=1e-14)


def test_exact_on_events_of_any_shape():
    x = jnp.arange(6.0).reshape(2, 3) / 5
    fn = lambda x: jnp.sin(x) * jnp.sum(x)
    trace = divergence.exact()(fn, x)[1]
    assert float(trace) == pytest.approx(float(jnp.einsum("ijij->", jax.jacfwd(fn)(x))), rel=1e-14)


@pytest.mark.parametrize("chunk", [None, 4])
def test_exact_gives_one_trace_a_block(chunk):
    z = jnp.asarray([[0.3, -1.0, 0.8], [0.1, 0.5, -0.7]])
    value, traces = divergence.exact(chunk=chunk)(mixed, z)
    np.testing.assert_allclose(value, mixed(z), rtol=1e-15)
    np.testing.assert_allclose(traces, jnp.einsum("ici->c", jax.jacfwd(mixed)(z)), rtol=1e-14)


def test_hutchinson_is_unbiased():
    k = 20_000
    x, z = jnp.asarray([0.3, -1.0, 0.8]), jnp.asarray([[0.3, -1.0, 0.8], [0.1, 0.5, -0.7]])
    estimator = divergence.hutchinson(rademacher(jax.random.key(0), (k, 3)))
    for fn, at in ((curved, x), (mixed, z)):
        value, estimates = estimator(fn, at)
        np.testing.assert_allclose(value, fn(at), rtol=1e-15)
        assert estimates.shape == (k,) if at.ndim == 1 else estimates.shape == (k, 2)
        error = jnp.mean(estimates, 0) - divergence.exact()(fn, at)[1]
        assert (jnp.abs(error) < 5 * jnp.std(estimates, 0) / np.sqrt(k)).all()
        assert (jnp.std(estimates, 0) > 0.1).all(), "without spread the test would show nothing"


def test_hutch_plus_plus_is_exact_on_low_rank_and_better_near_it():
    """Rank 3 of 30 with k // 3 = 4 sketches: exact, as on 2 I. With a tail: unbiased, and the
    variance of as many products falls at least tenfold.
    """
    d, k, repeats = 30, 12, 500
    random = np.random.default_rng(0)
    left, right = random.standard_normal((2, d, 3))
    tail = 0.02 * random.standard_normal((d, d))
    low, near = left @ right.T, left @ right.T + tail
    keys = jax.random.split(jax.random.key(4), repeats)

    @jax.jit
    def means(matrix):
        def one(key, estimator, k):
            probes = rademacher(key, (k, d))
            return jnp.mean(estimator(probes)(lambda x: matrix @ x, jnp.ones(d))[1])

        sketched = jax.vmap(lambda key: one(key, divergence.hutch_plus_plus, k))(keys)
        return sketched, jax.vmap(lambda key: one(key, divergence.hutchinson, k + k // 3))(keys)

    with jax.debug_key_reuse(False):
        (exact, _), (sketched, plain) = means(low), means(near)
        whole, _ = means(2 * np.eye(d))
    np.testing.assert_allclose(exact, np.trace(low), rtol=1e-10)
    np.testing.assert_allclose(whole, 2 * d, rtol=1e-10)
    for found in (sketched, plain):
        error = np.std(found) / repeats**0.5
        assert abs(np.mean(found) - np.trace(near)) < 5 * error
    assert np.var(sketched) < 0.1 * np.var(plain)


@pytest.mark.slow
def test_hutch_plus_plus_on_blocks_and_its_spread():
    """One trace a block, unbiased; gradients too, though they do not pass through the range."""
    z, k = jnp.asarray([[0.3, -1.0, 0.8], [0.1, 0.5, -0.7]]), 4
    keys = jax.random.split(jax.random.key(5), 4000)

    def one(key, z):
        return divergence.hutch_plus_plus(rademacher(key, (k, 3)))(mixed, z)

    with jax.debug_key_reuse(False):
        value, found = jax.jit(jax.vmap(one, (0, None)))(keys, z)
        slope = jax.jit(jax.vmap(jax.grad(lambda z, key: jnp.mean(one(key, z)[1])), (None, 0)))
        slopes = slope(z, keys)
    np.testing.assert_allclose(value[0], mixed(z), rtol=1e-15)
    assert found.shape == (4000, 3, 2)
    exact = lambda z: divergence.exact()(mixed, z)[1]
    for estimates, truth in (
        (found.mean(1), exact(z)),
        (slopes, jax.grad(lambda z: jnp.mean(exact(z)))(z)),
    ):
        error = np.std(estimates, 0) / 4000**0.5
        assert np.all(np.abs(np.mean(estimates, 0) - truth) < 5 * error)
        assert np.all(error > 1e-4)


def test_signs_are_exact_on_diagonal_functions_and_normals_are_not():
    diagonal = jnp.asarray([1.0, -2.0, 0.5])
    x = jnp.ones(3)
    signs = divergence.hutchinson(rademacher(jax.random.key(1), (4, 3)))(lambda x: diagonal * x, x)[
        1
    ]
    np.testing.assert_allclose(signs, -0.5, rtol=1e-14)
    normals = divergence.hutchinson(jax.random.normal(jax.random.key(1), (4, 3)))(
        lambda x: diagonal * x, x
    )[1]
    assert (jnp.abs(normals + 0.5) > 1e-3).all()


def test_dtype_of_the_point_is_kept():
    probes = rademacher(jax.random.key(2), (2, 3))
    for estimator in (divergence.exact(), divergence.hutchinson(probes)):
        value, trace = estimator(jnp.tanh, jnp.ones(3, jnp.float32))
        assert value.dtype == trace.dtype == jnp.float32


def test_options_are_checked():
    with pytest.raises(ValueError, match="divergence.exact: chunk must be at least 1; got 0"):
        divergence.exact(chunk=0)
    with pytest.raises(
        ValueError, match=r"divergence.hutchinson: at least one probe is needed; got shape \(0, 3\)"
    ):
        divergence.hutchinson(jnp.zeros((0, 3)))
    with pytest.raises(ValueError, match=r"hutch_plus_plus: at least three probes .* \(2, 3\)"):
        divergence.hutch_plus_plus(jnp.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"hutch_plus_plus: entries must be False.*; got True"):
        divergence.hutch_plus_plus(jnp.ones((3, 3)))(jnp.tanh, jnp.ones(3), entries=True)
