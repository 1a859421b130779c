"""Do events come as often as they are said to? Errors, scores, tests and remedies.

Door: `f(probs, outcomes [n], ...) -> []`, with probs [n] of events or [n, k] of classes. Of [n, k]
the scores (`brier`, `log_loss`) read all, and the errors the likeliest class (`top_label`).
`calibration_error` returns an Estimate (value, standard error). With known probabilities:
`probability_error`, `probability_divergence`. Remedies: `temperature` and `isotonic` after
training, `bin_targets`, `kernel_targets` and `target_loss` (CaPE) or `correctness_loss` while it
lasts.

Bad input raises ValueError where it can be seen: shapes always, values when they are not traced.
"""

from jaxgen.metrics.calibration._bins import Reliability, reliability_curve
from jaxgen.metrics.calibration._correctness import correctness_loss, view_features
from jaxgen.metrics.calibration._errors import (
    bias_when_calibrated,
    calibration_error,
    kolmogorov_smirnov_error,
    maximum_calibration_error,
)
from jaxgen.metrics.calibration._isotonic import isotonic
from jaxgen.metrics.calibration._outcomes import top_label
from jaxgen.metrics.calibration._resampling import CalibrationTest, calibration_test
from jaxgen.metrics.calibration._rules import (
    BrierParts,
    brier,
    brier_parts,
    log_loss,
    probability_divergence,
    probability_error,
)
from jaxgen.metrics.calibration._targets import (
    bin_targets,
    is_calibration_epoch,
    kernel_targets,
    target_loss,
)
from jaxgen.metrics.calibration._temperature import temperature

__all__ = [
    "BrierParts",
    "Reliability",
    "CalibrationTest",
    "bias_when_calibrated",
    "bin_targets",
    "brier",
    "brier_parts",
    "calibration_error",
    "calibration_test",
    "correctness_loss",
    "is_calibration_epoch",
    "isotonic",
    "kernel_targets",
    "kolmogorov_smirnov_error",
    "log_loss",
    "maximum_calibration_error",
    "probability_divergence",
    "probability_error",
    "reliability_curve",
    "target_loss",
    "temperature",
    "top_label",
    "view_features",
]
