"""Families and their bound against matrices written out, and against what can be fitted."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgen import densities, vi

BIMODAL = densities.gaussian_mixture(
    [0.3, 0.7], [[-2.5, 0.0], [2.0, 1.0]], [[0.5, 0.8], [0.9, 0.4]]
)


def test_block_gaussian_is_the_gaussian_of_its_blocks():
    family = vi.block_gaussian((1, 3, 2), scale=0.7)
    params = family.init(jax.random.key(0))
    rng = np.random.default_rng(1)
    move = lambda leaf: np.asarray(leaf) + 0.4 * rng.normal(size=leaf.shape)
    params = jax.tree.map(move, params)
    factor, scale = np.zeros((6, 6)), np.exp(params["log_scale"])
    for start, m, lower in zip((0, 1, 4), (1, 3, 2), params["lower"], strict=True):
        block = np.diag(scale[start : start + m])
        block[np.tril_indices(m, -1)] = lower
        factor[start : start + m, start : start + m] = block
    x = rng.normal(size=6)
    exact = jax.scipy.stats.multivariate_normal.logpdf(x, params["mean"], factor @ factor.T)
    np.testing.assert_allclose(jax.jit(family.logdensity)(params, x), exact, rtol=1e-12)
    draws = jax.jit(jax.vmap(lambda key: family.sample(params, key)))
    xs = np.asarray(draws(jax.random.split(jax.random.key(2), 20_000)))
    products = (xs - params["mean"])[:, :, None] * (xs - params["mean"])[:, None]
    error = np.std(products, 0) / np.sqrt(len(xs))
    assert np.max(np.abs(np.mean(products, 0) - factor @ factor.T) / error) < 5


def test_low_rank_gaussian_is_the_gaussian_of_its_matrix():
    family = vi.low_rank_gaussian(5, 2)
    params = family.init(jax.random.key(0))
    rng = np.random.default_rng(1)
    move = lambda leaf: np.asarray(leaf) + 0.5 * rng.normal(size=leaf.shape)
    params = jax.tree.map(move, params)
    cov = np.diag(np.exp(2 * params["log_scale"])) + params["factor"] @ params["factor"].T
    x = rng.normal(size=5)
    exact = jax.scipy.stats.multivariate_normal.logpdf(x, params["mean"], cov)
    np.testing.assert_allclose(jax.jit(family.logdensity)(params, x), exact, rtol=1e-12)
    draws = jax.jit(jax.vmap(lambda key: family.sample(params, key)))
    xs = np.asarray(draws(jax.random.split(jax.random.key(2), 20_000)))
    products = (xs - params["mean"])[:, :, None] * (xs - params["mean"])[:, None]
    error = np.std(products, 0) / np.sqrt(len(xs))
    assert np.max(np.abs(np.mean(products, 0) - cov) / error) < 5


def at_the_target():
    """A full Gaussian family, at the parameters of a target with a known log-normaliser."""
    family = vi.block_gaussian((2,))
    params = family.init(jax.random.key(0))
    params = params | {"lower": (jnp.array([0.8]),), "log_scale": jnp.array([0.2, -0.4])}
    held = jax.tree.map(jnp.asarray, params)
    return family, params, lambda x: family.logdensity(held, x) + 1.7


def test_every_draw_gives_the_log_normaliser_of_a_law_that_is_met():
    family, params, target = at_the_target()
    cases = ({}, {"landing": True}, {"importance": True, "draws": 3})

    @jax.jit
    def run(params, key):
        each = [jax.value_and_grad(vi.elbo(target, family, **options)) for options in cases]
        return [fn(params, k) for fn, k in zip(each, jax.random.split(key, 3), strict=True)]

    (plain, noisy), (landed, still), (sharp, _) = run(params, jax.random.key(1))
    np.testing.assert_allclose([plain, landed, sharp], -1.7, rtol=1e-12)
    jax.tree.map(lambda leaf: np.testing.assert_allclose(leaf, 0, atol=1e-12), still)
    assert max(np.max(np.abs(leaf)) for leaf in jax.tree.leaves(noisy)) > 0.1


@pytest.mark.slow
def test_importance_tightens_the_bound(same_key):
    family, params, _ = at_the_target()
    target = lambda x: densities.distribution(BIMODAL).logdensity(x)  # its log-normaliser is 0
    keys = jax.random.split(jax.random.key(3), 4000)
    means, errors = [], []
    for draws in (1, 8, 64):
        loss_fn = vi.elbo(target, family, draws=draws, importance=True)
        bounds = -jax.jit(jax.vmap(loss_fn, (None, 0)))(params, keys)
        means.append(np.mean(bounds))
        errors.append(np.std(bounds) / np.sqrt(len(keys)))
    assert np.all(np.diff(means) > 5 * np.hypot(errors[1:], errors[:-1]))
    assert means[-1] < 5 * errors[-1]
    plain = -jax.jit(jax.vmap(vi.elbo(target, family), (None, 0)))(params, keys)
    np.testing.assert_allclose(np.mean(plain), means[0], rtol=1e-9)


def fitted(family, steps, key):
    """KL(q || bimodal target) of a fitted family, nats, by quadrature."""
    target = densities.distribution(BIMODAL).logdensity
    loss_fn = vi.elbo(target, family, draws=8, landing=True)
    optimiser = optax.adam(optax.cosine_decay_schedule(0.05, steps))
    key_init, key_fit = jax.random.split(key)

    def body(carry, i):
        params, state = carry
        gradient = jax.grad(loss_fn)(params, jax.random.fold_in(key_fit, i))
        updates, state = optimiser.update(gradient, state)
        return (optax.apply_updates(params, updates), state), None

    @jax.jit
    def fit(params):
        carry = (params, optimiser.init(params))
        params = jax.lax.scan(body, carry, jnp.arange(steps))[0][0]
        axis = jnp.linspace(-9, 9, 161)
        xs = jnp.stack(jnp.meshgrid(axis, axis), -1).reshape(-1, 2)
        log_q = jax.vmap(family.logdensity, (None, 0))(params, xs)
        gap = jnp.exp(log_q) @ (log_q - jax.vmap(target)(xs)) * (axis[1] - axis[0]) ** 2
        return gap, params

    return fit(family.init(key_init))


def test_a_mixture_fits_two_modes_where_a_gaussian_cannot():
    part = vi.block_gaussian((1, 1))
    gap, params = fitted(vi.mixture(part, 2), 500, jax.random.key(0))
    assert gap < 1e-3
    weights = np.sort(jax.nn.softmax(params["logits"]))
    np.testing.assert_allclose(weights, [0.3, 0.7], atol=0.02)
    alone, _ = fitted(vi.block_gaussian((2,)), 100, jax.random.key(0))
    assert alone > 0.3  # one mode costs -log 0.7 = 0.36


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        (lambda: vi.block_gaussian(()), "must not be empty"),
        (lambda: vi.block_gaussian((2, 0)), "positive integer"),
        (lambda: vi.block_gaussian((2,), scale=0.0), "scale must be"),
        (lambda: vi.low_rank_gaussian(3, 0), "rank must be"),
        (lambda: vi.mixture(vi.block_gaussian((1,)), 0), "k must be"),
        (lambda: vi.elbo(None, None, draws=0), "draws must be"),
        (lambda: vi.elbo(None, None, landing=True, importance=True), "exclude"),
    ],
)
def test_wrong_options_are_refused(wrong, expected):
    with pytest.raises(ValueError, match=f"vi[.].*{expected}"):
        wrong()
