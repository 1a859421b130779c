"""Coupling layers of splines: half of the coordinates bend the other half."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.flows import _spline
from jaxgen.flows._record import Flow


class Conditioner(NamedTuple):
    """The network inside a coupling layer; any record with these two functions will do.

    Source: definition; the shape is that of the small networks in `nets`.
    """

    init: Callable  # key -> params
    apply: Callable  # (params, x [n], t [], **cond) -> [m]


def perceptron(inputs, outputs, *, width=64, depth=2):
    """A `Conditioner` [inputs] -> [outputs]: `depth` hidden layers of tanh units, zero at its
    start. It does not look at t.

    Raises ValueError on sizes below one. Source: definition; the zero start is that of Kingma and
    Dhariwal 2018, arXiv 1807.03039, section 3.3.
    """
    sizes = {"inputs": inputs, "outputs": outputs, "width": width, "depth": depth}
    _check_sizes("flows.perceptron", **sizes)
    shapes = [(n, width) for n in (inputs, *[width] * (depth - 1))]

    def init(key):
        keys = jax.random.split(key, depth)
        hidden = [
            (jax.random.normal(each, shape) / shape[0] ** 0.5, jnp.zeros(shape[1]))
            for each, shape in zip(keys, shapes, strict=True)
        ]
        return [*hidden, (jnp.zeros((width, outputs)), jnp.zeros(outputs))]

    def apply(params, x, t):
        for weights, bias in params[:-1]:
            x = jnp.tanh(x @ weights + bias)
        return x @ params[-1][0] + params[-1][1]

    return Conditioner(init, apply)


def coupling(dim, *, layers=4, bins=8, bound=4.0, conditioner=perceptron, permutation="random"):
    """The Flow of x [dim] through coupling layers of monotone rational-quadratic splines.

    In each layer the first half of the coordinates passes through splines of its own and
    conditions the splines of the second half; then the coordinates are permuted. The splines are
    the identity outside [-bound, bound], so the data should be standardised (see `affine`) and the
    tails are the base's. The last permutation undoes the others, and fresh parameters of a
    conditioner that starts at zero give the identity.

    Args:
        dim: coordinates; one coordinate has no other half, and each layer is one free spline.
        layers: how many.
        bins: of each spline.
        bound: half the width of the splines.
        conditioner: (inputs, outputs) -> a record with init(key) and apply(params, x [inputs], t,
            **cond) -> [outputs], for example `functools.partial(flows.perceptron, width=32)` or
            `lambda n, m: nets.mlp((n,), width=32, out_shape=(m,))`; t is 0.
        permutation: "random" (drawn once, from a fixed seed), or "alternate": the halves swap.

    Parameters are the `layers` trees of the halves on a leading axis; the loop over them is a scan.
    Raises ValueError on sizes below one, a bound that is not positive, more bins than the least
    width allows, or another permutation.
    Source: Durkan et al. 2019, arXiv 1906.04032, section 3; Dinh et al. 2017, arXiv 1605.08803, for
    coupling. Deviations: the first half has unconditional splines (as in their code), and there is
    no LU layer between couplings: put `affine` where one is wanted.
    """
    _check(dim, layers, bins, bound, permutation)
    half, per = dim // 2, _spline.numbers(bins)
    orders = _orders(dim, layers, permutation)
    net = conditioner(half, (dim - half) * per) if half else None

    def init(key):
        raw = jnp.zeros((layers, dim if net is None else half, per))
        if net is None:
            return {"own": raw}
        return {"own": raw, "net": jax.vmap(net.init)(jax.random.split(key, layers))}

    def other(each, first, cond):
        raw = net.apply(each["net"], first, jnp.zeros((), first.dtype), **cond)
        return raw.astype(first.dtype).reshape(dim - half, per)

    def bend(each, x, cond):
        """One layer towards noise: the halves are bent at once."""
        raw = each["own"].astype(x.dtype)
        if net is not None:
            raw = jnp.concatenate([raw, other(each, x[:half], cond)])
        return _spline.forward(x, _spline.knots(raw, bins, bound))

    def straighten(each, z, cond):
        """One layer towards data: the first half, and then, knowing it, the second."""
        own = _spline.knots(each["own"].astype(z.dtype), bins, bound)
        if net is None:
            return _spline.inverse(z, own)
        first, own_det = _spline.inverse(z[:half], own)
        knots = _spline.knots(other(each, first, cond), bins, bound)
        second, other_det = _spline.inverse(z[half:], knots)
        return jnp.concatenate([first, second]), jnp.concatenate([own_det, other_det])

    def forward(params, x, **cond):
        def layer(carry, row):
            (x, total), (each, order) = carry, row
            x, log_dets = bend(each, x, cond)
            return (x[order], total + jnp.sum(log_dets)), None

        return jax.lax.scan(layer, (x, jnp.zeros((), x.dtype)), (params, orders))[0]

    def inverse(params, z, **cond):
        def layer(carry, row):
            (z, total), (each, order) = carry, row
            z, log_dets = straighten(each, z[order], cond)
            return (z, total + jnp.sum(log_dets)), None

        rows = (params, np.argsort(orders, -1))
        return jax.lax.scan(layer, (z, jnp.zeros((), z.dtype)), rows, reverse=True)[0]

    return Flow(init, forward, inverse)


def _orders(dim, layers, permutation):
    """The order [layers, dim] of the coordinates after each layer; all together undo each other."""
    random, orders = np.random.default_rng(dim), []
    while len(orders) < layers - 1:
        order = np.roll(np.arange(dim), -(dim // 2))
        if permutation == "random":
            order = random.permutation(dim)
        # In few dimensions an order that moves nothing between the halves is likely, and useless.
        if dim < 2 or set(order[: dim // 2]) != set(range(dim // 2)):
            orders.append(order)
    whole = np.arange(dim)
    for order in orders:
        whole = whole[order]
    return np.stack([*orders, np.argsort(whole)])


def _check_sizes(name, **sizes):
    for label, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name}: {label} must be at least 1; got {size}")


def _check(dim, layers, bins, bound, permutation):
    name = "flows.coupling"
    _check_sizes(name, dim=dim, layers=layers, bins=bins)
    if bins * _spline.LEAST >= 1:
        raise ValueError(f"{name}: bins must be below {1 / _spline.LEAST:.0f}; got {bins}")
    if not bound > 0:
        raise ValueError(f"{name}: bound must be positive; got {bound}")
    if permutation not in ("random", "alternate"):
        raise ValueError(
            f'{name}: permutation must be "random" or "alternate"; got {permutation!r}'
        )
