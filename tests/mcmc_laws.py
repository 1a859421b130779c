"""Kernels of the mcmc door, each on a law that it keeps.

The target itself for an adjusted kernel; for an unadjusted one on a Gaussian, the Gaussian that it
keeps instead, worked out from its linear step.
"""

import itertools
from collections.abc import Callable
from typing import NamedTuple

import blackjax
import jax
import jax.numpy as jnp
import numpy as np

from jaxgen import mcmc
from jaxgen.types import Distribution

MEAN = np.array([1.0, -2.0])
PRECISION = np.array([[2.0, 0.8], [0.8, 1.0]])
COV = np.linalg.inv(PRECISION)
DT = 0.2
EYE = np.eye(2)


def gaussian(x):
    away = x - jnp.asarray(MEAN, x.dtype)
    return -0.5 * away @ jnp.asarray(PRECISION, x.dtype) @ away


def stationary(forward, noise):
    """Covariance of x' = A x + B xi: the S with S = A S A^T + B B^T."""
    d = len(forward)
    total = np.eye(d * d) - np.kron(forward, forward)
    return np.linalg.solve(total, (noise @ noise.T).ravel()).reshape(d, d)


def langevin(metric=EYE, precision=PRECISION, shrink=1.0, noise_shrink=1.0):
    """(mean, covariance) kept by x' = shrink (x - dt M P (x - m)) + sqrt(2 dt) C xi."""
    factor = np.linalg.cholesky(metric)
    forward = shrink * (EYE - DT * metric @ precision)
    cov = stationary(forward, noise_shrink * np.sqrt(2 * DT) * factor)
    pull = shrink * DT * metric @ PRECISION @ MEAN
    return np.linalg.solve(EYE - forward, pull), cov


class Case(NamedTuple):
    """A kernel on a law that it keeps."""

    build: Callable  # dtype -> SamplingAlgorithm
    draw: Callable  # (NumPy generator, n) -> positions, leading axis n
    check: Callable  # positions -> None, asserts the law
    trees: bool = False  # crosses a tree {"a": x}: claimed by the kernel
    start: Callable | None = None  # (algorithm, position, generator keys) -> state
    finite: bool = False  # on states that can be counted


def moments(mean, cov):
    """Asserts mean and second moments within 5 standard errors."""

    def check(x):
        x = np.asarray(x).reshape(len(x), -1)
        away = x - mean
        products = away[:, :, None] * away[:, None, :]
        for values, truth in ((away, 0 * mean), (products.reshape(len(x), -1), cov.ravel())):
            error = values.std(0) / np.sqrt(len(x))
            assert np.all(np.abs(values.mean(0) - truth) < 5 * error), (values.mean(0), truth)

    return check


def normal(build, mean=MEAN, cov=COV, trees=True):
    draw = lambda rng, n: rng.multivariate_normal(mean, cov, n)
    return Case(build, draw, moments(mean, cov), trees)


def tree_logdensity(x):
    return gaussian(x["a"]) if isinstance(x, dict) else gaussian(x)


def as_tree(x, like):
    return {"a": like} if isinstance(x, dict) else like


FACTOR = np.array([[0.8, 0.0], [0.5, 1.1]])
SMOOTHING = 0.5
MYULA = np.linalg.inv(PRECISION + EYE / (1 + SMOOTHING))

# A law on 3 sites of 3 values, whose log-density is a polynomial without symmetry.
VALUES = (0, 1, 2)
ALL = np.array(list(itertools.product(VALUES, repeat=3)))


def polynomial(x):
    h = jnp.asarray([0.3, -0.5, 0.2], x.dtype)
    return x @ h + 0.4 * x[0] * x[1] - 0.3 * x[1] * x[2] + 0.1 * x[0] * x[1] * x[2]


def affine(x):  # one-hot [3, 3], affine in every site with the others fixed
    table = jnp.asarray([[0.0, 0.4, -0.3], [0.2, 0.0, 0.5], [-0.6, 0.3, 0.1]], x.dtype)
    return jnp.sum(table * x) + jnp.sum(x[0] * x[1] * table[2]) + x[1] @ table @ x[2]


def frequencies(logdensity_fn, states, build, coded=lambda x: x):
    """A case on finite states [s, *event], checked by chi square."""
    logits = np.array([logdensity_fn(jnp.asarray(x, float)) for x in states])
    probs = np.exp(logits - logits.max())
    probs = probs / probs.sum()
    draw = lambda rng, n: states[rng.choice(len(states), n, p=probs)]
    keys = {np.asarray(x).tobytes(): i for i, x in enumerate(states)}

    def check(x):
        x = np.asarray(x, states.dtype)
        counts = np.bincount([keys[one.tobytes()] for one in x], minlength=len(states))
        expected = len(x) * probs
        chi2 = np.sum((counts - expected) ** 2 / expected)
        df = len(states) - 1
        assert abs(chi2 - df) < 5 * np.sqrt(2 * df), (chi2, df)

    return Case(build, draw, check, finite=True)


HOT = np.eye(3)[ALL]
PAIRS = np.array([[0, 1], [1, 2]])


# Sequences of tokens 0, 1, 2 with end 0 and at most 3 tokens.
SEQUENCES = np.array([x for x in ALL if all(x[i + 1 :].sum() == 0 for i in range(3) if x[i] == 0)])


def quality(x):
    return 0.7 * jnp.sum(jnp.sin(1.0 + 2.0 * x) * jnp.arange(1.0, 4.0)).astype(float)


def next_logits(x, i):
    before = jnp.where(i > 0, x[jnp.maximum(i - 1, 0)], 3)
    return jnp.sin(jnp.arange(3.0) * 2.0 + 1.3 * before + i).astype(float)


def wide(x):
    """A Gaussian on the dict {"a": [], "b": [2]}."""
    a, b = x["a"], x["b"]
    return -0.5 * (a - 1) ** 2 - 0.5 * jnp.sum((b - a) ** 2)


def draw_wide(rng, n):
    a = 1 + rng.randn(n)
    return {"a": a, "b": a[:, None] + rng.randn(n, 2)}


def check_wide(x):
    flat = np.concatenate([np.asarray(x["a"])[:, None], np.asarray(x["b"])], 1)
    cov = np.array([[1, 1, 1], [1, 2, 1], [1, 1, 2.0]])
    moments(np.ones(3), cov)(flat)


def normal_law(mean, scale, shape, dtype):
    def sample(key):
        return mean + scale * jax.random.normal(key, shape, dtype)

    return Distribution(sample, lambda x: -0.5 * jnp.sum(((x - mean) / scale) ** 2))


def laws(dtype):
    return {
        "a": lambda rest: normal_law(jnp.mean(rest["b"]) * 0.7, 1.0, (), dtype),
        "b": lambda rest: normal_law(rest["a"] + 0.2, 1.2, (2,), dtype),
    }


def steps_of(dtype):
    return {
        "a": lambda f, rest: blackjax.rmh(f, lambda k, x: x + jax.random.normal(k, (), x.dtype)),
        "b": lambda f, rest: mcmc.independent(f, normal_law(rest["a"], 1.5, (2,), dtype)),
    }


def tempered(dtype):
    walk = lambda f, b: blackjax.rmh(f, lambda k, x: jax.tree.map(_walk(k), x))
    return mcmc.parallel_tempering(tree_logdensity, walk, (0.3, 0.6, 1.0))


def _walk(key):
    return lambda x: x + jax.random.normal(key, x.shape, x.dtype)


def start_tempered(algorithm, x, noise):
    """Replicas from their own laws: the target's covariance over the exponent."""
    spread = jnp.asarray(np.linalg.cholesky(COV), noise.dtype)
    mean = jnp.asarray(MEAN, noise.dtype)
    hot = [mean + spread @ noise[i] / float(np.sqrt(b)) for i, b in enumerate((0.3, 0.6))]
    return algorithm.init(None, replicas=jnp.stack([*hot, x]))


def level(x, exponent):
    return exponent.astype(jax.tree.leaves(x)[0].dtype) * tree_logdensity(x)


def proposal(dtype):
    def sample(key):
        return jnp.asarray([0.8, -1.5], dtype) + jnp.sqrt(jnp.asarray(2.0, dtype)) * (
            jax.random.normal(key, (2,), dtype)
        )

    return Distribution(
        sample, lambda x: -0.25 * jnp.sum((x - jnp.asarray([0.8, -1.5], x.dtype)) ** 2)
    )


def positive(x):
    """Two Gamma laws: shapes 4 and 2.5, rates 2 and 1."""
    shape, rate = (jnp.asarray(a, x.dtype) for a in ([4.0, 2.5], [2.0, 1.0]))
    return jnp.sum((shape - 1) * jnp.log(x) - rate * x)


def gammas(mirror):
    draw = lambda rng, n: rng.gamma([4.0, 2.5], [0.5, 1.0], (n, 2))
    build = lambda dtype: mcmc.mirror_langevin(positive, 0.15, mirror=mirror)
    return Case(build, draw, moments(np.array([2.0, 2.5]), np.diag([1.0, 2.5])))


ALPHA = np.array([3.0, 1.5, 4.0])
SHARE = ALPHA / ALPHA.sum()


def dirichlet(x):
    return jnp.sum((jnp.asarray(ALPHA, x.dtype) - 1) * jnp.log(x))


FRICTION = 1.5


def sghmc_law():
    """(mean [4], covariance [4, 4]) of position and velocity: x' = x + dt v, and
    v' = (1 - friction dt) v - dt P (x - m) + sqrt(2 friction dt) noise.
    """
    forward = np.block([[EYE, DT * EYE], [-DT * PRECISION, (1 - FRICTION * DT) * EYE]])
    noise = np.sqrt(2 * FRICTION * DT) * np.vstack([0 * EYE, EYE])
    return np.concatenate([MEAN, [0, 0]]), stationary(forward, noise)


def rest_given_position(mean, cov, x, noise):
    """The two numbers besides the position x [2], drawn from their law given it."""
    part = lambda a: jnp.asarray(a, noise.dtype)
    onto = cov[2:, :2] @ np.linalg.inv(cov[:2, :2])
    factor = np.linalg.cholesky(cov[2:, 2:] - onto @ cov[:2, 2:])
    return part(mean[2:]) + part(onto) @ (x - part(mean[:2])) + part(factor) @ noise[0]


SGHMC_MEAN, SGHMC_COV = sghmc_law()


def start_moving(algorithm, x, noise):
    velocity = rest_given_position(SGHMC_MEAN, SGHMC_COV, x, noise)
    return algorithm.init(x)._replace(velocity=velocity)


OPERATOR, DUAL_STEP = np.array([[1.0, -0.5], [0.0, 0.8]]), 2.0


def primal_dual_law():
    """(mean [4], covariance [4, 4]) of position and dual, the penalty being |K x|^2 / 2."""
    k = OPERATOR
    x = np.hstack([EYE - DT * PRECISION, -DT * k.T])  # x' = x [x; u] + pull + sqrt(2 dt) noise
    u = np.hstack([np.zeros((2, 2)), EYE]) + DUAL_STEP * k @ (2 * x - np.hstack([EYE, 0 * EYE]))
    forward = np.vstack([x, u / (1 + DUAL_STEP)])
    both = np.vstack([EYE, 2 * DUAL_STEP * k / (1 + DUAL_STEP)])
    pull = both @ (DT * PRECISION @ MEAN)
    return np.linalg.solve(np.eye(4) - forward, pull), stationary(forward, np.sqrt(2 * DT) * both)


JOINT_MEAN, JOINT_COV = primal_dual_law()


def start_dual(algorithm, x, noise):
    flat = x["a"] if isinstance(x, dict) else x
    dual = rest_given_position(JOINT_MEAN, JOINT_COV, flat, noise)
    return algorithm.init(x)._replace(dual=as_tree(x, dual))


def operate(x):
    return jax.tree.map(lambda a: jnp.asarray(OPERATOR, a.dtype) @ a, x)


f = tree_logdensity
prox = mcmc.prox.quadratic()
shrink = 1 / (1 + DT)
pulled = MYULA @ PRECISION @ MEAN
DOOR: dict[str, Case] = {
    "ula": normal(lambda dtype: mcmc.ula(f, DT), *langevin()),
    "preconditioned": normal(
        lambda dtype: mcmc.preconditioned(f, DT, FACTOR), *langevin(FACTOR @ FACTOR.T), trees=False
    ),
    "annealed": normal(
        lambda dtype: mcmc.annealed(level, (1.0, 1.0), DT, steps=10), *langevin(), trees=True
    ),
    "underdamped": normal(lambda dtype: mcmc.underdamped(f, 0.5, friction=1.5)),
    "myula": normal(
        lambda dtype: mcmc.myula(f, prox, DT, smoothing=SMOOTHING),
        pulled,
        langevin(precision=np.linalg.inv(MYULA))[1],
    ),
    "proximal_gradient": normal(
        lambda dtype: mcmc.proximal_gradient(f, prox, DT),
        *langevin(shrink=shrink, noise_shrink=shrink),
    ),
    "proximal_gradient, noise after": normal(
        lambda dtype: mcmc.proximal_gradient(f, prox, DT, noise="after"), *langevin(shrink=shrink)
    ),
    "primal_dual": normal(
        lambda dtype: mcmc.primal_dual(f, prox, DT, dual_step=DUAL_STEP, operator=operate),
        JOINT_MEAN[:2],
        JOINT_COV[:2, :2],
    )._replace(start=start_dual),
    "mirror_langevin": gammas("entropy"),
    "mirror_langevin, burg": gammas("burg"),
    "mirror_langevin, simplex": Case(
        lambda dtype: mcmc.mirror_langevin(dirichlet, 0.1, mirror="simplex"),
        lambda rng, n: rng.dirichlet(ALPHA, n),
        moments(SHARE, (np.diag(SHARE) - np.outer(SHARE, SHARE)) / (ALPHA.sum() + 1)),
    ),
    "structured": normal(
        lambda dtype: mcmc.structured(f, DT, np.zeros(2, int), buffer_size=4),
        *langevin(),
        trees=False,
    ),
    "structured, friction": normal(
        lambda dtype: mcmc.structured(f, DT, np.zeros(2, int), buffer_size=4, friction=FRICTION),
        SGHMC_MEAN[:2],
        SGHMC_COV[:2, :2],
        trees=False,
    )._replace(start=start_moving),
    "parallel_tempering": normal(tempered, trees=True)._replace(start=start_tempered),
    "independent": normal(lambda dtype: mcmc.independent(gaussian, proposal(dtype)), trees=False),
    "within_gibbs": Case(
        lambda dtype: mcmc.within_gibbs(wide, steps_of(dtype)), draw_wide, check_wide
    ),
    "block_proposals": Case(
        lambda dtype: mcmc.block_proposals(wide, laws(dtype), scan="random"), draw_wide, check_wide
    ),
    "gibbs_with_gradients": frequencies(
        polynomial, ALL, lambda dtype: mcmc.gibbs_with_gradients(polynomial, VALUES)
    ),
    "discrete_langevin": frequencies(
        affine, HOT, lambda dtype: mcmc.discrete_langevin(affine, "one_hot", 0.6)
    ),
    "block_gibbs": frequencies(
        polynomial, ALL, lambda dtype: mcmc.block_gibbs(polynomial, VALUES, blocks=PAIRS)
    ),
    "coloured_gibbs": frequencies(
        affine, HOT, lambda dtype: mcmc.coloured_gibbs(affine, "one_hot", [0, 1, 2])
    ),
    "suffix_regeneration": frequencies(
        quality,
        SEQUENCES,
        lambda dtype: mcmc.suffix_regeneration(quality, next_logits, end=0),
    ),
}
