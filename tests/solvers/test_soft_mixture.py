"""Reverse steps that are mixtures: exact for Gaussian mixtures, at any number of steps."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import jaxgen as jg
from jaxgen.processes import augmented, scalar
from jaxgen.solvers import sde

WEIGHTS, MEANS, VARIANCES = np.array([0.35, 0.65]), np.array([-1.5, 1.0]), np.array([0.04, 0.09])
MIXTURE = jg.densities.gaussian_mixture(WEIGHTS, MEANS[:, None], VARIANCES)
PROCESS = scalar.vp()
TS = jg.grids.log_snr(PROCESS, 5)
COMPONENTS = jg.densities.posterior_components(MIXTURE, PROCESS)


def one_gaussian(z, t):
    """The best single Gaussian of x0 given z: that of the same moments."""
    logits, means, roots = COMPONENTS(z, t)
    shares = jnp.exp(logits)
    mean = shares @ means
    variance = shares @ (roots[:, :, 0] ** 2 + means**2) - mean**2
    return jnp.zeros(1), mean[None], jnp.sqrt(variance)[None]


def schedule(t):
    integral = 0.1 * t + 19.9 * t**2 / 2
    return np.exp(-integral / 2), np.sqrt(-np.expm1(-integral))


def log_marginal(x, t):
    alpha, sigma = schedule(t)
    deviations = np.sqrt(alpha**2 * VARIANCES + sigma**2)
    logs = scipy.stats.norm.logpdf(x[..., None], alpha * MEANS, deviations)
    return scipy.special.logsumexp(np.log(WEIGHTS) + logs, axis=-1)


def kernel(rows, i, components, z):
    """log density on xs of the step's mixture: N(P z + C m_k, N^2 + C^2 v_k)."""
    logits, means, roots = components(jnp.asarray([z]), TS[i])
    mean = rows.propagate[i] * z + rows.weights[i, 0] * np.asarray(means)[:, 0]
    roots = np.asarray(roots).reshape(len(mean))
    deviation = np.sqrt(rows.noise[i] ** 2 + (rows.weights[i, 0] * roots) ** 2)
    shares = np.asarray(jax.nn.log_softmax(logits))
    return lambda xs: scipy.special.logsumexp(
        shares + scipy.stats.norm.logpdf(xs[:, None], mean, deviation), axis=1
    )


def test_the_step_is_the_exact_posterior_where_one_gaussian_is_not():
    rows = sde.ancestral(PROCESS, None).plan(TS)
    xs = np.linspace(-6, 6, 6001)
    many, one = (jax.jit(components) for components in (COMPONENTS, one_gaussian))
    divergence = {"mixture": 0.0, "one": 0.0}
    for i, (t, s) in enumerate(zip(TS[:-1], TS[1:], strict=True)):
        (alpha, sigma), (alpha_s, sigma_s) = schedule(t), schedule(s)
        ratio = alpha / alpha_s
        for z in np.linspace(-1.8, 1.8, 7):
            forward = scipy.stats.norm.logpdf(
                z, ratio * xs, np.sqrt(sigma**2 - ratio**2 * sigma_s**2)
            )
            exact = log_marginal(xs, s) + forward - log_marginal(np.array(z), t)
            share = np.exp(log_marginal(np.array(z), t)) / 5
            assert np.trapezoid(np.exp(exact), xs) == pytest.approx(1, abs=1e-6)
            for name, components in (("mixture", many), ("one", one)):
                gap = exact - kernel(rows, i, components, z)(xs)
                divergence[name] += share * np.trapezoid(np.exp(exact) * gap, xs)
    assert abs(divergence["mixture"]) < 1e-9
    assert divergence["one"] > 0.05  # nats; the published claim is a factor of 5


@functools.cache
def distance(name):
    """W1 of 5-step samples to the law at t_min, by 4,000 quantiles."""
    n = 20_000
    if name == "ddpm":
        solver = sde.ancestral(PROCESS, jg.densities.denoiser(MIXTURE, PROCESS))
    else:
        components = {"mixture": COMPONENTS, "one": one_gaussian}[name]
        denoiser, latent = sde.gaussian_components(components)
        solver = sde.soft_mixture(PROCESS, denoiser, latent=latent)
    start = jg.densities.marginal(MIXTURE, PROCESS, TS[0])

    def draw(key):
        key_start, key_solve = jax.random.split(key)
        return jg.solve(key_solve, solver, start.sample(key_start), TS)[0][0]

    found = jax.jit(jax.vmap(draw))(jax.random.split(jax.random.key(1), n))
    xs = np.linspace(-4, 4, 40_001)
    cdf = np.cumsum(np.exp(log_marginal(xs, TS[-1]))) * (xs[1] - xs[0])
    ranks = (np.arange(n) + 0.5) / n
    return np.abs(np.sort(found) - np.interp(ranks, cdf, xs)).mean()


@pytest.mark.slow
def test_five_steps_are_exact_where_ddpm_of_the_same_moments_is_not():
    # W1 of n exact draws is int sqrt(F (1 - F)) sqrt(2 / pi n) on average: 0.007 here.
    assert distance("mixture") < 0.02
    assert distance("one") > 5 * distance("mixture")
    assert distance("ddpm") > distance("one")


slowly = functools.partial(pytest.param, marks=pytest.mark.slow)


@pytest.mark.parametrize("name", ["vp", slowly("cld"), slowly("anisotropic")])
def test_components_have_the_moments_of_the_posterior(name):
    process = {
        "vp": scalar.vp,
        "cld": augmented.cld,
        "anisotropic": lambda: jg.processes.diagonal.anisotropic(
            scalar.vp, 0.1, np.array([20.0, 9.0])
        ),
    }[name]()
    mixture = jg.densities.gaussian_mixture(
        [0.3, 0.7], [[-1.0, 0.5], [1.2, -0.5]], [np.diag([0.2, 0.1]) + 0.05, np.diag([0.1, 0.4])]
    )
    z = jnp.asarray(np.random.default_rng(0).normal(size=jg.processes.noise_shape(process, (2,))))

    @jax.jit
    def both(z):
        logits, means, roots = jg.densities.posterior_components(mixture, process)(z, 0.2)
        shares, mean = jnp.exp(logits), jnp.exp(logits) @ means
        away = means - mean[None]
        inside = jnp.einsum("k,kij,klj->il", shares, roots, roots)
        return (mean, inside + jnp.einsum("k,ki,kj->ij", shares, away, away)), (
            jg.densities.denoiser(mixture, process)(z, 0.2),
            jg.densities.posterior_covariance(mixture, process)(z, 0.2),
        )

    ours, theirs = both(z)
    for moment, expected in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(moment, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.slow
def test_a_latent_that_is_ignored_makes_it_ancestral():
    exact = jg.densities.denoiser(MIXTURE, PROCESS)
    soft = sde.soft_mixture(PROCESS, lambda z, t, latent: exact(z, t), latent=lambda key, z, t: 0.0)
    z = jnp.array([0.4])
    row = jax.tree.map(lambda leaf: leaf[1], soft.plan(TS))
    state, _ = soft.step(jax.random.key(0), soft.init(z, TS), row)
    ancestral = sde.ancestral(PROCESS, exact)
    same = jax.random.split(jax.random.key(0))[1]
    expected, _ = ancestral.step(same, ancestral.init(z, TS), row)
    np.testing.assert_allclose(state.x, expected.x, rtol=1e-14)


@functools.cache
def losses(name, draws, n=2000):
    denoiser, latent = sde.gaussian_components(COMPONENTS)
    exact = jg.densities.denoiser(MIXTURE, PROCESS)
    apply = {
        "mixture": lambda params, z, t, latent: denoiser(z, t, latent),
        "mean": lambda params, z, t, latent: exact(z, t),
    }[name]
    loss_fn = jg.losses.score.soft_mixture(
        PROCESS, apply, kind="x0", ts=TS, latent=latent, draws=draws
    )
    sample = jg.densities.distribution(MIXTURE).sample
    x0 = jax.vmap(sample)(jax.random.split(jax.random.key(5), n))
    one = lambda key, x0: loss_fn(None, key, x0)
    found = np.asarray(jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(6), n), x0))
    return found.mean(), found.std() / n**0.5


@pytest.mark.slow
def test_only_several_draws_teach_a_latent():
    """One draw prefers the mean, which no latent moves; many prefer the exact mixture."""
    found = {
        key: losses(*key) for key in [("mean", 1), ("mean", 4), ("mixture", 1), ("mixture", 4)]
    }
    sure = lambda less, more: more[0] - less[0] > 5 * np.hypot(less[1], more[1])
    gap = np.hypot(found["mean", 1][1], found["mean", 4][1])
    assert abs(found["mean", 1][0] - found["mean", 4][0]) < 5 * gap
    assert sure(found["mean", 1], found["mixture", 1])
    assert sure(found["mixture", 4], found["mean", 4])
    tight = losses("mixture", 256)
    assert sure(tight, found["mixture", 4])
    # What no model can do without: the information in the path, I(x0; z_0) - I(x0; z_T).
    xs = np.linspace(-8, 8, 80_001)
    entropies = [
        -np.trapezoid(np.exp(log_marginal(xs, t)) * log_marginal(xs, t), xs) for t in TS[[-1, 0]]
    ]
    information = entropies[0] - entropies[1] + np.log(schedule(TS[0])[1] / schedule(TS[-1])[1])
    assert tight[0] > information - 5 * tight[1]
    assert tight[0] < information + 0.3


def test_refusals():
    apply, latent = lambda params, z, t, latent: z, lambda key, z, t: 0.0
    make = functools.partial(jg.losses.score.soft_mixture, PROCESS, apply, latent=latent)
    with pytest.raises(ValueError, match="ts must be falling stops"):
        make(kind="x0", ts=TS[::-1])
    with pytest.raises(ValueError, match="draws must be at least 1; got 0"):
        make(kind="x0", ts=TS, draws=0)
    with pytest.raises(ValueError, match="kind must be one of"):
        make(kind="nothing", ts=TS)
