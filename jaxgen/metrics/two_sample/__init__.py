"""Two-sample tests: are xs [n, *event] and ys [m, *event] from one law?

Door: tests give p-values. `permutation_test(key, xs, ys, kernel) -> PermutationTest` ranks a
statistic among its values on permuted points. `classifier_test(key, scores_x [n], scores_y [m]) ->
ClassifierTest` judges a classifier's held-out scores; `learned_test(key, xs, ys, fit)` splits, fits
and judges, with `ridge_classifier(kernel)` as a `fit` that needs no training.
`deep_kernel(features)` makes kernels on learned features, `power_objective` and
`multi_population_objective` (params, xs, ys) -> [] are what to maximise over their numbers,
`instance_score(xs, y, kernel) -> []` judges one point.
"""

from jaxgen.metrics.two_sample._classifier import (
    ClassifierTest,
    classifier_test,
    learned_test,
    ridge_classifier,
)
from jaxgen.metrics.two_sample._deep_kernel import (
    DeepKernel,
    deep_kernel,
    instance_score,
    multi_population_objective,
    power_objective,
)
from jaxgen.metrics.two_sample._permutation import PermutationTest, permutation_test

__all__ = [
    "ClassifierTest",
    "DeepKernel",
    "PermutationTest",
    "classifier_test",
    "deep_kernel",
    "instance_score",
    "learned_test",
    "multi_population_objective",
    "permutation_test",
    "power_objective",
    "ridge_classifier",
]
