"""Importance-weighted bounds: densities that integrate to one, and tighten with the draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import textbook
from scipy.stats import norm

from jaxgen import densities, grids, likelihoods, processes

MIXTURE = (np.array([0.3, 0.7]), np.array([[-1.0], [0.8]]), np.array([0.09, 0.25]))
GRID = np.linspace(-4, 4, 321)[:, None]


def bent(process):
    """No posterior mean of anything, and on blocks a function of more than the channel."""
    exact = densities.denoiser(densities.gaussian_mixture(*MIXTURE), process)
    off = lambda z: jnp.sin(2 * z if z.ndim == 1 else z[0] + 2 * z[1])
    size = lambda t: 0.3 / (1 + processes.channel_at(process, t).gain)
    return lambda z, t: exact(z, t) + size(t) * off(z)


SPANS = {"vp": (0.05, 0.7), "cld": (0.1, 0.7), "hold": (0.12, 0.7)}


def make(name):
    """A process between ends that are no more than 8 nats of log-SNR apart: weights of a few steps
    would have no finite variance over more.
    """
    low, high = SPANS[name]
    door = processes.scalar if name == "vp" else processes.augmented
    return getattr(door, name)(t_min=low, t_max=high)


def test_log_mean_exp_with_its_error():
    """Of log-normal weights: the mean is e^(m + s^2 / 2), and the bias and the error are known."""
    draws, deviation = 16, 0.5
    log_prob = lambda key, x: x + deviation * jax.random.normal(key)
    with jax.debug_key_reuse(False):
        run = jax.jit(jax.vmap(likelihoods.importance_terms(log_prob, draws), (0, None)))
        found = run(jax.random.split(jax.random.key(0), 20_000), -1.0)
    truth, spread = -1 + deviation**2 / 2, np.sqrt(np.expm1(deviation**2) / draws)
    mean, error = textbook.mean_and_error(found.log_prob)
    bias = -(spread**2) / 2
    textbook.within(mean, truth + bias, error + 0.1 * abs(bias))
    textbook.within(*textbook.mean_and_error(found.jackknife - truth)[:1], 0.0, error)
    assert np.std(found.log_prob) == pytest.approx(spread, rel=0.05)
    assert np.mean(found.standard_error) == pytest.approx(spread, rel=0.1)
    textbook.within(*textbook.mean_and_error(found.mean)[:1], -1.0, error)
    effective = draws / np.exp(deviation**2)
    assert np.mean(found.effective_draws) == pytest.approx(effective, rel=0.1)


def of_grid(log_prob, repeats, seed=0):
    """log_prob [repeats, n] on the grid, each under its own key."""
    keys = jax.random.split(jax.random.key(seed), (repeats, len(GRID)))
    with jax.debug_key_reuse(False):
        return np.asarray(jax.jit(jax.vmap(jax.vmap(log_prob), (0, None)))(keys, GRID))


def integrates_to_one(log_prob, repeats=32):
    found = of_grid(log_prob, repeats)
    mass = np.exp(found).sum(1) * (GRID[1, 0] - GRID[0, 0])
    mean, error = textbook.mean_and_error(mass)
    assert error < 0.05
    textbook.within(mean, 1.0, error)
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "variance"),
    [
        ("vp", 0.0),
        ("vp", 0.7),
        ("cld", 0.0),
        ("cld", "learned"),
        ("hold", 0.4),
    ],
)
def test_weights_of_a_path_average_to_a_density(name, variance):
    """Of the chain, for any denoiser: E int exp(log_prob) dx = 1, and the mean is the bound."""
    process = make(name)
    ts, denoiser = grids.log_snr(process, 16), bent(process)
    v = variance if variance != "learned" else lambda z, t: 0.5 + 0.4 * jnp.sin(z[0] + t)
    found = integrates_to_one(likelihoods.path_weight(process, denoiser, ts, variance=v), 24)
    elbo = of_grid(likelihoods.elbo(process, denoiser, ts, variance=v), 24, seed=1)
    share = norm.pdf(GRID[:, 0])
    (ours, error), (bound, other) = (
        textbook.mean_and_error(each @ share / share.sum()) for each in (found, elbo)
    )
    textbook.within(ours, bound, np.hypot(error, other))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["auxiliaries", "path"])
def test_bounds_rise_with_the_draws(kind):
    """1, 4, 16, 64 draws: cld's auxiliaries under a bent score, and the chain's paths."""
    process = processes.augmented.cld()
    if kind == "path":
        log_prob = likelihoods.path_weight(process, bent(process), grids.log_snr(process, 24))
    else:
        log_prob = likelihoods.flow_ode(process, bent(process), grids.power(process, 40))
    bounds = []
    for draws in (1, 4, 16, 64):
        run = jax.jit(jax.vmap(likelihoods.importance(log_prob, draws), (0, None)))
        keys = jax.random.split(jax.random.key(draws), 4096 // draws)
        with jax.debug_key_reuse(False):
            bounds.append(textbook.mean_and_error(run(keys, jnp.asarray([0.3]))))
    for (low, low_error), (high, high_error) in zip(bounds[:-1], bounds[1:], strict=True):
        assert high - low > -3 * np.hypot(low_error, high_error), bounds
    first, last = bounds[0], bounds[-1]
    assert last[0] - first[0] > 5 * np.hypot(first[1], last[1]), bounds


@pytest.mark.slow
def test_one_draw_of_the_auxiliaries_is_enough_for_an_exact_score():
    """Their spread falls with t_min, while that of a bent score stays; its density has mass one."""
    law, found = densities.gaussian_mixture(*MIXTURE), {}
    for t_min in (1e-3, 1e-4):
        process = processes.augmented.cld(t_min=t_min)
        prior = densities.marginal(law, process, process.t_max)
        for label, denoiser in {
            "exact": densities.denoiser(law, process),
            "bent": bent(process),
        }.items():
            log_prob = likelihoods.flow_ode(
                process, denoiser, grids.power(process, 100, rho=3.0), prior=prior
            )
            keys = jax.random.split(jax.random.key(0), 256)
            with jax.debug_key_reuse(False):
                values = jax.jit(jax.vmap(log_prob, (0, None)))(keys, jnp.asarray([0.3]))
            found[label, t_min] = np.std(values)
    assert found["exact", 1e-3] < 0.02
    assert found["exact", 1e-4] < found["exact", 1e-3] / 2
    assert found["bent", 1e-4] > 10 * found["exact", 1e-4]
    process = make("cld")
    integrates_to_one(likelihoods.flow_ode(process, bent(process), grids.power(process, 40)), 24)


def test_refuses_when_it_is_built():
    with pytest.raises(ValueError, match=r"^likelihoods\.importance: draws must .*; got 0"):
        likelihoods.importance(lambda key, x: 0.0, 0)
    with pytest.raises(ValueError, match=r"^likelihoods\.path_weight: ts must fall"):
        likelihoods.path_weight(processes.scalar.vp(), None, np.array([0.1, 1.0]))
