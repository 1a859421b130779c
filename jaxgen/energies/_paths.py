"""Annealing paths: one log-density for every exponent from 0, the start, to 1, the target."""

import jax.numpy as jnp
import numpy as np

from jaxgen.math import is_concrete


def geometric_path(start, target):
    """path(exponent []) -> logdensity_fn: (1 - s) log p_start + s log p_target at x [*event], nats.

    Both ends are exact: a log-density of -inf that has weight zero is left out, so an end without
    the other's support is its own density. Args: two logdensity_fns. Source: Neal 2001, equation 3.
    """

    def path(exponent):
        def logdensity_fn(x):
            ends = jnp.stack([jnp.asarray(start(x)), jnp.asarray(target(x))])
            weights = jnp.stack([1 - exponent, jnp.asarray(exponent)]).astype(ends.dtype)
            return jnp.sum(jnp.where(weights == 0, 0.0, weights * ends))

        return logdensity_fn

    return path


def moment_path(mean_start, cov_start, mean_end, cov_end):
    """path(exponent []) -> logdensity_fn, normalised: the Gaussian over x [d] whose first two
    moments are the averages of those of two Gaussians, weights 1 - s and s.

    Along it the variance swells by s (1 - s) (m_1 - m_0) (m_1 - m_0)^T, which bridges ends that
    hardly overlap; the geometric path averages natural parameters instead and does not. Args: means
    [d], covariances [d, d]. Raises ValueError on shapes that do not fit, and covariances that are
    not positive definite.
    Source: Grosse, Maddison and Salakhutdinov 2013, section 4.
    """
    means, covs = (mean_start, mean_end), (cov_start, cov_end)
    means, covs = ([jnp.asarray(a, float) for a in pair] for pair in (means, covs))
    d = means[0].shape[0] if means[0].ndim == 1 else -1
    if any(m.shape != (d,) for m in means) or any(c.shape != (d, d) for c in covs):
        raise ValueError(
            "energies.moment_path: means [d] and covariances [d, d] must fit; got "
            f"{[a.shape for a in (*means, *covs)]}"
        )
    if is_concrete(covs) and not all(np.all(np.linalg.eigvalsh(c) > 0) for c in covs):
        raise ValueError("energies.moment_path: covariances must be positive definite; got others")

    def path(exponent):
        gap = means[1] - means[0]
        mean = means[0] + exponent * gap
        cov = (1 - exponent) * covs[0] + exponent * covs[1]
        root = jnp.linalg.cholesky(cov + exponent * (1 - exponent) * gap[:, None] * gap[None, :])

        def logdensity_fn(x):
            white = jnp.linalg.solve(root, x - mean)
            log_volume = jnp.sum(jnp.log(jnp.diag(root))) + d / 2 * np.log(2 * np.pi)
            return -white @ white / 2 - log_volume

        return logdensity_fn

    return path
