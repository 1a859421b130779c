"""Points and weights for means over the standard normal law: sum_i weights_i f(points_i) is E f."""

import itertools

import numpy as np


def gauss_hermite(n, d):
    """(points [n^d, d], weights [n^d]), in NumPy: E f(eps) over N(0, I_d) is exact where f has
    degree at most 2n - 1 in each coordinate.

    Raises ValueError when n or d is not a positive integer. Source: Golub and Welsch 1969, as
    computed by NumPy; the product rule.
    """
    if not (isinstance(n, int) and isinstance(d, int) and n > 0 and d > 0):
        raise ValueError(f"vi.gauss_hermite: n and d must be positive integers; got {n}, {d}")
    nodes, weights = np.polynomial.hermite_e.hermegauss(n)
    weights = weights / np.sum(weights)
    points = np.array(list(itertools.product(nodes, repeat=d)))
    return points, np.prod(np.array(list(itertools.product(weights, repeat=d))), 1)


def cubature(d, degree=3):
    """(points [n, d], weights [n]), in NumPy: E f(eps) over N(0, I_d) is exact where f has total
    degree at most 3 (n = 2d) or 5 (n = 2d^2 + 1; some weights are negative from d = 5 on).

    Raises ValueError on another degree, or when d is not a positive integer. Source: McNamee and
    Stenger 1967; Arasaratnam and Haykin 2009 for degree 3.
    """
    if not (isinstance(d, int) and d > 0):
        raise ValueError(f"vi.cubature: d must be a positive integer; got {d}")
    axes = np.concatenate([np.eye(d), -np.eye(d)])
    if degree == 3:
        return np.sqrt(d) * axes, np.full(2 * d, 0.5 / d)
    if degree != 5:
        raise ValueError(f"vi.cubature: degree must be 3 or 5; got {degree}")
    # Weights a at 0, b at sqrt(3) on the axes, c at sqrt(3) in two coordinates: moments 0, 2, 4
    # and E eps_i^2 eps_j^2 = 1 ask 36 c = 1, 18 (b + 2 (d - 1) c) = 3.
    pairs = [
        row
        for i, j in itertools.combinations(range(d), 2)
        for row in (np.eye(d)[i] + sign * np.eye(d)[j] for sign in (1, -1))
    ]
    both = np.array(pairs).reshape(-1, d)
    across = 1 / 36
    along = 1 / 6 - 2 * (d - 1) * across
    middle = 1 - 2 * d * along - 2 * d * (d - 1) * across
    points = np.sqrt(3) * np.concatenate([np.zeros((1, d)), axes, both, -both])
    counts = [1, 2 * d, 2 * d * (d - 1)]
    return points, np.repeat([middle, along, across], counts)
