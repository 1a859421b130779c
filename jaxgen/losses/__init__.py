"""What training minimises. Doors: `score` f(process, apply, *, kind), `flow` f(apply), `likelihood`
f(log_prob), `energy` f(logdensity_fn) and `latent` f(encoder, logdensity_fn, *, draws), all ->
loss_fn(params, key, x0 [*event]) -> []. `path` f(run, prior, logdensity_fn) needs no data.
"""

from jaxgen.losses import energy, flow, latent, likelihood, path, score

__all__ = ["energy", "flow", "latent", "likelihood", "path", "score"]
