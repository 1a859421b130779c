"""The Fokker-Planck equation of dx = f(x) dt + g dw on the line, solved to rounding: Fourier
collocation on an interval so wide that the density vanishes at its ends, and matrix exponentials.
"""

import functools

import numpy as np
import scipy.linalg


class Line:
    """Densities [n] at n points of an interval, moved by a drift f(x) and constant noise g."""

    def __init__(self, drift, noise, half_width, n=256):
        self.x = np.linspace(-half_width, half_width, n, endpoint=False)
        self.spacing = 2 * half_width / n
        wave = 2 * np.pi * np.fft.fftfreq(n, self.spacing)
        transform = np.fft.fft(np.eye(n), axis=0)
        odd = np.where(np.arange(n) == n // 2, 0.0, wave)  # the highest wave has no odd derivative
        self.derivative = np.fft.ifft(1j * odd[:, None] * transform, axis=0).real
        second = np.fft.ifft(-(wave[:, None] ** 2) * transform, axis=0).real
        self.generator = noise**2 / 2 * second - self.derivative * drift(self.x)
        self.over = functools.cache(lambda t: scipy.linalg.expm(self.generator * t))

    def run(self, density, t):
        """The density after time t."""
        return self.over(t) @ density

    def path(self, density, t, n):
        """Densities [n + 1, points] at n + 1 even times from 0 to t."""
        found = [density]
        for _ in range(n):
            found.append(self.over(t / n) @ found[-1])
        return np.stack(found)

    def score(self, density, clear=1e-3):
        """d log p / dx, and the share of probability [points], where the density is clear."""
        clear = density > clear * density.max(-1, keepdims=True)
        slope = density @ self.derivative.T / np.where(clear, density, 1.0)
        share = density * clear
        return np.where(clear, slope, 0.0), share / share.sum(-1, keepdims=True)

    def finer(self, density, factor):
        """Points [factor n] and densities there [..., factor n], by the same waves."""
        n = density.shape[-1]
        spectrum = np.fft.rfft(density)
        spectrum[..., -1] /= 2
        x = self.x[0] + self.spacing / factor * np.arange(factor * n)
        return x, factor * np.fft.irfft(spectrum, factor * n)

    def quantiles(self, density, u):
        """The quantiles of a density at shares u [m], by its integral between points."""
        wave = 2j * np.pi * np.fft.fftfreq(len(density), self.spacing)
        spectrum = np.fft.fft(density)
        wave[0] = 1.0
        rest = np.fft.ifft(np.where(np.arange(len(density)) == 0, 0.0, spectrum / wave)).real
        total = rest - rest[0] + spectrum[0].real / len(density) * (self.x - self.x[0])
        rising = np.concatenate([[True], np.diff(np.maximum.accumulate(total)) > 1e-12])
        return np.interp(u, total[rising], self.x[rising])


def normal(x, mean, deviation):
    """The density of N(mean, deviation^2) at x."""
    return np.exp(-(((x - mean) / deviation) ** 2) / 2) / (deviation * np.sqrt(2 * np.pi))
