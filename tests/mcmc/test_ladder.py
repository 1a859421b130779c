"""The ladder of tempering on a pair of Gaussians, whose barrier and swaps have closed forms.

From N(0, S^2) to N(0, 1) the law at exponent b has precision t = b + (1 - b) / S^2. A swap of
x ~ t and y ~ t' > t has ratio exp((t' - t)(y^2 - x^2) / 2). The mean of min(1, ratio) is twice the
probability that the ratio is above 1, so that of |y| > |x|:

    1 - r = (4 / pi) arctan sqrt(t / t'),      Lambda = int |dt| / (pi t) = log(S^2) / pi.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import mcmc
from jaxgen.types import sampling_algorithm

S = 20.0
BARRIER = np.log(S**2) / np.pi


def precision(b):
    return b + (1 - b) / S**2


def swaps(b):
    t = precision(np.asarray(b))
    return 4 / np.pi * np.arctan(np.sqrt(t[:-1] / t[1:]))


def best(k):
    """Equal rejections: precisions in geometric progression."""
    t = np.geomspace(S**-2, 1, k)
    return (t - S**-2) / (1 - S**-2)


def test_repeated_adaptation_finds_the_best_ladder():
    k = 9
    ladder, rates = np.linspace(0, 1, k), [mcmc.round_trip_rate(swaps(np.linspace(0, 1, k)))]
    adapt = jax.jit(mcmc.adapt_ladder)
    for _ in range(25):
        ladder = np.asarray(adapt(ladder, swaps(ladder)))
        rates.append(mcmc.round_trip_rate(swaps(ladder)))
    np.testing.assert_allclose(ladder, best(k), rtol=1e-5, atol=1e-12)
    assert np.ptp(swaps(ladder)) < 1e-5
    np.testing.assert_allclose(rates[-1], mcmc.round_trip_rate(swaps(best(k))), rtol=1e-6)
    assert rates[-1] > 1.8 * rates[0]  # 0.146 and 0.078
    np.testing.assert_allclose(adapt(best(k), swaps(best(k))), best(k), rtol=1e-12, atol=1e-15)


def test_the_barrier_does_not_depend_on_the_ladder():
    for ladder in (best, lambda k: np.linspace(0, 1, k) ** 3):
        sizes = np.array([40, 80, 160])
        errors = [mcmc.communication_barrier(swaps(ladder(k)))[-1] - BARRIER for k in sizes]
        slope = np.polyfit(np.log(sizes), np.log(np.abs(errors)), 1)[0]
        assert slope == pytest.approx(-2, abs=0.25)
    found = mcmc.communication_barrier(swaps(best(161)))
    np.testing.assert_allclose(found, np.linspace(0, BARRIER, 161), atol=1e-3)
    # The most that any number of exponents reaches.
    most = mcmc.round_trip_rate(swaps(best(2000)))
    np.testing.assert_allclose(most, 1 / (2 + 2 * BARRIER), rtol=1e-2)


class Exact(NamedTuple):
    position: Any


def exact(f, b):
    """Independent draws, as the theory supposes."""
    del f
    draw = lambda key, state: Exact(jax.random.normal(key) / jnp.sqrt(precision(b)))
    return sampling_algorithm(lambda x, key=None: Exact(x), lambda k, s: (draw(k, s), ()))


def test_round_trips_come_at_the_rate_of_the_theory():
    """Also on a bad ladder; and what a short run measures is good enough to adapt to."""
    k, chains, burn, steps = 6, 64, 300, 500

    def trips(exponents, key):
        algorithm = mcmc.parallel_tempering(
            lambda x: -(x**2) / 2, exact, exponents, reference_fn=lambda x: -((x / S) ** 2) / 2
        )

        def body(state, i):
            state, _ = algorithm.step(jax.random.fold_in(key, i), state)
            return state, state.round_trips

        start = algorithm.init(jnp.zeros(()))
        last, count = jax.lax.scan(body, start, jnp.arange(burn + steps))
        return (count[-1] - count[burn - 1]) / steps, last.rates / last.tries

    many = jax.jit(jax.vmap(trips, (None, 0)))
    bad = ladder = best(k) ** 0.5
    for seed in (0, 1, 2):
        keys = jax.random.split(jax.random.key(seed), chains)
        rate, swap = jax.tree.map(np.asarray, many(jnp.asarray(ladder), keys))
        expected = mcmc.round_trip_rate(swaps(np.asarray(ladder)))
        assert abs(rate.mean() - expected) < 5 * rate.std() / np.sqrt(chains)
        error = swap.std(0) / np.sqrt(chains)
        assert np.all(np.abs(swap.mean(0) - swaps(np.asarray(ladder))) < 5 * error)
        ladder = mcmc.adapt_ladder(ladder, swap[0])  # of one chain
    assert expected > 1.3 * mcmc.round_trip_rate(swaps(bad))
    assert expected > 0.95 * mcmc.round_trip_rate(swaps(best(k)))


def test_other_sizes_and_ends():
    for dtype in (jnp.float32, jnp.float64):
        ladder = mcmc.adapt_ladder(
            jnp.asarray([0.1, 0.4, 1.0], dtype), jnp.asarray([0.5, 0.75], dtype), num=4
        )
        assert ladder.dtype == dtype
        # The barrier 0, 1/2, 3/4 is cut at 1/4 and 1/2.
        np.testing.assert_allclose(ladder, [0.1, 0.25, 0.4, 1.0], rtol=1e-6)
        assert ladder[-1] == 1
    steady = mcmc.adapt_ladder(np.array([0.1, 0.5, 1.0]), np.ones(2))
    np.testing.assert_allclose(steady, [0.1, 0.5, 1.0], rtol=1e-12)
    never = mcmc.adapt_ladder(np.array([0.1, 0.5, 1.0]), np.array([0.0, 1.0]))
    assert np.all(np.diff(never) > 0)
    assert float(mcmc.round_trip_rate(np.array([0.0, 1.0]))) == 0


@pytest.mark.parametrize(
    ("exponents", "rates", "num", "message"),
    [
        ([0.1, 1.0], [0.5, 0.5], None, "exponents must be"),
        ([1.0, 0.1], [0.5], None, "must rise"),
        ([0.1, 1.0], [1.5], None, "must lie in"),
        ([0.1, 1.0], [np.nan], None, "must lie in"),
        ([0.1, 1.0], [0.5], 1, "num must be"),
        ([0.1], np.zeros(0), None, "must be real"),
    ],
)
def test_what_must_hold_is_said(exponents, rates, num, message):
    with pytest.raises(ValueError, match=message):
        mcmc.adapt_ladder(np.array(exponents), np.array(rates), num=num)


def test_pairs_that_always_swap_keep_their_places():
    ladder = jnp.array([0.0, 0.1, 0.5, 1.0])
    np.testing.assert_allclose(mcmc.adapt_ladder(ladder, jnp.ones(3)), ladder, atol=1e-12)
    some = np.asarray(mcmc.adapt_ladder(ladder, jnp.array([1.0, 0.5, 1.0])))
    assert np.all(np.diff(some) > 0)
