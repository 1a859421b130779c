import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.predictions import guidance

CONDITIONAL = lambda x, t: {"a": jnp.sin(x) * t}
UNCONDITIONAL = lambda x, t: {"a": jnp.cos(x)}
X = jnp.asarray([0.3, -1.0], jnp.float32)


def test_weights_0_and_minus_1_are_the_two_denoisers():
    np.testing.assert_array_equal(
        guidance.cfg(CONDITIONAL, UNCONDITIONAL, 0.0)(X, 0.5)["a"], CONDITIONAL(X, 0.5)["a"]
    )
    np.testing.assert_allclose(
        guidance.cfg(CONDITIONAL, UNCONDITIONAL, -1.0)(X, 0.5)["a"],
        UNCONDITIONAL(X, 0.5)["a"],
        rtol=1e-6,
    )


def test_guidance_is_linear_in_its_weight():
    # Ho and Salimans, equation 6: (1 + w) conditional - w unconditional.
    at = lambda weight: guidance.cfg(CONDITIONAL, UNCONDITIONAL, weight)(X, 0.5)["a"]
    for weight in (0.7, 3.0):
        expected = (1 + weight) * CONDITIONAL(X, 0.5)["a"] - weight * UNCONDITIONAL(X, 0.5)["a"]
        np.testing.assert_allclose(at(weight), expected, rtol=1e-5)
    assert at(3.0).dtype == jnp.float32


def test_traced_weights_share_a_trace():
    traces = []

    @jax.jit
    def fn(weight):
        traces.append(1)
        return guidance.cfg(CONDITIONAL, UNCONDITIONAL, weight)(X, 0.5)["a"]

    for weight in (0.0, 1.0, 2.5):
        expected = guidance.cfg(CONDITIONAL, UNCONDITIONAL, weight)(X, 0.5)["a"]
        np.testing.assert_allclose(fn(weight), expected, rtol=1e-6)
    assert len(traces) == 1
