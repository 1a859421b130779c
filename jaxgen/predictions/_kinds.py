"""What a network predicts, and how to read it: every prediction stands for a x0 + b . eps.

With z = Phi_0 x0 + L eps that is a square linear system in (x0, eps), so one row (a, b) for each
kind replaces all pairwise conversions, and a new kind costs one row. For blocks eps is [c, *event]
and b is [c]. For a process diagonal in a basis a and b are [*event]: every conversion is one of
scalars, entry by entry.
"""

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from jaxgen.math import apply, contract, namespace, total, working_dtype
from jaxgen.processes import channel_at, is_diagonal, num_blocks


def _x0(process, t):
    return 1.0, 0.0 * channel_at(process, t).noise


def _eps(process, t):
    part = channel_at(process, t)
    return 0.0, _last(namespace(part.gain), part)


def _score(process, t):
    """The score of the last block: -eps_c / L_cc, which is -eps / sigma for a scalar process."""
    part = channel_at(process, t)
    precision = part.whiten if part.whiten.ndim == part.gain.ndim else part.whiten[..., -1, -1]
    return 0.0, -_last(namespace(part.gain), part) * precision


def _v(process, t):
    """alpha xi - sigma x0 with xi the noise of the channel and alpha^2 + sigma^2 = 1 at its
    signal-to-noise ratio.
    """
    part = channel_at(process, t)
    norm = namespace(part.gain).sqrt(1 + part.gain**2)
    return -1 / norm, part.gain / norm * part.noise


def _velocity(process, t):
    """d/dt (alpha x0 + sigma eps) at fixed x0 and eps: the regression target of flow matching,
    scalar processes only.
    """
    if num_blocks(process) is not None:
        raise ValueError("predictions: kind 'velocity' needs a scalar process; got blocks")
    t = jnp.asarray(t, working_dtype(1.0 * t))
    return jax.jvp(process.transition, (t,), (jnp.ones_like(t),))[1]


def edm(sigma_data=0.5):
    """The row of EDM's network output F, with D = c_skip u + c_out F: (a [], b [] or [c]) as a
    function of (process, t).

    At the channel's noise level s = 1 / gain: F = (s x0 / sigma_data - sigma_data xi) / sqrt(s^2 +
    sigma_data^2).
    Raises ValueError when sigma_data is not positive. Source: Karras et al. 2022, arXiv 2206.00364,
    table 1 and equation 7.
    """
    if not isinstance(sigma_data, float | int) or not sigma_data > 0:
        raise ValueError(f"predictions.edm: sigma_data must be a positive number; got {sigma_data}")
    return Partial(_edm, sigma_data)


def _edm(sigma_data, process, t):
    part = channel_at(process, t)
    norm = namespace(part.gain).sqrt(1 + (part.gain * sigma_data) ** 2)
    return 1 / (sigma_data * norm), -sigma_data * part.gain / norm * part.noise


KINDS = {"x0": _x0, "eps": _eps, "score": _score, "v": _v, "velocity": _velocity}


def row_of(kind):
    """The function (process, t) -> (a [], b [] or [c]) of a kind: a name, or such a function
    itself.

    Names: x0, eps and score (of the last block), v, velocity. Raises ValueError on any other.
    Source: eps: Ho et al. 2020, arXiv 2006.11239, equation 9; v: Salimans and Ho 2022, arXiv
    2202.00512, appendix D; velocity: Lipman et al. 2023, arXiv 2210.02747, equation 23.
    """
    if callable(kind):
        return kind
    if kind not in KINDS:
        raise ValueError(
            f"predictions: kind must be one of {', '.join(KINDS)} or a row; got {kind!r}"
        )
    return KINDS[kind]


def target(process, kind, x0, eps, t):
    """What a perfect memory of (x0, eps) would output, a x0 + b . eps [*event], for noise eps
    [*event] or [c, *event].

    Raises ValueError on an unknown kind. Source: as `row_of`.
    """
    a, b = row_of(kind)(process, t)
    entries = is_diagonal(process)
    return total([apply(a, x0, entries=entries), contract(b, eps, entries=entries)])


def as_denoiser(process, predict, *, kind):
    """denoiser(z, t) -> E[x0 | z] [*event] from a raw network view predict(z, t) -> [*event].

    Args: z is [*event], or [c, *event] for blocks; kind as in `row_of`. Raises ValueError on an
    unknown kind. x0 = (prediction - b L^-1 z) / (a - b L^-1 Phi_0), one linear solve for all kinds.
    Source: derived.
    """
    row, entries = row_of(kind), is_diagonal(process)
    if kind == "x0":
        return predict

    def denoiser(z, t):
        from_z, from_prediction = reading(process, row, t)
        prediction = predict(z, t)
        return total(
            [
                contract(from_z, z, entries=entries),
                apply(from_prediction, prediction, entries=entries),
            ]
        )

    return denoiser


def reading(process, row, t):
    """(from_z [] or [c], from_prediction []) with x0 = from_z . z + from_prediction * prediction;
    both [*event] for a process diagonal in a basis.

    Source: derived.
    """
    a, b = row(process, t)
    phi, chol = process.transition(t)
    if num_blocks(process) is None:
        det = a * chol - b * phi
        return -b / det, chol / det
    part = channel_at(process, t)
    xp = namespace(part.gain)
    whitened = xp.einsum("i,ij->j", b, part.whiten)
    det = a - whitened @ phi[:, 0]
    return -whitened / det, 1 / det


def _last(xp, part):
    """Picks the last block's noise: 1 for a scalar process, the last unit vector [c] for blocks."""
    if part.noise.ndim == part.gain.ndim:
        return xp.ones_like(part.noise)
    return xp.asarray([0.0] * (part.noise.shape[-1] - 1) + [1.0], dtype=part.noise.dtype)
