import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.math import is_concrete, iterate, namespace, on_host


def table(number, t):
    return namespace(number, t).exp(-number * t)


@pytest.mark.usefixtures("x32")
def test_tables_are_float64_inside_a_jitted_float32_function():
    seen = {}

    @jax.jit
    def fn(x):
        seen["table"] = on_host(table, 0.1, np.float32(3.0))
        return x * jnp.asarray(seen["table"], x.dtype)

    assert fn(jnp.ones(2)).dtype == jnp.float32
    assert isinstance(seen["table"], np.ndarray)
    assert seen["table"].dtype == np.float64
    # float32 would be off by 1e-8.
    assert abs(float(seen["table"]) - np.exp(-0.1 * 3.0)) < 1e-15
    assert jnp.ones(2).dtype == jnp.float32, "the working dtype must be left as it was"


@pytest.mark.usefixtures("x32")
def test_jax_calls_inside_also_run_in_float64():
    value = jax.jit(lambda x: x + float(on_host(lambda t: jax.grad(lambda u: jnp.exp(u))(t), 0.3)))
    with jax.enable_x64(True):
        exact = jnp.exp(0.3)
    assert on_host(lambda t: jax.grad(jnp.exp)(t), 0.3) == float(exact)
    assert np.isfinite(value(1.0))


def test_gradients_pass_a_host_table():
    def fn(x):
        return jnp.sum(x**2 * on_host(table, 0.5, np.linspace(0, 1, 3)))

    x = jnp.arange(3.0)
    np.testing.assert_allclose(
        jax.jit(jax.grad(fn))(x), 2 * x * np.exp(-0.5 * np.linspace(0, 1, 3)), rtol=1e-15
    )


def test_traced_numbers_are_computed_where_they_are():
    seen = {}

    def fn(number):
        seen["table"] = on_host(table, number, np.asarray(2.0))
        return seen["table"]

    slope = jax.jit(jax.grad(fn))(jnp.asarray(0.3))
    assert isinstance(seen["table"], jax.core.Tracer)
    assert float(slope) == pytest.approx(-2 * np.exp(-0.6), rel=1e-14)


def test_integers_and_flags():
    got = on_host(lambda n, flag: (n, flag), 3, np.asarray(True))
    assert got[0].dtype == np.float64
    assert got[1].dtype == bool


def test_namespace():
    assert namespace(np.ones(2), 1.0) is np
    assert namespace(np.float64(1.0)) is np
    assert namespace(1.0) is jnp
    assert namespace(np.ones(2), jnp.ones(2)) is jnp
    assert namespace((np.ones(2), {"a": jnp.ones(2)})) is jnp


def test_is_concrete():
    assert is_concrete(1.0, np.ones(2), jnp.ones(2))
    jax.jit(lambda x: [] if not is_concrete(1.0, x) else pytest.fail("a tracer is not concrete"))(
        1.0
    )


def test_iterate_in_both_libraries():
    for xp, one in ((np, np.ones(2)), (jnp, jnp.ones(2))):
        np.testing.assert_array_equal(iterate(lambda x: 2 * x, one, 5, xp), [32, 32])
