"""Processes with blocks: closed forms against Van Loan, recipe, critical damping, one channel."""

import jax
import jax.numpy as jnp
import numpy as np
import problems
import pytest
import scipy.linalg

import jaxgen as jg
from jaxgen import densities
from jaxgen.processes import augmented, num_blocks, scalar

TS = np.geomspace(0.03, 1.0, 6)
PROCESSES = {
    "cld": augmented.cld(),
    "psld": augmented.psld(),
    **{f"hold-{n}": augmented.hold(n) for n in (2, 3, 4, 5)},
    "vp": augmented.linear([[-0.5]], [[1.0]], beta_min=0.1, beta_max=20.0),
    "mdm": augmented.mdm(
        [[0.1, 0.0, 0.0], [0.2, 0.3, 0.0], [0.5, -0.2, 1.2]],
        [[0.0, -1.0, 0.3], [0.2, 0.0, -1.4], [0.0, 0.4, 0.0]],
        beta_min=3.0,
    ),
}


def van_loan(drift, noise, start, length, pieces=64):
    """exp(A s) and Sigma by the exponential of one block matrix over a piece, piece by piece."""
    c = len(drift)
    block = np.block([[-drift, noise @ noise.T], [np.zeros((c, c)), drift.T]])
    whole = scipy.linalg.expm(block * length / pieces)
    hop = whole[c:, c:].T
    added = hop @ whole[:c, c:]
    phi, sigma = np.eye(c), start
    for _ in range(pieces):
        phi, sigma = hop @ phi, hop @ sigma @ hop.T + added
    return phi, sigma


@pytest.mark.parametrize("name", list(PROCESSES))
def test_kernels_are_van_loans(name):
    """Phi and Sigma to 1e-12; the clock of `vp` is the integral of its rate."""
    process = PROCESSES[name]
    matrix, noise = (np.asarray(f(np.float64(0.5))) for f in (process.drift, process.diffusion))
    rate = 0.1 + 19.9 * 0.5 if name == "vp" else 1.0
    variance = {"cld": 0.01, "psld": 0.04 * 0.25, "mdm": 1.0}.get(name, 0.04)
    start = np.diag([0.0] + [variance] * (len(matrix) - 1))
    for t in TS:
        length = (0.1 * t + 19.9 * t**2 / 2) / rate if name == "vp" else t
        phi, sigma = van_loan(matrix, noise, start, length)
        ours, chol = process.transition(t)
        np.testing.assert_allclose(ours, phi, rtol=0, atol=1e-12)
        np.testing.assert_allclose(chol @ chol.T, sigma, rtol=0, atol=1e-12)


def same(ours, theirs, tolerance=1e-10):
    for left, right in zip(ours.transition(TS), theirs.transition(TS), strict=True):
        np.testing.assert_allclose(left, right, rtol=0, atol=tolerance)
    for t in TS[:2]:
        np.testing.assert_allclose(ours.drift(t), theirs.drift(t), rtol=0, atol=1e-12)


def test_order_two_is_critically_damped_langevin():
    """v -> v / sqrt(M), gamma_1 = beta / sqrt(M), so hold's beta is cld's over sqrt(M)."""
    mass, change = 0.25, np.diag([1.0, 2.0])
    cld, hold = augmented.cld(4.0, mass, 0.04), augmented.hold(2, 4.0 / np.sqrt(mass))
    for t in TS:
        (phi, chol), (phi_2, chol_2) = cld.transition(t), hold.transition(t)
        np.testing.assert_allclose(change @ phi @ np.linalg.inv(change), phi_2, atol=1e-10)
        np.testing.assert_allclose(change @ chol, chol_2, atol=1e-10)
        np.testing.assert_allclose(change @ cld.diffusion(t), hold.diffusion(t), atol=1e-10)


def test_no_noise_on_the_data_is_critically_damped_langevin():
    same(augmented.psld(0.0, 4.0, 8.0), augmented.cld(4.0, 0.25))


def test_noise_on_the_data_alone():
    """nu = 0 would leave the velocity without friction; the smallest legal nu exceeds gamma."""
    with pytest.raises(ValueError, match="psld: 0 <= gamma < nu must hold; got gamma=4.0, nu=4.0"):
        augmented.psld(4.0, 4.0)


def test_the_recipe_makes_the_named_ones():
    """cld, psld and hold from damping, curl and precision alone."""
    gamma, nu, mass = 0.01, 4.01, 0.25
    turn = np.array([[0.0, -1.0], [1.0, 0.0]])
    made = augmented.recipe(
        np.diag([gamma, mass * nu]) / 2, turn / 2, [1, 1 / mass], [0.04 * mass], beta_min=8.0
    )
    same(made, augmented.psld())
    made = augmented.recipe(
        np.diag([0.0, 2 * np.sqrt(mass)]), turn, [1, 1 / mass], [0.04 * mass], beta_min=4.0
    )
    same(made, augmented.cld())
    for order in (3, 4):
        drift = np.asarray(augmented.hold(order, 1.0).drift(np.float64(0.5)))
        damping = -(drift + drift.T) / 2
        made = augmented.recipe(
            damping,
            damping - (drift + 2 * damping),
            np.ones(order),
            [0.04] * (order - 1),
            beta_min=6.0,
        )
        same(made, augmented.hold(order), 1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_every_learnable_process_keeps_its_stationary_law(seed):
    """A Sigma + Sigma A^T + C C^T = 0 at Sigma = 1 / precision, whatever root and curl are."""
    root, curl = np.random.default_rng(seed).normal(size=(2, 4, 4))
    precision = np.array([1.0, 2.0, 0.5, 3.0])
    process = augmented.mdm(root, curl, precision)
    drift, noise = (np.asarray(f(np.float64(0.5))) for f in (process.drift, process.diffusion))
    flow = drift @ np.diag(1 / precision)
    np.testing.assert_allclose(flow + flow.T + noise @ noise.T, 0, atol=1e-12)


@pytest.mark.parametrize("order", range(2, 9))
def test_critical_damping(order):
    """The characteristic polynomial is (s + a)^n: the eigenvalue itself is defective."""
    drift = np.asarray(augmented.hold(order, 1.0).drift(np.float64(0.5)))
    rate = -np.trace(drift) / order
    ours, exact = np.poly(drift), np.poly1d([1.0])
    minors = [characteristic(drift, k) for k in range(order + 1)]
    for _ in range(order):
        exact *= np.poly1d([1.0, rate])
    np.testing.assert_allclose(minors, exact.coef, rtol=1e-12)
    assert len(ours) == order + 1


def characteristic(matrix, k):
    """The coefficient of s^(n - k) by Faddeev and LeVerrier: traces of products, no roots."""
    n, m, found = len(matrix), np.eye(len(matrix)), 1.0
    for j in range(1, k + 1):
        product = matrix @ m
        found = -np.trace(product) / j
        m = product + found * np.eye(n)
    return found


QUICK = {"psld", "hold-3"}


@pytest.mark.parametrize(
    "name",
    [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in PROCESSES],
)
def test_one_denoiser_serves_all(name):
    """E[x0 | z] under blocks is the scalar one at the same signal-to-noise ratio, to 1e-9."""
    process, law = PROCESSES[name], problems.mixture_a()
    edm = scalar.edm(t_min=1e-12, t_max=1e6)

    @jax.jit
    @jax.vmap
    def both(z, t):
        part = jg.processes.channel_at(process, t)
        heard = part.read @ z / part.gain
        ours = densities.denoiser(law, process)(z, t)
        return ours, densities.denoiser(law, edm)(heard, 1 / part.gain)

    zs = np.random.default_rng(0).normal(size=(6, num_blocks(process), 2))
    ours, scalars = both(zs, jnp.geomspace(0.1, 0.9, 6))
    np.testing.assert_allclose(ours, scalars, rtol=0, atol=1e-9)


ERRORS = {
    r"linear: matrix \[c, c\], impulse \[c, m\], start \[c - 1\] with c at most 14 must fit; "
    r"got shapes \(2, 2\), \(2, 1\), \(2,\)": lambda: augmented.linear(
        -np.eye(2), np.ones((2, 1)), [1.0, 1.0]
    ),
    r"linear: start must be positive; got \[0.0\]": lambda: augmented.linear(
        -np.eye(2), np.eye(2), [0.0]
    ),
    "linear: beta_min must be positive; got -1.0": lambda: augmented.linear(
        -np.eye(2), np.eye(2), [1.0], beta_min=-1.0
    ),
    "recipe: damping must be symmetric and positive semidefinite": lambda: augmented.recipe(
        [[1.0, 0.5], [0.0, 1.0]], np.zeros((2, 2)), [1.0, 1.0], [1.0]
    ),
    "recipe: curl must be skew": lambda: augmented.recipe(np.eye(2), np.eye(2), [1.0, 1.0], [1.0]),
    "recipe: precision must be positive": lambda: augmented.recipe(
        np.eye(2), np.zeros((2, 2)), [1.0, 0.0], [1.0]
    ),
    r"mdm: root \[c, m\], curl \[c, c\], precision \[c\] must fit": lambda: augmented.mdm(
        np.eye(2), np.zeros((3, 3))
    ),
    "hold: order must be an integer from 2 to 8; got 1": lambda: augmented.hold(1),
}


@pytest.mark.parametrize("match", list(ERRORS))
def test_errors(match):
    with pytest.raises(ValueError, match=match):
        ERRORS[match]()


def test_noise_that_never_reaches_the_data():
    """Without a path from the noise to the data the signal-to-noise ratio does not fall."""
    with pytest.raises(ValueError, match="must fall strictly"):
        augmented.linear([[0.0, 0.0], [0.0, -1.0]], [[0.0], [1.0]], [1.0])
