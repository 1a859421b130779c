"""Information: entropy, mutual information, kernel densities and critics' bounds, in nats.

Entropies are `entropy_*(xs [n, *event], *, ...)`, informations `mi_*(xs [n, *event], ys [n,
*event], *, ...)` of paired points, conditional ones `cmi_*`; a random one takes its key first. They
return an Estimate (value [], standard_error []), whose standard error treats the points' terms as
independent; closed forms of Gaussians return [], and what lies between two numbers a Bounds (lower
[], upper []). Bounds of a critic are `f(scores [n, n], *, ...) -> Estimate` with pairs that belong
together on the diagonal. Points are flattened to [n, d].

Sample estimators compare all pairs, a block of rows at a time: time grows as n², memory as
chunk · n.
Bad input raises ValueError where it can be seen: shapes always, values when they are not traced.
"""

from jaxgen.metrics.information._class_information import (
    ClassMeans,
    add_to_class_means,
    class_means,
    cmi_classes,
)
from jaxgen.metrics.information._compressed import compressed, mi_sliced, pca
from jaxgen.metrics.information._critic_bounds import (
    donsker_varadhan,
    infonce,
    jensen_shannon,
    nwj,
    smile,
)
from jaxgen.metrics.information._discrete import (
    entropy_discrete,
    equal_count_bins,
    mi_binned,
    mi_discrete,
    mi_layer_binned,
)
from jaxgen.metrics.information._gauss_markov import (
    GaussianLaw,
    predict_representation,
    waypoints,
)
from jaxgen.metrics.information._gaussian import cmi_gaussian, entropy_gaussian, mi_gaussian
from jaxgen.metrics.information._kde import (
    entropy_kde,
    kde_bandwidth,
    kde_left_out,
    kde_logdensity,
    mi_kde,
    participation_ratio,
)
from jaxgen.metrics.information._ksg import cmi_ksg, mi_ksg
from jaxgen.metrics.information._log_ratio import fit_log_ratio
from jaxgen.metrics.information._mixture_bounds import (
    Bounds,
    entropy_mixture_bounds,
    mi_layer_kde,
)
from jaxgen.metrics.information._neighbour_entropy import entropy_knn, mi_knn, neighbour_weights
from jaxgen.metrics.information._reconstruction import (
    entropy_reconstruction,
    gaussian_reconstruction,
    vmf_left_out,
    vmf_reconstruction,
)
from jaxgen.metrics.information._regimes import KdeRegimes, kde_regimes, kde_tail_index

__all__ = [
    "Bounds",
    "ClassMeans",
    "GaussianLaw",
    "KdeRegimes",
    "add_to_class_means",
    "class_means",
    "cmi_classes",
    "cmi_gaussian",
    "cmi_ksg",
    "compressed",
    "donsker_varadhan",
    "entropy_discrete",
    "entropy_gaussian",
    "entropy_kde",
    "entropy_knn",
    "entropy_mixture_bounds",
    "entropy_reconstruction",
    "equal_count_bins",
    "fit_log_ratio",
    "gaussian_reconstruction",
    "infonce",
    "jensen_shannon",
    "kde_bandwidth",
    "kde_left_out",
    "kde_logdensity",
    "kde_regimes",
    "kde_tail_index",
    "mi_binned",
    "mi_discrete",
    "mi_gaussian",
    "mi_kde",
    "mi_knn",
    "mi_ksg",
    "mi_layer_binned",
    "mi_layer_kde",
    "mi_sliced",
    "neighbour_weights",
    "nwj",
    "participation_ratio",
    "pca",
    "predict_representation",
    "smile",
    "vmf_left_out",
    "vmf_reconstruction",
    "waypoints",
]
