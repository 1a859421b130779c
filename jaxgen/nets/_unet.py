"""A small U-Net for images. Source: see `unet`."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgen.nets._layers import (
    Attention,
    Block,
    Conditioning,
    Conv3,
    depth_to_space,
    group_norm,
    space_to_depth,
)
from jaxgen.nets._net import Net, as_net, check_sizes

Array = jax.Array


class _UNet(nn.Module):
    channels: tuple  # one width a level
    blocks: tuple  # residual blocks a level, on the way down and again on the way up
    patch: int
    attention: bool
    matmul: bool
    num_classes: int | None
    dtype: Any

    @nn.compact
    def __call__(self, x: Array, noise: Array, label: Array | None) -> Array:
        embedding = Conditioning(4 * self.channels[0], self.num_classes, self.dtype)(noise, label)
        dense = lambda features: nn.Dense(features, dtype=self.dtype)
        block = lambda h: Block(self.matmul, self.dtype)(h, embedding)
        x = space_to_depth(x[None].astype(self.dtype), self.patch)
        h, skips = Conv3(self.channels[0], self.matmul, self.dtype)(x), []
        for level, width in enumerate(self.channels):
            if level:
                h = dense(width)(space_to_depth(h, 2))
            for _ in range(self.blocks[level]):
                h = block(h)
                skips.append(h)
        if self.attention:
            h = Attention(self.dtype)(h)
        for level in reversed(range(len(self.channels))):
            width = self.channels[level]
            if level < len(self.channels) - 1:
                h = depth_to_space(dense(4 * width)(h), 2)
            for _ in range(self.blocks[level]):
                h = block(dense(width)(jnp.concatenate([h, skips.pop()], -1)))
        h = nn.silu(group_norm(h.shape[-1], self.dtype)(h))
        h = Conv3(x.shape[-1], self.matmul, self.dtype, zero=True)(h)
        return depth_to_space(h, self.patch)[0]


def unet(
    event_shape: tuple,
    *,
    channels: int = 32,
    multipliers: tuple = (1, 2),
    blocks: int | tuple = (1, 2),
    patch: int = 2,
    attention: bool = True,
    num_classes: int | None = None,
    noise_features: Callable | None = None,
    convolution: str = "native",
    dtype: Any = jnp.float32,
) -> Net:
    """Return a U-Net for images [H, W, C] as `Net(init, apply)`, zero at its start.

    `apply(params, x [H, W, C], t [], label=int []) -> [H, W, C]` takes one image; batch it with
    `vmap`, which runs as one batched network. Parameters are float32, arithmetic is in `dtype`, the
    output has the dtype of x.

    Args:
      event_shape: (H, W, C); H and W must be multiples of patch * 2^(levels - 1).
      channels: width of the first level.
      multipliers: width of each level in units of `channels`; each level halves the image.
      blocks: residual blocks of each level, on the way down and again on the way up.
      patch: side of the patches folded into channels before the first level; 1 folds nothing.
      attention: single-head attention over the pixels of the last level.
      num_classes: labels are 0 .. num_classes - 1; the label num_classes, any other number outside
        that range, and a label left out all mean "no label", for classifier-free guidance.
      noise_features: t [] -> [], how the network sees time, with values of order one; t by default.
        `lambda t: log_snr(process, t) / 8` suits most processes.
      convolution: "native", or "matmul": the same function as matrix products over 3x3 patches, for
        reverse-mode gradients inside `scan` on CPUs, where native convolutions are very slow.
      dtype: dtype of the arithmetic.

    Raises:
      ValueError: an event that is not [H, W, C], sizes below one or that do not divide, unknown
        `convolution`; in `apply`, a wrong shape of x, t or label, or a label without classes.

    Source: Ho et al. 2020, arXiv 2006.11239, appendix B. Deviations: patches folded into channels,
    FiLM conditioning (Perez et al. 2018, arXiv 1709.07871), linear maps on 2x2 patches to change
    resolution, skips merged by a linear map, so that every 3x3 convolution keeps its channels.
    """
    where, event_shape, multipliers = "nets.unet", tuple(event_shape), tuple(multipliers)
    blocks = (blocks,) * len(multipliers) if isinstance(blocks, int) else tuple(blocks)
    if len(event_shape) != 3:
        raise ValueError(f"{where}: event_shape must be (H, W, C); got {event_shape}")
    check_sizes(where, event_shape=event_shape, multipliers=multipliers, blocks=blocks)
    check_sizes(where, channels=channels, patch=patch, num_classes=num_classes or 1)
    if len(blocks) != len(multipliers):
        raise ValueError(
            f"{where}: blocks must name each of {len(multipliers)} levels; got {blocks}"
        )
    factor = patch * 2 ** (len(multipliers) - 1)
    if event_shape[0] % factor or event_shape[1] % factor:
        raise ValueError(
            f"{where}: H and W must be multiples of {factor} = patch * 2^(levels - 1) "
            f"(pad the images, or fewer levels or patch); got {event_shape}"
        )
    if convolution not in ("native", "matmul"):
        raise ValueError(f"{where}: convolution must be 'native' or 'matmul'; got {convolution!r}")
    widths = tuple(channels * m for m in multipliers)
    matmul, dtype = convolution == "matmul", jnp.dtype(dtype)
    module = _UNet(widths, blocks, patch, bool(attention), matmul, num_classes, dtype)
    return as_net(module, where, event_shape, num_classes, noise_features)
