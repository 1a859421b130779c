"""Integrals of interpolating polynomials against a frame's force: the weights of every table."""

import numpy as np

from jaxgen.math import gauss_legendre, lagrange, namespace


def moments(frame, intervals, nodes):
    """int l_j dV [m, k, ...] over the intervals [m] (i is from stop i to stop i + 1), with the
    Lagrange polynomials on the stops nodes [m, k], in the frame's clock.

    The integral is taken by parts, l_j(b) (V(b) - V(a)) - int l_j' (V - V(a)) du, so that the
    weights sum to V(b) - V(a) exactly and no derivative of the schedule is needed. Source: derived;
    Zhang and Chen 2023, arXiv 2204.13902, equation 15.
    """
    u = frame.clock
    xp = namespace(u, frame.force)
    nodes, a, b = u[nodes], u[intervals], u[intervals + 1]
    points, weights = gauss_legendre(frame.inner.shape[1])
    inside = a[:, None] + (b - a)[:, None] * points[None]
    at_end, _ = lagrange(nodes, b)
    _, slopes = lagrange(nodes[:, None], inside)
    slopes = slopes * (b - a)[:, None, None] * weights[None, :, None]
    return xp.einsum("mk,m...->mk...", at_end, frame.force[intervals]) - xp.einsum(
        "mqk,mq...->mk...", slopes, frame.inner[intervals]
    )


def ramped(frame, order, offsets_of):
    """Moments [n, k, ...] of all n steps, with fewer nodes while there is no past: step i uses
    min(i + 1, order) of them.

    Args: offsets_of(nodes) -> the offsets from i of a step's nodes, with that many of the past; k =
    len(offsets_of(order)).
    Source: definition.
    """
    n = frame.clock.shape[0] - 1
    width = len(offsets_of(order))
    parts = []
    for nodes in range(1, order + 1):
        steps = np.arange(nodes - 1, min(nodes, n) if nodes < order else n)
        if len(steps):
            stencil = steps[:, None] + np.array(offsets_of(nodes))[None]
            parts.append(widen(moments(frame, steps, stencil), width))
    return namespace(frame.clock, frame.force).concatenate(parts)


def widen(weights, width):
    """Weights [m, k, ...] padded with zeros to [m, width, ...]. Source: definition."""
    xp = namespace(weights)
    shape = (weights.shape[0], width - weights.shape[1], *weights.shape[2:])
    return xp.concatenate([weights, xp.zeros(shape, weights.dtype)], 1)


def carry(base, moments):
    """U(b) m_j [m, k, ...] for propagators base [m, ...] and moments [m, k, ...].

    Source: definition.
    """
    xp = namespace(base, moments)
    if base.ndim == 1:
        return base[:, None] * moments
    return xp.einsum("mij,mkj...->mki...", base, moments)


def scaled(leaf, factors):
    """Leaf [n, ...] times factors [n]. Source: definition."""
    return leaf * factors.reshape((-1,) + (1,) * (leaf.ndim - 1))


def relaxed(force, h):
    """Moments [n, 2, ...] of the prediction held at its value extrapolated to the middle of each
    step h [n] in log-SNR; the first step has no past.

    Source: Lu et al. 2022, arXiv 2211.01095, algorithm 2.
    """
    xp = namespace(force, h)
    lean = xp.concatenate([0 * h[:1], h[1:] / (2 * h[:-1])])
    return xp.stack([scaled(force, 1 + lean), -scaled(force, lean)], 1)
