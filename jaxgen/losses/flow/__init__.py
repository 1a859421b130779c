"""Flow matching.

Door: f(apply, *, ...) -> loss_fn(params, key, x0 [*event], t=None, **cond) -> []. The loss of
`coupled_matching` is one of a whole batch, x0 [n, *event].
"""

from jaxgen.losses.flow._coupled import coupled_matching
from jaxgen.losses.flow._matching import conditional_matching

__all__ = ["conditional_matching", "coupled_matching"]
