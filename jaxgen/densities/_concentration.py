"""The concentration of a von Mises-Fisher law that has a given mean resultant length."""

import jax
import jax.numpy as jnp

from jaxgen.math import iv_ratio

_ROUNDS = 6  # Newton doubles the digits; the start has one or two


def floating(x):
    """x [...] in its own floating dtype, integers in the default one."""
    return jnp.asarray(x, jnp.result_type(float, x))


def concentration_of_gap(gap, d, largest):
    """kappa [...] with 1 - A_d(kappa) = gap [...] in [0, 1], A_d = I_{d/2} / I_{d/2-1}, at most
    `largest`: Newton's method from a start that is exact in both limits, then one step that carries
    the derivative.

    The resultant enters as 1 minus itself: near 1 that is where its digits are.
    Sources: Banerjee et al. 2005, JMLR 6, equation 4.4 (the start); Sra 2012 (Newton).
    """
    v = d / 2 - 1
    inner = (gap > 0) & (gap < 1)
    target = jnp.where(inner, gap, 0.5)
    resultant = 1 - target
    start = resultant * (d - resultant**2) / (target * (1 + resultant))

    def newton(kappa, target):
        ones = (jnp.ones_like(kappa),)
        found, slope = jax.jvp(lambda x: iv_ratio(v, x, complement=True), (kappa,), ones)
        return kappa - (found - target) / jax.lax.stop_gradient(slope)

    still = jax.lax.stop_gradient(target)
    kappa = jax.lax.fori_loop(
        0, _ROUNDS, lambda _, k: jnp.maximum(newton(k, still), k / 4), jax.lax.stop_gradient(start)
    )
    kappa = newton(jax.lax.stop_gradient(kappa), target)
    return jnp.where(inner, jnp.minimum(kappa, largest), jnp.where(gap <= 0, largest, 0))
