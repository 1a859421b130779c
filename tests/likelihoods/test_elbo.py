"""The bounds, term by term, against a mixture: by quadrature over time and the channel's noise."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import textbook
from scipy.stats import norm

from jaxgen import densities, grids, likelihoods, math, processes
from jaxgen.losses import score

MIXTURE = WEIGHTS, MEANS, VARIANCES = (
    np.array([0.3, 0.7]),
    np.array([[-1.0], [0.8]]),
    np.array([0.09, 0.25]),
)
X = np.array([[-1.3], [0.1], [0.9]])
XI = np.linspace(-9, 9, 181)  # the trapezoidal rule is exact to rounding for such integrands
XI_WEIGHTS = norm.pdf(XI) * (XI[1] - XI[0])
PIECES, NODES = 24, 8
BLOCKS = ("cld", "hold", "psld")


@functools.cache
def make(name):
    if name == "monotone":
        return processes.scalar.monotone(np.array([0.3, -0.2, 1.0]))
    return getattr(processes.augmented if name in BLOCKS else processes.scalar, name)()


def mixture():
    return densities.gaussian_mixture(*MIXTURE)


def level_at(process, t):
    return float(processes.log_snr(process, np.float64(t)))


def noise_along(process, t, xi):
    """Noise [1] or [c, 1] whose part along the channel is xi."""
    noise = processes.channel_at(process, t).noise
    return (noise[..., None] * xi).reshape(processes.noise_shape(process, (1,)))


def composite(low, high):
    """Gauss-Legendre nodes and weights on pieces of [low, high]."""
    nodes, weights = math.gauss_legendre(NODES)
    ends, width = np.linspace(low, high, PIECES + 1)[:-1], (high - low) / PIECES
    return (ends[:, None] + width * nodes).ravel(), np.tile(weights * width, PIECES)


def log_heard(heard, gain):
    """log p of gain x0 + unit noise at heard [...]."""
    flat = textbook.log_density(
        heard.reshape(-1, 1), WEIGHTS, gain * MEANS, gain**2 * VARIANCES + 1
    )
    return flat.reshape(heard.shape)


def log_p(x):
    return textbook.log_density(x, *MIXTURE)


@functools.cache
def errors(name):
    """f(ts [m]) -> the mean squared error [3, m] at X over the noise, with the exact denoiser."""
    process = make(name)
    parts = likelihoods.elbo_integrands(process, densities.denoiser(mixture(), process))

    def at(t):
        one = lambda x, xi: parts.squared_error(x, noise_along(process, t, xi), t)[0]
        return jax.vmap(jax.vmap(one, (None, 0)), (0, None))(X, XI) @ XI_WEIGHTS

    run = jax.jit(lambda ts: jax.lax.map(at, ts, batch_size=16))
    return lambda ts: np.asarray(run(ts)).T


@functools.cache
def terms(name):
    """prior, reconstruction and diffusion [3] of the bound at X with the exact denoiser, and the
    log-SNR of both ends.
    """
    process = make(name)
    parts = likelihoods.elbo_integrands(process, densities.denoiser(mixture(), process))
    noisy, clean = level_at(process, process.t_max), level_at(process, process.t_min)
    levels, weights = composite(noisy, clean)
    snr = lambda t: processes.log_snr(process, t)
    ts = math.invert(snr, levels, np.float64(process.t_min), np.float64(process.t_max))

    def last(x, xi):
        eps = noise_along(process, jnp.asarray(process.t_min), xi)
        return parts.prior(x, eps), parts.reconstruction(x, eps)

    prior, reconstruction = jax.jit(jax.vmap(jax.vmap(last, (None, 0)), (0, None)))(X, XI)
    diffusion = -(np.exp(levels) * weights * errors(name)(ts)).sum(1) / 2
    return prior @ XI_WEIGHTS, reconstruction @ XI_WEIGHTS, diffusion, noisy, clean


def decoder_gap(x, level):
    """E log p(x | z) - log N(x; E[x0 | z], 1 / gamma) at x [n, 1], from the closed forms."""
    gain = np.exp(level / 2)
    heard = gain * x + XI
    posterior = log_p(x)[:, None] + norm.logpdf(heard, gain * x) - log_heard(heard, gain)
    variances = gain**2 * VARIANCES + 1
    logs = np.log(WEIGHTS) + norm.logpdf(heard[..., None], gain * MEANS[:, 0], np.sqrt(variances))
    shares = np.exp(logs - logs.max(-1, keepdims=True))
    means = MEANS[:, 0] + gain * VARIANCES / variances * (heard[..., None] - gain * MEANS[:, 0])
    mean = (shares * means).sum(-1) / shares.sum(-1)
    return (posterior - norm.logpdf(x, mean, 1 / gain)) @ XI_WEIGHTS


def prior_gap(x, level):
    """E log p_T(z_T) - log prior(z_T) at x [n, 1], in the channel."""
    gain = np.exp(level / 2)
    heard = gain * x + XI
    return (log_heard(heard, gain) - norm.logpdf(heard, 0, np.sqrt(1 + gain**2))) @ XI_WEIGHTS


SCALARS = ("ve", "subvp", "edm", "cosine", "linear_flow", "monotone")
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in (*SCALARS, "hold", "psld")]


@pytest.mark.parametrize("name", ["vp", "cld", *SLOW])
def test_bound_and_its_gaps_make_the_log_density_at_every_point(name):
    """log p(x) = prior + reconstruction + diffusion + what decoder and prior miss, to 1e-5."""
    prior, reconstruction, diffusion, noisy, clean = terms(name)
    gaps = decoder_gap(X, clean) + prior_gap(X, noisy)
    np.testing.assert_allclose(prior + reconstruction + diffusion + gaps, log_p(X), atol=1e-5)


def test_the_gaps_are_positive_on_average_over_the_data():
    """Each is a divergence, though not at every x: so the bound is one on average."""
    x = np.linspace(-3, 3.5, 261)[:, None]
    share = np.exp(log_p(x)) * (x[1, 0] - x[0, 0])
    decoder, prior = decoder_gap(x, 3.0), prior_gap(x, -1.0)
    assert np.min(prior) < 0
    assert 1e-4 < share @ decoder < 0.1
    assert 1e-4 < share @ prior < 0.1


def test_more_steps_are_a_tighter_bound():
    """The chain's divergence falls from T to 2T steps, to that of continuous time as 1/T."""
    process, (_, _, diffusion, noisy, clean) = make("vp"), terms("vp")
    levels = [np.linspace(noisy, clean, 2**k + 1) for k in (3, 4, 5, 6, 7)]
    ts = grids.log_snr(process, 128)[:-1]
    squares = errors("vp")(ts)
    chains = []
    for k, level in enumerate(levels):
        stride = 128 // (len(level) - 1)
        found = processes.reverse_kl(level[:-1], level[1:], squares[:, ::stride])
        chains.append(-found.sum(1))
        assert k == 0 or np.all(chains[-1] > chains[-2])
    excess = [np.mean(diffusion - chain) for chain in chains]
    assert np.all(np.array(excess) > 0)
    assert excess[-2] / excess[-1] == pytest.approx(2, abs=0.2)


ESTIMATES = [
    ("vp", {"data_std": None, "draws": 400}, False),
    pytest.param("vp", {"points": 8, "draws": 100}, False, marks=pytest.mark.slow),
    pytest.param("vp", {"draws": 50}, True, marks=pytest.mark.slow),
    pytest.param("vp", {"points": 4, "draws": 400}, True, marks=pytest.mark.slow),
    pytest.param("hold", {"draws": 400, "chunk": 8}, False, marks=pytest.mark.slow),
    pytest.param("hold", {"draws": 400}, True, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("name", "options", "steps"), ESTIMATES)
def test_estimates_are_unbiased_and_know_their_error(name, options, steps):
    """Both laws of time, and a chain with its split, against quadrature: 5 standard errors."""
    process = make(name)
    denoiser = densities.denoiser(mixture(), process)
    prior, reconstruction, diffusion, noisy, clean = terms(name)
    ts = grids.log_snr(process, 16) if steps else None
    run = likelihoods.elbo_terms(process, denoiser, ts, **options)
    with jax.debug_key_reuse(False):
        found = jax.jit(jax.vmap(run, (None, 0)))(jax.random.key(0), X)
    np.testing.assert_allclose(found.value, sum(found[2:]), rtol=1e-9)
    np.testing.assert_allclose(found.prior, prior, rtol=1e-9)
    path = diffusion
    if steps:
        level = np.linspace(noisy, clean, 17)
        path = -processes.reverse_kl(level[:-1], level[1:], errors(name)(ts[:-1])).sum(1)
        error = 2 * found.standard_error
        textbook.within(found.diffusion, diffusion, error)
        textbook.within(found.discretisation, path - diffusion, error)
    else:
        assert not np.any(found.discretisation)
    textbook.within(found.value, prior + reconstruction + path, found.standard_error, name)
    assert np.all(found.standard_error < 1)


@pytest.mark.slow
@pytest.mark.parametrize("steps", [False, True])
def test_a_noise_level_for_each_entry(steps):
    """Equal levels give the scalar's estimate, key by key; others the log-density to 5 errors."""
    law = densities.gaussian_mixture([0.4, 0.6], [[-0.5, 0.2], [0.6, -0.3]], [0.2, 0.3])
    family, x = processes.scalar.vp, jnp.asarray([0.3, -0.2])
    keys, found = jax.random.split(jax.random.key(0), 400), []
    for process in (
        family(),
        processes.diagonal.anisotropic(family, 0.1, np.full(2, 20.0)),
        processes.diagonal.anisotropic(family, np.array([0.1, 0.4]), np.array([20.0, 12.0])),
    ):
        denoiser = densities.denoiser(law, process)
        if steps:
            ts = grids.log_snr(process, 64)
            run = likelihoods.path_weight(process, denoiser, ts, variance=0.5)
        else:
            prior = densities.marginal(law, process, process.t_max)
            run = likelihoods.elbo(process, denoiser, points=16, prior=prior)
        with jax.debug_key_reuse(False):
            found.append(np.asarray(jax.jit(jax.vmap(run, (0, None)))(keys, x)))
    np.testing.assert_allclose(found[1], found[0], rtol=1e-8)
    values = np.exp(found[2]) if steps else found[2]
    truth = float(densities.distribution(law).logdensity(x))
    mean, error = textbook.mean_and_error(values)
    textbook.within(mean, np.exp(truth) if steps else truth, error + 2e-3)


def test_interior_of_the_schedule_does_not_matter():
    """Any denoiser of z and log-SNR, fixed ends: the diffusion term moves by less than 1e-6."""
    nodes, weights = composite(0.0, 1.0)

    @jax.jit
    def diffusion(logits):
        process = processes.scalar.monotone(logits, 6.0, -5.0)
        denoiser = lambda z, t: jnp.tanh(z + 0.3 * jnp.cos(processes.log_snr(process, t)))
        parts = likelihoods.elbo_integrands(process, denoiser)
        weight = score.likelihood_weight(process)

        def at(t):
            one = lambda x, xi: parts.squared_error(x, noise_along(process, t, xi), t)[0]
            both = jax.vmap(jax.vmap(one, (None, 0)), (0, None))
            return weight(t) * (both(X, XI) @ XI_WEIGHTS)

        return weights @ jax.vmap(at)(nodes)

    straight = diffusion(np.zeros(4))
    for logits in ([2.0, -1.0, 0.5, 0.0], [-1.5, 0.0, 1.0, 1.0]):
        np.testing.assert_allclose(diffusion(np.array(logits)), straight, rtol=1e-6)
    assert np.all(straight > 1)


def test_channel_decoder_bounds_what_the_flow_reports():
    """With it the bound is d log alpha + E log p(z_tmin), p the density that flow_ode gives."""
    process = make("vp")
    _, _, diffusion, _, clean = terms("vp")
    prior = densities.marginal(mixture(), process, process.t_max)
    denoiser = densities.denoiser(mixture(), process)
    parts = likelihoods.elbo_integrands(
        process, denoiser, prior=prior, decoder=likelihoods.gaussian_decoder(process)
    )
    low, high = jnp.asarray(process.t_min), jnp.asarray(process.t_max)
    ends = lambda x, xi: (
        parts.prior(x, noise_along(process, high, xi)),
        parts.reconstruction(x, noise_along(process, low, xi)),
    )
    first, last = jax.jit(jax.vmap(jax.vmap(ends, (None, 0)), (0, None)))(X, XI)
    bound = (first + last) @ XI_WEIGHTS + diffusion
    alpha, sigma = textbook.SCHEDULES["vp"](1e-3)
    gain = np.exp(clean / 2)
    noised = log_heard(gain * X + XI, gain) - np.log(sigma)
    np.testing.assert_allclose(bound, noised @ XI_WEIGHTS + np.log(alpha), atol=1e-5)


def test_discretised_decoder_sums_to_one():
    """Over 256 levels, wherever z is; one is a difference of normal distribution functions."""
    process = make("vp")
    decoder = likelihoods.discretised_decoder(process, 256, variance=0.03)
    levels = (np.arange(256) + 0.5) / 128 - 1
    of_levels = jax.jit(jax.vmap(lambda x, z: decoder(x[None], z[None]), (0, None)))
    for z in (-3.0, 0.2, 1.0):
        found = np.exp(of_levels(levels, z))
        assert np.sum(found) == pytest.approx(1, abs=1e-12)
        mean = z / textbook.SCHEDULES["vp"](1e-3)[0]
        truth = np.diff(norm.cdf((levels[100] + np.array([-1, 1]) / 256 - mean) / 0.03**0.5))
        np.testing.assert_allclose(found[100], truth[0], rtol=1e-6, atol=1e-15)
    sharp = likelihoods.discretised_decoder(process, 16)
    slope = jax.jit(jax.grad(lambda z: sharp(jnp.asarray([0.97]), z)))(jnp.asarray([-0.5]))
    assert np.all(np.isfinite(slope))


@pytest.mark.usefixtures("x32")
@pytest.mark.slow
@pytest.mark.parametrize("name", ["vp", "hold"])
def test_single_precision(name):
    process = make(name)
    denoiser = lambda z, t: jnp.tanh(z if name == "vp" else z[0])
    run = likelihoods.elbo_terms(process, denoiser, draws=2, points=8)
    found = jax.jit(run)(jax.random.key(0), jnp.asarray([0.3, -0.8]))
    assert {leaf.dtype for leaf in found} == {np.dtype(np.float32)}
    assert all(np.isfinite(leaf) for leaf in found)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ts": np.array([1e-3, 1.0])}, "ts must fall"),
        ({"points": 0}, "points must be None or at least 1"),
        ({"draws": 0}, "draws must be None or at least 1"),
        ({"variance": 0.5}, "variance must be 0 in continuous time"),
    ],
)
def test_refuses_when_it_is_built(options, message):
    with pytest.raises(ValueError, match=rf"^likelihoods\.elbo: {message}.*; got"):
        likelihoods.elbo(make("vp"), lambda z, t: z, **options)
