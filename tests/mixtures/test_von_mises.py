import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import densities, mixtures

TRUE = (np.log([0.5, 0.3, 0.2]), np.array([-2.0, 0.5, 2.4]), np.array([20.0, 3.0, 100.0]))


@functools.partial(jax.jit, static_argnums=(1, 3))
def fitted(xs, k, weights, steps, key):
    em = mixtures.von_mises(k)
    step = lambda params, _: em.step(params, xs, weights)
    return jax.lax.scan(step, em.init(key, xs), None, steps)


@functools.cache
def data(n=3000):
    law = densities.von_mises_mixture(*TRUE)
    return jax.jit(jax.vmap(law.sample))(jax.random.split(jax.random.key(0), n))


def test_three_components_come_back():
    xs = data()
    params, infos = fitted(xs, 3, None, 60, jax.random.key(1))
    order = np.argsort(params.means)
    counts = np.exp(params.log_weights)[order] * len(xs)
    exact = np.exp(TRUE[0])
    assert (np.abs(counts / len(xs) - exact) < 5 * np.sqrt(exact * (1 - exact) / len(xs))).all()
    # Standard errors within one component: 1 / sqrt(n kappa A) and about kappa sqrt(2 / n).
    error = 1 / np.sqrt(counts * TRUE[2] * 0.8)
    assert (np.abs(params.means[order] - TRUE[1]) < 5 * error).all()
    kappas = params.concentrations[order]
    assert (np.abs(kappas / TRUE[2] - 1) < 5 * np.sqrt(3 / counts)).all()
    assert np.diff(infos.logdensity).min() > -1e-12
    true = jax.vmap(densities.von_mises_mixture(*TRUE).logdensity)(xs)
    assert float(infos.logdensity[-1]) > float(jnp.mean(true))


@pytest.mark.slow
def test_one_component_is_the_fit():
    xs = data()[:50]
    params, _ = fitted(xs, 1, None, 1, jax.random.key(1))
    mean, kappa = densities.von_mises_fit(xs)
    np.testing.assert_allclose(params.means, mean[None], rtol=1e-12)
    np.testing.assert_allclose(params.concentrations, kappa[None], rtol=1e-10)


@pytest.mark.slow
def test_the_fixed_point_is_a_stationary_likelihood():
    xs = data()[:200]
    params, _ = fitted(xs, 2, None, 1500, jax.random.key(3))
    law = lambda params: densities.von_mises_mixture(*params).logdensity
    total = lambda params: jnp.mean(jax.vmap(lambda x: law(params)(x))(xs))
    slopes = jax.jit(jax.grad(total))(params)
    for slope in slopes:  # constant along log_weights: they are normalised
        np.testing.assert_allclose(slope, 0, atol=1e-7)


def test_responsibilities():
    xs = data()[:20]
    params = mixtures.VonMisesMixture(*map(jnp.asarray, TRUE))
    found = mixtures.von_mises_responsibilities(params, xs)
    laws = [densities.von_mises(m, k) for m, k in zip(*TRUE[1:], strict=True)]
    joint = np.exp(TRUE[0])[None] * np.stack(
        [np.exp(jax.vmap(law.logdensity)(xs)) for law in laws], 1
    )
    np.testing.assert_allclose(found, joint / joint.sum(1, keepdims=True), rtol=1e-10)


def test_a_lost_component_and_a_collapsed_one_are_finite():
    em = mixtures.von_mises(2, largest=1e4)
    xs = jnp.asarray([0.1, 0.1, 0.1])
    step = jax.jit(em.step)
    params, info = step(jax.jit(em.init)(jax.random.key(0), xs), xs)
    params, info = step(params, xs)
    np.testing.assert_allclose(params.concentrations, 1e4)
    np.testing.assert_allclose(params.means, 0.1)
    assert bool(jnp.isfinite(info.logdensity))
    far = mixtures.VonMisesMixture(
        jnp.asarray([0.0, -jnp.inf]), jnp.asarray([0.1, 2.0]), jnp.asarray([5.0, 5.0])
    )
    found, _ = step(far, xs)
    np.testing.assert_allclose(found.means, [0.1, 2.0])
    np.testing.assert_allclose(found.concentrations, [1e4, 0])


@pytest.mark.slow
def test_a_torus_mixture_comes_back():
    means = jnp.asarray([[0.0, 2.0], [2.5, -1.0]])
    kappas = jnp.asarray([[4.0, 60.0], [15.0, 3.0]])
    law = densities.von_mises_mixture(jnp.log(jnp.asarray([0.7, 0.3])), means, kappas)
    xs = jax.jit(jax.vmap(law.sample))(jax.random.split(jax.random.key(0), 4000))
    params, _ = fitted(xs, 2, None, 60, jax.random.key(1))
    order = np.argsort(params.means[:, 0])
    np.testing.assert_allclose(np.exp(params.log_weights)[order], [0.7, 0.3], atol=0.04)
    np.testing.assert_allclose(params.means[order], means, atol=0.1)
    np.testing.assert_allclose(params.concentrations[order], kappas, rtol=0.2)


POTENTIAL = (1.0, -0.7, 2.2)  # V_1, V_2, V_3 in units of temperature


@pytest.mark.slow
def test_a_torsion_potential_is_approached_with_more_components():
    """KL from the Boltzmann law of V = sum V_n (1 + cos n x) / 2, by quadrature, falls with k."""
    xs = jnp.asarray(-np.pi + 2 * np.pi * (np.arange(400) + 0.5) / 400)
    energy = sum(v / 2 * (1 + jnp.cos((n + 1) * xs)) for n, v in enumerate(POTENTIAL))
    log_p = -energy - jax.nn.logsumexp(-energy)
    found = []
    for k in (1, 2, 3, 5):
        keys = jax.random.split(jax.random.key(7), 3)
        params, _ = jax.vmap(lambda key, k=k: fitted(xs, k, jnp.exp(log_p), 600, key))(keys)
        law = lambda p: jax.vmap(densities.von_mises_mixture(*p).logdensity)(xs)
        gaps = log_p[None] - jax.vmap(law)(params) - jnp.log(2 * jnp.pi / 400)
        found.append(float(jnp.min(gaps @ jnp.exp(log_p))))
    assert found[0] > 2 * found[1] > 4 * found[2]
    assert found[2] > 2 * found[3] > 0
    assert found[3] < 1e-3


@pytest.mark.slow
def test_float32():
    xs = data()[:100].astype(jnp.float32)
    params, info = fitted(xs, 3, None, 20, jax.random.key(1))
    assert {part.dtype for part in (*params, *info)} == {jnp.dtype("float32")}
    assert all(bool(jnp.all(jnp.isfinite(part))) for part in (*params, *info))


def test_errors():
    with pytest.raises(ValueError, match="mixtures.von_mises: k must be at least 1"):
        mixtures.von_mises(0)
    with pytest.raises(ValueError, match="mixtures.von_mises: xs must be"):
        mixtures.von_mises(2).init(jax.random.key(0), jnp.asarray(1.0))
