import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import jet
from jax.scipy import special

from jaxgen.math import derivatives

D = 5
RANDOM = np.random.default_rng(0)
WEIGHTS = jnp.asarray(RANDOM.standard_normal((4, D)) / 2)
X = jnp.asarray([0.3, -1.0, 0.8, 0.5, -0.4])


def net(x):
    return jnp.sum(jnp.sin(1.0 + WEIGHTS @ jnp.tanh(WEIGHTS.T @ (WEIGHTS @ x)))) + jnp.prod(x)


def quartic(x):
    return jnp.sum(x**2) ** 2


def normals(key, *shape):
    return jax.random.normal(jax.random.key(key), shape)


def signs(key, *shape):
    return jax.random.rademacher(jax.random.key(key), shape, float)


def twin(fn, x, directions):
    """Reverse mode, nested: a textbook's way to the same number."""
    for v in directions:
        fn = lambda x, fn=fn, v=v: jnp.vdot(jax.grad(fn)(x), v)
    return fn(x)


HESSIAN = jax.jit(jax.hessian(net))(X)


def means(estimates):
    """The mean and its standard error."""
    return float(jnp.mean(estimates)), float(jnp.std(estimates, ddof=1) / len(estimates) ** 0.5)


@pytest.mark.slow
@pytest.mark.parametrize("order", [1, 3, 4])
def test_directional_and_mixed_are_nested_reverse_mode(order):
    directions = normals(order, order, D)
    value, found = jax.jit(derivatives.mixed(directions), static_argnums=0)(net, X)
    assert float(value) == pytest.approx(float(net(X)), rel=1e-14)
    assert found.shape == ()
    exact = jax.jit(twin, static_argnums=0)(net, X, directions)
    assert float(found) == pytest.approx(float(exact), rel=1e-11)
    along = derivatives.directional(directions, order, chunk=2 if order == 3 else None)
    along = jax.jit(along, static_argnums=0)(net, X)[1]
    assert along.shape == (order,)
    again = derivatives.mixed(jnp.stack([directions[0]] * order))
    np.testing.assert_allclose(along[0], jax.jit(lambda x: again(net, x)[1])(X), rtol=1e-11)


def test_a_line_through_a_polynomial_by_hand():
    """x³ y at (2, -1) along (1, 3): order 2 is 6 x y + 18 x² = 60, order 4 is 4! · 3 = 72."""
    fn, x = lambda x: x[0] ** 3 * x[1], jnp.asarray([2.0, -1.0])
    v = jnp.asarray([[1.0, 3.0]])
    for order, truth in ((1, -12 + 24), (2, 60.0), (3, -6 + 3 * 3 * 12), (4, 72.0)):
        along = jax.jit(derivatives.directional(v, order), static_argnums=0)
        assert float(along(fn, x)[1][0]) == pytest.approx(truth)
    e, f = jnp.eye(2)
    for directions, truth in (([e, f], 12.0), ([e, e, f], 12.0), ([e, f, e, e], 6.0)):
        mixed = jax.jit(derivatives.mixed(jnp.stack(directions)), static_argnums=0)
        assert float(mixed(fn, x)[1]) == pytest.approx(truth)


def scanned(z):
    return jax.lax.scan(lambda c, _: (jnp.tanh(c + z), None), z, None, length=3)[0]


PRIMITIVES = {
    "tanh": jnp.tanh,
    "sin": jnp.sin,
    "exp": jnp.exp,
    "log": lambda z: jnp.log(1.5 + z**2),
    "softplus": jax.nn.softplus,
    "gelu": jax.nn.gelu,
    "silu": jax.nn.silu,
    "relu³": lambda z: jax.nn.relu(z) ** 3,
    "where": lambda z: jnp.where(z > 0, z**3, z**2),
    "logsumexp": lambda z: jax.nn.logsumexp(z) * z,
    "lgamma": lambda z: special.gammaln(2.0 + z**2),
    "scan": scanned,
    "solve": lambda z: jnp.linalg.solve(jnp.eye(4) + jnp.outer(z, z), z),
}


FAST = ("softplus", "gelu", "where", "scan")


@pytest.mark.parametrize("names", [FAST, pytest.param(tuple(PRIMITIVES), marks=pytest.mark.slow)])
def test_every_primitive_of_a_network_lowers(names):
    """The third derivative, against finite differences of the second."""
    v = normals(7, 1, D)

    @jax.jit
    def both(x):
        found = []
        for name in names:
            fn = lambda x, act=PRIMITIVES[name]: jnp.sum(jnp.cos(act(jnp.tanh(WEIGHTS @ x))))
            at = lambda t, fn=fn: derivatives.directional(v, 2)(fn, x + t * v[0])[1][0]
            step = 1e-4
            slope = (at(step) - at(-step)) / (2 * step)
            found.append((derivatives.directional(v, 3)(fn, x)[1][0], slope))
        return found

    for name, (exact, slope) in zip(names, both(X), strict=True):
        assert float(exact) == pytest.approx(float(slope), rel=1e-5, abs=1e-6), name


@pytest.mark.slow
@pytest.mark.parametrize("order", [2, 3, 4])
def test_the_same_as_jet_where_jet_has_rules(order):
    v = normals(8, D)
    series = [v] + [jnp.zeros(D)] * (order - 1)
    smooth = lambda x: jnp.sum(jax.nn.gelu(jnp.cos(WEIGHTS @ jnp.tanh(WEIGHTS.T @ (WEIGHTS @ x)))))
    taylor = jet.jet(smooth, (X,), (series,))[1][-1]
    found = derivatives.directional(v[None], order)(smooth, X)[1][0]
    assert float(found) == pytest.approx(float(taylor), rel=1e-11)


@pytest.mark.parametrize("chunk", [pytest.param(None, marks=pytest.mark.slow), 2])
def test_exact_forms(chunk):
    lap, bih = (
        jax.jit(f(chunk=chunk), static_argnums=0)
        for f in (derivatives.laplacian, derivatives.biharmonic)
    )
    assert float(lap(net, X)[1]) == pytest.approx(float(jnp.trace(HESSIAN)), rel=1e-12)
    square = float(jnp.sum(X**2))
    assert float(lap(quartic, X)[1]) == pytest.approx(4 * (D + 2) * square, rel=1e-13)
    assert float(bih(quartic, X)[1]) == pytest.approx(8 * D * (D + 2), rel=1e-12)
    other = jnp.asarray([1.0, 2.0, -0.5])
    fn = lambda x: x[0] ** 4 + 3 * x[0] ** 2 * x[1] ** 2 + x[2] ** 4 * x[0]
    truth = 24 + 2 * 12 + 24 * 1.0 + 2 * 0  # x⁴, 3 x² y², z⁴ x at x = 1
    assert float(derivatives.biharmonic(chunk=chunk)(fn, other)[1]) == pytest.approx(truth)


def test_all_coordinates_are_the_trace():
    found = jax.jit(derivatives.sparse_laplacian(jnp.arange(D)), static_argnums=0)(net, X)[1]
    assert abs(float(jnp.mean(found) - jnp.trace(HESSIAN))) < 1e-10
    np.testing.assert_allclose(found, D * jnp.diagonal(HESSIAN), rtol=1e-12)
    event = X[:4].reshape(2, 2)  # coordinates count the flattened event
    found = derivatives.sparse_laplacian(jnp.asarray([2]))(lambda x: x[1, 0] ** 2 * x[0, 1], event)
    assert float(found[1][0]) == pytest.approx(4 * 2 * float(event[0, 1]))


K = 8_000


def test_random_forms_are_unbiased_and_their_variances_are_known():
    off = float(jnp.sum(HESSIAN**2) - jnp.sum(jnp.diagonal(HESSIAN) ** 2))
    even = float(D * jnp.sum(jnp.diagonal(HESSIAN) ** 2) - jnp.trace(HESSIAN) ** 2)
    coordinates = jax.random.randint(jax.random.key(2), (K,), 0, D)
    for estimator, variance in (
        (derivatives.dense_laplacian(signs(0, K, D)), 2 * off),
        (derivatives.dense_laplacian(normals(1, K, D)), 2 * float(jnp.sum(HESSIAN**2))),
        (derivatives.sparse_laplacian(coordinates), even),
    ):
        found = jax.jit(estimator, static_argnums=0)(net, X)[1]
        assert found.shape == (K,)
        mean, error = means(found)
        assert abs(mean - float(jnp.trace(HESSIAN))) < 5 * error
        squares = (found - jnp.trace(HESSIAN)) ** 2
        mean, error = means(squares)
        assert abs(mean - variance) < 5 * error
        assert error < 0.1 * variance, "the variance must be resolved"


def test_the_biharmonic_is_unbiased_and_exact_on_the_quartic():
    wave = lambda x: jnp.sum(jnp.sin(1.0 + WEIGHTS @ x))
    exact = float(jnp.sum(jnp.sin(1.0 + WEIGHTS @ X) * jnp.sum(WEIGHTS**2, 1) ** 2))
    errors = []
    for sphere in (True, False):
        estimator = derivatives.dense_biharmonic(normals(3, K, D), sphere=sphere)
        mean, error = means(jax.jit(estimator, static_argnums=0)(wave, X)[1])
        assert abs(mean - exact) < 5 * error
        errors.append(error)
    assert errors[0] < 0.8 * errors[1]
    estimator = derivatives.dense_biharmonic(normals(4, 3, D))
    np.testing.assert_allclose(estimator(quartic, X)[1], 8 * D * (D + 2), rtol=1e-12)
    plain = derivatives.dense_biharmonic(normals(4, 3, D), sphere=False)(quartic, X)[1]
    assert np.std(plain) > 10


def test_a_generator_and_a_weighted_operator():
    """b . grad + ½ tr(σ σᵀ H); and ∂³/∂x1²∂x2 as a law of third order, by polarisation."""
    drift, factor = normals(5, D), normals(6, D, 3)
    truth = float(drift @ jax.grad(net)(X) + 0.5 * jnp.trace(factor @ factor.T @ HESSIAN))
    exact = jax.jit(derivatives.generator(drift, factor, chunk=2), static_argnums=0)(net, X)[1]
    assert float(exact) == pytest.approx(truth, rel=1e-11)
    estimator = derivatives.dense_generator(drift, factor, normals(7, K, 3))
    mean, error = means(jax.jit(estimator, static_argnums=0)(net, X)[1])
    assert abs(mean - truth) < 5 * error
    e, f = jnp.eye(D)[:2]
    corners = jnp.stack([e + f, f - e, f])  # ((e+f)³ - (e-f)³ - 2 f³) / 6 = e² f
    third = derivatives.operator(corners, 3, scale=jnp.asarray([1, 1, -2.0]) / 6)
    fn = lambda x: jnp.sum(jnp.sin(WEIGHTS @ x))
    truth = -jnp.sum(jnp.cos(WEIGHTS @ X) * WEIGHTS[:, 0] ** 2 * WEIGHTS[:, 1])
    found = jnp.sum(third(fn, X)[1])
    assert float(found) == pytest.approx(float(truth), rel=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize(("d", "order"), [(10_000, 2), (100, 4)])
def test_many_dimensions_are_unbiased(d, order):
    """Σ a_k sin(1 + w_k . x): Laplacian -Σ a_k |w_k|² sin, biharmonic Σ a_k |w_k|⁴ sin."""
    rows = normals(9, 64, d) / d**0.5
    heights, x = jnp.linspace(0.5, 2.0, 64), normals(10, d)
    fn = lambda x: heights @ jnp.sin(1.0 + rows @ x)
    sines, square = jnp.sin(1.0 + rows @ x), jnp.sum(rows**2, 1)
    exact = float((-1) ** (order // 2) * heights @ (sines * square ** (order // 2)))
    if order == 2:
        estimator = derivatives.dense_laplacian(signs(11, 2000, d), chunk=100)
    else:
        estimator = derivatives.dense_biharmonic(normals(11, 40_000, d), chunk=1000)
    mean, error = means(jax.jit(estimator, static_argnums=0)(fn, x)[1])
    assert abs(mean - exact) < 5 * error
    assert error < 0.02 * abs(exact)


def test_one_probe_of_zeros_is_finite():
    found = derivatives.dense_biharmonic(jnp.zeros((2, D)))(quartic, X)[1]
    np.testing.assert_array_equal(found, 0)


def test_options_are_checked():
    fn, probes = net, jnp.ones((2, D))
    for message, build in (
        ("operator: at least one probe is needed; got shape (0, 5)", lambda: operator(probes[:0])),
        ("operator: order must be at least 1; got 0", lambda: operator(probes, 0)),
        ("operator: chunk must be at least 1; got 0", lambda: operator(probes, chunk=0)),
        ("laplacian: chunk must be at least 1; got 0", lambda: derivatives.laplacian(chunk=0)),
        ("biharmonic: chunk must be", lambda: derivatives.biharmonic(chunk=-1)),
        ("mixed: at least one direction", lambda: derivatives.mixed(probes[:0])),
        ("dense_laplacian: at least one", lambda: derivatives.dense_laplacian(probes[:0])),
        ("dense_biharmonic: at least one", lambda: derivatives.dense_biharmonic(probes[:0])),
        ("sparse_laplacian: coordinates must be", lambda: derivatives.sparse_laplacian(probes[0])),
        ("operator: directions must be [k", lambda: operator(probes[:, 1:])(fn, X)),
        ("operator: fn must return a scalar; got (5,)", lambda: operator(probes)(jnp.sin, X)),
        ("generator: factor must be", lambda: derivatives.generator(X, X)),
        (
            "dense_generator: probes must be [k, m]",
            lambda: derivatives.dense_generator(X, probes.T, probes),
        ),
    ):
        with pytest.raises(ValueError, match="derivatives") as found:
            build()
        assert message in str(found.value)


def operator(probes, order=2, **options):
    return derivatives.operator(probes, order, **options)
