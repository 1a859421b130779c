"""A flow that is the solution of an ordinary differential equation."""

import jax.numpy as jnp

from jaxgen.flows._record import Flow
from jaxgen.math import divergence as traces


def continuous(field, integrate, ts, *, init=None, divergence=None):
    """The Flow of x [*event] along dx/dt = field(params, x, t), data at ts[0] and noise at ts[-1].

    The log-determinant [] is the integral of the field's divergence, carried beside x by the same
    integrator. The integrator is an argument because this room stands below `solvers`; with it
    a flow has whatever steps, tolerance or adjoint its integrator has:

        def integrate(field, state, ts):  # state: a tree of arrays; field(state, t)
            return solve(key, solvers.ode.rk4(field), state, ts)[0]

    Nothing more than its integrator's error separates inverse(forward(x)) from x.

    Args:
        field: (params, x [*event], t [], **cond) -> [*event], such as the apply of `nets.mlp`.
        integrate: (field, state, ts [n + 1]) -> state at ts[-1]; also run with ts reversed.
        ts: [n + 1], monotone.
        init: key -> params; None for fields that need none, whose params are then empty.
        divergence: an estimator of `math.divergence`, `exact()` when None. For Hutchinson's, build
            the flow where the probes are drawn, with `hutchinson(probes)`: the mean over the probes
            is an unbiased log-determinant, and one set of probes serves the whole path.

    A likelihood under a noising process, with its error terms, is `likelihoods.flow_ode`; this is
    the flow of a field that belongs to no process.
    Raises ValueError unless ts is [n + 1] with n >= 1.
    Source: Chen et al. 2018, arXiv 1806.07366, theorem 1; Grathwohl et al. 2019, arXiv 1810.01367,
    equation 8.
    """
    if jnp.ndim(ts) != 1 or len(ts) < 2:
        raise ValueError(
            f"flows.continuous: ts must have shape [n + 1], n >= 1; got shape {jnp.shape(ts)}"
        )
    estimator = traces.exact() if divergence is None else divergence

    def run(params, x, ts, cond):
        def with_density(state, t):
            value, trace = estimator(lambda inner: field(params, inner, t, **cond), state[0])
            return value, jnp.mean(trace)

        return integrate(with_density, (x, jnp.zeros((), x.dtype)), ts)

    def forward(params, x, **cond):
        return run(params, x, ts, cond)

    def inverse(params, z, **cond):
        return run(params, z, ts[::-1], cond)

    return Flow((lambda key: {}) if init is None else init, forward, inverse)
