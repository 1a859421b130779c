"""What training minimises. Doors: `score` f(process, apply, *, kind), `flow` f(apply), `likelihood`
f(log_prob), `energy` f(logdensity_fn) and `latent` f(encoder, logdensity_fn, *, draws), all ->
loss_fn(params, key, x0 [*event]) -> []. `path` f(run, prior, logdensity_fn) needs no data;
`simulator` f(simulate, kernel, inputs, *, draws) is a loss of a batch x0 [n, *event].
"""

from jaxgen.losses import energy, flow, latent, likelihood, path, score, simulator

__all__ = ["energy", "flow", "latent", "likelihood", "path", "score", "simulator"]
