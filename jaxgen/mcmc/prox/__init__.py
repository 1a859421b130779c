"""Proximal maps. Door: f(...) -> prox(x [*event], step []) -> [*event], the y that minimises
g(y) + |y - x|^2 / (2 step) for a convex g.
"""

from jaxgen.mcmc.prox._maps import box, l1, quadratic
from jaxgen.mcmc.prox._total_variation import tv_1d

__all__ = ["box", "l1", "quadratic", "tv_1d"]
