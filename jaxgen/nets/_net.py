"""The record of a network: two pure functions, and the checks that both networks share."""

from collections.abc import Callable
from numbers import Integral
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

Array = jax.Array


class Net(NamedTuple):
    """A network for one example, as two pure functions.

    The batch is `vmap(net.apply, (None, 0, 0))`, which runs as one batched network.
    Source: definition.
    """

    init: Callable  # key -> params (float32)
    apply: Callable  # (params, x [*event], t [], label=int []) -> [*out_shape], dtype of x


def as_net(module: Any, where: str, event_shape: tuple, num_classes: int | None, noise_features):
    """Return the Net of a flax module called as `module(x, noise [], label [] or None)`."""

    def checked_label(label):
        if num_classes is None:
            if label is not None:
                raise ValueError(f"{where}: label needs a network built with num_classes; got None")
            return None
        label = jnp.asarray(num_classes if label is None else label)
        if label.shape or not jnp.issubdtype(label.dtype, jnp.integer):
            raise ValueError(
                f"{where}: label must be one integer [] (batch with vmap); "
                f"got shape {label.shape}, dtype {label.dtype}"
            )
        return jnp.where((label < 0) | (label > num_classes), num_classes, label)

    def init(key):
        x, t = jnp.zeros(event_shape, jnp.float32), jnp.zeros((), jnp.float32)
        return module.init(key, x, t, checked_label(None))["params"]

    def apply(params, x, t, *, label=None):
        x, t = jnp.asarray(x), jnp.asarray(t)
        if x.shape != event_shape:
            raise ValueError(
                f"{where}: x must have the event shape {event_shape} (batch with vmap); "
                f"got {x.shape}"
            )
        if t.shape:
            raise ValueError(
                f"{where}: t must be a scalar [] (batch with vmap); got shape {t.shape}"
            )
        noise = t if noise_features is None else noise_features(t)
        out = module.apply({"params": params}, x, noise, checked_label(label))
        return out.astype(x.dtype)

    return Net(init, apply)


def check_sizes(where: str, **sizes) -> None:
    """Raise ValueError unless every named size is positive integers: one, or some in a tuple."""
    for name, size in sizes.items():
        many = size if isinstance(size, tuple | list) else (size,)
        if not many or any(
            isinstance(s, bool) or not isinstance(s, Integral) or s < 1 for s in many
        ):
            raise ValueError(f"{where}: {name} must be positive integers; got {size}")
