"""Bounds of latent-variable models against probabilistic PCA, whose likelihood and posterior are
known, and against a small discrete model, summed out.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.losses import latent
from jaxgen.types import Distribution

# x = W z + b + noise, z [2] ~ N(0, I), noise variance 0.5, x [3] (Tipping and Bishop 1999).
W = np.array([[1.0, 0.3], [-0.5, 0.8], [0.2, -1.1]])
B, NOISE = np.array([0.3, -0.7, 0.1]), 0.5
X = np.array([1.2, -0.4, 0.9])
MANY = 4000


def normal_logpdf(x, mean, cov):
    return jax.scipy.stats.multivariate_normal.logpdf(x, mean, cov)


def evidence():
    return normal_logpdf(X, B, W @ W.T + NOISE * np.eye(3))


def loglikelihood(params, z, x0):
    gap = x0 - params["w"] @ z - jnp.asarray(B, z.dtype)
    return -jnp.sum(gap**2) / (2 * NOISE) - 1.5 * math.log(2 * math.pi * NOISE)


def logjoint(params, z, x0):
    return loglikelihood(params, z, x0) - jnp.sum(z**2) / 2 - math.log(2 * math.pi)


def apply(params, x0):
    return params["read"] @ (x0 - jnp.asarray(B, x0.dtype)), params["log_scale"]


ENCODER = latent.gaussian_encoder(apply)
DIVERGENCE = latent.gaussian_divergence(apply)


def rotated():
    """PCA whose posterior covariance is diagonal: W's columns turned to be orthogonal."""
    return W @ np.linalg.svd(W)[2].T


@functools.cache
def exact_params():
    """Where the diagonal encoder is the posterior."""
    w = rotated()
    cov = np.linalg.inv(np.eye(2) + w.T @ w / NOISE)
    read, log_scale = cov @ w.T / NOISE, np.log(np.diag(cov)) / 2
    return jax.tree.map(jnp.asarray, {"w": w, "read": read, "log_scale": log_scale})


@functools.cache
def poor_params(by=0.15):
    rng = np.random.default_rng(3)
    move = lambda leaf: leaf + by * rng.normal(size=leaf.shape)
    return jax.tree.map(move, exact_params())


def sampled(loss_fn, params, x0=X, many=MANY, key=0):
    keys = jax.random.split(jax.random.key(key), many)
    fn = jax.vmap(jax.value_and_grad(loss_fn), (None, 0, None))
    values, gradients = jax.jit(fn)(params, keys, jnp.asarray(x0))
    flat = [np.reshape(leaf, (many, -1)) for leaf in jax.tree.leaves(gradients)]
    return np.asarray(values), np.concatenate(flat, 1)


def in_errors(draws, exact, error_exact=0.0):
    error = np.std(draws, 0, ddof=1) / np.sqrt(len(draws))
    error = np.hypot(error, error_exact)
    return np.max(np.abs(np.mean(draws, 0) - exact) / np.maximum(error, 1e-12))


DOOR = {
    "elbo": lambda draws: latent.elbo(ENCODER, logjoint, draws=draws),
    "landing": lambda draws: latent.elbo(ENCODER, logjoint, draws=draws, landing=True),
    "iwae": lambda draws: latent.iwae(ENCODER, logjoint, draws=draws),
    "dreg": lambda draws: latent.dreg(ENCODER, logjoint, draws=draws),
    "vimco": lambda draws: latent.vimco(ENCODER, logjoint, draws=draws),
}


@pytest.mark.parametrize("name", DOOR)
def test_the_exact_posterior_gives_the_likelihood(name, same_key):
    """For every key; and at the posterior the pathwise gradients of the encoder vanish."""
    values, gradients = sampled(DOOR[name](2), exact_params(), many=50)
    np.testing.assert_allclose(values, -evidence(), rtol=0, atol=1e-10)
    encoder_part = gradients[:, :-6]  # log_scale and read come before w
    if name in {"landing", "dreg"}:
        np.testing.assert_allclose(encoder_part, 0, atol=1e-10)
    else:
        assert np.max(np.abs(encoder_part)) > 0.1


def exact_elbo(params):
    """In closed form: E log p(x | z) under q, minus KL(q || prior)."""
    mean, log_scale = apply(params, X)
    spread = jnp.sum((params["w"] * jnp.exp(log_scale)[None]) ** 2) / (2 * NOISE)
    divergence = jnp.sum(mean**2 + jnp.exp(2 * log_scale) - 1 - 2 * log_scale) / 2
    return loglikelihood(params, mean, X) - spread - divergence


@pytest.mark.parametrize(
    "options",
    [{}, {"landing": True}, {"divergence": DIVERGENCE}],
    ids=["sampled", "landing", "divergence"],
)
def test_the_elbo_and_its_gradient_are_unbiased(options):
    model = loglikelihood if "divergence" in options else logjoint
    values, gradients = sampled(latent.elbo(ENCODER, model, draws=2, **options), poor_params())
    value, gradient = jax.value_and_grad(exact_elbo)(poor_params())
    flat = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(gradient)])
    assert in_errors(-values[:, None], value) < 5
    assert in_errors(-gradients, flat) < 5


def test_one_draw_of_iwae_is_the_elbo(same_key):
    elbo, iwae, dreg, landing = (
        sampled(DOOR[name](1), poor_params(), many=20)
        for name in ("elbo", "iwae", "dreg", "landing")
    )
    np.testing.assert_allclose(iwae[0], elbo[0], rtol=1e-12)
    np.testing.assert_allclose(iwae[1], elbo[1], rtol=1e-9, atol=1e-12)
    # With one draw the doubly reparametrised gradient is the one that sticks the landing.
    np.testing.assert_allclose(dreg[1], landing[1], rtol=1e-9, atol=1e-12)


def test_iwae_rises_to_the_likelihood():
    params = poor_params(0.25)
    means, errors = [], []
    for draws in (1, 4, 64):
        values = sampled(DOOR["iwae"](draws), params, key=draws)[0]
        means.append(-np.mean(values))
        errors.append(np.std(values) / np.sqrt(MANY))
    w = np.asarray(params["w"])
    truth = normal_logpdf(X, B, w @ w.T + NOISE * np.eye(3))
    assert np.all(np.diff(means) > 5 * np.hypot(errors[1:], errors[:-1]))
    assert means[0] < truth - 0.2
    assert truth - 0.02 < means[-1] < truth + 5 * errors[-1]


def test_dreg_has_the_gradient_of_iwae_and_less_noise():
    value, rough = sampled(DOOR["iwae"](16), poor_params(), key=1)
    same, smooth = sampled(DOOR["dreg"](16), poor_params(), key=2)
    error = np.std(rough, 0) / np.sqrt(MANY)
    assert in_errors(smooth, np.mean(rough, 0), error) < 5
    assert in_errors(same[:, None], np.mean(value), np.std(value) / np.sqrt(MANY)) < 5
    encoder = slice(0, -6)
    assert np.all(np.std(smooth, 0)[encoder] < 0.7 * np.std(rough, 0)[encoder])


def test_dreg_counts_parameters_that_model_and_encoder_share():
    """One w serves both: the posterior mean is read off with its transpose."""
    tied = latent.gaussian_encoder(lambda p, x0: (0.4 * p["w"].T @ (x0 - B), p["log_scale"]))
    params = {name: poor_params()[name] for name in ("w", "log_scale")}
    rough = sampled(latent.iwae(tied, logjoint, draws=4), params, key=1)[1]
    smooth = sampled(latent.dreg(tied, logjoint, draws=4), params, key=2)[1]
    assert in_errors(smooth, np.mean(rough, 0), np.std(rough, 0) / np.sqrt(MANY)) < 5


# A discrete model: z in {0, 1, 2}, x a Gaussian around a centre of its own.
CENTRES = np.array([-1.0, 0.5, 2.0])


def discrete_encoder(params, x0):
    logits = jax.nn.log_softmax(params["slopes"] * x0 + params["offsets"])
    return Distribution(lambda key: jax.random.categorical(key, logits), lambda z: logits[z])


def discrete_joint(params, z, x0):
    centres = jnp.asarray(CENTRES)
    log_prior = jax.nn.log_softmax(params["prior"])
    return log_prior[z] - (x0 - centres[z] - params["shift"]) ** 2 / 2 - np.log(2 * np.pi) / 2


DISCRETE = {
    "offsets": jnp.array([0.1, -0.2, 0.3]),
    "prior": jnp.array([0.4, 0.0, -0.5]),
    "shift": jnp.array(0.2),
    "slopes": jnp.array([-0.3, 0.1, 0.5]),
}


def enumerated(params, x0, draws):
    """Minus the bound: the mean over all 3^draws sets of draws, summed out."""
    law = discrete_encoder(params, x0)
    zs = jnp.arange(3)
    log_q = jax.vmap(law.logdensity)(zs)
    log_w = jax.vmap(lambda z: discrete_joint(params, z, x0))(zs) - log_q
    sets = jnp.asarray(np.stack(np.meshgrid(*[np.arange(3)] * draws), -1).reshape(-1, draws))
    bounds = jax.nn.logsumexp(log_w[sets], 1) - np.log(draws)
    return -jnp.exp(jnp.sum(log_q[sets], 1)) @ bounds


@pytest.mark.parametrize("draws", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_vimco_has_the_enumerated_gradient(draws):
    loss_fn = latent.vimco(discrete_encoder, discrete_joint, draws=draws)
    values, gradients = sampled(loss_fn, DISCRETE, x0=1.3, many=20_000)
    value, gradient = jax.value_and_grad(enumerated)(DISCRETE, 1.3, draws)
    assert in_errors(values[:, None], value) < 5
    assert in_errors(gradients, np.concatenate([np.ravel(v) for v in gradient.values()])) < 5


def test_the_baseline_of_vimco_takes_noise_away():
    """Against the same gradient with the whole bound as credit."""

    def bare(params, key, x0):
        law = discrete_encoder(params, x0)
        zs = jax.vmap(law.sample)(jax.random.split(key, 4))
        log_q = jax.vmap(law.logdensity)(zs)
        log_w = jax.vmap(lambda z: discrete_joint(params, z, x0))(zs) - log_q
        bound = jax.nn.logsumexp(log_w) - np.log(4)
        return -bound - jax.lax.stop_gradient(bound) * jnp.sum(log_q)

    rough = sampled(bare, DISCRETE, x0=1.3)[1]
    smooth = sampled(latent.vimco(discrete_encoder, discrete_joint, draws=4), DISCRETE, x0=1.3)[1]
    offsets = slice(0, 3)
    assert np.all(np.std(smooth, 0)[offsets] < 0.4 * np.std(rough, 0)[offsets])


@pytest.mark.parametrize("name", DOOR)
def test_the_door_is_pure_and_keeps_float32(name, same_key):
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), poor_params())
    x0, key, loss_fn = jnp.asarray(X, jnp.float32), jax.random.key(0), DOOR[name](3)
    value, gradient = jax.jit(jax.value_and_grad(loss_fn))(params, key, x0)
    many = jax.jit(jax.vmap(loss_fn, (None, 0, None)))(params, jnp.stack([key, key]), x0)
    assert {leaf.dtype for leaf in jax.tree.leaves((value, gradient))} == {jnp.dtype("float32")}
    np.testing.assert_allclose(many, value, rtol=1e-5)
    if name == "elbo":
        np.testing.assert_allclose(loss_fn(params, key, x0, None), value, rtol=1e-5)


@pytest.mark.slow
def test_conditions_reach_encoder_and_model(same_key):
    encoder = lambda params, x0, shift: ENCODER(params, x0 - shift)
    model = lambda params, z, x0, shift: logjoint(params, z, x0 - shift)
    key, shift = jax.random.key(0), jnp.array([0.1, 0.2, 0.3])

    def pairs(params):
        for make in (latent.elbo, latent.iwae, latent.dreg, latent.vimco):
            moved = make(encoder, model, draws=2)(params, key, X + shift, shift=shift)
            yield moved, make(ENCODER, logjoint, draws=2)(params, key, jnp.asarray(X))

    for moved, plain in jax.jit(lambda params: list(pairs(params)))(poor_params()):
        np.testing.assert_allclose(moved, plain, rtol=1e-10)


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        (lambda: DOOR["elbo"](0), "elbo: draws must"),
        (lambda: DOOR["iwae"](0), "iwae: draws must"),
        (lambda: DOOR["dreg"](1.5), "dreg: draws must"),
        (lambda: DOOR["vimco"](1), "vimco: draws must be an integer, at least 2"),
        (lambda: latent.elbo(None, None, divergence=DIVERGENCE, landing=True), ".*landing needs"),
    ],
)
def test_wrong_options_are_refused(wrong, expected):
    with pytest.raises(ValueError, match=f"losses.latent.{expected}"):
        wrong()
