"""Where tables are computed: in float64 on the host when every number is concrete, else where they
are traced.

A schedule is a few dozen scalars, and the accuracy of a whole sampler hangs on them; float32 is not
enough and tracing them costs compile time. So numbers that are known while tracing are worked out
with NumPy in float64, at once. The formulas are written once for both: `namespace` says which
library speaks.
"""

import jax
import jax.numpy as jnp
import numpy as np


def namespace(*trees):
    """Returns numpy when every array [...] in the trees is NumPy's, else jax.numpy.

    Python numbers [] are neutral, and alone they mean jax.numpy, whose results stay weakly typed.
    Source: definition; the idea is that of the Python array API standard.
    """
    leaves = jax.tree.leaves(trees)
    if any(isinstance(leaf, jax.Array) for leaf in leaves):
        return jnp
    return np if any(isinstance(leaf, np.ndarray | np.generic) for leaf in leaves) else jnp


def is_concrete(*trees):
    """Returns whether no leaf [...] of the trees is a tracer. Source: definition."""
    return not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(trees))


def on_host(fn, *trees):
    """Returns fn(*trees) as NumPy float64 arrays [...] when all leaves are concrete, else traced.

    Concrete leaves reach `fn` as NumPy float64, also inside a jitted float32 function, so that
    tables and grids are exact to double precision whatever the working dtype. Concrete numbers have
    no gradients; pass them through `grad` or `jit` to have them. Source: definition.
    """
    if not is_concrete(*trees):
        return fn(*trees)
    with jax.ensure_compile_time_eval(), jax.enable_x64(True), np.errstate(all="ignore"):
        return jax.tree.map(_float64, fn(*jax.tree.map(_float64, trees)))


def _float64(leaf):
    leaf = np.asarray(leaf)
    return leaf.astype(np.float64) if leaf.dtype.kind in "fiu" else leaf


def iterate(body, carry, length, xp):
    """Returns the carry (arrays [...]) after `length` calls of body(carry): a Python loop or a
    fori_loop.

    Source: definition.
    """
    if xp is np:
        for _ in range(length):
            carry = body(carry)
        return carry
    return jax.lax.fori_loop(0, length, lambda _, inner: body(inner), carry)
