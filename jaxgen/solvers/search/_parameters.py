"""A general table as free numbers: what is learned, and what stays true whatever they are.

With full history the most general explicit table is z_(i+1) = P_i z_i + sum_j c_ij x0hat_(i-j):
past states are sums of the same terms. Written as

    P_i = sigma_(i+1) / sigma_i,  c_ij = (alpha_(i+1) - alpha_i P_i) share_ij,  sum_j share_ij = 1,

it is exact for a constant prediction on any grid. The free numbers are the shares of the past
predictions and the logarithms of the grid's gaps, both relative to the table one starts from.
Source: derived; the family is that of Shaul et al. 2024, arXiv 2403.01329, section 3.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.processes import num_blocks, refuse_diagonal
from jaxgen.solvers.exponential import GeneralRow

FIRSTS = ("evaluated", "known", "skipped")


class Table(NamedTuple):
    """A general table with its own grid, as data. Source: definition."""

    rows: GeneralRow  # [n, ...], one row for each step
    first: str  # what stands for the first row's prediction, one of FIRSTS


class Learnable(NamedTuple):
    """A family of tables, and the member that one starts from. Source: definition."""

    params: (
        Any  # dict of arrays: gaps [n], shares [q], and hops [n], pushes [n] when not consistent
    )
    decode: Any  # params -> GeneralRow, past and data [n, k]
    first: str  # one of FIRSTS


def learnable(process, rows, *, first="evaluated", width=None, consistent=True):
    """The `Learnable` family around the `GeneralRow`s [n, k] of a table for a scalar process, such
    as `generalise` makes of any deterministic solver's.

    Args: first, "evaluated" (n evaluations), "known" (the first row takes the mean of the data for
        its prediction) or "skipped" (it takes no prediction; the state, only scaled, is evaluated
        at the second stop, and what the first step lacks is made up with that evaluation): n - 1
        evaluations each; width, how many past predictions a row may use (None: all); consistent,
        whether every member is exact for a constant prediction, else two more numbers a row are
        free.
    Raises ValueError on a block process, options outside these, rows that are not exact for a
    constant prediction, or that use predictions older than `width`.
    Source: derived; Liu et al. 2023, arXiv 2312.07243, section 3 (the analytic first step).
    """
    where = "solvers.search.learnable"
    refuse_diagonal(where, process)
    if num_blocks(process) is not None:
        raise ValueError(f"{where}: the process must be scalar; got {num_blocks(process)} blocks")
    if first not in FIRSTS:
        raise ValueError(f"{where}: first must be one of {', '.join(FIRSTS)}; got {first!r}")
    ts = np.concatenate([np.asarray(rows.t), np.asarray(rows.t_next)[-1:]])
    n = len(ts) - 1
    shares = _shares(where, process, ts, rows)
    width = n if width is None else width
    if not 1 <= width <= n or np.abs(shares[:, width:]).max(initial=0) > 1e-9:
        raise ValueError(
            f"{where}: width must be from 1 to {n} and hold all predictions in use; got {width}"
        )
    shares, (i, j) = shares[:, :width], _free(n, width, first)
    params = {"gaps": jnp.zeros(n), "shares": jnp.zeros(len(i))}
    if not consistent:
        params |= {"hops": jnp.zeros(n), "pushes": jnp.zeros(n)}

    def decode(params):
        times = _grid(ts, params["gaps"])
        alpha, sigma = process.transition(times)
        hop = sigma[1:] / sigma[:-1]
        push = alpha[1:] - alpha[:-1] * hop
        if not consistent:
            hop, push = hop * jnp.exp(params["hops"]), push * jnp.exp(params["pushes"])
        past = jnp.asarray(shares[:, 1:]).at[i, j - 1].add(params["shares"])
        data = push[:, None] * jnp.concatenate([1 - past.sum(1, keepdims=True), past], 1)
        if first == "skipped":
            data = _skip(data, hop, push)
        zeros = jnp.zeros((n, width - 1), hop.dtype)
        return GeneralRow(times[:-1], times[1:], jnp.concatenate([hop[:, None], zeros], 1), data)

    return Learnable(params, decode, first)


def _shares(where, process, ts, rows):
    """share_ij [n, n] by age j: every state of a table is a sum of z_0 and predictions."""
    past, data, n = np.asarray(rows.past), np.asarray(rows.data), len(ts) - 1
    states = [np.eye(n + 1)[0]]  # on z_0, then on the prediction of each row
    shares = np.zeros((n, n))
    alpha, sigma = process.transition(ts)
    for i in range(n):
        ages = range(min(i + 1, past.shape[1]))
        made = sum(past[i, j] * states[i - j] + data[i, j] * np.eye(n + 1)[i - j + 1] for j in ages)
        states.append(made)
        hop = sigma[i + 1] / sigma[i]
        added = made - hop * states[i]
        push = alpha[i + 1] - alpha[i] * hop
        shares[i, : i + 1] = added[i + 1 : 0 : -1] / push
        if abs(added[0]) > 1e-6 * abs(made[0]) or abs(shares[i].sum() - 1) > 1e-6:
            raise ValueError(
                f"{where}: rows must be exact for a constant prediction of this process; got row "
                f"{i} off by {shares[i].sum() - 1:.3g}"
            )
    return shares


def _free(n, width, first):
    """Rows and ages [q] of the free shares: all of the past's, except where there is nothing."""
    i, j = np.nonzero(np.arange(width)[None] <= np.arange(n)[:, None])
    # The skipped prediction is replaced by the next one, whose share is there already.
    free = (j > 0) & ~((i == j) & (first == "skipped"))
    return i[free], j[free]


def _grid(ts, gaps):
    """Stops [n + 1] between the same ends, whose gaps are those of ts times exp(gaps), scaled."""
    shares = jax.nn.softmax(np.log(np.abs(np.diff(ts))) + gaps)
    inner = ts[0] + (ts[-1] - ts[0]) * jnp.cumsum(shares)[:-1]
    return jnp.concatenate([jnp.full(1, ts[0]), inner, jnp.full(1, ts[-1])])


def _skip(data, hop, push):
    """The weights [n, k] when the first row's prediction is replaced by the second's."""
    n, width = data.shape
    data = data.at[0].set(0.0)
    for i in range(1, min(n, width)):
        data = data.at[i, i - 1].add(data[i, i]).at[i, i].set(0.0)
    return data.at[1, 0].add(hop[1] * push[0]) if n > 1 else data
