"""Minimum-distance estimation by maximum mean discrepancy, for models without a likelihood.

    MMD²(model, data) = E k(y, y') - 2 E k(y, x) + E k(x, x')

The last term does not depend on the parameters. Points of the model are functions of base draws
with a known law, y = simulate(params, u), so the gradient goes through them.

The estimator is consistent and normal: for n data and m independent draws, both large, its
variance is g⁻¹ Σ g⁻¹ (1 / n + 1 / m), g half the Hessian of MMD² and Σ the covariance of
grad E k(y, x) over x; even or weighted draws take most of 1 / m away. Under a bounded kernel a
small share of outliers moves it by a bounded amount, however far they are; a wide kernel is nearer
to the efficiency of maximum likelihood, a narrow one heeds outliers less.

Sources: Dziugaite, Roy and Ghahramani 2015, arXiv 1505.03906 (the loss); Briol, Barp, Duncan and
Girolami 2019, arXiv 1906.05944 (the estimator, its law and its robustness); Bharti et al. 2023,
arXiv 2301.11674 (weights).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.kernels import quadratic, row_means
from jaxgen.math import is_concrete

Array = jax.Array
_WHERE = "losses.simulator.minimum_mmd"


def minimum_mmd(
    simulate: Callable,
    kernel: Callable[[Array, Array], Array],
    inputs: Callable,
    *,
    draws: int,
    constant: bool = True,
    chunk: int = 512,
) -> Callable:
    """loss_fn(params, key, x0 [n, *event], t=None) -> []: a batch loss, the squared maximum mean
    discrepancy between the model and the law of the data, in units of the kernel.

    With independent inputs it is the U-statistic, without pairs of a point with itself on either
    side: its mean, and that of its gradient, are those of the laws at every n and draws, and it may
    be negative. With weighted inputs (even ones have equal weights) the model keeps all its pairs:
    even ones make the value too large, on average, by the squared error of their sums, and optimal
    weights add a bias of the order of their error: small, where to leave pairs out would not be.

    One key in every step (common random numbers) makes it a fixed function of params, for any
    optimiser; a fresh one gives stochastic gradients. As the distance of approximate Bayesian
    computation: `distance=lambda value: value` of `simulate=lambda key, theta: loss_fn(theta, key,
    x0)`; there draws = n with weights that are all 1 / n compare whole data sets. A simulated
    point that is not finite makes the loss so.

    Args:
        simulate: (params, u) -> [*event], floating; differentiable in params for gradients.
        kernel: (x [*event], y [*event]) -> [], symmetric.
        inputs: (key, draws) -> `Inputs`, as of `base_inputs`.
        draws: points simulated at each call, at least 2.
        constant: with the data's own mean E k(x, x'), always without pairs of a point with itself;
            False leaves it out, and with it a cost of n² that changes no gradient.
        chunk: a tile of pairs is at most [chunk, chunk].

    Raises ValueError on draws below 2; when called, on fewer than 2 data, data that are not
    floating or (where concrete) not finite, inputs that are not `draws` or weights of another
    shape, or simulations of another event shape than the data's.
    Source: Dziugaite et al. 2015, arXiv 1505.03906, section 3; Briol et al. 2019, arXiv 1906.05944,
    sections 2 and 3; weights, Bharti et al. 2023, arXiv 2301.11674, equation 4.
    """
    if isinstance(draws, bool) or not isinstance(draws, int) or draws < 2:
        raise ValueError(f"{_WHERE}: draws must be an integer of at least 2; got {draws!r}")

    def loss_fn(params, key, x0, t=None):
        x0 = _data(x0)
        us, weights = _drawn(inputs(key, draws), draws, x0.dtype)
        ys = jax.vmap(lambda u: simulate(params, u))(us)
        if jnp.shape(ys)[1:] != x0.shape[1:] or not jnp.issubdtype(ys.dtype, jnp.floating):
            raise ValueError(
                f"{_WHERE}: simulate must return a floating point like those of the data, "
                f"{x0.shape[1:]}; got {ys.dtype} {jnp.shape(ys)[1:]}"
            )
        within = _within(kernel, ys, weights, chunk)
        cross = row_means(kernel, ys, x0, chunk=chunk)
        between = jnp.mean(cross) if weights is None else jnp.vdot(weights, cross)
        apart = within - 2 * between
        return apart + _within(kernel, x0, None, chunk) if constant else apart

    return loss_fn


def _within(kernel, xs, weights, chunk):
    """The mean of the kernel over pairs: all of them by weights, or those of unequal places."""
    form = quadratic(kernel, xs, weights, chunk=chunk)
    if weights is not None:
        return form
    n = xs.shape[0]
    alone = jnp.mean(jax.vmap(lambda x: kernel(x, x))(xs))
    return (n * form - alone) / (n - 1)


def _data(x0):
    x0 = jnp.asarray(x0)
    if x0.ndim < 1 or x0.shape[0] < 2 or not jnp.issubdtype(x0.dtype, jnp.floating):
        raise ValueError(
            f"{_WHERE}: x0 must be floating [n, *event], n >= 2; got {x0.dtype} {x0.shape}"
        )
    if is_concrete(x0) and not np.all(np.isfinite(np.asarray(x0))):
        raise ValueError(f"{_WHERE}: x0 must be finite; got some that is not")
    return x0


def _drawn(drawn, draws, dtype):
    """Inputs and weights in the working dtype of the data; keys and integers stay."""
    us, weights = drawn
    sizes = {jnp.shape(leaf)[:1] for leaf in jax.tree.leaves(us)}
    if sizes != {(draws,)} or (weights is not None and jnp.shape(weights) != (draws,)):
        raise ValueError(
            f"{_WHERE}: inputs must make us and weights of leading axis {draws}; got "
            f"{sorted(sizes)} and {None if weights is None else jnp.shape(weights)}"
        )
    cast = lambda u: u.astype(dtype) if jnp.issubdtype(u.dtype, jnp.floating) else u
    us = jax.tree.map(cast, us)
    return us, None if weights is None else jnp.asarray(weights, dtype)
