"""What training minimises. Doors: `score` f(process, apply, *, kind), `flow` f(apply) and
`likelihood` f(log_prob), all -> loss_fn(params, key, x0 [*event]) -> [].
"""

from jaxgen.losses import flow, likelihood, score

__all__ = ["flow", "likelihood", "score"]
