"""Entropy and information of symbols: plug-in, corrected, and after binning.

A symbol is a row of any dtype; the estimators need only how often the row of each point occurs, c_i
of n, which is found by comparing all pairs, a block of rows at a time.

    plug-in  -mean_i log(c_i / n),     Miller-Madow  + (m - 1) / (2 n),   m = Σ_i 1 / c_i symbols.

Standard errors are the delta method's, the spread of -log(c_i / n) over √n; they are 0 on equally
frequent symbols, where the spread of the estimate is of order 1 / n.

Sources: Miller 1955, Note on the bias of information estimates; Chelombiev, Houghton and O'Donnell
2019, arXiv:1902.09037, section 3.1 (equal-count edges).
"""

import jax
import jax.numpy as jnp

from jaxgen.metrics._mmd import Estimate
from jaxgen.metrics.information._points import each_row, mean_of, points, symbols

Array = jax.Array


def _counts(rows, chunk, dtype):
    """How often the row of every point occurs, [n]."""
    same = lambda i, row: jnp.sum(jnp.all(row[None] == rows, axis=1).astype(dtype))
    return each_row(same, rows, chunk)


def _corrected(where, estimator):
    if estimator not in ("plug_in", "miller_madow"):
        raise ValueError(
            f'{where}: estimator must be "plug_in" or "miller_madow"; got {estimator!r}'
        )
    return estimator == "miller_madow"


def _terms(rows, corrected, chunk):
    """What every point adds to the entropy, [n]: their mean is the estimate."""
    dtype = jnp.result_type(float)
    n = rows.shape[0]
    counts = _counts(rows, chunk, dtype)
    terms = -jnp.log(counts / n)
    if corrected:
        terms = terms + (jnp.sum(1 / counts) - 1) / (2 * n)
    return terms


def entropy_discrete(xs: Array, *, estimator: str = "plug_in", chunk: int = 256) -> Estimate:
    """The entropy of symbols in nats, an Estimate of two [].

    Args:
        xs: symbols, [n, *event], of any dtype; two are the same when all their entries are equal.
        estimator: "plug_in", too small by about (m - 1) / (2 n) on m symbols, or "miller_madow",
            which adds that.
        chunk: points compared at a time; memory grows as chunk · n.

    Raises ValueError on no symbols or a wrong name.
    Source: Miller 1955.
    """
    rows = symbols("entropy_discrete", "xs", xs)
    return mean_of(_terms(rows, _corrected("entropy_discrete", estimator), chunk))


def mi_discrete(xs: Array, ys: Array, *, estimator: str = "plug_in", chunk: int = 256) -> Estimate:
    """The mutual information of paired symbols in nats, an Estimate of two [].

    Args:
        xs: symbols, [n, *event], of any dtype.
        ys: symbols, [n, *event], their own event and dtype.
        estimator: "plug_in", never negative and too large by about (m_x - 1)(m_y - 1) / (2 n) when
            all pairs occur, or "miller_madow", corrected.
        chunk: points compared at a time; memory grows as chunk · n.

    Raises ValueError on no symbols, unequal numbers of them, or a wrong name.
    Source: Miller 1955.
    """
    corrected = _corrected("mi_discrete", estimator)
    xs, ys = symbols("mi_discrete", "xs", xs), symbols("mi_discrete", "ys", ys)
    if xs.shape[0] != ys.shape[0]:
        got = f"{xs.shape[0]} and {ys.shape[0]}"
        raise ValueError(f"mi_discrete: xs and ys must hold equally many symbols; got {got}")
    # The pair is named by the first point that shares it: dtypes need not agree.
    first = lambda rows: each_row(
        lambda i, row: jnp.argmax(jnp.all(row[None] == rows, axis=1)), rows, chunk
    )
    both = jnp.stack([first(xs), first(ys)], axis=1)
    terms = lambda rows: _terms(rows, corrected, chunk)
    return mean_of(terms(xs) + terms(ys) - terms(both))


def equal_count_bins(xs: Array, bins: int, *, shared: bool = True) -> Array:
    """The bins, integers [n, *event] in 0 .. bins - 1, of edges that hold equally many values.

    Edges are quantiles of the distinct values seen, so bins follow the data: any increasing change
    of scale leaves them as they are, and equal values share a bin.

    Args:
        xs: [n, *event].
        bins: how many, a positive integer.
        shared: one set of edges for all entries (a layer's activations); False, one for each entry.

    Raises ValueError on no values, values that are not finite, or bins below 1.
    Source: Chelombiev et al. 2019, arXiv:1902.09037, section 3.1.
    """
    rows = points("equal_count_bins", "xs", xs, least=1)
    if not isinstance(bins, int) or bins < 1:
        raise ValueError(f"equal_count_bins: bins must be a positive integer; got {bins!r}")

    def place(values):
        order = jnp.sort(values)
        new = jnp.concatenate([jnp.zeros(1, int), (order[1:] > order[:-1]).astype(int)])
        rank = jnp.cumsum(new)  # of a value among the distinct ones
        found = rank[jnp.searchsorted(order, values)]
        return found * bins // (rank[-1] + 1)

    codes = place(rows.reshape(-1)).reshape(rows.shape) if shared else jax.vmap(place, 1, 1)(rows)
    return codes.reshape(jnp.shape(xs))


def mi_binned(
    xs: Array, ys: Array, *, bins: int = 16, estimator: str = "miller_madow", chunk: int = 256
) -> Estimate:
    """The mutual information in nats, an Estimate of two [], after equal-count binning.

    Every entry is binned by itself, so increasing maps of entries change nothing. Binning loses
    information; the bins^(d_x + d_y) cells must be few beside n.

    Args:
        xs: [n, *event].
        ys: [n, *event], its own event.
        bins: of every entry.
        estimator: as in `mi_discrete`.
        chunk: points compared at a time.

    Raises ValueError as `mi_discrete` and `equal_count_bins`.
    Source: Chelombiev et al. 2019, arXiv:1902.09037, section 3.1.
    """
    code = lambda a: equal_count_bins(a, bins, shared=False)
    return mi_discrete(code(xs), code(ys), estimator=estimator, chunk=chunk)


def mi_layer_binned(
    ts: Array, labels: Array | None = None, *, bins: int = 30, chunk: int = 256
) -> Estimate:
    """A binned layer's information about its inputs or labels in nats, an Estimate of two [].

    Edges hold equally many of the layer's distinct activations, so scaling the layer changes
    nothing. A deterministic layer's information about its inputs is the entropy of its binned
    states: log n where it tells all n inputs apart, 0 where it is constant.

    Args:
        ts: activations [n, *event], one for each of n inputs.
        labels: [n] integers, or None: with them the information is I(t; label).
        bins: how many for the layer.
        chunk: points compared at a time.

    Raises ValueError as `equal_count_bins` and `mi_discrete`.
    Source: Chelombiev et al. 2019, arXiv:1902.09037, section 3.1.
    """
    codes = equal_count_bins(ts, bins)
    if labels is None:
        return entropy_discrete(codes, chunk=chunk)
    return mi_discrete(codes, labels, chunk=chunk)
