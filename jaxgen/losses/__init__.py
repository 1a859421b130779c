"""What training minimises. Doors: `score` f(process, apply, *, kind) and `flow` f(apply), both ->
loss_fn(params, key, x0 [*event]) -> [].
"""

from jaxgen.losses import flow, score

__all__ = ["flow", "score"]
