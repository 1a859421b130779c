"""The ladder of parallel tempering, from how often swaps were rejected.

Let r(b, b') be the mean rejection of a swap between exponents b and b'. As b' tends to b it is
lambda(b) |b' - b|, whose integral along the ladder is the communication barrier

    Lambda = int lambda(b) db,     sum_i r(b_i, b_{i+1}) = Lambda + O(1 / k^2),

so it does not depend on the ladder. With swaps in turn, even and odd, and kernels that make
independent draws between swaps, round trips of all replicas together come at the rate

    1 / (2 + 2 sum_i r_i / (1 - r_i)) <= about 1 / (2 + 2 Lambda),

the most being reached, for many exponents, when all r_i are equal. Since the sum of the r_i up to b
estimates Lambda(b) on any ladder, a better one puts its exponents where that has grown by equal
parts.

Source: Syed, Bouchard-Cote, Deligiannidis and Doucet 2022, arXiv 1905.02939, theorems 1 to 3,
algorithms 2 and 3. Deviation: Lambda(b) is interpolated by lines instead of a monotone cubic; where
all r_i are equal both leave the ladder as it is.
"""

import jax.numpy as jnp
import numpy as np

from jaxgen.math import is_concrete

# A rejection below this counts as this: a pair that always swaps still has a place on the ladder.
LEAST = 1e-4


def communication_barrier(swap_rate):
    """The barrier [k] up to each of k exponents, from the mean probabilities of swaps [k - 1]
    between neighbours, `info.swap_rate`; its last entry estimates the whole barrier Lambda.

    Raises ValueError on rates outside [0, 1] or no rate. Source: Syed et al. 2022,
    arXiv 1905.02939, section 4.1.
    """
    rates = _rates("mcmc.communication_barrier", swap_rate)
    return jnp.append(jnp.zeros(1, rates.dtype), jnp.cumsum(1 - rates))


def round_trip_rate(swap_rate):
    """Round trips a step [] to be expected of all replicas together, from the mean probabilities
    of swaps [k - 1]: 1 / (2 + 2 sum r / (1 - r)), r = 1 - swap_rate; 0 where a swap never happens.

    It supposes kernels whose draws between swaps are independent, so it is the most that better
    kernels could reach. Raises ValueError on rates outside [0, 1] or no rate.
    Source: Syed et al. 2022, arXiv 1905.02939, theorem 1 (corollary 2).
    """
    rates = _rates("mcmc.round_trip_rate", swap_rate)
    return 1 / (2 + 2 * jnp.sum((1 - rates) / rates))


def adapt_ladder(exponents, swap_rate, *, num=None):
    """A ladder [num] between the same ends that cuts the barrier in equal parts, from exponents [k]
    and the mean probabilities [k - 1] of their swaps, such as the last `info.swap_rate`.

    Run `parallel_tempering` anew on it, twice as long each time. Rates of 0, as also reported
    before the first try, count as barriers of 1. Where all rates are equal and num is k, the
    ladder stays as it is.

    Args: num, an integer >= 2, by default k. Raises ValueError on exponents that do not rise, rates
    that do not fit or lie outside [0, 1], or another num.
    Source: Syed et al. 2022, arXiv 1905.02939, algorithms 2 and 3.
    """
    where = "mcmc.adapt_ladder"
    rates, exponents = _rates(where, swap_rate), jnp.asarray(exponents)
    if exponents.shape != (len(rates) + 1,):
        raise ValueError(
            f"{where}: exponents must be [{len(rates) + 1}] for {len(rates)} rates; got "
            f"{exponents.shape}"
        )
    if is_concrete(exponents) and not np.all(np.diff(np.asarray(exponents)) > 0):
        raise ValueError(f"{where}: exponents must rise; got {exponents}")
    num = len(exponents) if num is None else num
    if not isinstance(num, int) or num < 2:
        raise ValueError(f"{where}: num must be an integer, at least 2; got {num}")
    rejected = jnp.maximum(1 - rates, LEAST).astype(exponents.dtype)
    barrier = jnp.append(jnp.zeros(1, exponents.dtype), jnp.cumsum(rejected))
    parts = jnp.linspace(0, 1, num, dtype=exponents.dtype) * barrier[-1]
    ladder = jnp.interp(parts, barrier, exponents)
    return ladder.at[0].set(exponents[0]).at[-1].set(exponents[-1])


def _rates(where, swap_rate):
    rates = jnp.asarray(swap_rate)
    if rates.ndim != 1 or len(rates) == 0 or not jnp.issubdtype(rates.dtype, jnp.floating):
        raise ValueError(f"{where}: rates must be real [k - 1], k >= 2; got {rates.shape}")
    # Means of probabilities may exceed 1 by rounding.
    if is_concrete(rates) and not np.all((np.asarray(rates) >= 0) & (np.asarray(rates) < 1 + 1e-5)):
        raise ValueError(f"{where}: rates must lie in [0, 1]; got {rates}")
    return jnp.minimum(rates, 1)
