"""The door flows: f(...) -> Flow; round trips, log-determinants, and densities that integrate."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import textbook

import jaxgen as jg
from jaxgen import flows
from jaxgen.math import divergence
from jaxgen.solvers import ode, solve
from jaxgen.types import Distribution

FACTOR = np.array([[0.8, 0.0, 0.0], [-0.3, 1.4, 0.0], [0.5, 0.2, 0.6]])
MATRIX = np.array([[0.3, -0.8, 0.1], [0.5, 0.2, -0.4], [0.0, 0.6, -0.5]])


def integrate(field, state, ts):
    return solve(jax.random.key(0), ode.rk4(field), state, ts)[0]


def bent(params, x, t):
    return jnp.tanh(MATRIX.astype(x.dtype) @ x + params * t) - 0.2 * x


def small(inputs, outputs):
    return flows.perceptron(inputs, outputs, width=6, depth=1)


def spline(dim, **options):
    return flows.coupling(dim, bins=5, bound=3.0, conditioner=small, **options)


CASES = {
    "spline": lambda: spline(3, layers=3),
    "alternate": lambda: spline(3, layers=2, permutation="alternate"),
    "line": lambda: spline(1, layers=2),
    "triangular": lambda: flows.affine(np.array([0.5, -1.0, 2.0]), FACTOR),
    "diagonal": lambda: flows.affine(np.zeros(3), np.array([0.5, 1.0, 2.0]), learn=False),
    "continuous": lambda: flows.continuous(
        bent, integrate, np.linspace(0.0, 1.0, 61), init=lambda key: jnp.asarray(0.7)
    ),
    "chain": lambda: flows.chain(
        flows.affine(np.zeros(3), FACTOR), flows.invert(spline(3, layers=2))
    ),
}
SLOW = ("alternate", "chain")
MARKED = [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in CASES]
EXACT = {name: 1e-10 for name in CASES} | {"continuous": 1e-7}  # its integrator's error


def made(name, dtype=np.float64):
    """(flow, params away from their start, points [n, d] inside, on the ends of and beyond the
    splines)."""
    flow = CASES[name]()
    params = flow.init(jax.random.key(0))
    random, d = np.random.default_rng(1), 1 if name == "line" else 3
    params = jax.tree.map(
        lambda a: (np.asarray(a) + 0.5 * random.standard_normal(a.shape)).astype(dtype), params
    )
    ends = [np.full(d, 3.0), np.full(d, -3.0), np.full(d, 7.0), np.zeros(d)]
    return flow, params, np.concatenate([2 * random.standard_normal((12, d)), ends]).astype(dtype)


@functools.cache
def compiled(name):
    """(params, xs [n, d]) -> z, log_det, the way back, and the Jacobian."""
    flow = CASES[name]()

    def one(params, x):
        def there(x):
            z, log_det = flow.forward(params, x)
            return z, (z, log_det)

        slope, (z, log_det) = jax.jacfwd(there, has_aux=True)(x)
        return z, log_det, *flow.inverse(params, z), slope

    return jax.jit(jax.vmap(one, (None, 0)))


@functools.cache
def ran(name, dtype=np.float64):
    _, params, xs = made(name, dtype)
    return xs, *jax.tree.map(np.asarray, compiled(name)(params, xs))


@pytest.mark.parametrize("name", MARKED)
def test_round_trip_and_log_determinant(name):
    """Also on the knots at the ends of the splines, and beyond them."""
    xs, z, log_det, back, back_det, slope = ran(name)
    np.testing.assert_allclose(back, xs, atol=EXACT[name])
    np.testing.assert_allclose(back_det, -log_det, atol=EXACT[name])
    smooth = np.all(np.abs(xs) != 3.0, 1)  # where clipped, a knot has half of its slope
    np.testing.assert_allclose(
        np.linalg.slogdet(slope)[1][smooth],
        log_det[smooth],
        atol=1e-6 if name == "continuous" else 1e-10,
    )
    assert np.ptp(z, 0).min() > 0.1


@pytest.mark.parametrize("name", ["line", pytest.param("spline", marks=pytest.mark.slow)])
def test_gradients_are_finite_everywhere(name):
    """At knots (those of fresh splines are known), at the ends and in the tails; both ways if
    slow."""
    flow, bent_params, xs = made(name)
    fresh = flow.init(jax.random.key(0))
    xs = np.concatenate([xs, np.linspace(-3, 3, 6)[:, None] * np.ones(xs.shape[1])])

    def total(params, x):
        z, log_det = flow.forward(params, x)
        if name == "line":
            return jnp.sum(z**2) + log_det
        back, back_det = flow.inverse(params, x)
        return jnp.sum(z**2 + jnp.cos(back)) + log_det - 2 * back_det

    run = jax.jit(jax.vmap(jax.grad(total, (0, 1)), (None, 0)))
    with np.errstate(invalid="raise"):
        for dtype in (np.float64, np.float32) if name == "spline" else (np.float64,):
            for params in (bent_params, fresh):
                arguments = jax.tree.map(lambda a, to=dtype: np.asarray(a, to), (params, xs))
                for gradient in jax.tree.leaves(run(*arguments)):
                    assert np.all(np.isfinite(gradient))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["spline", "chain"])
def test_single_precision(name):
    """The way back loses what a flat piece of a spline has squeezed: slopes here reach 1 / 100."""
    xs, z, log_det, back, back_det, slope = ran(name, np.float32)
    assert {a.dtype for a in (z, log_det, back, back_det, slope)} == {np.dtype(np.float32)}
    np.testing.assert_allclose(z, ran(name)[1], atol=2e-5)
    np.testing.assert_allclose(log_det, ran(name)[2], atol=2e-4)
    squeezed = 1 / np.linalg.svd(slope, compute_uv=False).min(1)
    assert np.all(np.abs(back - xs).max(1) < 3e-6 * np.maximum(squeezed, 1) * 7)
    assert np.all(np.isfinite(back_det))


def test_a_spline_rises_and_leaves_its_tails_alone():
    flow, params, _ = made("line")
    run = jax.jit(jax.vmap(lambda x: flow.forward(params, x)))
    x = np.linspace(-4.0, 4.0, 4001)
    z, log_det = (np.asarray(a) for a in run(x[:, None]))
    assert np.all(np.diff(z[:, 0]) > 0)
    outside = np.abs(x) > 3
    np.testing.assert_array_equal(z[outside, 0], x[outside])
    assert not np.any(log_det[outside])
    assert np.abs(z[~outside, 0] - x[~outside]).max() > 0.1
    np.testing.assert_allclose(
        log_det[~outside], np.log(np.gradient(z[:, 0], x))[~outside], atol=0.05
    )


def test_fresh_layers_are_the_identity():
    flow = spline(5, layers=4)
    x = np.array([0.3, -1.2, 2.0, 5.0, 0.7])
    z, log_det = jax.jit(flow.forward)(flow.init(jax.random.key(0)), x)
    np.testing.assert_allclose(z, x, atol=1e-12)
    assert float(log_det) == pytest.approx(0.0, abs=1e-12)


def unit_normal(dim):
    return Distribution(
        lambda key: jax.random.normal(key, (dim,)),
        lambda z: jnp.sum(jax.scipy.stats.norm.logpdf(z)),
    )


@pytest.mark.slow
@pytest.mark.parametrize("dim", [1, 2])
def test_densities_integrate_to_one(dim):
    """A midpoint rule on a box that holds all but 1e-9 of the mass. The slope of a density jumps at
    the knots, so the error falls as the square of the width: 2.9e-4 here in the plane, 7e-5 with
    half the width. And samples have the mean of the density."""
    flow = flows.chain(flows.affine(np.full(dim, 0.3), np.full(dim, 0.7)), spline(dim, layers=2))
    random, params = np.random.default_rng(2), flow.init(jax.random.key(0))
    params = jax.tree.map(lambda a: a + 0.2 * random.standard_normal(a.shape), params)
    law = flows.as_distribution(flow, params, unit_normal(dim))
    n, reach, draws = {1: 20000, 2: 500}[dim], 7.0, 4000
    line = (np.arange(n) + 0.5) / n * 2 * reach - reach
    grid = np.stack(np.meshgrid(*[line] * dim), -1).reshape(-1, dim)
    values = np.exp(np.asarray(jax.jit(jax.vmap(law.logdensity))(grid)))
    cell = (2 * reach / n) ** dim
    assert values.sum() * cell == pytest.approx(1.0, abs={1: 1e-7, 2: 1e-3}[dim])
    mean = (values[:, None] * grid).sum(0) * cell
    xs = np.asarray(jax.jit(jax.vmap(law.sample))(jax.random.split(jax.random.key(1), draws)))
    textbook.within(xs.mean(0), mean, xs.std(0) / draws**0.5)


def test_a_linear_field_has_its_closed_form():
    """dx/dt = M x + v: x(1) = e^M x + M^-1 (e^M - 1) v, log-determinant tr M."""
    import scipy.linalg

    drift = np.array([0.2, -0.4, 0.7])
    flow = flows.continuous(
        lambda params, x, t: MATRIX @ x + params, integrate, np.linspace(0.0, 1.0, 101)
    )
    x = np.array([0.3, -1.2, 2.0])
    z, log_det = flow.forward(drift, x)
    whole = scipy.linalg.expm(MATRIX)
    truth = whole @ x + np.linalg.solve(MATRIX, (whole - np.eye(3)) @ drift)
    np.testing.assert_allclose(z, truth, rtol=1e-9)
    assert float(log_det) == pytest.approx(np.trace(MATRIX), abs=1e-9)
    probes = np.array([[a, b, c] for a in (-1, 1) for b in (-1, 1) for c in (-1.0, 1.0)])
    noisy = flows.continuous(
        lambda params, x, t: MATRIX @ x + params,
        integrate,
        np.linspace(0.0, 1.0, 101),
        divergence=divergence.hutchinson(jnp.asarray(probes)),  # all signs: the exact mean
    )
    assert float(noisy.inverse(drift, z)[1]) == pytest.approx(-np.trace(MATRIX), abs=1e-9)


@pytest.mark.slow
def test_a_house_network_conditions_and_conditions_reach_it():
    net = lambda n, m: jg.nets.mlp((n,), width=8, depth=1, out_shape=(m,), num_classes=2)
    flow = flows.coupling(3, layers=2, conditioner=net)
    random = np.random.default_rng(0)
    params = jax.tree.map(
        lambda a: a + 0.3 * random.standard_normal(a.shape), flow.init(jax.random.key(0))
    )
    x = np.array([0.3, -1.2, 0.9])
    run = jax.jit(lambda label: flow.forward(params, x, label=label))
    first, second = run(0), run(1)
    assert float(jnp.abs(first[0] - second[0]).max()) > 1e-3
    np.testing.assert_allclose(flow.inverse(params, first[0], label=0)[0], x, atol=1e-5)


def test_eager_equals_jit_and_vmap():
    flow, params, xs = made("line")
    z, log_det = flow.forward(params, xs[3])
    np.testing.assert_allclose(z, ran("line")[1][3], rtol=1e-12)
    np.testing.assert_allclose(log_det, ran("line")[2][3], rtol=1e-12)


def test_refuses_what_makes_no_sense():
    with pytest.raises(ValueError, match=r"^flows\.chain: at least one flow is needed; got none"):
        flows.chain()
    for options, match in [
        ({"bins": 0}, "bins must be at least 1; got 0"),
        ({"bins": 1000}, "bins must be below 1000; got 1000"),
        ({"bound": 0.0}, "bound must be positive; got 0.0"),
        ({"permutation": "none"}, "permutation must be .*; got 'none'"),
        ({"layers": 0}, "layers must be at least 1; got 0"),
    ]:
        with pytest.raises(ValueError, match=rf"^flows\.coupling: {match}"):
            flows.coupling(3, **options)
    for scale, match in [
        (np.ones(2), "must fit"),
        (np.array([1.0, 0.0, 1.0]), "must be positive; got 0.0"),
        (FACTOR.T, "must be lower triangular"),
    ]:
        with pytest.raises(ValueError, match=rf"^flows\.affine: .*{match}"):
            flows.affine(np.zeros(3), scale)
    with pytest.raises(ValueError, match=r"^flows\.continuous: ts must have shape"):
        flows.continuous(bent, integrate, 1.0)
    with pytest.raises(ValueError, match=r"^flows\.perceptron: width must be at least 1; got 0"):
        flows.perceptron(2, 2, width=0)
