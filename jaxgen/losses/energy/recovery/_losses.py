"""Recovery likelihoods: every level's energy learns to undo one rung of noise.

Noise. The expected gradient of either loss is E grad f(z') - E grad f(z), z the data's and z' the
model's point of a level: it sees the laws of z and of z', and not how they depend on each other.
Draw them together, each from its own law: the expectation stays, the variance can fall.

- "fresh": z, then noisy from z; the chain has its own noise.
- "shared": z and noisy are one x0 with one noise at two levels (the paper's variance reduction).
- "coupled": given noisy and x0, z is normal with a known mean, so that it may be the end of a chain
  in that law, which runs beside the model's with the same kernel and keys. The two part only by
  what x0 adds to noisy. It costs no evaluation of a network; an unadjusted kernel would bias z, and
  one whose steps are too long for that law (wider than `spread`) stands still and gains nothing.

Sources: Gao et al. 2021, arXiv 2012.08125 (recovery likelihood); Zhu et al. 2023, arXiv 2309.05153
(cooperative initialisers, shared noise). Deviations: energies are of z_k, not of keep_k z_k; the
kernel is an argument; the top rung is a recovery like the others; coupled noise is ours.
"""

import jax
import jax.numpy as jnp

from jaxgen.losses.energy._contrastive import check_at_least, moved
from jaxgen.losses.energy.recovery._ladder import (
    centre,
    conditional,
    rung,
    scale,
    shared,
    spread,
)


def recovery(ladder, logdensity_fn, kernel=None, *, steps=15, noise="fresh"):
    """loss_fn(params, key, x0 [*event], level=None, negative=None, **cond) -> []: log p(z') -
    log p(z), nats, for z at a level and a negative z' drawn given the noisier level.

    Its expected gradient is that of minus log p(z | noisy) when z' follows it. Without a negative,
    the chain starts at the noisy value. The level is uniform when None.

    Args: logdensity_fn(params, z, level, **cond) -> []; kernel(logdensity_fn of z, variance []) ->
    SamplingAlgorithm, given the variance that the rung would leave of a unit normal, as a step
    size; steps >= 1; noise, "fresh", "shared" or, with an adjusted kernel, "coupled": the same
    expected gradient with less variance (see the head of the file). Raises ValueError on others, on
    steps < 1, where neither negative nor kernel is given, and where a negative is to be coupled.
    Source: Gao et al. 2021, arXiv 2012.08125, equations 5-7 and algorithm 1.
    """
    check_at_least("recovery.recovery", steps=(steps, 1))
    _check_noise("recovery", noise)

    def loss_fn(params, key, x0, level=None, negative=None, **cond):
        if negative is None and kernel is None:
            raise ValueError("losses.energy.recovery.recovery: a negative or a kernel; got none")
        if negative is not None and noise == "coupled":
            raise ValueError("losses.energy.recovery.recovery: a negative has no chain to couple")
        key_level, key_rung, key_chain = jax.random.split(key, 3)
        level = _level(ladder, key_level, level)
        z, noisy = rung(ladder, key_rung, x0, level)
        if noise == "shared":
            z = shared(ladder, x0, noisy, level)
        if noise == "coupled":
            z = beside(ladder, kernel, steps, key_chain, x0, noisy, level, z)
        if negative is None:
            negative = refined(
                ladder, logdensity_fn, kernel, steps, params, key_chain, noisy, noisy, level, cond
            )
        negative = jax.lax.stop_gradient(negative)
        f = lambda z: logdensity_fn(params, z, level, **cond)
        return f(negative) - f(z)

    return loss_fn


def cooperative(ladder, logdensity_fn, initialiser, kernel, *, steps=15, noise="fresh"):
    """loss_fn(params, key, x0 [*event], level=None, **cond) -> []: `recovery` with chains that
    start at a learned guess, plus the guess's own loss, nats; params = (energy's, initialiser's).

    The guess is N(initialiser(params[1], noisy, level, **cond), s_k^2), s_k the deviation of z_k
    given both noisy and x0; it learns the refined points, |z' - mean|^2 / (2 s_k^2), and the chain
    has only its error left to mend. No gradient passes between the two halves.

    Args: as `recovery`, initialiser -> [*event]. Raises ValueError on steps < 1, and unknown noise.
    Source: Zhu et al. 2023, arXiv 2309.05153, algorithm 1.
    """
    check_at_least("recovery.cooperative", steps=(steps, 1))
    _check_noise("cooperative", noise)

    def loss_fn(params, key, x0, level=None, **cond):
        of_energy, of_guess = params
        key_level, key_rung, key_guess, key_chain = jax.random.split(key, 4)
        level = _level(ladder, key_level, level)
        z, noisy = rung(ladder, key_rung, x0, level)
        if noise == "shared":
            z = shared(ladder, x0, noisy, level)
        mean = initialiser(of_guess, noisy, level, **cond)
        deviation = spread(ladder, level).astype(mean.dtype)
        eps = jax.random.normal(key_guess, mean.shape, mean.dtype)
        first = mean + deviation * eps
        if noise == "coupled":
            start = centre(ladder, x0, noisy, level) + deviation * eps
            z = beside(ladder, kernel, steps, key_chain, x0, noisy, level, start)
        negative = refined(
            ladder, logdensity_fn, kernel, steps, of_energy, key_chain, first, noisy, level, cond
        )
        negative = jax.lax.stop_gradient(negative)
        f = lambda z: logdensity_fn(of_energy, z, level, **cond)
        return f(negative) - f(z) + jnp.sum((negative - mean) ** 2) / (2 * deviation**2)

    return loss_fn


def draw(ladder, logdensity_fn, kernel, initialiser=None, *, steps=15):
    """sampler(params, key, shape, known=None, mask=None, **cond) -> (x0 [*event], zs [T, *event]):
    from unit noise down the ladder, guess and chain at every level.

    zs are the levels visited, noisiest first. With known [*event] and a mask [*event] (true where
    it is known) the known part is noised to every level anew and put in: inpainting. Guidance and
    composition are energies: `energies.product` of f(z, level) with weights (1 + w, -w), or ones.

    Args: as `cooperative` with params = (energy's, initialiser's); without an initialiser params
    are the energy's and chains start at the noisy value. Raises ValueError on steps < 1.
    Source: Zhu et al. 2023, arXiv 2309.05153, algorithm 2.
    """
    check_at_least("recovery.draw", steps=(steps, 1))

    def sampler(params, key, shape, known=None, mask=None, **cond):
        of_energy, of_guess = (params, None) if initialiser is None else params
        key_start, key_levels = jax.random.split(key)

        def put(key, z, index):
            if known is None:
                return z
            eps = jax.random.normal(key, z.shape, z.dtype)
            there = ladder.alpha[index] * known + ladder.sigma[index] * eps
            return jnp.where(mask, there.astype(z.dtype), z)

        def body(z, level):
            keys = jax.random.split(jax.random.fold_in(key_levels, level), 3)
            first = z
            if initialiser is not None:
                deviation = spread(ladder, level).astype(z.dtype)
                eps = jax.random.normal(keys[0], z.shape, z.dtype)
                first = initialiser(of_guess, z, level, **cond) + deviation * eps
            new = refined(
                ladder, logdensity_fn, kernel, steps, of_energy, keys[1], first, z, level, cond
            )
            new = put(keys[2], new, level)
            return new, new

        top = len(ladder.keep)
        key_noise, key_put = jax.random.split(key_start)
        z = put(key_put, jax.random.normal(key_noise, shape), top)
        z, zs = jax.lax.scan(body, z, jnp.arange(top)[::-1])
        return z / ladder.alpha[0].astype(z.dtype), zs

    return sampler


def refined(ladder, logdensity_fn, kernel, steps, params, key, first, noisy, level, cond):
    """first [*event] after some steps of a kernel of the law given noisy; no gradient flows."""
    f = conditional(ladder, logdensity_fn)
    given = lambda params, z: f(params, z, noisy, level, **cond)
    step = lambda logdensity_fn: kernel(logdensity_fn, scale(ladder, level).astype(first.dtype))
    return moved(given, step, steps, params, key, first, {})[0]


def beside(ladder, kernel, steps, key, x0, noisy, level, start):
    """A draw [*event] of z given noisy and x0 from another one, by the chain that `refined` runs
    under the same key, its log-density put in the energy's place.
    """
    mean, deviation = centre(ladder, x0, noisy, level), spread(ladder, level).astype(x0.dtype)
    own = lambda params, z: -jnp.sum((z - mean) ** 2) / (2 * deviation**2)
    step = lambda logdensity_fn: kernel(logdensity_fn, scale(ladder, level).astype(x0.dtype))
    return moved(own, step, steps, (), jax.random.clone(key), start, {})[0]


def _check_noise(where, noise):
    if noise not in ("fresh", "shared", "coupled"):
        raise ValueError(
            f"losses.energy.recovery.{where}: noise must be fresh, shared or coupled; got {noise!r}"
        )


def _level(ladder, key, level):
    top = len(ladder.keep)
    return jax.random.randint(key, (), 0, top) if level is None else jnp.asarray(level)
