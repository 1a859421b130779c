"""Distances to a simulator whose points carry weights: fewer simulations for one accuracy.

Door: `rbf` and `matern` give an Embedding (a kernel on the simulator's inputs u [m, d] and its
averages over their law); `weights(embedding, us) -> Quadrature` makes weights [m];
`mmd2(xs, ys, weights, kernel) -> []` is the distance between data xs [n, *event] and the points ys
[m, *event] simulated from us; `explained(embedding, us, ys, kernel) -> []` says whether the weights
are to be trusted.
"""

from jaxgen.metrics.weighted._embeddings import Embedding, matern, rbf
from jaxgen.metrics.weighted._weights import Quadrature, explained, mmd2, weights

__all__ = ["Embedding", "Quadrature", "explained", "matern", "mmd2", "rbf", "weights"]
