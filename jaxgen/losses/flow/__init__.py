"""Flow matching.

Door: f(apply, *, ...) -> loss_fn(params, key, x0 [*event], t=None, **cond) -> [].
"""

from jaxgen.losses.flow._matching import conditional_matching

__all__ = ["conditional_matching"]
