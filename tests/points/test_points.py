"""Point processes against their exact counts, densities and pair correlations."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import points
from jaxgen.points import _perfect

WINDOW = points.box([0.0, -1.0], [2.0, 0.5])
AREA = 3.0
SIDE = points.box([0.0, 0.0], [1.0, 1.0])


def many(sample, n, seed=0):
    """Draws n patterns in one compiled call."""
    return jax.jit(jax.vmap(lambda i: sample(jax.random.fold_in(jax.random.key(seed), i))))(
        jnp.arange(n)
    )


def agree(counts, probs):
    """Pearson's statistic of counts [n] within 5 standard deviations of its mean, all counts."""
    observed = np.bincount(np.asarray(counts), minlength=len(probs))
    expected = np.asarray(probs) * len(counts)
    enough = expected > 5
    pooled = lambda a: np.append(a[enough], a[~enough].sum())
    o, e = pooled(observed), pooled(expected)
    freedom, statistic = len(e) - 1, np.sum((o - e) ** 2 / np.maximum(e, 1e-12))
    assert abs(statistic - freedom) < 5 * np.sqrt(2 * freedom), (statistic, freedom)


def within(samples, truth):
    """The mean of samples [n] within 5 standard errors."""
    samples = np.asarray(samples, float)
    error = samples.std(ddof=1) / np.sqrt(len(samples))
    assert abs(samples.mean() - truth) < 5 * error, (samples.mean(), truth, error)


def test_pairs_are_counted():
    x = np.random.RandomState(0).rand(7, 2)  # noqa: NPY002
    close = sum(np.linalg.norm(a - b) <= 0.4 for a, b in itertools.combinations(x, 2))
    padded = points.pattern(x, 10)
    assert points.pair_count(padded, 0.4) == close > 3
    assert points.count(padded) == 7
    holes = points.Pattern(jnp.asarray(x), jnp.asarray([0, 1, 1, 0, 1, 0, 1], bool))
    few = points.pattern(x[[1, 2, 4, 6]])
    assert points.pair_count(holes, 0.4) == points.pair_count(few, 0.4) > 0
    assert points.pair_count(points.pattern(np.zeros((4, 2))), 0.0) == 6  # duplicates are pairs


def test_poisson_counts_places_and_density():
    law = points.poisson(1.4, WINDOW, capacity=20)
    drawn = many(law.sample, 4000)
    n = np.arange(21)
    probs = np.exp(n * np.log(1.4 * AREA) - 1.4 * AREA) / np.cumprod(np.maximum(n, 1).astype(float))
    agree(drawn.mask.sum(1), probs)
    chosen = np.asarray(drawn.points)[np.asarray(drawn.mask)]
    assert np.all((chosen >= [0, -1]) & (chosen <= [2, 0.5]))
    within(chosen[:, 0], 1.0)
    within(chosen[:, 1], -0.25)
    some = points.pattern(np.asarray([[0.3, 0.2], [1.0, -0.9], [1.9, 0.0]]), 20)
    np.testing.assert_allclose(law.logdensity(some), 3 * np.log(1.4) - 1.4 * AREA, rtol=1e-8)
    outside = points.pattern(np.asarray([[0.3, 0.7]]), 20)
    assert law.logdensity(outside) == -np.inf


def test_poisson_given_a_small_capacity():
    law = points.poisson(2.0, WINDOW, capacity=3)
    weights = 6.0 ** np.arange(4) / [1, 1, 2, 6]
    agree(many(law.sample, 2000).mask.sum(1), weights / weights.sum())
    empty = points.pattern(np.zeros((0, 2)), 3)
    np.testing.assert_allclose(law.logdensity(empty), -np.log(weights.sum()))
    nothing = points.poisson(0.0, WINDOW, capacity=3)
    assert nothing.logdensity(empty) == 0
    assert not np.any(many(nothing.sample, 5).mask)


def test_strauss_is_its_definition():
    x = points.pattern(np.random.RandomState(1).rand(6, 2), 8)  # noqa: NPY002
    process = points.strauss(3.0, 0.4, 0.3)
    s = int(points.pair_count(x, 0.3))
    assert s > 0
    np.testing.assert_allclose(process.logdensity(x), 6 * np.log(3.0) + s * np.log(0.4))
    new = jnp.asarray([0.5, 0.5])
    larger = points.pattern(np.concatenate([x.points[:6], new[None]]), 8)
    difference = process.logdensity(larger) - process.logdensity(x)
    np.testing.assert_allclose(process.log_intensity(new, x), difference, rtol=1e-12)
    traced = jax.jit(lambda g: points.strauss(3.0, g, 0.3).log_intensity(new, x))
    assert np.isnan(traced(1.5))
    assert np.isnan(traced(-0.1))
    hard = points.strauss(3.0, 0.0, 0.3)
    assert hard.logdensity(x) == -np.inf
    np.testing.assert_allclose(points.strauss(3.0, 0.0, 1e-6).logdensity(x), 6 * np.log(3.0))
    for r in (0.3, 1e-6):
        slope = jax.grad(lambda g, r=r: points.strauss(3.0, g, r).logdensity(x))(0.4)
        np.testing.assert_allclose(slope, int(points.pair_count(x, r)) / 0.4)


def test_everywhere_is_summed():
    probs, log_z = points.strauss_everywhere(2.0, 0.7, WINDOW, capacity=30)
    z, factorial = 0.0, 1.0
    for n in range(31):
        factorial *= max(n, 1)
        z += 6.0**n * 0.7 ** (n * (n - 1) / 2) / factorial
    np.testing.assert_allclose(log_z, np.log(z), rtol=1e-12)
    np.testing.assert_allclose(np.exp(probs).sum(), 1, rtol=1e-12)
    probs, _ = points.strauss_everywhere(2.0, 0.0, WINDOW, capacity=5)
    np.testing.assert_allclose(np.exp(probs), [1 / 7, 6 / 7, 0, 0, 0, 0], atol=1e-15)
    poisson, log_z = points.strauss_everywhere(2.0, 1.0, WINDOW, capacity=60)
    np.testing.assert_allclose(log_z, 6.0, rtol=1e-9)


@pytest.mark.parametrize("gamma", [0.6, 0.0])
def test_counts_of_strauss_everywhere(gamma):
    process, capacity = points.strauss(2.0, gamma, 9.0), 14
    probs, _ = points.strauss_everywhere(2.0, gamma, WINDOW, capacity=capacity)
    chain = lambda key: points.simulate(key, process, WINDOW, capacity=capacity, steps=80)
    agree(many(chain, 3000).mask.sum(1), np.exp(probs))


@pytest.mark.usefixtures("same_key")
def test_perfect_counts_of_strauss_everywhere():
    process = points.strauss(1.0, 0.6, 9.0)
    probs, _ = points.strauss_everywhere(1.0, 0.6, WINDOW, capacity=14)
    perfect = lambda key: points.perfect(key, process, 1.0, WINDOW, capacity=14, horizon=32)
    drawn = many(perfect, 400)
    assert np.all(drawn.coalesced)
    agree(drawn.pattern.mask.sum(1), np.exp(probs))


@pytest.mark.slow
@pytest.mark.usefixtures("same_key")
def test_a_perfect_draw_is_the_same_however_far_one_looks_back():
    process, law = points.strauss(1.0, 0.2, 9.0), points.poisson(1.0, WINDOW, capacity=14)

    def both(key):
        past = _perfect._past(key, law, 14, 16)
        look = lambda back: _perfect._forward(past, process.log_intensity, 0.0, jnp.asarray(back))
        return look(2), look(16)

    (upper, lower, _), (_, longer, bounded) = jax.tree.map(np.asarray, many(both, 400))
    assert np.all(bounded)
    assert np.all(upper | ~lower)  # the lower pattern lies within the upper one
    coalesced = np.all(upper == lower, 1)
    assert 40 < np.sum(coalesced) < 400
    np.testing.assert_array_equal(lower[coalesced], longer[coalesced])


def by_rejection(beta, gamma, radius, n, seed=3):
    """Counts and pairs of Strauss' process on the unit square, by rejection of Poisson draws."""
    rng, found = np.random.RandomState(seed), []  # noqa: NPY002
    while len(found) < n:
        x = rng.rand(rng.poisson(beta), 2)
        s = int(np.sum(np.triu(np.linalg.norm(x[:, None] - x, axis=-1) <= radius, 1)))
        if rng.rand() < gamma**s:
            found.append((len(x), s))
    return np.array(found).T


@pytest.mark.slow
@pytest.mark.usefixtures("same_key")
def test_two_simulators_agree_with_rejection():
    process = points.strauss(6.0, 0.4, 0.25)
    truth = by_rejection(6.0, 0.4, 0.25, 4000)
    chain = many(lambda k: points.simulate(k, process, SIDE, capacity=24, steps=200), 1500)
    perfect = many(lambda k: points.perfect(k, process, 6.0, SIDE, capacity=24, horizon=16), 250)
    assert np.all(perfect.coalesced)
    for drawn in (chain, perfect.pattern):
        pairs = jax.vmap(lambda x: points.pair_count(x, 0.25))(drawn)
        for ours, theirs in zip((drawn.mask.sum(1), pairs), truth, strict=True):
            ours = np.asarray(ours)
            error = np.sqrt(ours.var() / len(ours) + theirs.var() / len(theirs))
            assert abs(ours.mean() - theirs.mean()) < 5 * error


@pytest.mark.usefixtures("same_key")
def test_detailed_balance_of_birth_death_and_move():
    """p(x) P(x -> y) = p(y) P(y -> x), with y and the way back found by trying keys."""
    process = points.strauss(5.0, 0.3, 0.6)
    x = points.pattern(np.asarray([[0.1, 0.0], [0.5, 0.1], [1.7, -0.5]]), 6)
    algorithm = points.birth_death(process, WINDOW, moves=0.4)
    step = jax.jit(jax.vmap(algorithm.step, (0, None)))
    keys = jax.random.split(jax.random.key(1), 400)
    after, info = step(keys, algorithm.init(x))
    density = lambda x: np.exp(process.logdensity(x))
    checked = {0: 0, 2: 0}
    for i in np.flatnonzero((np.asarray(info.kind) != 1) & np.asarray(info.is_accepted))[:40]:
        kind, y = int(info.kind[i]), jax.tree.map(lambda a, i=i: a[i], after.position)
        there = float(info.acceptance_rate[i]) * {0: 0.3 / AREA, 2: 0.4 / (3 * AREA)}[kind]
        if kind == 0:  # the way back: the death of that point
            _, back = step(keys, algorithm.init(y))
            hit = (np.asarray(back.kind) == 1) & (np.asarray(back.row) == int(info.row[i]))
            returned = float(back.acceptance_rate[np.argmax(hit)]) * 0.3 / 4
            assert np.any(hit)
        else:  # the same proposal density; acceptance by the definition
            returned = 0.4 / (3 * AREA) * min(1.0, density(x) / density(y))
        np.testing.assert_allclose(density(x) * there, density(y) * returned, rtol=1e-9)
        checked[kind] += 1
    assert min(checked.values()) > 3


@pytest.mark.usefixtures("same_key")
def test_chain_is_one_trace_keeps_float32_and_counts_divergences():
    window = points.box(np.zeros(2, np.float32), np.ones(2, np.float32))

    def run(beta, key):
        process = points.strauss(beta, 0.5, 0.2)
        algorithm = points.birth_death(process, window)
        empty = points.pattern(np.zeros((0, 2), np.float32), 4)

        def body(state, i):
            state, info = algorithm.step(jax.random.fold_in(key, i), state)
            return state, info.is_divergent

        return jax.lax.scan(body, algorithm.init(empty), jnp.arange(30))

    state, divergent = jax.jit(run)(jnp.float32(20.0), jax.random.key(0))
    assert state.position.points.dtype == jnp.float32
    assert points.count(state.position) > 2
    assert not np.any(divergent)
    state, divergent = jax.jit(run)(jnp.float32(-20.0), jax.random.key(0))
    assert points.count(state.position) == 0
    assert np.any(divergent)


@pytest.mark.usefixtures("same_key")
def test_a_full_pattern_takes_no_birth():
    """At two points of two no birth is taken, and nothing moves."""
    process = points.strauss(2.0, 0.5, 9.0)
    algorithm = points.birth_death(process, WINDOW, moves=0.2)
    full = points.pattern(np.asarray([[0.1, 0.0], [0.5, 0.1]]))
    keys = jax.random.split(jax.random.key(2), 300)
    after, info = jax.jit(jax.vmap(algorithm.step, (0, None)))(keys, algorithm.init(full))
    births = np.asarray(info.kind) == 0
    assert 80 < births.sum() < 160
    assert not np.any(np.asarray(info.is_accepted)[births])
    np.testing.assert_array_equal(
        np.asarray(after.position.points)[births],
        np.broadcast_to(full.points, (births.sum(), 2, 2)),
    )


def test_conventions_at_the_edge_and_at_the_radius():
    """Windows and radii are closed; duplicates are close; all functions agree on it."""
    lattice = points.pattern(np.asarray([[0.0, 0.0], [0.5, 0.0], [0.0, 0.5], [0.0, 0.0]]), 6)
    assert points.pair_count(lattice, 0.5) == 5
    assert points.pair_count(lattice, 0.0) == 1
    process = points.strauss(2.0, 0.5, 0.5)
    few = lattice._replace(mask=jnp.arange(6) < 3)
    grown = process.logdensity(lattice) - process.logdensity(few)
    np.testing.assert_allclose(process.log_intensity(lattice.points[3], few), grown)
    np.testing.assert_allclose(grown, np.log(2.0) + 3 * np.log(0.5))
    law = points.poisson(1.5, WINDOW, capacity=8)
    corners = points.pattern(np.asarray([[0.0, -1.0], [2.0, 0.5], [0.0, 0.5]]), 8)
    assert np.isfinite(law.logdensity(corners))
    assert points.birth_death(process, WINDOW).init(corners).position.points.shape == (8, 2)
    waves = points.determinantal(FREQUENCIES, WEIGHTS)
    inside = points.pattern(np.asarray([[0.0, 1.0], [0.3, 0.4]]))
    assert np.isfinite(waves.logdensity(inside))
    outside = points.pattern(np.asarray([[0.0, 1.0], [0.3, 1.4]]))
    assert waves.logdensity(outside) == -np.inf
    twins = points.pattern(np.asarray([[0.3, 0.4], [0.3, 0.4]]))
    assert waves.logdensity(twins) < -30  # 0 up to rounding
    alone = points.pattern(np.asarray([[0.3, 0.4]]), 3)
    assert points.pair_count(alone, 9.0) == 0
    np.testing.assert_allclose(process.logdensity(alone), np.log(2.0))


@pytest.mark.usefixtures("same_key")
def test_a_draw_without_a_bound_is_not_called_exact():
    def draw(gamma, bound):
        process = points.strauss(3.0, gamma, 9.0)
        return points.perfect(jax.random.key(0), process, bound, SIDE, capacity=16, horizon=4)

    drawn = jax.jit(draw)
    # no process; a bound below the intensity; a good one. Repulsion is so weak that all coalesce.
    for gamma, bound, exact in ((1.5, 3.0, False), (1.0, 1.0, False), (1.0, 3.0, True)):
        assert drawn(gamma, bound).coalesced == exact


FREQUENCIES = np.asarray([[0, 0], [1, 0], [0, 1], [1, 1], [-1, 2]])
WEIGHTS = np.asarray([0.9, 0.5, 0.7, 0.3, 0.6])


def test_determinantal_counts_and_pairs():
    law = points.determinantal(FREQUENCIES, WEIGHTS)
    drawn = many(law.sample, 3000)
    probs = np.ones(1)
    for p in WEIGHTS:
        probs = np.convolve(probs, [1 - p, p])
    agree(drawn.mask.sum(1), probs)
    # mean number of close pairs: 1/2 of the integral of K(0)^2 - |K(u)|^2 over close u on the torus
    grid = (np.arange(400) + 0.5) / 400 - 0.5
    u = np.stack(np.meshgrid(grid, grid), -1).reshape(-1, 2)
    kernel = np.exp(2j * np.pi * u @ FREQUENCIES.T) @ WEIGHTS
    close = np.linalg.norm(u, axis=1) < 0.3
    truth = np.mean((WEIGHTS.sum() ** 2 - np.abs(kernel) ** 2) * close) / 2
    x, mask = np.asarray(drawn.points), np.asarray(drawn.mask)
    apart = (x[:, :, None] - x[:, None] + 0.5) % 1 - 0.5
    pairs = np.triu(np.ones((5, 5)), 1) * mask[:, :, None] * mask[:, None]
    within(np.sum(pairs * (np.linalg.norm(apart, axis=-1) < 0.3), (1, 2)), truth)


def test_two_sure_waves_keep_apart():
    """Two points on a circle, of density 1 - cos(2 pi u) in their difference u."""
    drawn = many(points.determinantal([[0], [1]], [1.0, 1.0]).sample, 1500)
    assert np.all(drawn.mask)
    u = 2 * np.pi * np.asarray(drawn.points[:, 0, 0] - drawn.points[:, 1, 0])
    within(np.cos(u), -0.5)
    within(np.cos(2 * u), 0.0)


def test_determinantal_density_is_normalised():
    law = points.determinantal([[0], [1], [3]], [0.6, 0.5, 0.3])  # on a line: sums by grids
    at = jax.jit(
        jax.vmap(lambda x, n: law.logdensity(points.Pattern(x, jnp.arange(3) < n)), (0, None))
    )
    grid = np.arange(12) / 12  # exact for waves below 12
    x = np.stack(np.meshgrid(grid, grid, grid), -1).reshape(-1, 3, 1)
    masses = [np.mean(np.exp(at(x, n))) / f for n, f in enumerate([1, 1, 2, 6])]
    probs = np.ones(1)
    for p in (0.6, 0.5, 0.3):
        probs = np.convolve(probs, [1 - p, p])
    np.testing.assert_allclose(masses, probs, rtol=1e-6)
    assert points.determinantal([[0], [1]], [1.0, 0.5]).logdensity is None


THREE = points.pattern(np.full((1, 3), 0.5))
LINE = points.determinantal([[0], [1]], [0.5, 0.2])
STARTED = points.birth_death(points.strauss(1.0, 1.0, 0.1), SIDE)


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (lambda: points.strauss(2.0, 1.1, 0.1), r"gamma must lie in \[0, 1\]; got 1.1"),
        (lambda: points.strauss(2.0, -0.1, 0.1), "gamma must lie"),
        (lambda: points.strauss(2.0, np.nan, 0.1), "gamma must lie"),
        (lambda: points.strauss(-2.0, 0.5, 0.1), "beta must lie"),
        (lambda: points.strauss(2.0, 0.5, -0.1), "radius must lie"),
        (lambda: points.strauss(np.ones(2), 0.5, 0.1), "beta must be one number"),
        (lambda: points.strauss_everywhere(2.0, 1.5, SIDE, capacity=3), "gamma must lie"),
        (lambda: points.poisson(-1.0, SIDE, capacity=3), "intensity must be at least 0"),
        (lambda: points.poisson(1.0, SIDE, capacity=0), "capacity must be at least 1"),
        (lambda: points.box([0.0, 1.0], [1.0, 1.0]), "low must be below high"),
        (lambda: points.box(0.0, 1.0), r"must be \[d\]"),
        (lambda: points.pattern(np.zeros((3, 2)), 2), "capacity must"),
        (lambda: points.pattern(np.full((3, 2), np.nan)), "points must be finite"),
        (lambda: points.pattern(np.zeros(3)), r"points must be \[n, d\]"),
        (lambda: points.birth_death(points.strauss(1.0, 1.0, 0.1), SIDE, moves=1.0), "moves must"),
        (
            lambda: points.birth_death(points.strauss(1.0, 0.0, 9.0), SIDE).init(
                points.pattern(np.zeros((2, 2)))
            ),
            "must be finite at the start",
        ),
        (
            lambda: points.perfect(
                jax.random.key(0), points.strauss(1.0, 1.0, 1.0), 1.0, SIDE, capacity=3, horizon=3
            ),
            "horizon must be a power of 2",
        ),
        (
            lambda: points.perfect(
                jax.random.key(0), points.strauss(2.0, 1.0, 1.0), 1.5, SIDE, capacity=3
            ),
            "bound must be at least the intensity of the empty pattern; got 1.5 and 2",
        ),
        (
            lambda: points.perfect(
                jax.random.key(0), points.strauss(2.0, 1.0, 1.0), np.nan, SIDE, capacity=3
            ),
            "bound must be positive and finite; got nan",
        ),
        (lambda: points.poisson(np.ones(2), SIDE, capacity=3), "intensity must be one number"),
        (lambda: points.poisson(np.nan, SIDE, capacity=3), "intensity must be at least 0"),
        (
            lambda: points.poisson(1.0, SIDE, capacity=3).logdensity(THREE),
            r"points must be \[capacity, 2\]; got \(1, 3\)",
        ),
        (lambda: LINE.logdensity(THREE), r"points must be \[capacity, 1\]; got \(1, 3\)"),
        (lambda: STARTED.init(THREE), r"points must be \[capacity, 2\]; got \(1, 3\)"),
        (
            lambda: STARTED.init(points.pattern([[0.5, 0.5], [0.5, 1.5]])),
            "must lie in the window at the start; got 1 of 2 that do not",
        ),
        (
            lambda: STARTED.init(points.Pattern(np.full((2, 2), np.nan), np.ones(2, bool))),
            "must lie in the window at the start; got 2 of 2",
        ),
        (lambda: points.pair_count(THREE, -0.1), "radius must be one finite number of at least 0"),
        (lambda: points.pair_count(THREE, np.nan), "radius must be one finite number"),
        (lambda: points.pair_count(THREE, np.ones(2)), "radius must be one finite number"),
        (lambda: points.pattern(np.zeros((0, 2))), "capacity must be at least 1"),
        (lambda: points.determinantal([[0], [1]], [0.5, 1.2]), "weights must lie"),
        (lambda: points.determinantal([[0], [0]], [0.5, 0.2]), "distinct integers"),
        (lambda: points.determinantal([[0.5], [0]], [0.5, 0.2]), "distinct integers"),
        (lambda: points.determinantal([0, 1], [0.5, 0.2]), "must fit"),
    ],
)
def test_bad_input_is_refused(build, match):
    with pytest.raises(ValueError, match=match):
        build()
