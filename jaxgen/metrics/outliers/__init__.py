"""Does this point belong? Scores by density or distance, and how well they separate.

Door: fit a record to inliers (`tied_gaussian`, `norm_family`), score one point at a time,
`f(record, x [d]) -> []` (`mahalanobis` is large for outliers, `norm_logdensity` small), set a
threshold (`distance_threshold`), and judge scores of many, `f(inside [n], outside [m]) -> []`
(`auroc`, `false_positive_rate`; large scores mean outlying). Records are pytrees and cross jit.

Bad input raises ValueError where it can be seen: shapes always, values when they are not traced.
"""

from jaxgen.metrics.outliers._combine import combination, distance_threshold, nudge
from jaxgen.metrics.outliers._conjugate import (
    NormFamily,
    conjugate_exponent,
    half_square_norm,
    norm_divergence,
    norm_family,
    norm_logdensity,
    partition,
    wide_normal,
)
from jaxgen.metrics.outliers._gaussian import (
    TiedGaussian,
    class_distances,
    class_posterior,
    ledoit_wolf,
    mahalanobis,
    tied_gaussian,
)
from jaxgen.metrics.outliers._separation import auroc, false_positive_rate

__all__ = [
    "NormFamily",
    "TiedGaussian",
    "auroc",
    "class_distances",
    "class_posterior",
    "combination",
    "conjugate_exponent",
    "distance_threshold",
    "false_positive_rate",
    "half_square_norm",
    "ledoit_wolf",
    "mahalanobis",
    "norm_divergence",
    "norm_family",
    "norm_logdensity",
    "nudge",
    "partition",
    "tied_gaussian",
    "wide_normal",
]
