"""Searching among schedules and grids, with Gaussians whose flow is known, in NumPy."""

import functools

import jax
import numpy as np
import pytest

import jaxgen as jg
from jaxgen.solvers import exponential, search
from jaxgen.solvers.search import _stages as parts

VP = jg.processes.scalar.vp()
GRIDS = (jg.grids.log_snr, jg.grids.power, jg.grids.cosine)
STEPS = 4
RANDOM = np.random.default_rng(0)
MEANS, VARIANCES = RANDOM.normal(size=40), np.exp(RANDOM.uniform(-3, 0, 40))
STARTS = RANDOM.normal(size=40)


def ends():
    """Gaussian flow keeps (z - alpha mean) / deviation."""
    (a, s), (b, r) = (VP.transition(np.asarray(t)) for t in (VP.t_max, VP.t_min))
    scale = np.sqrt((b**2 * VARIANCES + r**2) / (a**2 * VARIANCES + s**2))
    return b * MEANS + scale * (STARTS - a * MEANS)


def score(rows):
    """Mean distance [p] of p tables from the ends."""
    p, n = rows.t.shape
    z, past, data = np.broadcast_to(STARTS, (p, 40)), [], []
    for i in range(n):
        alpha, sigma = (part[:, None] for part in VP.transition(rows.t[:, i]))
        gain = alpha * VARIANCES / (alpha**2 * VARIANCES + sigma**2)
        past.insert(0, z)
        data.insert(0, MEANS + gain * (z - alpha * MEANS))
        z = sum(rows.past[:, i, j, None] * past[j] for j in range(i + 1))
        z = z + sum(rows.data[:, i, j, None] * data[j] for j in range(i + 1))
    return np.abs(z - ends()).mean(1)


@functools.cache
def found(seed=0, rounds=5, population=24):
    options = {"seed": seed, "rounds": rounds, "population": population}
    return search.stages(VP, STEPS, score, grids=GRIDS, **options)


def alone(rows):
    wide = lambda leaf: np.pad(leaf, ((0, 0), (0, STEPS - leaf.shape[1])))
    rows = rows._replace(past=wide(rows.past), data=wide(rows.data))
    return score(jax.tree.map(lambda leaf: leaf[None], rows))[0]


@pytest.mark.slow
def test_a_search_beats_the_named_and_as_many_random_ones():
    named = [
        alone(exponential.usf(VP, None, schedule=choices).plan(grid(VP, STEPS)))
        for grid in GRIDS
        for order in (1, 2, 3)
        for hold in ("x0", "eps")
        for choices in [exponential.named_schedule("deis", STEPS, order=order, hold=hold)]
    ]
    bred, blind = (
        np.exp(np.mean([np.log(found(seed, *sizes).score) for seed in range(4)]))
        for sizes in ((5, 24), (0, 144))
    )
    assert bred < 0.5 * min(named), (bred, min(named))
    assert bred < 0.7 * blind, (bred, blind)


def test_the_surrogate_ranks_what_it_has_not_seen():
    random = np.random.default_rng(1)
    genes = np.stack([random.integers(size, size=(300, STEPS)) for size in parts.SIZES], -1)
    pool = parts._Pool(genes, random.normal(size=(300, STEPS)))
    good = random.normal(size=(STEPS, len(parts.SIZES)))
    truth = np.exp((genes * good).sum((1, 2)) + pool.gaps[:, 0])
    seen = parts._Pool(pool.genes[:150], pool.gaps[:150])
    guess = parts._surrogate(seen, truth[:150])(pool)[150:]
    ranks = np.argsort(np.argsort(np.stack([guess, truth[150:]])))
    assert np.corrcoef(ranks)[0, 1] > 0.6


def test_what_was_found_is_what_was_scored():
    result = found()
    assert (np.diff(result.best) <= 0).all()
    assert result.best[-1] == result.score
    assert len(result.best) == 6
    ts = result.ts
    assert (ts[0], ts[-1]) == (VP.t_max, VP.t_min)
    assert (np.diff(ts) < 0).all()
    assert alone(result.table.rows) == pytest.approx(result.score, rel=1e-12)
    again = exponential.usf(VP, None, schedule=result.schedule).plan(ts)
    np.testing.assert_array_equal(again.data, result.table.rows.data)
    np.testing.assert_array_equal(search.stops(result.table), ts)


def test_a_seed_finds_the_same_and_progress_is_told():
    told = []
    options = {"rounds": 2, "population": 8, "grids": GRIDS, "progress": lambda *x: told.append(x)}
    one, two = (search.stages(VP, STEPS, score, seed=3, **options) for _ in range(2))
    np.testing.assert_array_equal(one.ts, two.ts)
    assert one.schedule == two.schedule
    assert told[:2] == [(0, one.best[1]), (1, one.best[2])]


def test_scores_without_a_number_are_the_worst():
    def broken(rows):
        found = score(rows)
        return np.where(found < np.median(found), np.nan, found)

    result = search.stages(VP, STEPS, broken, grids=GRIDS, seed=0, rounds=1, population=8)
    assert np.isfinite(result.score)


def test_wrong_sizes_are_refused():
    for wrong, message in [
        ({"n": 0}, "n must be at least 1; got 0"),
        ({"rounds": -1}, "rounds must be at least 0; got -1"),
        ({"population": 3}, "population must be at least 4; got 3"),
        ({"bred": 0}, "bred must be at least 1; got 0"),
        ({"grids": ()}, "grids must be at least 1; got 0"),
    ]:
        options = {"n": STEPS, "grids": GRIDS, "seed": 0} | wrong
        with pytest.raises(ValueError, match=f"solvers.search.stages: {message}"):
            search.stages(VP, options.pop("n"), score, **options)


def follow(ts):
    """The exact flow of the Gaussians, and its predictions, at stops ts [m]; [m, 40, 1] each."""
    alpha, sigma = (part[:, None] for part in VP.transition(ts))
    deviation = np.sqrt(alpha**2 * VARIANCES + sigma**2)
    z = alpha * MEANS + deviation * ((STARTS - alpha[0] * MEANS) / deviation[0])
    x0 = MEANS + alpha * VARIANCES / deviation**2 * (z - alpha * MEANS)
    return z[..., None], x0[..., None]


def ddim_on(ts):
    rows = exponential.generalise(VP, exponential.ddim(VP, None).plan(ts))
    return alone(rows)


def test_priced_steps_make_a_good_grid():
    fine = jg.grids.log_snr(VP, 120)
    costs = search.step_costs(VP, fine, *follow(fine))
    assert costs[40, 41] < 1e-2 * costs[0].max(where=np.isfinite(costs[0]), initial=0)
    ts = jg.grids.dynamic_programming(VP, STEPS, cost=costs, grid=jg.grids.log_snr)
    others = [ddim_on(grid(VP, STEPS)) for grid in (*GRIDS, jg.grids.uniform, jg.grids.karras)]
    assert ddim_on(ts) < 0.9 * min(others), (ddim_on(ts), others)


def test_costs_of_what_does_not_fit_are_refused():
    states, predictions = follow(np.array([0.9, 0.5, 0.1]))
    with pytest.raises(ValueError, match="step_costs: the process must be scalar; got 2 blocks"):
        search.step_costs(jg.processes.augmented.cld(), np.ones(3), states, predictions)
    with pytest.raises(ValueError, match=r"step_costs: ts \[m\] must have states and predictions"):
        search.step_costs(VP, np.ones(2), states, predictions)
