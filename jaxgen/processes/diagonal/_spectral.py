"""Processes that treat the frequencies of an event differently: blurring, and coloured noise."""

import numpy as np

from jaxgen.math import namespace
from jaxgen.processes import scalar
from jaxgen.processes.diagonal._anisotropic import anisotropic
from jaxgen.processes.diagonal._basis import axes_of
from jaxgen.processes.scalar import from_schedule


def frequencies(shape, *, axes=None):
    """|omega| [*event] of the cosine modes of an event of this shape: omega_i = pi k_i / n_i along
    each of `axes` (all when None), in radians a pixel; 0 along the others.

    Raises ValueError on axes outside the event. Source: Rissanen et al. 2023, arXiv 2206.13397.
    """
    squares = np.zeros(tuple(shape))
    for axis in axes_of("frequencies", shape, axes):
        omega = np.pi * np.arange(shape[axis]) / shape[axis]
        squares += (omega**2).reshape([-1 if i == axis else 1 for i in range(len(shape))])
    return np.sqrt(squares)


def blurring(
    shape, *numbers, family=scalar.cosine, blur=20.0, floor=1e-3, power=2, axes=None, **times
):
    """Heat dissipation times the scalar process family(*numbers, **times), in the coordinates of
    `dct(shape, axes=axes)`: a `DiagonalForward` of event [*event] = shape.

    alpha_k = alpha d_k, d_k = (1 - floor) exp(-|omega_k|^2 tau) + floor, with the width of the blur
    sqrt(2 tau) = blur sin^power(pi t / 2) pixels; the noise is the family's, and frequency 0 is the
    family's own process.
    Args: blur [], in pixels, and floor [], from 0 to 1, may be learned; floor keeps the log-SNR of
        all frequencies finite; axes, those that are blurred: all when None, (0, 1) for [h, w, 3].
    Raises ValueError on axes outside the event, and as `anisotropic`. Blur with noise of one size
    (arXiv 2206.13397) is no such process: at frequency 0 its signal-to-noise ratio does not fall.
    Source: Hoogeboom and Salimans 2023, arXiv 2209.05557; Rissanen et al. 2023, arXiv 2206.13397.
    """
    omega = frequencies(shape, axes=axes)

    def member(omega, blur, floor, *numbers, **times):
        base = family(*numbers, **times)
        return from_schedule(
            _blurred,
            base.transition,
            omega,
            blur,
            floor,
            power,
            t_min=base.t_min,
            t_max=base.t_max,
            name="processes.diagonal.blurring",
        )

    return anisotropic(member, omega, blur, floor, *numbers, event=shape, **times)


def _blurred(t, base, omega, blur, floor, power):
    xp = namespace(t, omega, blur, floor)
    alpha, sigma = base(t)
    dissipated = (omega * blur * xp.sin(np.pi / 2 * t) ** power) ** 2 / 2
    return alpha * ((1 - floor) * xp.exp(-dissipated) + floor), sigma


def frequency_wise(scales, *numbers, family=scalar.vp, **times):
    """The scalar process family(*numbers, **times) with noise of its own size in each coordinate:
    sigma_k = scales_k sigma; a `DiagonalForward` of event [*event].

    Args: scales [*event], positive, may be learned: the standard deviations of the data in these
        coordinates keep one signal-to-noise ratio for all, (1 + frequencies(shape))**-1 make red
        noise, one everywhere the family itself.
    Raises ValueError as `anisotropic`. Source: Falck et al. 2025, arXiv 2505.11278 (noise shaped in
    Fourier space; equal SNR).
    """

    def member(scale, *numbers, **times):
        base = family(*numbers, **times)
        return from_schedule(
            _scaled,
            base.transition,
            scale,
            t_min=base.t_min,
            t_max=base.t_max,
            name="processes.diagonal.frequency_wise",
        )

    return anisotropic(member, scales, *numbers, event=np.shape(scales), **times)


def _scaled(t, base, scale):
    alpha, sigma = base(t)
    return alpha, scale * sigma
