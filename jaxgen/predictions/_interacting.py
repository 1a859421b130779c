"""Networks of exchangeable particles."""

import jax
import jax.numpy as jnp


def interacting(alone, between):
    """apply(params, z [n, d], t, **cond) -> [n, d] for any number n of exchangeable particles:
    alone(params, z_i, t) + mean over j of between(params, z_i, z_j, t).

    Equivariant under permutations; with it the reverse SDE of a scalar process on [n, d] is that of
    McKean and Vlasov, whose particles meet through their empirical law. Args: alone(params, x [d],
    t, **cond) -> [d]; between(params, x [d], other [d], t, **cond) -> [d]. Costs n^2 evaluations of
    `between`.
    Source: Park et al. 2024, arXiv 2406.05396 (mean-field chaos diffusion models), as an average of
    pairs; derived.
    """

    def apply(params, z, t, **cond):
        def one(x):
            pairs = jax.vmap(lambda other: between(params, x, other, t, **cond))(z)
            return alone(params, x, t, **cond) + jnp.mean(pairs, 0)

        return jax.vmap(one)(z)

    return apply
