"""Transport: plans between two weighted samples, and what is built from them.

`sinkhorn` and `newton` have one signature, (cost [n, m], a [n], b [m], *, epsilon, ...) ->
Coupling: potentials, plan, cost, value and how it was solved, differentiable without running the
iteration backwards. `newton` is the one to use; the others call it. `cost_matrix(xs, ys, cost)`
makes the costs. Distances of two samples are f(xs [n, *event], ys [m, *event], *, epsilon, ...) ->
[], in units of the cost; a weight may be 0, and points may coincide.

Gromov-Wasserstein distances and barycentres are not here: ott-jax has them, and a matrix of
`cost_matrix` is an `ott.geometry.geometry.Geometry(cost_matrix, epsilon=epsilon)`.

Bad input raises ValueError where it can be seen: shapes always, values when they are not traced.
"""

from jaxgen.metrics.transport._costs import cost_matrix, euclidean, manhattan, squared_euclidean
from jaxgen.metrics.transport._dependency import (
    contrastive_bound,
    dependency_loss,
    gaussian_dependency,
    table_dependency,
    wasserstein_dependency,
)
from jaxgen.metrics.transport._divergence import gaussian_entropic, sinkhorn_divergence
from jaxgen.metrics.transport._drafts import (
    Draft,
    draft_acceptance,
    draft_discount,
    draft_law,
    maximal_coupling,
    select_draft,
)
from jaxgen.metrics.transport._newton import newton
from jaxgen.metrics.transport._orlicz import orlicz_wasserstein
from jaxgen.metrics.transport._pairs import draw_pairs, minibatch_pairs
from jaxgen.metrics.transport._problem import Coupling, Info
from jaxgen.metrics.transport._sinkhorn import sinkhorn

__all__ = [
    "Coupling",
    "Draft",
    "Info",
    "contrastive_bound",
    "cost_matrix",
    "dependency_loss",
    "draft_acceptance",
    "draft_discount",
    "draft_law",
    "draw_pairs",
    "euclidean",
    "gaussian_dependency",
    "gaussian_entropic",
    "manhattan",
    "maximal_coupling",
    "minibatch_pairs",
    "newton",
    "orlicz_wasserstein",
    "select_draft",
    "sinkhorn",
    "sinkhorn_divergence",
    "squared_euclidean",
    "table_dependency",
    "wasserstein_dependency",
]
