"""What holds for every linear process: checks when it is built, and the verbs derived from its
transition.
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np

from jaxgen.math import (
    apply,
    channel,
    data_column,
    is_concrete,
    namespace,
    on_host,
    working_dtype,
)
from jaxgen.processes._entries import event_shape as event_of
from jaxgen.processes._entries import is_diagonal
from jaxgen.types import Distribution, NonlinearForward


def check_times(name, t_min, t_max):
    """Raises ValueError unless 0 <= t_min < t_max (concrete numbers []). Source: definition."""
    if is_concrete(t_min, t_max) and not 0 <= t_min < t_max:
        raise ValueError(f"{name}: 0 <= t_min < t_max must hold; got t_min={t_min}, t_max={t_max}")


def check_positive(name, **numbers):
    """Raises ValueError unless all concrete numbers [...] are finite and positive.

    Source: definition.
    """
    for label, number in numbers.items():
        if is_concrete(number) and not np.all((np.asarray(number) > 0) & np.isfinite(number)):
            raise ValueError(f"{name}: {label} must be positive; got {number}")


def check_snr(name, process):
    """Raises ValueError unless the signal-to-noise ratio of a concrete process falls from t_min to
    t_max [].

    Source: definition.
    """
    if not is_concrete(process):
        return
    ts = np.linspace(float(process.t_min), float(process.t_max), 33)
    log_snrs = on_host(log_snr, process, ts)
    falls = log_snrs[1:] < log_snrs[:-1]
    if not np.all(falls):
        where = int(np.argmin(falls))
        raise ValueError(
            f"{name}: the signal-to-noise ratio must fall strictly from t_min to t_max; got "
            f"log-SNR {log_snrs[where]:.6g} at t={ts[where]:.4g} and {log_snrs[where + 1]:.6g} "
            f"at t={ts[where + 1]:.4g}"
        )


def num_blocks(process):
    """c, the number of blocks on the leading axis of z [c, *event], or None for a scalar process
    and for one that is diagonal in a basis.

    Source: definition.
    """
    if is_diagonal(process):
        return None
    if is_concrete(process):
        shape = np.shape(process.transition(np.asarray(process.t_max, float))[0])
    else:
        shape = jax.eval_shape(process.transition, jax.ShapeDtypeStruct((), jnp.float32))[0].shape
    return shape[0] if shape else None


def channel_at(process, t):
    """The `math.Channel` of z_t at t [...]: gain = sqrt(gamma(t)), read and whiten; with arrays
    [..., *event] for a process diagonal in a basis.

    Source: derived.
    """
    return channel(*process.transition(t), blocks=num_blocks(process) is not None)


def log_snr(process, t):
    """Log gamma(t) [...], in nats: 2 log(alpha / sigma) for a scalar process, for blocks the log of
    Phi_0^T Sigma^-1 Phi_0, and [..., *event] for a process diagonal in a basis.

    Source: Kingma et al. 2021, arXiv 2107.00630, equation 2; for blocks derived by Gaussian
    conditioning.
    """
    gain = channel_at(process, t).gain
    return 2 * namespace(gain).log(gain)


def mean_log_snr(process, t):
    """The one log-SNR [...] by which grids and time laws go, in nats: `log_snr`, or its mean over
    the entries of a process diagonal in a basis.

    It falls as each entry's does. Source: definition.
    """
    found = log_snr(process, t)
    if not is_diagonal(process):
        return found
    return namespace(found).mean(found, tuple(range(-len(event_of(process)), 0)))


def noise_shape(process, event_shape):
    """The shape of eps and of z: [*event] for a scalar process, [c, *event] for blocks.

    Raises ValueError when a process diagonal in a basis has another event. Source: definition.
    """
    if is_diagonal(process) and tuple(event_shape) != event_of(process):
        raise ValueError(
            f"processes.noise_shape: the event of the process must be {tuple(event_shape)}; "
            f"got {event_of(process)}"
        )
    blocks = num_blocks(process)
    return tuple(event_shape) if blocks is None else (blocks, *event_shape)


def corrupt(process, x0, eps, t):
    """z = Phi_0(t) x0 + L(t) eps: data x0 [*event] noised to time t [], for unit noise eps [*event]
    or [c, *event].

    Source: Song et al. 2021, arXiv 2011.13456, equation 29, for blocks with the auxiliaries' start
    inside L.
    """
    chex.assert_trees_all_equal_shapes(x0, data_part(process, eps))
    phi, chol = process.transition(t)
    entries = is_diagonal(process)
    signal = apply(data_column(phi, blocks=num_blocks(process) is not None), x0, entries=entries)
    return jax.tree.map(jnp.add, signal, apply(chol, eps, entries=entries))


def prior(process, event_shape):
    """The law N(0, Phi_0 Phi_0^T + Sigma) at t_max of z, [*event] or [c, *event], for unit-variance
    data; log-density in nats.

    For a process that forgets its start this is its stationary law; for others (ve, edm) the data's
    variance is counted as one. Independent across the entries of the event. A nonlinear process
    states its own, of this event shape. Raises ValueError where that has another shape.
    Source: definition.
    """
    if isinstance(process, NonlinearForward):
        return _stated_prior(process, event_shape)
    phi, chol = process.transition(process.t_max)
    blocks = num_blocks(process)
    column = data_column(phi, blocks=blocks is not None)
    if blocks is None:
        scale = jnp.sqrt(jnp.asarray(column) ** 2 + jnp.asarray(chol) ** 2)
    else:
        scale = jnp.linalg.cholesky(
            jnp.outer(column, column) + jnp.asarray(chol) @ jnp.asarray(chol).T
        )
    shape = noise_shape(process, event_shape)

    def sample(key):
        return apply(scale, jax.random.normal(key, shape), entries=is_diagonal(process))

    def logdensity(z):
        size = 1 if is_diagonal(process) else np.prod(event_shape, dtype=int)
        whiten = (1 / scale if blocks is None else jnp.linalg.inv(scale)).astype(working_dtype(z))
        white = z * whiten if blocks is None else jnp.tensordot(whiten, z, 1)
        volume = jnp.sum(jnp.log(whiten if blocks is None else jnp.diag(whiten)))
        return jnp.sum(jax.scipy.stats.norm.logpdf(white)) + size * volume

    return Distribution(sample, logdensity)


def _stated_prior(process, event_shape):
    shape = jax.eval_shape(process.prior.sample, jax.random.key(0)).shape
    if shape != tuple(event_shape):
        raise ValueError(
            f"processes.prior: the prior's draws must have the shape {tuple(event_shape)}; "
            f"got {shape}"
        )
    return process.prior


def lift(process, x, eps):
    """z at t_min whose data part is x [*event]: x itself, or [c, *event] with auxiliaries made from
    unit noise eps.

    Args: eps [*event] (ignored) or [c, *event], of which the blocks after the first are used. The
    auxiliaries follow `auxiliary_law`. Source: derived (Gaussian conditioning).
    """
    if num_blocks(process) is None:
        return x
    mean, chol = auxiliary_law(process)
    return jax.tree.map(
        lambda a, e: jnp.concatenate([a[None], apply(mean, a) + apply(chol, e[1:])]), x, eps
    )


def auxiliary_law(process):
    """Mean coefficients [c - 1] and Cholesky factor [c - 1, c - 1] of the auxiliaries at t_min
    given the data part.

    Exact in the limit t_min -> 0, where data and auxiliaries are independent; at t_min > 0 the data
    part's own noise is taken to be small against the data (a locally flat density of x0). Source:
    derived (Gaussian conditioning).
    """
    phi, chol = (jnp.asarray(part) for part in process.transition(process.t_min))
    mean = phi[1:, 0] / phi[0, 0]
    through_data = chol[1:, 0] - mean * chol[0, 0]
    return mean, jnp.linalg.cholesky(
        jnp.outer(through_data, through_data) + chol[1:, 1:] @ chol[1:, 1:].T
    )


def data_part(process, z):
    """The data block [*event] of z: z itself for a scalar process, z[0] for blocks [c, *event].

    Source: definition.
    """
    return z if num_blocks(process) is None else jax.tree.map(lambda leaf: leaf[0], z)
