"""Real patterns that ship inside packages, in units of the width of their window."""

from typing import Any, NamedTuple

import numpy as np

LIBPYSAL = {"juvenile": "juvenile.shp", "burkitt": "burkitt.shp", "crimes": "crimes.shp"}
NAMES = ("towns", *LIBPYSAL)
TITLES = {
    "towns": "towns of the Great Hungarian Plain",
    "juvenile": "homes of juvenile offenders, Cardiff",
    "burkitt": "cases of Burkitt's lymphoma, Uganda",
    "crimes": "crimes, a town in Arizona",
}
CENTRE, SIDE = (47.0, 20.5), 150.0  # latitude and longitude in degrees, km
KM_A_DEGREE = 111.2
INSTALL = "pip install 'jaxgen[patterns]'"


class Real(NamedTuple):
    """A pattern in a window [0, 1] x [0, height]."""

    name: str
    points: Any  # [n, 2]
    height: float
    unit: float  # of the data's own units in the window's width


class MissingError(ValueError):
    """The package of a data set is not installed."""


def load(name) -> Real:
    """The pattern of a name; `MissingError` where its package is not installed."""
    package = "bokeh_sampledata" if name == "towns" else "libpysal and geopandas"
    try:
        return _towns() if name == "towns" else _shapes(name)
    except ImportError as error:
        raise MissingError(f"{name} needs {package} ({INSTALL}); got {error}") from error


def _towns():
    """Places of more than 5,000 people (GeoNames, CC BY 4.0) in a square of 150 km."""
    from bokeh_sampledata import world_cities

    table = world_cities.data
    north = (table["lat"].to_numpy() - CENTRE[0]) * KM_A_DEGREE
    east = (table["lng"].to_numpy() - CENTRE[1]) * KM_A_DEGREE * np.cos(np.radians(CENTRE[0]))
    x = np.stack([east, north], -1)
    x = x[np.all(np.abs(x) < SIDE / 2, 1)]
    return Real("towns", x / SIDE + 0.5, 1.0, SIDE)


def _shapes(name):
    """A shapefile of points; its window is the box around them, widened as for uniform points."""
    import geopandas
    from libpysal import examples

    shapes = geopandas.read_file(examples.get_path(LIBPYSAL[name])).geometry
    x = np.stack([shapes.x.to_numpy(), shapes.y.to_numpy()], -1).astype(float)
    return boxed(name, x)


def boxed(name, x) -> Real:
    """Points [n, 2] in the box around them, larger by (n + 1) / (n - 1) a side: the extremes of n
    uniform points lie that much inside (Ripley and Rasson 1977).
    """
    if len(x) < 3 or not np.all(np.isfinite(x)) or np.any(np.ptp(x, 0) == 0):
        raise ValueError(f"{name}: points must be at least 3, finite and not on a line; got {x}")
    low, high, n = x.min(0), x.max(0), len(x)
    size = (high - low) * (n + 1) / (n - 1)
    low = (low + high) / 2 - size / 2
    return Real(name, (x - low) / size[0], float(size[1] / size[0]), float(size[0]))


def profile(points, height, radii, cells=100):
    """(log-pseudo-likelihoods, gammas, betas), each [k], of Strauss' process at radii [k], at their
    best beta and gamma.

    n log beta + 2 s log gamma - beta integral gamma^t(u) du, with the best beta n / integral.
    Source: Baddeley and Turner 2000 (maximum profile pseudo-likelihood).
    """
    side = (np.arange(cells) + 0.5) / cells
    u = np.stack(np.meshgrid(side, side * height, indexing="ij"), -1).reshape(-1, 2)
    there = np.linalg.norm(u[:, None] - points[None], axis=-1)
    apart = np.linalg.norm(points[:, None] - points[None], axis=-1)
    apart = apart[np.triu_indices(len(points), 1)]
    n, gammas = len(points), np.linspace(0, 1, 101)
    values, best, betas = [], [], []
    for radius in radii:
        close = np.bincount((there <= radius).sum(1)) / len(u) * height
        pairs = 2 * np.sum(apart <= radius)
        powers = gammas[:, None] ** np.arange(len(close))[None]
        with np.errstate(divide="ignore", invalid="ignore"):
            own = pairs * np.log(gammas) if pairs else 0.0 * gammas
            each = n / (powers @ close)
            law = n * np.log(each) + own - n
        values.append(law.max())
        best.append(gammas[law.argmax()])
        betas.append(each[law.argmax()])
    return np.array(values), np.array(best), np.array(betas)
