"""Layers of the small networks: conditioning on noise level and label, 3x3 convolutions, attention.

Everything here sees a unit batch axis where flax wants one; the networks add and strip it.
Sources: Ho et al. 2020, arXiv 2006.11239, appendix B (residual blocks, sinusoidal features);
Perez et al. 2018, arXiv 1709.07871, equation 1 (FiLM).
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array


class Conditioning(nn.Module):
    """The embedding [width] of a noise level [] and a label [] (None without classes)."""

    width: int
    num_classes: int | None
    dtype: Any

    @nn.compact
    def __call__(self, noise: Array, label: Array | None) -> Array:
        """Return the embedding, after a silu."""
        exact = jnp.promote_types(self.dtype, jnp.float32)
        cycles = np.geomspace(0.25, 8.0, 16)
        phases = noise.astype(exact) * jnp.asarray(2 * np.pi * cycles, exact)
        features = jnp.concatenate([jnp.cos(phases), jnp.sin(phases)]).astype(self.dtype)
        h = nn.silu(nn.Dense(self.width, dtype=self.dtype)(features))
        h = nn.Dense(self.width, dtype=self.dtype)(h)
        if label is not None:
            table = nn.Embed(self.num_classes + 1, self.width, dtype=self.dtype)
            h = h + table(label)
        return nn.silu(h)


class Conv3(nn.Module):
    """A 3x3 convolution [1, H, W, C] -> [1, H, W, features] that keeps the size."""

    features: int
    matmul: bool
    dtype: Any
    zero: bool = False

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Return the convolution, as `lax.conv` or as one matrix product over 3x3 patches."""
        kernel_init = nn.initializers.zeros if self.zero else nn.initializers.lecun_normal()
        kernel = self.param("kernel", kernel_init, (3, 3, x.shape[-1], self.features), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32)
        x, kernel, bias = x.astype(self.dtype), kernel.astype(self.dtype), bias.astype(self.dtype)
        if self.matmul:
            height, width = x.shape[1:3]
            x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
            shifts = [x[:, i : i + height, j : j + width] for i in range(3) for j in range(3)]
            y = jnp.concatenate(shifts, -1) @ kernel.reshape(-1, self.features)
        else:
            layout = ("NHWC", "HWIO", "NHWC")
            y = jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=layout)
        return y + bias[None, None, None]


def group_norm(x_channels: int, dtype) -> nn.GroupNorm:
    """Return a GroupNorm with the largest number of groups up to 8 that divides the channels."""
    groups = next(g for g in range(8, 0, -1) if x_channels % g == 0)
    return nn.GroupNorm(num_groups=groups, dtype=dtype)


class Block(nn.Module):
    """A residual block of two 3x3 convolutions, FiLM-conditioned; keeps the shape [1, H, W, C]."""

    matmul: bool
    dtype: Any

    @nn.compact
    def __call__(self, x: Array, embedding: Array) -> Array:
        """Return x + h, h modulated by the embedding [width]."""
        channels = x.shape[-1]
        h = nn.silu(group_norm(channels, self.dtype)(x))
        h = Conv3(channels, self.matmul, self.dtype)(h)
        film = nn.Dense(2 * channels, dtype=self.dtype)(embedding)[None, None, None]
        scale, shift = jnp.split(film, 2, -1)
        h = nn.silu(group_norm(channels, self.dtype)(h) * (1 + scale) + shift)
        return x + Conv3(channels, self.matmul, self.dtype)(h)


class Attention(nn.Module):
    """Residual single-head self-attention over the pixels of [1, H, W, C]."""

    dtype: Any

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Return x plus its attended values."""
        n, height, width, channels = x.shape
        h = group_norm(channels, self.dtype)(x).reshape(n, height * width, channels)
        q, k, v = jnp.split(nn.Dense(3 * channels, dtype=self.dtype)(h), 3, -1)
        weights = nn.softmax(jnp.einsum("nqc,nkc->nqk", q, k) / np.sqrt(channels).astype(h.dtype))
        h = nn.Dense(channels, dtype=self.dtype)(jnp.einsum("nqk,nkc->nqc", weights, v))
        return x + h.reshape(x.shape)


def space_to_depth(x: Array, patch: int) -> Array:
    """Return [n, H/p, W/p, p p C] from [n, H, W, C]."""
    n, height, width, channels = x.shape
    x = x.reshape(n, height // patch, patch, width // patch, patch, channels)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(n, height // patch, width // patch, -1)


def depth_to_space(x: Array, patch: int) -> Array:
    """Return [n, H p, W p, C] from [n, H, W, p p C]; the inverse of `space_to_depth`."""
    n, height, width, channels = x.shape
    x = x.reshape(n, height, width, patch, patch, channels // patch**2)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(n, height * patch, width * patch, -1)
