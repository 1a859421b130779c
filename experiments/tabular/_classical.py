"""Mixtures and kernels, fitted by scikit-learn."""

import itertools
import warnings
from typing import NamedTuple

import numpy as np

COMPONENTS = (1, 2, 3, 4, 6)
SHAPES = ("full", "tied", "diag")
FLOORS = (1e-3, 1e-2, 3e-2, 0.1, 0.2)
BANDWIDTHS = tuple(np.geomspace(0.1, 1.5, 15))


def one_thread():
    """A context in which linear algebra has one thread: these matrices are too small for more."""
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1)


class Candidate(NamedTuple):
    """One setting of a model, fitted on every fold."""

    label: str
    validation: list  # per fold, log densities [m] of the standardised rows, nats
    test: list  # per fold, [k]
    models: list  # per fold, (weights [k], means [k, d], covariances [k, d, d]), or None

    def score(self):
        """Mean log density of the validation rows of all folds."""
        return float(np.mean(np.concatenate(self.validation)))


def mixtures(folds, components=COMPONENTS, shapes=SHAPES, floors=FLOORS):
    """A `Candidate` for every Gaussian mixture: so many components, this shape of covariance, and a
    floor added to its diagonal, in units of the standardised columns.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    for k, shape, floor in itertools.product(components, shapes, floors):
        if k == 1 and shape == "tied":
            continue
        models = []
        for fold in folds:
            model = GaussianMixture(
                k, covariance_type=shape, reg_covar=floor, n_init=2, random_state=0
            )
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                models.append(model.fit(fold.train))
        yield Candidate(
            f"{k} {shape}, floor {floor:g}",
            [
                model.score_samples(fold.validation)
                for model, fold in zip(models, folds, strict=True)
            ],
            [model.score_samples(fold.test) for model, fold in zip(models, folds, strict=True)],
            [(model.weights_, model.means_, _full(model)) for model in models],
        )


def _full(model):
    """The covariances [k, d, d] of a fitted mixture."""
    k, d = model.means_.shape
    covs = model.covariances_
    if model.covariance_type == "diag":
        covs = covs[:, :, None] * np.eye(d)
    return np.broadcast_to(covs, (k, d, d))


def kernels(folds, bandwidths=BANDWIDTHS):
    """A `Candidate` for Gaussian kernels of every bandwidth, round ones and ones shaped as the
    covariance of the training part.
    """
    from sklearn.neighbors import KernelDensity

    for shape, width in itertools.product(("round", "covariance"), bandwidths):
        scores = []
        for fold in folds:
            factor = np.eye(fold.train.shape[1])
            if shape == "covariance":
                factor = np.linalg.cholesky(np.cov(fold.train.T))
            turn = lambda x, factor=factor: np.linalg.solve(factor, x.T).T
            model, volume = KernelDensity(bandwidth=width), np.sum(np.log(np.diag(factor)))
            model.fit(turn(fold.train))
            scores.append(
                [model.score_samples(turn(x)) - volume for x in (fold.validation, fold.test)]
            )
        yield Candidate(f"{shape}, bandwidth {width:.2g}", *zip(*scores, strict=True), None)


def best(candidates):
    """The candidate that is best on the validation parts of all folds."""
    return max(candidates, key=Candidate.score)
