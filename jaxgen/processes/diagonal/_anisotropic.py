"""Any scalar family, with numbers of its own for each entry of the event."""

import jax
import numpy as np

from jaxgen.math import is_concrete, namespace
from jaxgen.processes._entries import diagonal, over_entries


def anisotropic(family, *numbers, event=None, **times):
    """The process whose entry i is the scalar process family(*numbers_i, **times): a
    `DiagonalForward` of event [*event].

    Args: family, f(*numbers, t_min=, t_max=) -> scalar LinearForward, such as `scalar.vp`; numbers,
        arrays that broadcast to the event's shape, or to `event` where that is given, then also
        with trailing axes of their own ([*event, m] for the logits of `scalar.monotone`); times,
        t_min and t_max of all entries, by default the family's.
    Numbers can be learned. Raises ValueError when there are no numbers, shapes do not fit, or as
    the family (for concrete numbers, entry by entry).
    Source: definition; a learned schedule for each entry is that of Sahoo et al. 2024, arXiv
    2312.13236.
    """
    name = "processes.diagonal.anisotropic"
    shape = _shape(name, numbers, event)
    flat = tuple(_wide(number, shape) for number in numbers)
    if is_concrete(flat):
        flat = jax.tree.map(lambda leaf: np.asarray(leaf, float), flat)

    def one(numbers):
        process = family(*numbers, **times)
        if np.ndim(process.t_min):
            raise ValueError(f"{name}: t_min and t_max must be the same for all entries")
        return process

    corner = one(tuple(number[(0,) * len(shape)] for number in flat))
    if np.shape(jax.eval_shape(corner.transition, 0.5)[0]):
        raise ValueError(f"{name}: the family must make scalar processes; got one of blocks")
    last, _ = over_entries(lambda numbers: (one(numbers), ()), flat, shape)
    k = len(shape)
    entries = jax.tree.map(
        lambda leaf: namespace(leaf).moveaxis(leaf, tuple(range(-k, 0)), tuple(range(k))), last
    )
    return diagonal(entries, corner.t_min, corner.t_max)


def _shape(name, numbers, event):
    if event is not None:
        shape = tuple(event)
    elif numbers:
        try:
            shape = np.broadcast_shapes(*(np.shape(number) for number in numbers))
        except ValueError as error:
            raise ValueError(
                f"{name}: numbers must broadcast to one event; "
                f"got shapes {[np.shape(number) for number in numbers]}"
            ) from error
    if not numbers or not shape or 0 in shape:
        raise ValueError(
            f"{name}: numbers must have the shape of an event with entries; "
            f"got shapes {[np.shape(number) for number in numbers]}, event {event}"
        )
    return shape


def _wide(number, shape):
    """A number [] or [*event, ...] as [*event, ...]; one that only broadcasts is spread out."""
    xp = namespace(number)
    number = xp.asarray(number)
    if number.shape[: len(shape)] == shape:
        return number
    return xp.broadcast_to(number.reshape((1,) * (len(shape) - number.ndim) + number.shape), shape)
