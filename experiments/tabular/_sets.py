"""Four small real tables that ship with scikit-learn, made continuous, and their folds.

What is left out, and why, is in README.md; the names are ours, for the tables so treated are not
the published ones.
"""

from typing import NamedTuple

import numpy as np

FOLDS = 5
NAMES = ("flowers", "wines", "patients", "nuclei")
SOURCES = dict(zip(NAMES, ("iris", "wine", "diabetes", "breast_cancer"), strict=True))
# Binary, or a formula of other columns: LDL by Friedewald's formula, and a rounded ratio.
LEFT_OUT = {"patients": ("sex", "s2", "s4")}
# Pearson correlation above 0.98 with an earlier column.
LEFT_OUT["nuclei"] = ("mean perimeter", "mean area", "worst perimeter", "worst area")


class Fold(NamedTuple):
    """Rows of one split, standardised by its training part; all of the five folds together test
    every row once.
    """

    train: np.ndarray  # [n, d]
    validation: np.ndarray  # [m, d]
    test: np.ndarray  # [k, d]
    rows: np.ndarray  # [k], which rows of the table are tested
    log_scale: float  # nats to add to log-densities of the standardised rows: see `folds`


def table(name):
    """The rows [n, d] of a table, each number spread evenly over its recording step."""
    from sklearn import datasets

    options = {"scaled": False} if name == "patients" else {}
    bunch = getattr(datasets, f"load_{SOURCES[name]}")(**options)
    columns = list(bunch.feature_names)
    kept = [j for j, column in enumerate(columns) if column not in LEFT_OUT.get(name, ())]
    x = np.asarray(bunch.data, float)
    if name == "nuclei":  # rows whose concavity is recorded as exactly 0
        x = x[x[:, columns.index("mean concavity")] > 0]
    x = x[:, kept]
    steps = np.array([np.diff(np.unique(column)).min() for column in x.T])
    return x + steps * (np.random.RandomState(0).random_sample(x.shape) - 0.5)


def splits(n):
    """(train, validation, test) rows of every fold: a fixed shuffle, cut in five; an eighth of what
    is not tested validates.
    """
    order = np.random.RandomState(1).permutation(n)
    for k in range(FOLDS):
        test = order[k::FOLDS]
        rest = order[~np.isin(order, test)]
        held = len(rest) // 8
        yield rest[held:], rest[:held], test


def folds(name):
    """The five `Fold`s of a table, cut to equal lengths of training and validation parts.

    Log-densities plus `log_scale` are those of the table scaled by the standard deviations of all
    its rows, so that folds compare.
    """
    x = table(name)
    found = list(splits(len(x)))
    least = min(len(train) for train, _, _ in found)
    held = min(len(validation) for _, validation, _ in found)
    result = []
    for train, validation, test in found:
        mean, std = x[train].mean(0), x[train].std(0)
        scaled = [(x[rows] - mean) / std for rows in (train[:least], validation[:held], test)]
        log_scale = float(np.sum(np.log(x.std(0) / std)))
        result.append(Fold(*scaled, test, log_scale))
    return result
