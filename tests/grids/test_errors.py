"""Grids made from what steps cost: equal shares of a density, and cheapest paths."""

import itertools

import numpy as np
import pytest

from jaxgen import grids
from jaxgen.processes import scalar

VP = scalar.vp(t_min=0.01)


def test_recorded_errors_place_stops_where_the_error_grows():
    """With local errors c(t) h^3, c = t^-3, the density is 1 / t: stops are even in log t."""
    ts = np.linspace(1.0, 0.01, 4001)
    middle, h = (ts[1:] + ts[:-1]) / 2, -np.diff(ts)
    for times, errors in ((ts, h**3 / middle**3), (ts[::-1], (h**3 / middle**3)[::-1])):
        density = grids.error_density(times, errors, order=2)
        found = grids.equidistributed(VP, 7, density=density)
        np.testing.assert_allclose(found, np.geomspace(1.0, 0.01, 8), rtol=1e-4)


def test_a_piecewise_density_is_shared_exactly():
    density = (np.array([0.01, 0.51, 1.0]), np.array([3.0, 1.0]))
    found = grids.equidistributed(VP, 2, density=density)
    # The masses are 1.5 and 0.49: half of them, 0.995, lies on the first piece.
    assert found[1] == pytest.approx(0.01 + 0.995 / 3, rel=1e-12)


def test_a_path_is_the_cheapest_of_all():
    random = np.random.default_rng(0)
    for _ in range(5):
        cost = random.exponential(size=(8, 8))
        for n in (1, 2, 4, 7):
            inner = itertools.combinations(range(1, 7), n - 1)
            paths = [(0, *chosen, 7) for chosen in inner]
            best = min(paths, key=lambda p: sum(cost[i, j] for i, j in itertools.pairwise(p)))
            ts = grids.dynamic_programming(VP, n, cost=cost)
            np.testing.assert_array_equal(ts, grids.uniform(VP, 7)[list(best)])


def test_candidates_may_come_from_any_grid():
    cost = (np.arange(9) - np.arange(9)[:, None]) ** 2.0
    found = grids.dynamic_programming(VP, 4, cost=cost, grid=grids.log_snr, t_max=0.8)
    np.testing.assert_allclose(found, grids.log_snr(VP, 4, t_max=0.8), rtol=1e-9)


def test_what_cannot_be_used_is_refused():
    few = np.ones((4, 4))
    with pytest.raises(ValueError, match="n must be at most m - 1 = 3 for 4 candidates; got 5"):
        grids.dynamic_programming(VP, 5, cost=few)
    with pytest.raises(ValueError, match=r"cost must have shape \[m, m\], m >= 2; got shape"):
        grids.dynamic_programming(VP, 2, cost=few[:3])
    with pytest.raises(ValueError, match="cost must be a number; got NaN"):
        grids.dynamic_programming(VP, 2, cost=few * np.nan)
    with pytest.raises(ValueError, match="2 steps must have a finite cost; got none"):
        grids.dynamic_programming(VP, 2, cost=few * np.inf)
    for density in (lambda t: -t, lambda t: t * np.nan, lambda t: 0 * t):
        with pytest.raises(ValueError, match="density must be positive and finite; its integral"):
            grids.equidistributed(VP, 2, density=density)
    for density in ((np.ones(3), np.ones(2)), (np.array([0.0, 1.0]), np.ones(2))):
        with pytest.raises(ValueError, match="density must have rising stops"):
            grids.equidistributed(VP, 2, density=density)
    with pytest.raises(ValueError, match=r"density must cover \[0.01, 1.0\]; got one on"):
        grids.equidistributed(VP, 2, density=(np.array([0.1, 1.0]), np.ones(1)))
    with pytest.raises(ValueError, match="error_density: ts .* must have positive errors"):
        grids.error_density(np.linspace(1, 0, 4), np.array([1.0, 0.0, 1.0]), order=1)
    with pytest.raises(ValueError, match="sigmoid: start must be below end; got 1.0 and 0.0"):
        grids.sigmoid(VP, 3, start=1.0, end=0.0)
    with pytest.raises(ValueError, match="sigmoid: tau must be positive; got 0.0"):
        grids.sigmoid(VP, 3, tau=0.0)
