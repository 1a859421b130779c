"""Traces of Jacobians: exact, or estimated with random probes that the caller hands in.

Door: f(...) -> estimator(fn, z) -> (fn(z), trace). For fn: [*event] -> [*event] the trace is [];
for a function of blocks, fn: [c, *event] -> [*event], it is [c], one trace for each block of the
input. Random estimators put their probes on a leading axis, so that their spread is the standard
error. Everything is forward mode: gradients of convolutions inside scans are slow on CPU.
With estimator(fn, z, entries=True) `exact` and `hutchinson` give the diagonal of the Jacobian in
place of its trace, [*event] or [k, *event], for fn: [*event] -> [*event].
"""

import jax
import jax.numpy as jnp

__all__ = ["exact", "hutch_plus_plus", "hutchinson"]

_UNROLLED = 8  # so few products are written out, so that what none of them needs is left out


def exact(*, chunk=None):
    """An estimator whose trace, [] or [c], is exact: one Jacobian-vector product for each entry of
    the input.

    Args: chunk, how many products to hold in memory at once (None: all). Raises ValueError on chunk
    < 1.
    Source: definition.
    """
    if chunk is not None and chunk < 1:
        raise ValueError(f"divergence.exact: chunk must be at least 1; got {chunk}")

    def estimator(fn, z, *, entries=False):
        value, push = jax.linearize(fn, z)
        blocks = value.shape != z.shape
        size = value.size

        def entry(index):
            tangent = jnp.zeros(z.size, z.dtype).at[index].set(1).reshape(z.shape)
            return push(tangent).reshape(-1)[index % size]

        if chunk is None and z.size <= _UNROLLED:
            found = jnp.stack([entry(index) for index in range(z.size)])
        elif chunk is None:
            columns = jax.vmap(push)(jnp.eye(z.size, dtype=z.dtype).reshape(-1, *z.shape))
            found = jnp.diagonal(columns.reshape(-1, size, size), axis1=1, axis2=2)
        else:
            found = jax.lax.map(entry, jnp.arange(z.size), batch_size=chunk)
        if entries:
            return value, found.reshape(value.shape)
        traces = found.reshape(-1, size).sum(1)
        return value, traces if blocks else traces[0]

    return estimator


def hutchinson(probes):
    """An estimator whose traces, [k] or [k, c], are unbiased: probe . J probe for each of k probes.

    Args: probes [k, *event] with zero mean and unit covariance, Rademacher signs for the least
    variance.
    Raises ValueError when there is no probe.
    Source: Hutchinson 1990, doi 10.1080/03610919008812866; Grathwohl et al. 2019, arXiv 1810.01367,
    equation 8.
    """
    if len(probes) == 0:
        raise ValueError(
            f"divergence.hutchinson: at least one probe is needed; got shape {jnp.shape(probes)}"
        )

    def estimator(fn, z, *, entries=False):
        value, push = jax.linearize(fn, z)
        if entries:
            return value, jax.vmap(lambda v: v * push(v))(probes.astype(z.dtype))
        if value.shape == z.shape:
            return value, jax.vmap(lambda v: jnp.vdot(v, push(v)))(probes.astype(z.dtype))

        def trace(probe, block):
            return jnp.vdot(probe, push(jnp.zeros_like(z).at[block].set(probe)))

        over_blocks = jax.vmap(trace, (None, 0))
        return value, jax.vmap(over_blocks, (0, None))(
            probes.astype(z.dtype), jnp.arange(z.shape[0])
        )

    return estimator


def hutch_plus_plus(probes):
    """An estimator whose traces, [m] or [m, c], are unbiased and exact where the Jacobian J has a
    rank of at most k - m: of k probes a third, k - m = k // 3, find its range.

    The trace on the range Q of J sketch is exact, and m = k - k // 3 probes estimate the rest,
    g . (1 - Q Q^T) J (1 - Q Q^T) g: the variance is that of what the range leaves, for k + k // 3
    products in all. The spread of the m traces is the error given the sketch. It pays where J is
    nearly of low rank, as a denoiser's is for data near a manifold. Gradients do not pass through
    Q, which leaves them unbiased. Not for diagonals (`entries=True` raises ValueError).
    Args: probes [k, *event], Rademacher signs. Raises ValueError when there are fewer than three
    probes.
    Source: Meyer et al. 2021, arXiv 2010.09649, algorithm 1. Deviations: more probes for the
    rest than for the range, and a control variate (derived) that takes a multiple of the identity
    out of the rest, where signs would else lose what they are best at.
    """
    k = len(probes)
    if k < 3:
        raise ValueError(
            "divergence.hutch_plus_plus: at least three probes are needed; "
            f"got shape {jnp.shape(probes)}"
        )

    def estimator(fn, z, *, entries=False):
        if entries:
            raise ValueError(
                "divergence.hutch_plus_plus: entries must be False, use hutchinson; got True"
            )
        value, push = jax.linearize(fn, z)
        flat = probes.astype(z.dtype).reshape(k, -1)
        sketch, rest = flat[: k // 3], flat[k // 3 :]

        def traces(product):
            found = jax.lax.stop_gradient(jax.vmap(product)(sketch))
            basis = jnp.linalg.qr(found.T)[0].T
            known = jnp.sum(basis * jax.vmap(product)(basis))
            left = rest - (rest @ basis.T) @ basis
            found, square = jnp.sum(left * jax.vmap(product)(left), 1), jnp.sum(left**2, 1)
            # What a multiple of the identity adds is known; each probe has it from the others
            ratio = jax.lax.stop_gradient(jnp.where(square > 0, found / square, 0))
            others = (jnp.sum(ratio) - ratio) / (len(ratio) - 1)
            return known + found - others * (square - (sketch.shape[1] - len(basis)))

        if value.shape == z.shape:
            return value, traces(lambda v: push(v.reshape(z.shape)).reshape(-1))

        def of_block(block):
            inside = lambda v: jnp.zeros_like(z).at[block].set(v.reshape(z.shape[1:]))
            return traces(lambda v: push(inside(v)).reshape(-1))

        return value, jnp.moveaxis(jax.vmap(of_block)(jnp.arange(z.shape[0])), 0, 1)

    return estimator
