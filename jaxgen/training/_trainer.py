"""Training as (init, step): vmapped losses, one optax update, parameter averages.

Low-discrepancy times: Kingma et al. 2021, arXiv 2107.00630, appendix I.1.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxgen.training.averages import Average, ema
from jaxgen.types import Trainer

Array = jax.Array


class TrainerState(NamedTuple):
    """What the next training step needs; a pytree to checkpoint whole. Source: definition."""

    params: Any
    opt_state: Any
    averages: dict  # name -> averaged parameters
    step: Array  # [] int32, updates made

    @property
    def ema(self) -> Any:
        """The parameters of the average named "ema", or else of the first in order of names."""
        if not self.averages:
            raise ValueError("TrainerState.ema: the trainer must keep an average; got none")
        return self.averages["ema" if "ema" in self.averages else min(self.averages)]


class TrainerInfo(NamedTuple):
    """What a person wants to see of one training step. Source: definition."""

    loss: Array  # [], mean over the batch
    grad_norm: Array  # [], global norm of the gradient, before the optimiser
    losses: Array | None  # [n], one per example; None for batch losses
    t: Array | None  # [n], the times handed to the loss; None where the loss draws its own


def trainer(
    loss_fn: Callable,
    optimiser: optax.GradientTransformation,
    *,
    averages: Average | Mapping[str, Average] | None = None,
    time: Callable | None = None,
    batch: bool = False,
) -> Trainer:
    """Return `Trainer(init, step)`, two pure functions to jit.

    `init(params) -> TrainerState`, holding copies, so that a jitted step may donate the state.
    `step(key, state, batch) -> (TrainerState, TrainerInfo)`: one gradient of the mean of
    `loss_fn(params, key, x0 [*event], t, **cond) -> []` over the batch, one update, the averages.
    The batch is an array x0 [n, *event], or a dict of arrays [n, ...] with "x0" and conditioning.
    A non-finite loss does not raise: it is in the info.

    Args:
      loss_fn: loss of one example; of the whole batch if `batch`.
      optimiser: an optax gradient transformation.
      averages: parameter averages by name, or one, called "ema"; `ema(0.999)` if left out, none if
        empty. `state.ema` is the one called "ema", or else the first in order of names.
      time: law of training times, u [] in [0, 1) -> t []. If given, the n values of u are
        stratified, `(u_0 + i / n) mod 1`, and the loss gets t; otherwise it gets t=None.
      batch: `loss_fn(params, key, x0 [n, *event], t [n], **cond [n, ...]) -> []` is a batch loss.

    Raises:
      ValueError: when built, an argument of the wrong kind; when traced, a batch without "x0" or of
        unequal lengths, a loss that is not a scalar.

    Source: Kingma et al. 2021, arXiv 2107.00630, appendix I.1, for the stratified times.
    """
    rules = _checked(loss_fn, optimiser, averages, time)

    def init(params):
        params = jax.tree.map(lambda a: jnp.array(a, copy=True), params)
        kept = {name: rule.init(params) for name, rule in rules.items()}
        return TrainerState(params, optimiser.init(params), kept, jnp.zeros((), jnp.int32))

    def mean_loss(params, key, examples, t):
        x0, cond = examples["x0"], {k: v for k, v in examples.items() if k != "x0"}
        if batch:
            return _scalar(loss_fn(params, key, x0, t, **cond), "one loss for the batch"), None
        one = lambda key, x0, t, cond: _scalar(loss_fn(params, key, x0, t, **cond), "one example")
        losses = jax.vmap(one)(jax.random.split(key, len(x0)), x0, t, cond)
        return losses.mean(), losses

    def step(key, state, batch):
        examples, n = _examples(batch)
        key_time, key_loss = jax.random.split(key)
        t = None if time is None else jax.vmap(time)(stratified(key_time, n))
        value_and_grad = jax.value_and_grad(mean_loss, has_aux=True)
        (loss, losses), gradient = value_and_grad(state.params, key_loss, examples, t)
        updates, opt_state = optimiser.update(gradient, state.opt_state, state.params)
        params, count = optax.apply_updates(state.params, updates), state.step + 1
        kept = {k: rule.update(state.averages[k], params, count) for k, rule in rules.items()}
        info = TrainerInfo(loss, optax.tree.norm(gradient), losses, t)
        return TrainerState(params, opt_state, kept, count), info

    return Trainer(init, step)


def stratified(key: Array, n: int) -> Array:
    """Return n points [n] in [0, 1), one in each of n cells of a randomly shifted grid.

    Each is uniform. Source: Kingma et al. 2021, arXiv 2107.00630, appendix I.1.
    """
    u = (jax.random.uniform(key) + jnp.arange(n) / n) % 1.0
    return jnp.minimum(u, 1 - jnp.finfo(u.dtype).epsneg)


def _checked(loss_fn, optimiser, averages, time) -> dict:
    if not callable(loss_fn):
        raise ValueError(f"training.trainer: loss_fn must be callable; got {loss_fn!r}")
    if not (hasattr(optimiser, "init") and hasattr(optimiser, "update")):
        raise ValueError(
            f"training.trainer: optimiser must be an optax transformation; got {optimiser!r}"
        )
    if time is not None and not callable(time):
        raise ValueError(f"training.trainer: time must be a function u -> t; got {time!r}")
    averages = ema(0.999) if averages is None else averages
    rules = {"ema": averages} if isinstance(averages, Average) else averages
    if not isinstance(rules, Mapping):
        raise ValueError(f"training.trainer: averages must be a dict by name; got {averages!r}")
    for name, rule in rules.items():
        if not isinstance(name, str) or not isinstance(rule, Average):
            raise ValueError(
                f"training.trainer: averages must map a name to an Average; got {rule!r}"
            )
    return {name: rules[name] for name in sorted(rules)}


def _examples(batch) -> tuple[dict, int]:
    examples = dict(batch) if isinstance(batch, Mapping) else {"x0": batch}
    if "x0" not in examples:
        raise ValueError(f"training.trainer: a batch must have 'x0'; got {sorted(examples)}")
    shapes = {jax.tree_util.keystr(k): jnp.shape(v) for k, v in jax.tree.leaves_with_path(examples)}
    if len({shape[:1] for shape in shapes.values()}) != 1 or () in shapes.values():
        raise ValueError(f"training.trainer: all of a batch must have one length; got {shapes}")
    return examples, len(examples["x0"])


def _scalar(loss, what: str):
    if jnp.shape(loss):
        raise ValueError(
            f"training.trainer: loss_fn must return a scalar [], {what}; got shape {loss.shape}"
        )
    return loss
