"""What every linear process owes: f(*numbers, t_min=, t_max=) -> LinearForward."""

from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate

import jaxgen as jg
from jaxgen.processes import log_snr, num_blocks

scalar, augmented = jg.processes.scalar, jg.processes.augmented


class Case(NamedTuple):
    build: Any  # f(*numbers) -> process
    numbers: tuple  # three sets would be these, and these a little changed


CASES = {
    "vp": Case(scalar.vp, (0.1, 20.0)),
    "subvp": Case(scalar.subvp, (0.1, 20.0)),
    "ve": Case(scalar.ve, (0.01, 50.0)),
    "edm": Case(scalar.edm, ()),
    "cosine": Case(scalar.cosine, (0.008,)),
    "linear_flow": Case(scalar.linear_flow, ()),
    "monotone": Case(
        lambda *logits: scalar.monotone(jnp.stack([jnp.asarray(x) for x in logits]), 9.0, -8.0),
        (0.3, -1.0, 0.5, 0.0),
    ),
    "cld": Case(augmented.cld, (4.0, 0.25, 0.04)),
    "hold": Case(lambda *numbers: augmented.hold(3, *numbers), (6.0, 1.0, 0.04)),
    "psld": Case(augmented.psld, (0.01, 4.01, 8.0, 0.04)),
    "mdm": Case(
        lambda *numbers: learned(*numbers), (0.1, 0.2, 0.3, 0.5, -0.2, 1.2, -1.0, 0.3, -1.4)
    ),
    "recipe": Case(lambda *numbers: quadratic(*numbers), (0.1, 1.0, -1.2, 2.0, 0.3)),
    "linear": Case(lambda *numbers: underdamped(*numbers), (0.3, 2.0, 0.5, 9.0)),
    "hold-2": Case(lambda *numbers: augmented.hold(2, *numbers), (6.0, 1.0, 0.04)),
    "hold-4": Case(lambda *numbers: augmented.hold(4, *numbers), (6.0, 1.0, 0.04)),
    "hold-5": Case(lambda *numbers: augmented.hold(5, *numbers), (6.0, 1.0, 0.04)),
}
SLOW = {"mdm", "recipe", "linear", "hold-2", "hold-4", "hold-5"}


def parameters(names):
    return [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in names]


everybody = pytest.mark.parametrize("name", parameters(CASES))
with_numbers = pytest.mark.parametrize(
    "name", parameters(name for name in CASES if CASES[name].numbers)
)


def learned(a, b, c, d, e, f, x, y, z):
    """Three blocks, from any numbers: `mdm` keeps every choice legal."""
    root, zero = [[a, 0.0, 0.0], [b, c, 0.0], [d, e, f]], 0.0
    curl = [[zero, x, y], [0.2, zero, z], [zero, 0.4, zero]]
    return augmented.mdm(matrix(root), matrix(curl), beta_min=1.0, beta_max=6.0)


def quadratic(a, b, swirl, precision, start):
    zero = 0.0 * a
    return augmented.recipe(
        matrix([[a, zero], [zero, b]]),
        matrix([[zero, swirl], [-swirl, zero]]),
        matrix([1.0, precision]),
        matrix([start]),
        beta_min=4.0,
    )


def underdamped(noise, pull, start, beta):
    """Complex eigenvalues, and one noise for two blocks: at first they are one, so that float32
    needs a larger t_min.
    """
    return augmented.linear(
        matrix([[-0.1, pull], [-pull, -0.4]]),
        matrix([[0.2 * noise], [noise]]),
        matrix([start]),
        beta_min=1.0,
        beta_max=beta,
        t_min=1e-2,
    )


def matrix(rows):
    """NumPy when all numbers are Python's, as a record made by hand would be."""
    plain = all(isinstance(number, float) for number in jax.tree.leaves(rows))
    return np.array(rows) if plain else jnp.asarray(rows)


def build(name):
    return CASES[name].build(*CASES[name].numbers)


def times(process, n):
    """n times from t_min to t_max, as many near the ends as between."""
    s = (1 - np.cos(np.linspace(0, np.pi, n))) / 2
    lo, hi = float(process.t_min), float(process.t_max)
    return lo + (hi - lo) * s


def matrices(part):
    """Scalars [...] as [..., 1, 1]; matrices as they are."""
    part = np.asarray(part)
    blocks = part.ndim >= 2 and part.shape[-1] == part.shape[-2] in (2, 3, 4, 5)
    return part if blocks else part[..., None, None]


@everybody
def test_transition_is_the_integral_of_drift_and_diffusion(name):
    process = build(name)
    coefficients = jax.jit(lambda t: (process.drift(t), process.diffusion(t)))

    def slope(t, flat):
        drift, noise = (matrices(part) for part in coefficients(t))
        phi, sigma = flat.reshape(2, *drift.shape)
        return np.stack([drift @ phi, drift @ sigma + sigma @ drift.T + noise @ noise.T]).ravel()

    def moments(t):
        phi, chol = (matrices(part) for part in process.transition(np.asarray(t)))
        return phi, chol @ chol.T

    ts = times(process, 6)
    start = np.stack(moments(ts[0]))
    found = scipy.integrate.solve_ivp(
        slope, (ts[0], ts[-1]), start.ravel(), t_eval=ts, method="DOP853", rtol=1e-11, atol=1e-12
    )
    for t, flat in zip(ts[1:], found.y.T[1:], strict=True):
        for ours, integral in zip(moments(t), flat.reshape(start.shape), strict=True):
            np.testing.assert_allclose(ours, integral, rtol=1e-8, atol=1e-10)


@everybody
def test_sampled_moments(name):
    process, n = build(name), 40_000
    t, x0 = float(np.mean([process.t_min, process.t_max])), jnp.asarray([0.7, -1.5])
    eps = jax.random.normal(jax.random.key(0), (n, *jg.processes.noise_shape(process, (2,))))
    zs = np.asarray(jax.jit(jax.vmap(lambda e: jg.corrupt(process, x0, e, t)))(eps))
    phi, chol = (matrices(part) for part in process.transition(np.asarray(t)))
    zs = zs.reshape(n, len(phi), 2)
    sigma = chol @ chol.T
    error = zs.mean(0) - phi[:, :1] * np.asarray(x0)
    assert (np.abs(error) < 5 * np.sqrt(np.diag(sigma) / n)[:, None]).all()
    away = zs - phi[:, :1] * np.asarray(x0)
    found = np.einsum("nid,njd->ij", away, away) / (2 * n)
    # The variance of a product of two jointly normal numbers is s_ii s_jj + s_ij^2.
    spread = np.sqrt((np.outer(np.diag(sigma), np.diag(sigma)) + sigma**2) / (2 * n))
    assert (np.abs(found - sigma) < 5 * spread).all()


@everybody
def test_signal_to_noise_falls(name):
    process = build(name)
    assert (np.diff(log_snr(process, np.asarray(times(process, 2000)))) < 0).all()


@everybody
def test_numpy_in_numpy_float64_out(name):
    case = CASES[name]
    process = case.build(*case.numbers)
    if name == "monotone":
        process = scalar.monotone(np.array(case.numbers), 9.0, -8.0)
    for part in process.transition(np.linspace(float(process.t_min), float(process.t_max), 3)):
        assert isinstance(part, np.ndarray)
        assert part.dtype == np.float64
    for part in process.transition(jnp.asarray(0.5)):
        assert isinstance(part, jax.Array)


@everybody
def test_leading_axes_of_time_broadcast(name):
    process = build(name)
    ts = jnp.asarray(times(process, 8)[1:7]).reshape(2, 3)
    both = jax.jit(lambda ts: (process.transition(ts), process.drift(ts), process.diffusion(ts)))
    one = lambda t: (process.transition(t), process.drift(t), process.diffusion(t))
    together = both(ts)
    mapped = jax.jit(jax.vmap(jax.vmap(one)))(ts)
    digits = {"rtol": 1e-14, "atol": 1e-15} if name[-1] not in "45" else {"rtol": 1e-9}
    chex.assert_trees_all_close(together, mapped, **digits)
    chex.assert_trees_all_close(
        jax.tree.map(lambda leaf: leaf[1, 2], together), both(ts[1, 2]), **digits
    )
    c = num_blocks(process)
    assert together[1].shape == (2, 3) + (() if c is None else (c, c))


@everybody
def test_python_times_are_as_precise_as_arrays(name):
    process = build(name)
    fn = lambda t: (process.transition(t), process.drift(t), process.diffusion(t))
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(fn(0.4)))
    chex.assert_trees_all_close(fn(0.4), fn(jnp.asarray(np.float64(0.4))), rtol=1e-15)


@with_numbers
def test_crosses_jit_as_an_argument_with_one_trace(name):
    case, traces = CASES[name], []

    @jax.jit
    def fn(process, t):
        traces.append(name)
        return process.transition(t), process.drift(t), process.diffusion(t), log_snr(process, t)

    t = jnp.asarray(0.4)
    for scale in (1.0, 1.1, 1.3):
        process = case.build(*(number * scale for number in case.numbers))
        expected = (
            process.transition(t),
            process.drift(t),
            process.diffusion(t),
            log_snr(process, t),
        )
        chex.assert_trees_all_close(fn(process, t), expected, rtol=1e-12)
    assert traces == [name]


@with_numbers
def test_gradients_with_respect_to_numbers(name):
    case = CASES[name]
    weigh = lambda part, seed: jnp.sum(
        part * jnp.sin(seed + jnp.arange(part.size)).reshape(part.shape)
    )

    @jax.jit
    def fn(numbers, t):
        process = case.build(*numbers)
        parts = (
            *process.transition(t),
            process.drift(t),
            process.diffusion(t),
            log_snr(process, t),
        )
        return sum(weigh(part, seed) for seed, part in enumerate(parts, 1))

    slope = jax.jit(jax.grad(fn))
    numbers = np.array(case.numbers)
    for t in (0.05, 0.6):
        slopes = slope(list(numbers), t)
        for i, number in enumerate(numbers):
            step = 1e-5 * max(abs(number), 1e-2)
            up, down = (
                fn(list(numbers + s * step * (np.arange(len(numbers)) == i)), t) for s in (1, -1)
            )
            assert float(slopes[i]) == pytest.approx(
                float(up - down) / (2 * step), rel=1e-6, abs=1e-7
            )


@everybody
def test_float32_sweep(name):
    process = build(name)
    ts = times(process, 200).astype(np.float32)

    def fn(process, t):
        phi, chol = process.transition(t)
        return (phi, process.drift(t), process.diffusion(t)), chol, log_snr(process, t)

    exact = jax.jit(fn)(process, jnp.asarray(ts, jnp.float64))
    with jax.enable_x64(False):
        rough = jax.jit(fn)(jax.tree.map(np.float32, process), jnp.asarray(ts))
    for leaf in jax.tree.leaves(rough):
        assert leaf.dtype == jnp.float32
        assert bool(jnp.all(jnp.isfinite(leaf)))
    rough, exact = jax.tree.map(lambda leaf: np.asarray(leaf, float), (rough, exact))
    for ours, truth in zip(rough[0], exact[0], strict=True):
        ours, truth = matrices(ours), matrices(truth)
        size = np.maximum(np.abs(truth).max((-1, -2), keepdims=True), 1e-3)
        assert np.max(np.abs(ours - truth) / size) < 1e-4
    # Noise made by one factor must be unit noise to the other, however small it is.
    chol = [matrices(part) for part in (rough[1], exact[1])]
    assert np.max(np.abs(np.linalg.solve(*chol[::-1]) - np.eye(chol[0].shape[-1]))) < 1e-4
    assert np.max(np.abs(rough[2] - exact[2])) < 1e-4


@everybody
def test_times_must_be_ordered(name):
    bad = {"t_min": 0.5, "t_max": 0.5}
    wrong = {
        "monotone": lambda: scalar.monotone(np.zeros(2), **bad),
        "recipe": lambda: augmented.recipe(np.eye(2), np.zeros((2, 2)), np.ones(2), [1.0], **bad),
        "mdm": lambda: augmented.mdm(np.eye(2), np.zeros((2, 2)), **bad),
        "linear": lambda: augmented.linear(-np.eye(2), np.eye(2), [1.0], **bad),
    }.get(name.split("-")[0])
    name = name.split("-")[0]
    door = augmented if name in augmented.__all__ else scalar
    wrong = wrong or (lambda: getattr(door, name)(**bad))
    with pytest.raises(
        ValueError, match=rf"{name}: 0 <= t_min < t_max must hold; got t_min=0.5, t_max=0.5"
    ):
        wrong()
