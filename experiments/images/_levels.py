"""Where the loss comes from: noise level by noise level, on training and held-out images."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jaxgen as jg
from experiments.images._models import Model
from jaxgen import data

BINS = 16
IMAGES = 128


class Losses(NamedTuple):
    """Mean loss at noise levels sigma/alpha, and its standard error."""

    noise: np.ndarray  # [b]
    mean: np.ndarray  # [b]
    error: np.ndarray  # [b]


def make_loss(model: Model):
    """loss(params, key, x0 [n, *event], labels [n], t [n]) -> [n], jitted."""

    def loss(params, key, x0, labels, t):
        one = lambda key, x0, label, t: model.loss_fn(params, key, x0, t, label=label)
        return jax.vmap(one)(jax.random.split(key, len(x0)), x0, labels, t)

    return jax.jit(loss)


def by_level(model: Model, loss, params, key, x, labels) -> Losses:
    """The loss of images x (levels, [n, *event]) at BINS noise levels, one noise key for all."""
    ends = (float(model.process.t_min), float(model.process.t_max))
    ts = jg.grids.log_snr(model.process, BINS - 1, t_min=ends[0], t_max=ends[1])[::-1]
    x0, labels = some(model, x, labels)
    noise = np.exp(-np.asarray(jg.processes.log_snr(model.process, ts)) / 2)
    means, errors = [], []
    for t in ts:
        each = np.asarray(loss(params, key, x0, labels, jnp.full(len(x0), t, jnp.float32)))
        means.append(each.mean())
        errors.append(each.std(ddof=1) / len(each) ** 0.5)
    return Losses(noise, np.array(means), np.array(errors))


def compare(model: Model, loss, candidates: dict, key, x, labels, draws: int = 4) -> dict:
    """The training loss [] of each candidate's parameters on images x, at the same stratified times
    and the same few draws of noise.
    """
    x0, labels = some(model, x, labels)
    u = (jnp.arange(len(x0)) + 0.5) / len(x0)
    t = jax.jit(jax.vmap(model.loss_fn.time))(jax.random.permutation(key, u))
    keys = [jax.random.fold_in(key, i) for i in range(draws)]
    value = lambda params, k: loss(params, jax.random.clone(k), x0, labels, t)  # one noise for all
    mean = lambda params: float(np.mean([value(params, k) for k in keys]))
    return {name: mean(params) for name, params in candidates.items()}


def some(model: Model, x, labels):
    """At most IMAGES of the images, in [-1, 1], and their labels."""
    return jnp.asarray(data.to_unit(x[:IMAGES], model.images.levels)), jnp.asarray(labels[:IMAGES])
