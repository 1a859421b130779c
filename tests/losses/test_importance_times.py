"""Laws of time that lower the variance of a bound, and stay unbiased."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import textbook

from jaxgen import densities, math, processes
from jaxgen.losses import score


def make(name):
    return getattr(processes.augmented if name == "cld" else processes.scalar, name)()


def log_snr(name, t):
    column, cov = textbook.channel(name, float(t))
    return np.log(column @ np.linalg.solve(cov, column))


@pytest.mark.parametrize("name", ["vp", pytest.param("cld", marks=pytest.mark.slow)])
def test_likelihood_weight_over_its_law_is_the_integral_over_gamma(name):
    """1/2 int f(gamma) dgamma of f = 1 / (1 + gamma), whatever the law; the law is even in
    log(1 + s^2 gamma).
    """
    process = make(name)
    ends = np.array([log_snr(name, process.t_max), log_snr(name, process.t_min)])
    truth = np.diff(np.log1p(np.exp(ends)))[0] / 2
    nodes, weights = math.gauss_legendre(40)
    u = (np.arange(20)[:, None] / 20 + nodes / 20).ravel()

    @jax.jit
    def integrate(u):
        found = []
        for data_std in (None, 0.5, 3.0):
            law = score.uniform_time(process)
            if data_std is not None:
                law = score.likelihood_time(process, data_std)
            t = jax.vmap(law)(u)
            weight = jax.vmap(score.likelihood_weight(process, data_std))(t)
            snr = jnp.exp(jax.vmap(lambda t: processes.log_snr(process, t))(t))
            found.append((t, weight / (1 + snr)))
        return found

    found = integrate(u)
    for _, values in found:
        total = np.tile(weights / 20, 20) @ values
        assert total == pytest.approx(truth, rel=1e-5 if name == "vp" else 1e-3)
    ts = np.asarray(found[1][0])[::50]
    low, high = np.log1p(0.25 * np.exp(ends))
    levels = [np.log1p(0.25 * np.exp(log_snr(name, t))) for t in ts]
    np.testing.assert_allclose(levels, high + (low - high) * u[::50], rtol=1e-5, atol=1e-5)


def test_the_likelihood_law_makes_normal_data_weigh_the_same_at_all_times():
    """weight(t) / (data_std^-2 + gamma) is one number under the law of this data_std."""
    process, std = make("vp"), 0.6
    weight = score.likelihood_weight(process, std)
    ts = np.linspace(process.t_min, process.t_max, 7)
    flat = [float(weight(t)) / (std**-2 + np.exp(log_snr("vp", t))) for t in ts]
    np.testing.assert_allclose(flat, flat[0], rtol=1e-9)


@pytest.mark.slow
def test_denoising_with_the_weight_trains_the_bound():
    """Its mean at x0, times d, is 1/2 int E|x0 - x0hat|^2 dgamma: normal data, closed form."""
    process, variance, x0 = make("vp"), 0.3, jnp.asarray([0.5, -0.2])
    denoiser = densities.denoiser(densities.gaussian(np.zeros(2), variance), process)
    ends = [log_snr("vp", process.t_max), log_snr("vp", process.t_min)]
    gamma = np.exp(np.linspace(*ends, 200_001))
    kept = gamma / (1 / variance + gamma)
    error = (1 - kept) ** 2 * float(x0 @ x0) + 2 * kept**2 / gamma
    truth = np.trapezoid(error / 2, gamma)
    for data_std in (None, 0.6):
        time = None if data_std is None else score.likelihood_time(process, data_std)
        weighting = score.likelihood_weight(process, data_std)
        apply = lambda params, z, t: denoiser(z, t)
        loss_fn = score.denoising(process, apply, kind="x0", weighting=weighting, time=time)
        with jax.debug_key_reuse(False):
            keys = jax.random.split(jax.random.key(0), 20_000)
            found = jax.jit(jax.vmap(lambda key, f=loss_fn: 2 * f(None, key, x0)))(keys)
        textbook.within(*textbook.mean_and_error(found)[:1], truth, np.std(found) / 20_000**0.5)


def peaked(t):
    return 0.2 + 3 * np.exp(-40 * (t - 0.3) ** 2)


def test_second_moments_are_learned_and_leave_no_bias():
    """Even until every bin is full; then shares are root mean squares, and weights undo them."""
    process, bins = processes.scalar.vp(t_min=0.0, t_max=1.0), 8
    sampler = score.loss_second_moment(process, bins, kept=4, uniform_share=0.01)
    sample, update = jax.jit(sampler.sample), jax.jit(sampler.update)
    u = (np.arange(4000) + 0.5) / 4000
    state = sampler.init()
    np.testing.assert_allclose(sample(state, u), [u, np.ones(4000)], rtol=1e-9)
    state = update(state, u[::500], np.full(8, 5.0))
    np.testing.assert_allclose(sample(state, u)[1], 1, rtol=1e-9)  # one loss of four: still even
    places = np.tile((np.arange(bins) + 0.5) / bins, 5)
    state = update(state, places, peaked(places) * np.repeat([9, 1, 1, 1, 1], bins))
    np.testing.assert_allclose(state.losses, np.repeat(peaked(places[:bins])[:, None], 4, 1))
    t, weight = (np.asarray(part) for part in sample(state, u))
    sizes = peaked(places[:bins])
    share = 0.99 * sizes / sizes.sum() + 0.01 / bins
    counts = np.bincount((t * bins).astype(int), minlength=bins) / 4000
    np.testing.assert_allclose(counts, share, atol=2e-3)
    assert np.mean(weight * peaked(t)) == pytest.approx(np.mean(peaked(u)), rel=1e-3)
    assert np.var(weight * peaked(t)) < 0.2 * np.var(peaked(u))


def test_refuses_what_makes_no_sense():
    process = make("vp")
    with pytest.raises(ValueError, match=r"^losses\.score\.likelihood_time: data_std .*; got 0"):
        score.likelihood_time(process, 0)
    with pytest.raises(ValueError, match=r"^losses\.score\.likelihood_weight: data_std .*; got -1"):
        score.likelihood_weight(process, -1)
    with pytest.raises(
        ValueError, match=r"^losses\.score\.loss_second_moment: bins must .*; got 0"
    ):
        score.loss_second_moment(process, 0)
    with pytest.raises(ValueError, match=r"^losses\.score\.loss_second_moment: uniform_share .*"):
        score.loss_second_moment(process, uniform_share=0.0)
    with pytest.raises(ValueError, match=r"^losses\.score\.hybrid: ts must be falling"):
        score.hybrid(process, lambda p, z, t: z, kind="x0", ts=np.array([0.1, 1.0]))
