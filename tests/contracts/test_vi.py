"""The door vi, both halves: families f(...) -> Family with their bound, against quadrature on a
grid; algorithms f(logdensity_fn, ...) -> VIAlgorithm of blackjax's shape, on a Gaussian.
"""

import functools
import inspect

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import densities, flows, vi

D = 2
POINTS = vi.cubature(D, 5)
ALGORITHMS = {"forward_backward": lambda fn: vi.forward_backward(fn, 0.2, points=POINTS)}


def bending():
    """x = sinh(tail (arcsinh z + skew)), entry by entry: smooth, so that quadrature is exact."""

    def forward(params, x):
        inner = jnp.arcsinh(x) / params["tail"] - params["skew"]
        slopes = jnp.log(jnp.cosh(inner)) - jnp.log(params["tail"]) - jnp.log1p(x**2) / 2
        return jnp.sinh(inner), jnp.sum(slopes)

    def inverse(params, z):
        x = jnp.sinh(params["tail"] * (jnp.arcsinh(z) + params["skew"]))
        return x, -forward(params, x)[1]

    return flows.Flow(
        lambda key: {"tail": jnp.full(D, 0.6), "skew": jnp.zeros(D)}, forward, inverse
    )


def small_flow():
    lean = flows.affine(jnp.array([0.3, -0.4]), jnp.array([[0.9, 0.0], [0.4, 1.2]]))
    base = densities.distribution(densities.gaussian(jnp.zeros(D), jnp.eye(D)))
    return vi.flow(flows.chain(lean, bending()), base)


FAMILIES = {
    "block_gaussian": lambda: vi.block_gaussian((D,)),
    "low_rank_gaussian": lambda: vi.low_rank_gaussian(D, 1, scale=0.8),
    "mixture": lambda: vi.mixture(vi.block_gaussian((1, 1)), 3),
    "flow": small_flow,
}
OTHERS = {"cubature", "elbo", "gauss_hermite"}
OTHERS |= {"gelu_moments", "linear_moments", "mp_gelu_moments", "relu_moments"}
OTHERS |= {"init_layers", "layers_divergence", "moment_elbo", "network_moments"}
WIDTH, SIDE, MANY = 9.0, 161, 3000


def test_everybody_behind_the_door_is_here():
    names = {name for name in vi.__all__ if inspect.isfunction(getattr(vi, name))}
    assert names == set(ALGORITHMS) | set(FAMILIES) | OTHERS


@functools.cache
def grid():
    axis = np.linspace(-WIDTH, WIDTH, SIDE)
    xs = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, D)
    return xs, (axis[1] - axis[0]) ** 2


def target(x):
    """An unnormalised law with two unequal modes and a bend."""
    law = densities.gaussian_mixture(
        [0.3, 0.7], [[-1.5, 0.0], [1.5, 1.0]], [[0.5, 0.8], [0.9, 0.4]]
    )
    return densities.distribution(law).logdensity(x) + 0.7 - 0.1 * jnp.sin(x[0] * x[1])


def bent(name):
    """A family with parameters that nothing vanishes at."""
    family = FAMILIES[name]()
    params = family.init(jax.random.key(0))
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(5), len(leaves))
    moved = [
        leaf + 0.3 * jax.random.normal(key, leaf.shape)
        for key, leaf in zip(keys, leaves, strict=True)
    ]
    return family, jax.tree.unflatten(tree, moved)


def in_errors(draws, exact):
    """The largest distance of means over axis 0 from the exact values, in standard errors."""
    draws = np.asarray(draws).reshape(len(draws), -1)
    error = np.std(draws, 0, ddof=1) / np.sqrt(len(draws))
    return np.max(np.abs(np.mean(draws, 0) - np.ravel(exact)) / np.maximum(error, 1e-6))


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow) if name in ("flow", "mixture") else name
        for name in FAMILIES
    ],
)
def test_families_are_laws_and_their_bound_has_the_right_gradient(name):
    family, params = bent(name)
    xs, area = grid()
    keys = jax.random.split(jax.random.key(1), (3, MANY))

    def exact(params):
        log_q = jax.vmap(family.logdensity, (None, 0))(params, xs)
        q = jnp.exp(log_q) * area
        gap = q @ (log_q - jax.vmap(target)(xs))
        return gap, (jnp.sum(q), q @ xs)

    def draw(params, key):
        key_one, key_many = jax.random.split(key)
        strata, log_weights = family.draws(params, key_many)
        return family.sample(params, key_one), jnp.exp(log_weights) @ strata, log_weights

    @jax.jit
    def everything(params):
        gradients = [
            jax.vmap(jax.grad(vi.elbo(target, family, landing=landing)), (None, 0))(params, each)
            for landing, each in zip((False, True), keys[:2], strict=True)
        ]
        draws = jax.vmap(draw, (None, 0))(params, keys[2])
        return jax.value_and_grad(exact, has_aux=True)(params), draws, gradients

    ((_, (mass, mean)), gradient), (plain, strata, log_weights), sampled = everything(params)
    np.testing.assert_allclose(mass, 1, atol=1e-6)
    assert in_errors(plain, mean) < 5
    assert in_errors(strata, mean) < 5
    np.testing.assert_allclose(np.sum(np.exp(log_weights), 1), 1, rtol=1e-12)
    flat = lambda tree, n: np.concatenate(
        [np.reshape(leaf, (n, -1)) for leaf in jax.tree.leaves(tree)], 1
    )
    for each in sampled:
        assert in_errors(flat(each, MANY), flat(gradient, 1)[0]) < 5


FEW = [pytest.param(name, marks=pytest.mark.slow) if name == "flow" else name for name in FAMILIES]


@pytest.mark.parametrize("name", FEW)
def test_families_are_pure_and_keep_float32(name, same_key):
    key = jax.random.key(2)
    with jax.enable_x64(False):
        family, params = bent(name)
        loss_fn = vi.elbo(lambda x: -jnp.sum(x**2) / 2, family, draws=2)
        loss, gradient = jax.jit(jax.value_and_grad(loss_fn))(params, key)
        many = jax.jit(jax.vmap(loss_fn, (None, 0)))(params, jnp.stack([key, key]))
    assert {leaf.dtype for leaf in jax.tree.leaves((loss, gradient))} == {jnp.dtype("float32")}
    np.testing.assert_allclose(many, loss, rtol=1e-5)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(gradient))


MEAN, COV = np.array([1.0, -0.5]), np.array([[1.0, 0.5], [0.5, 0.6]])


def gaussian_target(x):
    precision = jnp.asarray(np.linalg.inv(COV), x.dtype)
    gap = x - jnp.asarray(MEAN, x.dtype)
    return -gap @ precision @ gap / 2


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", ALGORITHMS)
def test_algorithms_find_a_gaussian(name, dtype):
    algorithm = ALGORITHMS[name](gaussian_target)
    assert isinstance(algorithm, blackjax.base.VIAlgorithm)
    start = jnp.zeros(D, dtype)
    body = lambda state, i: algorithm.step(jax.random.fold_in(jax.random.key(0), i), state)

    def run(start):
        return jax.lax.scan(body, algorithm.init(start), jnp.arange(150))[0]

    state = jax.jit(run)(start)
    many = jax.jit(jax.vmap(run))(jnp.stack([start, start + 1]))
    assert {leaf.dtype for leaf in jax.tree.leaves((state, many))} == {jnp.dtype(dtype)}
    tolerance = 1e-9 if dtype == "float64" else 1e-5
    np.testing.assert_allclose(state.mean, MEAN, atol=tolerance)
    np.testing.assert_allclose(many.mean, np.stack([MEAN, MEAN]), atol=tolerance)
    xs = algorithm.sample(jax.random.key(1), state, 4000)
    assert xs.shape == (4000, D)
    assert xs.dtype == dtype
    xs = np.asarray(xs)
    assert in_errors(xs, MEAN) < 5
    assert in_errors((xs - MEAN)[:, :1] * (xs - MEAN), COV[0]) < 5


@pytest.mark.parametrize("name", ALGORITHMS)
def test_algorithms_step_alike_eager_and_compiled(name, same_key):
    algorithm = ALGORITHMS[name](gaussian_target)
    state, key = algorithm.init(jnp.zeros(D)), jax.random.key(0)
    eager, compiled = algorithm.step(key, state), jax.jit(algorithm.step)(key, state)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), eager, compiled)
