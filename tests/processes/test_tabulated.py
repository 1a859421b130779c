"""Transitions that are looked up."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgen as jg
from jaxgen.processes import augmented, diagonal, scalar, tabulated

PROCESSES = {
    "vp": scalar.vp,
    "cld": augmented.cld,
    "psld": augmented.psld,
    "hold-3": augmented.hold,
    "hold-5": lambda: augmented.hold(5),
    "mdm": lambda: augmented.mdm(
        [[0.1, 0.0, 0.0], [0.2, 0.3, 0.0], [0.5, -0.2, 1.2]],
        [[0.0, -1.0, 0.3], [0.2, 0.0, -1.4], [0.0, 0.4, 0.0]],
        beta_min=3.0,
        beta_max=6.0,
    ),
}


@pytest.mark.parametrize("name", list(PROCESSES))
def test_it_is_the_same_process(name):
    """Phi to 2e-7, and noise made by one factor is unit noise to the other, to 1e-6."""
    process = PROCESSES[name]()
    table = tabulated(process)
    ts = np.exp(np.random.default_rng(0).uniform(*np.log([process.t_min, process.t_max]), 300))
    (phi, chol), (exact_phi, exact_chol) = table.transition(ts), process.transition(ts)
    np.testing.assert_allclose(phi, exact_phi, rtol=0, atol=2e-7)
    if chol.ndim == 1:
        np.testing.assert_allclose(chol, exact_chol, rtol=1e-8)
    else:
        unit = np.linalg.solve(exact_chol, chol)
        np.testing.assert_allclose(
            unit, np.broadcast_to(np.eye(len(unit[0])), unit.shape), atol=1e-6
        )
    ends = np.array([process.t_min, process.t_max])
    for ours, theirs in zip(table.transition(ends), process.transition(ends), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)


def test_single_precision_under_a_tracer():
    table = tabulated(augmented.hold())
    t = jnp.asarray(0.3, jnp.float32)
    found = jax.jit(
        lambda t: (table.transition(t), jg.corrupt(table, jnp.ones(2), jnp.ones((3, 2)), t))
    )(t)
    (phi, chol), z = found
    assert phi.dtype == chol.dtype == jnp.float32
    for ours, theirs in zip((phi, chol), augmented.hold().transition(np.float64(0.3)), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-6)
    assert z.shape == (3, 2)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (
            lambda: tabulated(scalar.ve()),
            "t_min must be positive and points at least 2; got t_min=0.0",
        ),
        (lambda: tabulated(scalar.vp(), 1), "points at least 2; got t_min=0.001, points=1"),
        (
            lambda: tabulated(diagonal.anisotropic(scalar.vp, 0.1, np.array([5.0, 9.0]))),
            "a concrete LinearForward is needed; got DiagonalForward",
        ),
        (
            lambda: jax.jit(lambda b: tabulated(scalar.vp(0.1, b)).t_max)(20.0),
            "a concrete LinearForward is needed; got tracers",
        ),
    ],
)
def test_errors(make, match):
    with pytest.raises(ValueError, match=match):
        make()
