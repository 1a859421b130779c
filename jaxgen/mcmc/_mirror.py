"""Mirror Langevin: Langevin of the dual point y = grad phi(x), phi convex and steep at the edge of
a domain, so that no step meets the edge.

    y' = grad phi(x) + dt grad log p(x) + sqrt(2 dt) [hess phi(x)]^(1/2) xi,    grad phi(x') = y'

Given x, x' has the density of a normal law at grad phi(x') times det hess phi(x'), so a Metropolis
decision makes it exact. Unadjusted it is biased by O(dt).

    mirror      phi                 grad phi     hess phi
    "entropy"   sum x log x - x     log x        diag(1 / x)
    "burg"      - sum log x         - 1 / x      diag(1 / x^2)
    "simplex"   sum_k x_k log x_k   log(x_i / x_k), i < k, in the coordinates x_1 .. x_{k-1}

On the simplex hess phi = diag(1 / x_i) + 1 1^T / x_k, of determinant prod_k 1 / x_k; it is the
covariance of xi_i / sqrt(x_i) - xi_k / sqrt(x_k), and r^T (hess phi)^-1 r is the variance of r
under the weights x. So all can be written with k dual coordinates whose common shift is nothing:
x' = softmax(log x + dt grad log p + sqrt(2 dt / x) xi).

Sources: Zhang, Peyre, Fadili and Pereyra 2020, arXiv 2002.04363, equation 4 (the unadjusted step);
Srinivasan, Wibisono and Wilson 2024, arXiv 2312.08823, algorithm 1 (the decision).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.math import is_concrete
from jaxgen.mcmc._accept import decide
from jaxgen.mcmc._checks import positive
from jaxgen.mcmc._langevin import LangevinState, land, noise_like, start
from jaxgen.types import sampling_algorithm


class _Mirror(NamedTuple):
    """A mirror map on x [*event], every entry positive."""

    dual: Any  # x -> y
    primal: Any  # y -> x
    root: Any  # (x, unit normals) -> normals with covariance hess phi(x)
    log_det: Any  # x -> [], of hess phi(x)
    square: Any  # (x, r) -> [], r^T hess phi(x)^-1 r
    lost: int  # dimensions fewer than entries


def _spread(x, r):
    return jnp.sum(x * (r - jnp.sum(x * r)) ** 2)


_DUAL = {"dual": jnp.log, "root": lambda x, n: n / jnp.sqrt(x)}
_DET = {"log_det": lambda x: -jnp.sum(jnp.log(x))}
MIRRORS = {
    "entropy": _Mirror(
        primal=jnp.exp, square=lambda x, r: jnp.sum(x * r**2), lost=0, **_DUAL, **_DET
    ),
    "burg": _Mirror(
        dual=lambda x: -1 / x,
        primal=lambda y: -1 / y,
        root=lambda x, n: n / x,
        log_det=lambda x: -2 * jnp.sum(jnp.log(x)),
        square=lambda x, r: jnp.sum((x * r) ** 2),
        lost=0,
    ),
    "simplex": _Mirror(primal=jax.nn.softmax, square=_spread, lost=1, **_DUAL, **_DET),
}


def mirror_langevin(logdensity_fn, dt, *, mirror="entropy", adjusted=True):
    """Mirror Langevin on exp(logdensity_fn(x)), x [*event] one array of positive numbers, or with
    mirror="simplex" x [k] of sum 1; as a `SamplingAlgorithm`.

    Its infos are those of Metropolis with adjusted=True, which leaves the law invariant, and those
    of `ula` without. On the simplex the density is with respect to the uniform law. "entropy" moves
    x by about sqrt(2 dt x), "burg" by sqrt(2 dt) x, also near 0, where "entropy" tries what is
    rejected when the density does not vanish there.

    Args: dt [], > 0; mirror, "entropy", "burg" or "simplex". A proposal that leaves the domain,
    which "burg" and rounding can do, is rejected; unadjusted it is not taken, and info says
    is_divergent. Raises ValueError on a dt that is not positive or another mirror; `init` on an x
    outside the domain, or a log-density that is NaN or +inf.
    Source: Zhang et al. 2020, arXiv 2002.04363; Srinivasan, Wibisono and Wilson 2024,
    arXiv 2312.08823, algorithm 1.
    """
    where = "mcmc.mirror_langevin"
    positive(where, dt=dt)
    if mirror not in MIRRORS:
        raise ValueError(f"{where}: mirror must be one of {list(MIRRORS)}; got {mirror!r}")
    phi, evaluate = MIRRORS[mirror], jax.value_and_grad(logdensity_fn)

    def init(position, rng_key=None):
        del rng_key
        return start(where, evaluate, _inside(where, mirror, position))

    def centre(state):
        """The mean of the next dual point, and dt, in the dtype of x."""
        h = jnp.asarray(dt, state.position.dtype)
        return phi.dual(state.position) + h * state.logdensity_grad, h

    def propose(key, state):
        """(x', whether it is in the domain); an x' outside is NaN."""
        mean, h = centre(state)
        spread = phi.root(state.position, noise_like(key, state.position))
        x = phi.primal(mean + jnp.sqrt(2 * h) * spread)
        inside = jnp.all((x > 0) & jnp.isfinite(x))
        return jnp.where(inside, x, jnp.nan), inside

    def log_forward(old, new):
        """log q(new | old) []."""
        mean, h = centre(old)
        x, y = old.position, new.position
        square = phi.square(x, phi.dual(y) - mean) / (4 * h)
        scale = (x.size - phi.lost) / 2 * jnp.log(4 * np.pi * h)
        return phi.log_det(y) - phi.log_det(x) / 2 - square - scale

    def step(rng_key, state):
        if not adjusted:
            return land(evaluate, state, propose(rng_key, state)[0])
        key_noise, key_accept = jax.random.split(rng_key)
        x, inside = propose(key_noise, state)
        x = jnp.where(inside, x, state.position)
        new = LangevinState(x, *evaluate(x))
        new = new._replace(logdensity=jnp.where(inside, new.logdensity, -jnp.inf))
        forward = log_forward(state, new)
        ratio = new.logdensity - state.logdensity + log_forward(new, state) - forward
        ratio = jnp.where(new.logdensity == -jnp.inf, -jnp.inf, ratio)
        return decide(key_accept, ratio, new, state, forward)

    return sampling_algorithm(init, step)


def _inside(where, mirror, x):
    x = jnp.asarray(x)
    if not jnp.issubdtype(x.dtype, jnp.floating) or (mirror == "simplex" and x.ndim != 1):
        raise ValueError(
            f"{where}: x must be real, and [k] on the simplex; got {x.dtype} {x.shape}"
        )
    if is_concrete(x):
        held = np.asarray(x)
        if not np.all((held > 0) & np.isfinite(held)):
            raise ValueError(f"{where}: every entry of x must be positive; got {held}")
        error = abs(held.sum(dtype=float) - 1)
        if mirror == "simplex" and error > 100 * len(held) * np.finfo(held.dtype).eps:
            raise ValueError(f"{where}: x must sum to 1 on the simplex; got {held.sum()}")
    return x
