"""Statistics of time series against exact values of noise, AR(1), walks and tones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen.flows.microcanonical import statistics

N, D, S = 3000, 64, 0.7
RANDOM = np.random.default_rng(0)
WHITE = S * RANDOM.standard_normal((N, D))


def ar1(a, s):
    """x [N, D] of x_t = a x_(t-1) + s eps, stationary."""
    e = np.random.default_rng(1).standard_normal((N, D))
    x = s * e
    x[:, 0] = e[:, 0] * s / np.sqrt(1 - a**2)
    for t in range(1, D):
        x[:, t] += a * x[:, t - 1]
    return x


def meets(fn, xs, claim, slack=0.0):
    values = np.asarray(jax.jit(jax.vmap(fn))(jnp.asarray(xs)))
    error = values.std(0, ddof=1) / np.sqrt(len(values))
    assert values.shape[1:] == np.shape(claim)
    np.testing.assert_array_less(abs(values.mean(0) - claim), 5 * error + slack + 1e-14)


def test_moments_of_white_noise():
    meets(statistics.moments((2, 3, 4, 6)), WHITE, [S**2, 0.0, 3 * S**4, 15 * S**6])


def test_autocovariances_of_white_noise_and_ar1():
    lags = (0, 1, 3)
    for periodic in (False, True):
        meets(statistics.autocovariances(lags, periodic=periodic), WHITE, [S**2, 0.0, 0.0])
    claim = S**2 / (1 - 0.6**2) * 0.6 ** np.array(lags)
    meets(statistics.autocovariances(lags), ar1(0.6, S), claim)


@pytest.mark.parametrize("periodic", [False, True])
def test_autocovariances_are_plain_sums_of_products(periodic):
    x, lags = WHITE[0, :11], (0, 1, 4, 10)
    pairs = [x * np.roll(x, -l) if periodic else x[: 11 - l] * x[l:] for l in lags]
    found = statistics.autocovariances(lags, periodic=periodic)(jnp.asarray(x))
    np.testing.assert_allclose(found, [np.mean(p) for p in pairs], rtol=1e-12)


def test_structure_of_white_noise_and_of_a_walk():
    meets(statistics.structure((1, 5), power=4), WHITE, [12 * S**4] * 2)
    walk = np.cumsum(WHITE / S, 1)
    meets(statistics.structure((1, 4)), walk, [1.0, 4.0])


def test_kurtosis_of_laws_with_known_ones():
    long = WHITE.reshape(N // 10, -1)
    meets(statistics.kurtosis(), long, [3.0], slack=24 / long.shape[1])  # bias of order 1 / d
    signs = np.sign(WHITE[0])
    np.testing.assert_allclose(statistics.kurtosis()(jnp.asarray(signs)), [1.0])


def test_leverage_of_noise_whose_scale_follows_its_sign():
    a = 0.4
    e = np.random.default_rng(2).standard_normal((300, 3001))
    x = e[:, 1:] * (1 - a * e[:, :-1])
    claim = -2 * a / (1 + a**2) ** 1.5
    meets(statistics.leverage((1, 2)), x, [claim, 0.0], slack=2e-3)  # a ratio: bias 1 / d
    meets(statistics.leverage((1, 3)), WHITE, [0.0, 0.0])


@pytest.mark.parametrize("name", ["haar", "morlet"])
def test_wavelet_moments_of_white_noise_and_of_any_spectrum(name):
    filters = getattr(statistics, name)(D, 3)
    fn = statistics.wavelet_moments(filters)
    mean = {"haar": np.sqrt(2 / np.pi), "morlet": np.sqrt(np.pi / 4)}[name]
    meets(fn, WHITE, np.concatenate([np.full(3, mean * S), np.full(3, S**2)]))
    gains = 1 / abs(1 - 0.6 * np.exp(-2j * np.pi * np.arange(D) / D))
    coloured = np.fft.ifft(np.fft.fft(WHITE) * gains).real
    power = S**2 * np.mean(gains**2 * abs(filters) ** 2, 1)
    meets(fn, coloured, np.concatenate([mean * np.sqrt(power), power]))


def test_haar_filters_are_differences_of_means_and_morlets_are_analytic():
    x = WHITE[0, :16]
    back = np.fft.ifft(np.fft.fft(x) * statistics.haar(16, 2)).real
    claim = (x + np.roll(x, 1) - np.roll(x, 2) - np.roll(x, 3)) / 2
    np.testing.assert_allclose(back[1], claim, atol=1e-12)
    filters = statistics.morlet(32, 2, per_octave=2)
    assert filters.shape == (4, 32)
    assert not filters[:, 0].any()
    assert not filters[:, 16:].any()
    np.testing.assert_allclose(np.mean(abs(filters) ** 2, 1), 1)
    peaks = 2 * np.pi * np.argmax(abs(filters), 1) / 32
    assert (abs(peaks - 0.75 * np.pi * 2.0 ** (-np.arange(4) / 2)) <= np.pi / 32 + 1e-12).all()


def test_scattering_is_its_definition_and_a_tone_has_no_second_order():
    d, filters = 16, statistics.morlet(16, 3)
    x = WHITE[1, :d]
    waves = np.fft.ifft(filters)

    def circular(x, wave):
        return [sum(x[s] * wave[(t - s) % d] for s in range(d)) for t in range(d)]

    inner = [np.abs(circular(x, wave)) for wave in waves]
    pairs = [(0, 1), (0, 2), (1, 2)]
    claim = [np.mean(u) for u in inner]
    claim += [np.mean(np.abs(circular(inner[i], waves[j]))) for i, j in pairs]
    fn = jax.jit(statistics.scattering(filters))
    np.testing.assert_allclose(fn(jnp.asarray(x)), claim, rtol=1e-10)
    tone = np.cos(2 * np.pi * 5 * np.arange(d) / d)
    found = fn(jnp.asarray(tone))
    np.testing.assert_allclose(found[:3], abs(filters[:, 5]) / 2, atol=1e-12)
    np.testing.assert_allclose(found[3:], 0, atol=1e-12)


def test_smoothing_rounds_the_modulus():
    filters = statistics.haar(8, 1)
    x = jnp.asarray(WHITE[2, :8])
    z = np.asarray(x - jnp.roll(x, 1)) / np.sqrt(2)
    found = statistics.wavelet_moments(filters, smoothing=0.3)(x)
    np.testing.assert_allclose(found, [np.mean(np.hypot(z, 0.3)), np.mean(z**2)], rtol=1e-12)


ALL = {
    "moments": statistics.moments((2, 4)),
    "kurtosis": statistics.kurtosis(),
    "autocovariances": statistics.autocovariances((0, 2)),
    "leverage": statistics.leverage((1,)),
    "structure": statistics.structure((1,), power=4),
    "wavelet_moments": statistics.wavelet_moments(statistics.morlet(D, 2)),
    "scattering": statistics.scattering(statistics.haar(D, 2)),
}


@pytest.mark.parametrize("name", ALL)
def test_float32_and_constant_series(name):
    fn = ALL[name]
    xs = jnp.asarray(WHITE[3]), jnp.asarray(WHITE[3], jnp.float32), jnp.zeros(D)
    every = jax.jit(lambda x, y, zero: (fn(x), fn(y), fn(zero), jax.jacrev(fn)(zero)))
    double, single, value, slope = every(*xs)
    assert single.dtype == jnp.float32
    np.testing.assert_allclose(single, double, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(value, 0, atol=1e-15)
    np.testing.assert_allclose(slope, 0, atol=1e-15)


def test_concatenate_scales_its_parts():
    both = statistics.concatenate(ALL["moments"], ALL["leverage"], scales=(2.0, 3.0))
    x = jnp.asarray(WHITE[4])
    parts = [2 * ALL["moments"](x), 3 * ALL["leverage"](x)]
    np.testing.assert_allclose(both(x), jnp.concatenate(parts))


ERRORS = {
    "concatenate": lambda: statistics.concatenate(),
    "moments": lambda: statistics.moments((0,)),
    "kurtosis": lambda: statistics.kurtosis()(jnp.ones((2, 2))),
    "autocovariances": lambda: statistics.autocovariances((5,))(jnp.ones(5)),
    "leverage": lambda: statistics.leverage((0,)),
    "structure": lambda: statistics.structure((1,), power=3),
    "haar": lambda: statistics.haar(8, 4),
    "morlet": lambda: statistics.morlet(8, 2, per_octave=0),
    "wavelet_moments": lambda: ALL["wavelet_moments"](jnp.ones(D + 1)),
    "scattering": lambda: statistics.scattering(statistics.haar(8, 2), smoothing=-1.0),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_say_where(name):
    with pytest.raises(ValueError, match=f"statistics.{name}"):
        ERRORS[name]()
