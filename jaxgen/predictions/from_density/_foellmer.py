"""The drift of the Föllmer process: from the point 0 at t = 0 to the target at t = 1.

dU = b(U, t) dt + dB with b = grad log E[g(x + sqrt(1 - t) Z)], g = p / N(0, I). By Gaussian
integration by parts E[grad g(x + s Z)] = E[Z g(x + s Z)] / s: the Stein form needs no gradient.
U_t given U_1 = y is N(t y, t (1 - t)), so b = (E[U_1 | U_t = x] - x) / (1 - t): both are the
importance denoiser of that channel with the guess N(0, I). Here t rises towards the data.
"""

import jax
import jax.numpy as jnp

from jaxgen.predictions.from_density._posterior import check_draws, check_event, of_points, shares

FORMS = ("stein", "gradient")


def foellmer(logdensity_fn, eps, *, form="stein"):
    """drift(x [*event], t) -> [*event] of the Föllmer process of exp(logdensity_fn), 0 <= t < 1,
    from unit noise eps [m, *event]; m evaluations, for `solvers.sde.foellmer`.

    The reference is N(0, I): scale the target to unit width. Args: form, "stein", without
    gradients, whose error grows as (1 - t)^-1/2 near the end, or "gradient", which is exact for a
    unit-variance Gaussian. Raises ValueError on another form, fewer than two draws, and (when
    traced) draws of another event.
    Source: Föllmer 1985; Riel and Bilionis 2024, arXiv 2401.17539; Huang et al. 2021, arXiv
    2106.10880, equation 8 for both forms.
    """
    where = "predictions.from_density.foellmer"
    check_draws(where, eps)
    if form not in FORMS:
        raise ValueError(f"{where}: form must be one of {', '.join(FORMS)}; got {form!r}")
    log_ratio = lambda y: logdensity_fn(y) + jnp.sum(y**2) / 2

    def drift(x, t):
        check_event(where, eps, x)
        noise = jnp.asarray(eps, x.dtype)
        spread = jnp.sqrt(1 - jnp.asarray(t, x.dtype))
        points = x[None] + spread * noise
        weights = shares(of_points(log_ratio, points))
        if form == "stein":
            return jnp.tensordot(weights, noise, 1) / spread
        slopes = jax.vmap(jax.grad(log_ratio))(points)
        wide = weights.reshape(-1, *(1,) * x.ndim)
        return jnp.sum(jnp.where(wide > 0, wide * slopes, jnp.zeros_like(slopes)), 0)

    return drift
