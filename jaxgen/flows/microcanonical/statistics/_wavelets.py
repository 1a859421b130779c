"""Wavelet filter banks on a circle of d points, and moments of what they let through."""

import jax.numpy as jnp
import numpy as np

from jaxgen.flows.microcanonical.statistics._moments import _series


def haar(d, scales):
    """Transforms [scales, d] of Haar wavelets of lengths 2, 4, ..., 2^scales, fine to coarse.

    Each is + then - over its length, of unit energy: white noise of variance s^2 gives x * psi of
    variance s^2. NumPy, complex128. Raises ValueError unless 1 <= scales and 2^scales <= d.
    Source: Haar 1910.
    """
    _scales("statistics.haar", d, scales)
    filters = np.zeros((scales, d))
    for row, length in zip(filters, 2 ** np.arange(1, scales + 1), strict=True):
        row[: length // 2] = length**-0.5
        row[length // 2 : length] = -(length**-0.5)
    return np.fft.fft(filters)


def morlet(d, scales, *, per_octave=1):
    """Transforms [scales * per_octave, d] of analytic wavelets, Gaussian about 3 pi / 4 / 2^j.

    Zero at frequencies that are not positive, so that a constant gives nothing and Gaussian noise
    gives a modulus with Rayleigh's law; of unit energy. Widths are 0.35 / per_octave of the centre.
    NumPy, complex128. Raises ValueError as `haar`, and on per_octave < 1.
    Source: Grossmann and Morlet 1984; Mallat 2012, arXiv 1101.2286, for filter banks.
    """
    _scales("statistics.morlet", d, scales)
    if per_octave < 1:
        raise ValueError(f"statistics.morlet: per_octave must be at least 1; got {per_octave}")
    frequencies = 2 * np.pi * np.fft.fftfreq(d)
    centres = 0.75 * np.pi * 2.0 ** (-np.arange(scales * per_octave) / per_octave)
    widths = 0.35 / per_octave * centres
    found = np.exp(-(((frequencies - centres[:, None]) / widths[:, None]) ** 2) / 2)
    found = np.where((frequencies > 0) & (frequencies < np.pi), found, 0)
    return (found / np.sqrt(np.mean(found**2, 1, keepdims=True))).astype(complex)


def wavelet_moments(filters, *, smoothing=0.0):
    """statistics(x [d]) -> [2 m]: means over time of |x * psi_j|, then of |x * psi_j|^2.

    For Gaussian noise of spectrum f (white: f = s^2) the second is P_j, the mean over frequencies
    of f |psi_j|^2, and the first sqrt(pi P_j / 4) for `morlet`, sqrt(2 P_j / pi) for `haar`. Their
    squared ratio says how sparse the series is at that scale.

    Args: filters, transforms [m, d]; smoothing >= 0: |z| becomes sqrt(|z|^2 + smoothing^2), which a
    flow needs where the kink of |z| would fold its map; at zero smoothing the slope at z = 0 is 0.
    Raises ValueError on filters that are not [m, d], x of another length, smoothing < 0.
    Source: Mallat 2012, arXiv 1101.2286; definition.
    """
    pass_through, modulus = _bank("statistics.wavelet_moments", filters, smoothing)

    def values(x):
        squares = pass_through(x)
        return jnp.concatenate([jnp.mean(modulus(squares), 1), jnp.mean(squares, 1)])

    return values


def scattering(filters, *, smoothing=0.0):
    """statistics(x [d]) -> [m + m (m - 1) / 2]: orders one and two of the scattering moments.

    Means over time of |x * psi_i|, then of ||x * psi_i| * psi_j| for i < j, by i and then j. On
    Gaussian noise order one is that of `wavelet_moments`; a pure tone has order two zero.

    Args and ValueError: as `wavelet_moments`; filters run from fine to coarse.
    Source: Mallat 2012, arXiv 1101.2286, equation 14; Bruna and Mallat 2019, arXiv 1801.02013.
    """
    pass_through, modulus = _bank("statistics.scattering", filters, smoothing)
    first, second = np.triu_indices(len(filters), 1)

    def values(x):
        inner = modulus(pass_through(x))
        outer = modulus(pass_through(inner, first, second))
        return jnp.concatenate([jnp.mean(inner, 1), jnp.mean(outer, 1)])

    return values


def _bank(where, filters, smoothing):
    """(x -> |x * psi|^2 [m, d], or for rows and pairs of indices; squares -> moduli)."""
    filters = np.asarray(filters)
    if filters.ndim != 2 or filters.size < 1:
        raise ValueError(f"{where}: filters must be [m, d]; got {filters.shape}")
    if not smoothing >= 0:
        raise ValueError(f"{where}: smoothing must not be negative; got {smoothing}")

    def pass_through(x, rows=None, columns=None):
        if rows is None:
            _series(where, x, 1)
            if len(x) != filters.shape[1]:
                raise ValueError(f"{where}: x must be [{filters.shape[1]}]; got {x.shape}")
            spectra, chosen = jnp.fft.fft(x)[None], filters
        else:
            spectra, chosen = jnp.fft.fft(x)[rows], filters[columns]
        found = jnp.fft.ifft(spectra * jnp.asarray(chosen, spectra.dtype))
        return found.real**2 + found.imag**2

    def modulus(squares):
        held = squares + smoothing**2
        return jnp.where(held > 0, jnp.sqrt(jnp.where(held > 0, held, 1)), 0)

    return pass_through, modulus


def _scales(where, d, scales):
    if scales < 1 or 2**scales > d:
        raise ValueError(f"{where}: 1 <= scales, 2^scales <= d must hold; got {scales}, d = {d}")
