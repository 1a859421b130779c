import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import jaxgen as jg
from jaxgen.processes import auxiliary_law, channel_at, noise_shape, num_blocks

VP, CLD = jg.processes.scalar.vp(), jg.processes.augmented.cld()


def test_corrupt_is_the_definition():
    x0, eps = jnp.asarray([0.5, -1.0]), jnp.asarray([[0.3, 0.2], [-0.7, 1.1]])
    alpha, sigma = VP.transition(np.asarray(0.4))
    np.testing.assert_allclose(
        jg.corrupt(VP, x0, eps[0], 0.4), alpha * x0 + sigma * eps[0], rtol=1e-15
    )
    phi, chol = CLD.transition(np.asarray(0.4))
    expected = np.outer(phi[:, 0], x0) + chol @ eps
    np.testing.assert_allclose(jg.corrupt(CLD, x0, eps, 0.4), expected, rtol=1e-14)


@pytest.mark.parametrize("process", [VP, CLD], ids=["vp", "cld"])
def test_corrupt_takes_trees_and_keeps_dtypes(process):
    shapes = {"a": (3,), "b": (2, 2)}
    blocks = () if num_blocks(process) is None else (2,)
    x0 = {name: jnp.ones(shape, jnp.float32) for name, shape in shapes.items()}
    eps = {name: jnp.ones((*blocks, *shape), jnp.float32) for name, shape in shapes.items()}
    z = jg.corrupt(process, x0, eps, 0.4)
    for name, shape in shapes.items():
        assert z[name].shape == (*blocks, *shape)
        assert z[name].dtype == jnp.float32
        alone = jg.corrupt(process, x0[name], eps[name], 0.4)
        np.testing.assert_array_equal(z[name], alone)


def test_shapes():
    assert (num_blocks(VP), num_blocks(CLD)) == (None, 2)
    assert noise_shape(VP, (3, 4)) == (3, 4)
    assert noise_shape(CLD, (3, 4)) == (2, 3, 4)
    seen = []
    jax.jit(lambda process: seen.append(num_blocks(process)))(CLD)
    jax.jit(lambda process: seen.append(num_blocks(process)))(VP)
    assert seen == [2, None]


def test_channel_at_broadcasts():
    assert channel_at(VP, np.linspace(0.1, 0.9, 3)).gain.shape == (3,)
    part = channel_at(CLD, np.linspace(0.1, 0.9, 3))
    assert part.gain.shape == (3,)
    assert part.read.shape == (3, 2)


@pytest.mark.parametrize("process", [VP, CLD, jg.processes.scalar.edm()], ids=["vp", "cld", "edm"])
def test_prior(process):
    # What unit-variance data become: Phi_0 Phi_0^T + Sigma in every entry.
    phi, chol = (np.atleast_2d(part) for part in process.transition(np.asarray(process.t_max)))
    cov = np.outer(phi[:, 0], phi[:, 0]) + chol @ chol.T
    prior = jg.prior(process, (3,))
    z = np.random.default_rng(0).normal(size=noise_shape(process, (3,)))
    exact = (
        scipy.stats.multivariate_normal(np.zeros(len(cov)), cov).logpdf(z.reshape(-1, 3).T).sum()
    )
    assert float(prior.logdensity(jnp.asarray(z))) == pytest.approx(exact, rel=1e-12)
    n = 20_000
    draws = np.asarray(jax.jit(jax.vmap(prior.sample))(jax.random.split(jax.random.key(0), n)))
    assert draws.shape == (n, *noise_shape(process, (3,)))
    draws = draws.reshape(n, -1, 3)
    assert (np.abs(draws.mean(0)) < 5 * np.sqrt(np.diag(cov) / n)[:, None]).all()
    found = np.einsum("nid,njd->ij", draws, draws) / (3 * n)
    spread = np.sqrt((np.outer(np.diag(cov), np.diag(cov)) + cov**2) / (3 * n))
    assert (np.abs(found - cov) < 5 * spread).all()


def test_auxiliary_law_is_conditioning_on_the_data_part():
    # Under x0 ~ N(0, tau^2) with a large tau, which is flat where the noise at t_min is.
    phi, chol = CLD.transition(np.asarray(CLD.t_min))
    cov = 1e10 * np.outer(phi[:, 0], phi[:, 0]) + chol @ chol.T
    mean, factor = auxiliary_law(CLD)
    assert float(mean[0]) == pytest.approx(cov[1, 0] / cov[0, 0], rel=1e-9)
    # cov_11 - cov_10^2 / cov_00, written so that nothing cancels.
    ratio = phi[1, 0] / phi[0, 0]
    exact = np.array([-ratio, 1]) @ (chol @ chol.T) @ np.array([-ratio, 1])
    assert float(factor[0, 0]) ** 2 == pytest.approx(exact, rel=1e-9)


def test_lift_and_data_part():
    x, eps = jnp.asarray([0.5, -1.0]), jnp.asarray([[9.0, 9.0], [0.3, -0.2]])
    np.testing.assert_array_equal(jg.lift(VP, x, None), x)
    mean, factor = auxiliary_law(CLD)
    z = jg.lift(CLD, x, eps)
    np.testing.assert_array_equal(z[0], x)
    np.testing.assert_allclose(z[1], mean[0] * x + factor[0, 0] * eps[1], rtol=1e-14)
    np.testing.assert_array_equal(jg.data_part(CLD, z), x)
    np.testing.assert_array_equal(jg.data_part(VP, x), x)
    tree = jg.lift(CLD, {"a": x}, {"a": eps})
    np.testing.assert_array_equal(jg.data_part(CLD, tree)["a"], x)
