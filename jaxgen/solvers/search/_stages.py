"""Searching among schedules and grids in stages: score some, learn which are good, breed, repeat.

A candidate has a gene of seven choices for each step (held prediction, clock, order, stride and
length of the stencil, relaxation, corrector) and the logarithms of its grid's gaps. Source: Liu et
al. 2023, arXiv 2312.07243, section 4 (S3). Deviations: the surrogate is a ridge regression of the
ranks, on the choices of each step, of neighbours, and of each choice beside its gap; grids are
mutated and crossed like the other genes.
"""

from typing import Any, NamedTuple

import numpy as np

from jaxgen.processes import refuse_diagonal
from jaxgen.solvers._tables._options import CLOCKS, HOLDS
from jaxgen.solvers.exponential import GeneralRow, Schedule, named_schedule, schedule, usf
from jaxgen.solvers.exponential._schedule import RELAXATIONS
from jaxgen.solvers.search._parameters import Table

ORDERS = (1, 2, 3, 4)
SIZES = (len(HOLDS), len(CLOCKS), len(ORDERS), 2, 2, len(RELAXATIONS), 2)
NAMED = (
    ("ddim", {}),
    ("dpmpp_2m", {}),
    ("deis", {"order": 2}),
    ("deis", {"order": 3}),
    ("deis", {"order": 3, "hold": "x0"}),
    ("adams_bashforth", {"order": 3}),
    ("unipc", {"predictor_order": 2}),
    ("unipc", {"predictor_order": 3}),
)
MUTATED = 0.08  # of the choices of a child
SHAKEN = 0.15  # standard deviation added to the log-gaps of a child
RIDGE = 0.05
ELITE = 4  # one in so many of a population is a parent


class Found(NamedTuple):
    """The best candidate of a search. Source: definition."""

    schedule: Schedule
    ts: Any  # [n + 1]
    table: Table  # the same as rows [n, k]
    score: Any  # []
    best: Any  # [rounds + 1] the best score so far, after the first population and each round


class _Pool(NamedTuple):
    genes: Any  # [p, n, 7] choices, as indices
    gaps: Any  # [p, n] logarithms


def stages(process, n, score, *, grids, seed, rounds=6, population=48, bred=1, progress=None):
    """The best `Schedule` and grid of n steps that a search in stages has `Found`.

    Args: score(rows) -> [p], how bad p tables are, from `GeneralRow`s with leading axes [p, n] and
        width n, always of p = population candidates, so that it can be compiled once; grids, doors
        f(process, n) -> ts [n + 1], where it starts: named samplers on them fill half of the first
        population, random choices the rest; rounds of breeding, each of `bred` generations filtered
        by the surrogate, whose best are scored; progress(round, best score) is called after each.
    The same seed finds the same. Scores that are not finite count as the worst.
    Raises ValueError on sizes below 1 (population 4), or no grids.
    Source: Liu et al. 2023, arXiv 2312.07243, section 4 and algorithm 2.
    """
    refuse_diagonal("solvers.search.stages", process)
    least = {"n": (n, 1), "rounds": (rounds, 0), "population": (population, 4), "bred": (bred, 1)}
    for name, (value, low) in {**least, "grids": (len(grids), 1)}.items():
        if value < low:
            raise ValueError(f"solvers.search.stages: {name} must be at least {low}; got {value}")
    random = np.random.default_rng(seed)
    known = _first(process, n, grids, population, random)
    ends = grids[0](process, n)[[0, -1]]
    scores = _scored(process, ends, known, score)
    best = [scores.min()]
    for i in range(rounds):
        fresh = _bred(known, scores, population, bred, random)
        known = _Pool(*(np.concatenate(both) for both in zip(known, fresh, strict=True)))
        scores = np.concatenate([scores, _scored(process, ends, fresh, score)])
        best.append(scores.min())
        if progress is not None:
            progress(i, best[-1])
    first = int(scores.argmin())
    choices, ts = _schedule_of(known.genes[first]), _stops(ends, known.gaps[first])
    rows = usf(process, None, schedule=choices).plan(ts)
    return Found(choices, ts, Table(rows, "evaluated"), scores[first], np.array(best))


def _first(process, n, grids, population, random):
    """Named samplers on every grid, then random choices on grids between two of these."""
    bases = np.stack([np.log(-np.diff(grid(process, n))) for grid in grids])
    pairs = [
        (_genes_of(named_schedule(name, n, **options)), base)
        for name, options in NAMED
        for base in bases
        if options.get("order", options.get("predictor_order", 1)) <= n
    ]
    random.shuffle(pairs)
    pairs = pairs[: population // 2]
    while len(pairs) < population:
        genes = np.stack([random.integers(size, size=n) for size in SIZES], -1)
        share = random.uniform(size=(1, 1))
        one, other = bases[random.integers(len(bases), size=2)]
        pairs.append((genes, (share * one + (1 - share) * other)[0]))
    return _Pool(*(np.stack(parts) for parts in zip(*pairs, strict=True)))


def _bred(known, scores, population, generations, random):
    """Children of the best so far, and of their children."""
    guess = _surrogate(known, scores)
    elite = np.argsort(scores)[: max(population // ELITE, 2)]
    best = _Pool(known.genes[elite], known.gaps[elite])
    parents = best
    for _ in range(generations):
        children = _children(parents, 4 * population, random)
        ranked = np.argsort(guess(children))
        half = population // 2
        # The surrogate is often wrong: half of the children are what it likes, half as they come.
        chosen = np.concatenate([ranked[:half], random.permutation(ranked[half:])])[:population]
        picked = _Pool(children.genes[chosen], children.gaps[chosen])
        parents = _Pool(*(np.concatenate(both) for both in zip(best, picked, strict=True)))
    return picked


def _children(parents, count, random):
    """Crossed between two parents at one step, and mutated."""
    p, n = parents.gaps.shape
    mothers, fathers = random.integers(p, size=(2, count))
    early = np.arange(n)[None] < random.integers(n + 1, size=count)[:, None]
    genes = np.where(early[..., None], parents.genes[mothers], parents.genes[fathers])
    fresh = np.stack([random.integers(size, size=(count, n)) for size in SIZES], -1)
    genes = np.where(random.uniform(size=genes.shape) < MUTATED, fresh, genes)
    share = random.uniform(size=(count, 1))
    gaps = share * parents.gaps[mothers] + (1 - share) * parents.gaps[fathers]
    shaken = random.uniform(size=(count, 1)) < 0.7
    return _Pool(genes, gaps + shaken * SHAKEN * random.normal(size=gaps.shape))


def _surrogate(known, scores):
    """A function of a pool -> [p] that ranks as the scores do."""
    features = _features(known)
    ranks = np.argsort(np.argsort(scores)) / max(len(scores) - 1, 1)
    mean = features.mean(0)
    centred, wanted = features - mean, ranks - ranks.mean()
    # With more features than candidates the dual is the smaller system.
    inner = centred @ centred.T + RIDGE * np.eye(len(centred))
    weights = centred.T @ np.linalg.solve(inner, wanted)
    return lambda pool: (_features(pool) - mean) @ weights


def _features(pool):
    """[p, f]: choices of each step, pairs of neighbours' choices, gaps, and gaps of each choice."""
    p, n = pool.gaps.shape
    ones = np.concatenate([np.eye(size)[pool.genes[..., k]] for k, size in enumerate(SIZES)], -1)
    gaps = pool.gaps - np.log(np.exp(pool.gaps).sum(1, keepdims=True))
    neighbours = ones[:, 1:, :, None] * ones[:, :-1, None, :]
    parts = [ones, 0.3 * neighbours, gaps, 0.3 * gaps**2, 0.3 * ones * gaps[..., None]]
    return np.concatenate([part.reshape(p, -1) for part in parts], 1)


def _scored(process, ends, pool, score):
    """The scores [p] of a pool; one that is no number counts as the worst."""
    n = pool.gaps.shape[1]
    tables = [
        usf(process, None, schedule=_schedule_of(genes)).plan(_stops(ends, gaps))
        for genes, gaps in zip(*pool, strict=True)
    ]
    wide = lambda leaf: np.pad(leaf, [(0, 0), (0, n - leaf.shape[1])] + [(0, 0)] * (leaf.ndim - 2))
    tables = [rows._replace(past=wide(rows.past), data=wide(rows.data)) for rows in tables]
    found = np.asarray(score(GeneralRow(*(np.stack(leaf) for leaf in zip(*tables, strict=True)))))
    return np.where(np.isfinite(found), found, np.inf)


def _stops(ends, gaps):
    shares = np.exp(gaps - gaps.max())
    inner = ends[0] + (ends[1] - ends[0]) * np.cumsum(shares / shares.sum())[:-1]
    return np.concatenate([ends[:1], inner, ends[1:]])


def _schedule_of(genes):
    """The `Schedule` of genes [n, 7]; what reaches before the start is left out."""
    hold, clock, order, stride, longer, relaxation, corrector = genes.T
    n, orders = len(hold), [ORDERS[k] for k in order]
    lengths = [count + int(more) for count, more in zip(orders, longer, strict=True)]
    return schedule(
        n,
        hold=[HOLDS[k] for k in hold],
        clock=[CLOCKS[k] for k in clock],
        order=orders,
        # The last step has no arrival to correct, nor the table a place for its evaluation.
        corrector=[bool(on) and i < n - 1 for i, on in enumerate(corrector)],
        relaxation=[RELAXATIONS[k] for k in relaxation],
        stencil=[
            tuple((1 + int(wide)) * k for k in range(length))
            for wide, length in zip(stride, lengths, strict=True)
        ],
    )


def _genes_of(choices):
    """Genes [n, 7] of a named schedule, whose stencils are the last evaluations."""
    return np.stack(
        [
            [HOLDS.index(hold) for hold in choices.hold],
            [CLOCKS.index(clock) for clock in choices.clock],
            [ORDERS.index(order) for order in choices.order],
            np.zeros(len(choices.order), int),
            np.zeros(len(choices.order), int),
            [RELAXATIONS.index(relaxation) for relaxation in choices.relaxation],
            [int(corrector) for corrector in choices.corrector],
        ],
        -1,
    )
