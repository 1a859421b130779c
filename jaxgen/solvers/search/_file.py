"""A found table as a thing of its own: a solver, and a file."""

import json
import zipfile

import numpy as np

from jaxgen.math import on_host
from jaxgen.solvers.exponential import GeneralRow, general, known_first
from jaxgen.solvers.search._parameters import FIRSTS, Table

FORMAT = "jaxgen table 1"
LEAVES = ("t", "t_next", "past", "data")


def table_of(family, params):
    """The `Table`, rows [n, k] in NumPy, of a `Learnable` family at its params.

    Source: definition.
    """
    rows = GeneralRow(*(np.asarray(leaf, np.float64) for leaf in family.decode(params)))
    return Table(rows, family.first)


def stops(table):
    """The grid ts [n + 1] of a `Table`, for `solve`; it may evaluate at other times than these.

    Source: definition.
    """
    return np.concatenate([table.rows.t[:1], table.rows.t_next])


def evaluations(table):
    """How many network evaluations a `Table` of n rows [n, k] takes: n, or n - 1 when the first is
    none.

    Source: definition.
    """
    return len(table.rows.t) - (table.first != "evaluated")


def sampler(process, denoiser, table, *, mean=0.0):
    """The Solver of a `Table`, to be run along `stops(table)`: z is [*event] or [c, *event].

    Args: mean [*event], of the data, read where the first prediction is known. Raises ValueError on
    a table that does not fit the process, or (from plan) other stops.
    Source: definition.
    """
    return solver_of(process, denoiser, table.rows, table.first, mean)


def solver_of(process, denoiser, rows, first, mean, width=None):
    """The Solver of rows, `GeneralRow`s [n, k] or a function of stops that makes them, whose first
    prediction is one of FIRSTS.

    Source: definition.
    """
    make = lambda process, denoiser: general(process, denoiser, rows, width=width)
    if first == "evaluated":
        return make(process, denoiser)
    return known_first(process, denoiser, make=make, mean=mean if first == "known" else 0.0)


def save(path, table, process, *, note=""):
    """Writes a `Table`, rows [n, k], to an .npz file with a JSON header: the evaluations it takes,
    and the schedule of the process it was found for.

    Raises ValueError on numbers that are not finite. Source: definition.
    """
    if not all(np.all(np.isfinite(leaf)) for leaf in table.rows):
        raise ValueError(f"solvers.search.save: {path}: rows must be finite; got NaN or infinity")
    header = {
        "format": FORMAT,
        "first": table.first,
        "evaluations": evaluations(table),
        "shape": list(np.shape(table.rows.past)),
        "note": note,
    }
    phi, chol = _schedule(process, stops(table))
    numbers = {name: np.asarray(leaf) for name, leaf in zip(LEAVES, table.rows, strict=True)}
    with open(path, "wb") as file:
        np.savez(file, header=np.array(json.dumps(header)), phi=phi, chol=chol, **numbers)


def load(path, process):
    """The `Table`, rows [n, k], of a file made by `save`, checked against the process it is to be
    used with.

    Raises ValueError, naming the file, what must hold and what was found, on anything else than
    such a file, shapes or evaluations that do not fit its header, numbers that are not finite,
    times that do not fall from row to row, or a process with another schedule at the table's stops.
    Source: definition.
    """

    def refuse(must, got):
        raise ValueError(f"solvers.search.load: {path}: {must}; got {got}")

    try:
        with np.load(path, allow_pickle=False) as file:
            found = {name: file[name] for name in file.files}
        header = json.loads(str(found["header"]))
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        refuse("the file must be a table saved by solvers.search.save", repr(error))
    missing = {*LEAVES, "phi", "chol"} - set(found)
    if not isinstance(header, dict) or header.get("format") != FORMAT or missing:
        refuse(f"the file must have format {FORMAT!r} and all arrays", f"{header}, no {missing}")
    rows = GeneralRow(*(found[name] for name in LEAVES))
    shapes = [leaf.shape for leaf in rows]
    fit = rows.past.ndim >= 2 and list(rows.past.shape) == header.get("shape")
    n = rows.past.shape[0] if fit else None
    if not fit or shapes[0] != (n,) or shapes[1] != (n,) or shapes[3][:2] != shapes[2][:2]:
        refuse(f"rows must fit the shape {header.get('shape')} of the header", shapes)
    if any(
        leaf.dtype.kind != "f" or not np.all(np.isfinite(leaf))
        for leaf in found.values()
        if leaf.ndim
    ):
        refuse("numbers must be finite", "NaN, infinity or no numbers")
    table = Table(rows, header.get("first"))
    if table.first not in FIRSTS or evaluations(table) != header.get("evaluations"):
        refuse("first and evaluations must fit the rows", f"{header} for {n} rows")
    if not np.all(np.diff(stops(table)) < 0):
        refuse("times must fall from row to row", stops(table))
    ours = _schedule(process, stops(table))
    theirs = found["phi"], found["chol"]
    same = [
        a.shape == b.shape and np.allclose(a, b, rtol=1e-6, atol=1e-9)
        for a, b in zip(ours, theirs, strict=True)
    ]
    if not all(same):
        first = [leaf[:1].tolist() for leaf in (*ours, *theirs)]
        refuse(
            "the process must have the schedule that the table was found for: (Phi, L) at "
            f"t={rows.t[0]} is {first[2:]}",
            first[:2],
        )
    return table


def _schedule(process, ts):
    phi, chol = on_host(lambda process, ts: process.transition(ts), process, ts)
    return np.asarray(phi), np.asarray(chol)
