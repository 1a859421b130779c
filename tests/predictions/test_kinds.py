"""Every row against its paper, and every reading back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgen as jg
from jaxgen import predictions
from jaxgen.processes import noise_shape

scalar = jg.processes.scalar
PROCESSES = {
    "vp": scalar.vp(),
    "edm": scalar.edm(),
    "linear_flow": scalar.linear_flow(),
    "cosine": scalar.cosine(),
    "cld": jg.processes.augmented.cld(),
}
KINDS = {
    "x0": "x0",
    "eps": "eps",
    "score": "score",
    "v": "v",
    "velocity": "velocity",
    "edm": predictions.edm(0.7),
}
PAIRS = [(p, k) for p in PROCESSES for k in KINDS if (p, k) != ("cld", "velocity")]
X0, T = np.array([0.7, -1.4]), 0.35


def noise(process):
    return np.random.default_rng(1).normal(size=noise_shape(process, (2,)))


def ends(process):
    lo, hi = float(process.t_min), float(process.t_max)
    return [lo, lo + 0.01 * (hi - lo), (lo + hi) / 2, hi - 0.01 * (hi - lo), hi]


def papers(name, kind, eps):
    """What the paper says that a perfect network outputs at time T."""
    alpha, sigma = PROCESSES[name].transition(np.asarray(T))
    x = alpha * X0 + sigma * eps
    if kind == "v":  # Salimans and Ho, appendix D, for x scaled to alpha^2 + sigma^2 = 1
        norm = np.hypot(alpha, sigma)
        return alpha / norm * eps - sigma / norm * X0
    if kind == "edm":  # Karras et al., table 1, at noise level sigma / alpha
        level, data = sigma / alpha, 0.7
        skip = data**2 / (level**2 + data**2)
        return (X0 - skip * x / alpha) * np.sqrt(level**2 + data**2) / (level * data)
    if kind == "velocity":  # Lipman et al., equation 23: d/dt of the interpolant
        beta, scaled = 0.1 + 19.9 * T, np.pi / 2 / 1.008
        slopes = {
            "vp": (-beta / 2 * alpha, beta / 2 * alpha**2 / sigma),
            "edm": (0.0, 1.0),
            "linear_flow": (-1.0, 1.0),
            "cosine": (
                -scaled * np.tan(scaled * (T + 0.008)) * alpha,
                scaled * np.tan(scaled * (T + 0.008)) * alpha**2 / sigma,
            ),
        }[name]
        return slopes[0] * X0 + slopes[1] * eps
    return {"x0": X0, "eps": eps, "score": -(x - alpha * X0) / sigma**2}[kind]


@pytest.mark.parametrize(("name", "kind"), [pair for pair in PAIRS if pair[0] != "cld"])
def test_targets_are_the_papers(name, kind):
    eps = noise(PROCESSES[name])
    found = predictions.target(PROCESSES[name], KINDS[kind], jnp.asarray(X0), jnp.asarray(eps), T)
    np.testing.assert_allclose(found, papers(name, kind, eps), rtol=1e-11)


def test_targets_of_blocks():
    process, eps = PROCESSES["cld"], noise(PROCESSES["cld"])
    target = lambda kind: predictions.target(process, kind, jnp.asarray(X0), jnp.asarray(eps), T)
    phi, chol = process.transition(np.asarray(T))
    z, sigma = np.outer(phi[:, 0], X0) + chol @ eps, chol @ chol.T
    # Dockhorn et al., equation 9 and appendix B.3: eps of the velocity, its score -l_t eps.
    np.testing.assert_allclose(target("eps"), eps[1], rtol=1e-14)
    score = -np.linalg.solve(sigma, z - np.outer(phi[:, 0], X0))
    np.testing.assert_allclose(target("score"), score[1], rtol=1e-11)
    # The channel: u = Phi_0' Sigma^-1 z / gamma = x0 + xi / sqrt(gamma).
    gamma = phi[:, 0] @ np.linalg.solve(sigma, phi[:, 0])
    u = phi[:, 0] @ np.linalg.solve(sigma, z) / gamma
    xi = (u - X0) * np.sqrt(gamma)
    v = (np.sqrt(gamma) * xi - X0) / np.sqrt(1 + gamma)
    np.testing.assert_allclose(target("v"), v, rtol=1e-11)
    level, data = 1 / np.sqrt(gamma), 0.7
    skip = data**2 / (level**2 + data**2)
    edm = (X0 - skip * u) * np.sqrt(level**2 + data**2) / (level * data)
    np.testing.assert_allclose(target(KINDS["edm"]), edm, rtol=1e-11)


def round_trip(process, kind, dtype):
    """Errors of x0 read back, in units of what rounding its two terms may do."""
    row = predictions.row_of(kind)

    @jax.jit
    def fn(eps, t):
        x0 = jnp.asarray(X0, dtype)
        z, prediction = (
            jg.corrupt(process, x0, eps, t),
            predictions.target(process, kind, x0, eps, t),
        )
        found = jg.as_denoiser(process, lambda z, t: prediction, kind=kind)(z, t)
        from_z, from_prediction = predictions.reading(process, row, t)
        size = jnp.sum(jnp.abs(from_z)) * jnp.max(jnp.abs(z))
        size += jnp.abs(from_prediction) * jnp.max(jnp.abs(prediction))
        return jnp.max(jnp.abs(found - x0)), size

    eps = jnp.asarray(noise(process), dtype)
    errors, sizes = zip(*(fn(eps, jnp.asarray(t, dtype)) for t in ends(process)), strict=True)
    return np.array(errors, float), np.array(sizes, float)


@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_round_trip(name, kind):
    process, kind = PROCESSES[name], KINDS[kind]
    errors, sizes = round_trip(process, kind, np.float64)
    assert (errors < 1e-10).all()
    with jax.enable_x64(False):
        errors, sizes = round_trip(process, kind, np.float32)
    # Rows are made of alpha and sigma, good to some eps / (1 - t) where alpha falls to 0.
    assert np.isfinite(errors).all()
    assert (errors < 1e-4 * np.maximum(sizes, 1)).all()


@pytest.mark.parametrize("name", ["vp", "cld"])
def test_trees_and_traced_times(name):
    process = PROCESSES[name]
    x0 = {"a": jnp.asarray(X0), "b": jnp.ones((2, 3))}
    eps = jax.tree.map(lambda leaf: jnp.ones(noise_shape(process, leaf.shape)) / 3, x0)

    @jax.jit
    def fn(t):
        z = jg.corrupt(process, x0, eps, t)
        predict = lambda z, t: predictions.target(process, "v", x0, eps, t)
        return jg.as_denoiser(process, predict, kind="v")(z, t)

    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-13), fn(0.4), x0)


def test_state_keeps_its_dtype():
    for process in (PROCESSES["vp"], PROCESSES["cld"]):
        z = jnp.ones(noise_shape(process, (2,)), jnp.bfloat16)
        for fn in (
            jg.as_denoiser(process, lambda z, t: jnp.ones(2, z.dtype), kind="eps"),
            jg.as_score(process, lambda z, t: jnp.ones(2, z.dtype), kind="v"),
            jg.as_field(process, lambda z, t: jnp.ones(2, z.dtype)),
        ):
            assert fn(z, 0.3).dtype == jnp.bfloat16


def test_wrong_kinds_are_refused():
    with pytest.raises(
        ValueError, match="kind must be one of x0, eps, score, v, velocity or a row; got 'epsilon'"
    ):
        jg.as_denoiser(PROCESSES["vp"], None, kind="epsilon")
    with pytest.raises(ValueError, match="kind must be one of"):
        predictions.target(PROCESSES["vp"], "w", X0, X0, 0.3)
    with pytest.raises(ValueError, match="kind 'velocity' needs a scalar process; got blocks"):
        predictions.target(PROCESSES["cld"], "velocity", X0, noise(PROCESSES["cld"]), 0.3)
    for wrong in (0.0, -1, "a"):
        with pytest.raises(
            ValueError, match="predictions.edm: sigma_data must be a positive number; got"
        ):
            predictions.edm(wrong)
