"""Whether patterns simulated from a fitted model look like the real one."""

import jax
import jax.numpy as jnp
import numpy as np

import jaxgen as jg

SHAPES = (2, 4, 10)  # exponents of the determinantal spectrum
WIDTHS = (0.3, 0.5, 0.7, 0.85, 0.97)  # parts of the widest that exists


def pair_curve(points, height, radii):
    """L(r) [k]: the root of pairs within r, over pi times what independent points would have.

    Edges are not corrected for: simulated patterns have the same.
    """
    n = len(points)
    if n < 2:
        return np.zeros(len(radii))
    apart = np.linalg.norm(points[:, None] - points[None], axis=-1)[np.triu_indices(n, 1)]
    pairs = np.searchsorted(np.sort(apart), radii, side="right")
    return np.sqrt(2 * pairs * height / (n * (n - 1)) / np.pi)


def nearest_curve(points, height, radii):
    """G(r) [k]: the part of points whose nearest neighbour is within r."""
    del height
    if len(points) < 2:
        return np.zeros(len(radii))
    apart = np.linalg.norm(points[:, None] - points[None], axis=-1)
    np.fill_diagonal(apart, np.inf)
    return np.searchsorted(np.sort(apart.min(1)), radii, side="right") / len(points)


CURVES = {"L": pair_curve, "G": nearest_curve}


def global_test(curves):
    """(p, low [k], high [k]) of curves [m + 1, k], the real one first: does it leave the band that
    holds 95 % of all of them, whole?

    The largest deviation from the mean of all, in standard deviations, is ranked among all. Exact
    if the m + 1 are exchangeable, and conservative for a model fitted to the real one.
    Source: Myllymaki et al. 2017, arXiv 1307.0239 (studentised maximum absolute deviation).
    """
    mean, spread = curves.mean(0), curves.std(0, ddof=1)
    usable = spread > 1e-9
    far = np.abs(curves - mean)[:, usable] / spread[usable]
    far = far.max(1) if usable.any() else np.zeros(len(curves))
    p = np.mean(far >= far[0])
    width = np.quantile(far, 0.95)
    return float(p), mean - width * spread, mean + width * spread


def patterns_of(drawn):
    """Point arrays [n_i, 2] of patterns with a leading axis."""
    return [
        np.asarray(x)[np.asarray(mask)] for x, mask in zip(drawn.points, drawn.mask, strict=True)
    ]


def uniform(key, problem, many):
    """Patterns of as many independent uniform points as the real one has."""
    n = int(jg.points.count(problem.pattern))
    low, high = problem.window
    rng = np.random.default_rng(int(jax.random.randint(key, (), 0, 2**31 - 1)))
    return [np.asarray(low) + rng.random((n, 2)) * np.asarray(high - low) for _ in range(many)]


def strauss(key, problem, thetas, many):
    """Patterns at thetas [..., 2] of the posterior, picked at random."""
    key_pick, key_draw = jax.random.split(key)
    flat = jnp.asarray(thetas).reshape(-1, 2)
    picked = flat[jax.random.randint(key_pick, (many,), 0, len(flat))]
    draw = lambda i, theta: problem.simulate(jax.random.fold_in(key_draw, i), theta)
    return patterns_of(jax.jit(jax.vmap(draw))(jnp.arange(many), picked))


def spectrum(n, shape, width):
    """(waves [m, 2], eigenvalues [m]) of the power-exponential determinantal process of intensity n
    on the unit square: p_k = c exp(-|a k|^shape), at a part of the largest a with all p_k < 1.

    Source: Lavancier, Moller and Rubak 2015, arXiv 1205.4818, section 3.3 (the spectrum).
    """
    top = 30
    k = np.stack(np.meshgrid(*[np.arange(-top, top + 1)] * 2, indexing="ij"), -1).reshape(-1, 2)
    size = np.linalg.norm(k, axis=1)

    def at(a):
        p = np.exp(-((a * size) ** shape))
        return p * n / p.sum()

    low, high = 1e-3, 2.0
    for _ in range(60):  # the a at which the largest eigenvalue is 1
        middle = (low + high) / 2
        low, high = (middle, high) if at(middle).max() < 1 else (low, middle)
    p = at(width * low)
    kept = p > 2e-3
    return k[kept], np.minimum(p[kept] * n / p[kept].sum(), 0.999)


def determinantal_fit(problem):
    """(law, shape, width, log-density) of the determinantal process that makes the real pattern
    most likely, of its own intensity.
    """
    n = int(jg.points.count(problem.pattern))
    found = []
    for shape in SHAPES:
        for width in WIDTHS:
            waves, p = spectrum(n, shape, width)
            law = jg.points.determinantal(waves, jnp.asarray(p, jnp.float32))
            found.append((float(jax.jit(law.logdensity)(problem.pattern)), shape, width, law))
    best = max(found, key=lambda each: each[0])
    return best[3], best[1], best[2], best[0]


def determinantal(key, law, many):
    """Patterns of a determinantal law."""
    draw = lambda i: law.sample(jax.random.fold_in(key, i))
    return patterns_of(jax.jit(lambda: jax.lax.map(draw, jnp.arange(many)))())


def criticised(key, settings, problem, thetas):
    """[(model, note, {curve: (p, real [k], low [k], high [k])}, a pattern)], and the radii [k]."""
    radii = np.linspace(0.3, 3, 55) * problem.radius
    real = patterns_of(jax.tree.map(lambda leaf: leaf[None], problem.pattern))[0]
    height = float(problem.window.high[1])
    many = settings.criticised
    keys = [jax.random.fold_in(key, i) for i in range(3)]
    models = [
        ("Poisson", "given the count", uniform(keys[0], problem, 10 * many)),  # they cost nothing
        ("Strauss", "posterior", strauss(keys[1], problem, thetas, many)),
    ]
    if height == 1 and settings.with_determinantal and problem.name == "towns":
        law, shape, width, _ = determinantal_fit(problem)
        note = f"power {shape}, {width:.2f} of the widest"
        models.append(("determinantal", note, determinantal(keys[2], law, many)))
    found = []
    for name, note, patterns in models:
        tests = {}
        for curve, of in CURVES.items():
            curves = np.array([of(x, height, radii) for x in (real, *patterns)])
            p, low, high = global_test(curves)
            tests[curve] = (p, curves[0], low, high)
        found.append((name, note, tests, patterns[0]))
    return found, radii
