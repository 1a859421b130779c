"""A multilayer perceptron for small events. Source: see `mlp`."""

import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgen.nets._layers import Conditioning
from jaxgen.nets._net import Net, as_net, check_sizes

Array = jax.Array


class _Mlp(nn.Module):
    out_shape: tuple
    width: int
    depth: int
    num_classes: int | None
    dtype: Any

    @nn.compact
    def __call__(self, x: Array, noise: Array, label: Array | None) -> Array:
        embedding = Conditioning(self.width, self.num_classes, self.dtype)(noise, label)
        h = nn.Dense(self.width, dtype=self.dtype)(x.ravel())
        for _ in range(self.depth):
            film = nn.Dense(2 * self.width, dtype=self.dtype)(embedding)
            scale, shift = jnp.split(film, 2)
            y = nn.LayerNorm(dtype=self.dtype)(h) * (1 + scale) + shift
            h = h + nn.Dense(self.width, dtype=self.dtype)(nn.silu(y))
        zeros = nn.initializers.zeros
        out = nn.Dense(math.prod(self.out_shape), dtype=self.dtype, kernel_init=zeros)(nn.silu(h))
        return out.reshape(self.out_shape)


def mlp(
    event_shape: tuple,
    *,
    width: int = 128,
    depth: int = 3,
    out_shape: tuple | None = None,
    num_classes: int | None = None,
    noise_features: Callable | None = None,
    dtype: Any = jnp.float32,
) -> Net:
    """Return a residual multilayer perceptron as `Net(init, apply)`, zero at its start.

    `apply(params, x [*event], t [], label=int []) -> [*out_shape]` takes one example; batch it with
    `vmap`. Parameters are float32, arithmetic is in `dtype`, the output has the dtype of x.

    Args:
      event_shape: shape of one x, any rank.
      width: hidden units.
      depth: residual layers, each conditioned on t and the label.
      out_shape: shape of the output; the event shape by default, `()` for an energy.
      num_classes: labels are 0 .. num_classes - 1; the label num_classes, any other number outside
        that range, and a label left out all mean "no label", for classifier-free guidance.
      noise_features: t [] -> [], how the network sees time, with values of order one; t by default.
        `lambda t: log_snr(process, t) / 8` suits most processes.
      dtype: dtype of the arithmetic.

    Raises:
      ValueError: a size below one; in `apply`, a wrong shape of x, t or label, or a label without
        classes.

    Source: Perez et al. 2018, arXiv 1709.07871, equation 1, for the conditioning; Ho et al. 2020,
    arXiv 2006.11239, appendix B, for the sinusoidal features (deviation: 0.25 to 8 cycles).
    """
    event_shape = tuple(event_shape)
    out_shape = event_shape if out_shape is None else tuple(out_shape)
    check_sizes("nets.mlp", event_shape=event_shape or 1, out_shape=out_shape or 1)
    check_sizes("nets.mlp", width=width, depth=depth, num_classes=num_classes or 1)
    module = _Mlp(out_shape, width, depth, num_classes, jnp.dtype(dtype))
    return as_net(module, "nets.mlp", event_shape, num_classes, noise_features)
