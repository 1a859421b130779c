"""Two moons: a mixture of two Gaussians, corrected by a learned residual energy.

Negatives of the residual are draws of the base, weighted by exp(-E) over the moving normaliser
(`losses.energy.compositional` with the base as its noise), or draws of the base moved by Langevin
steps, as in the paper.
"""

import blackjax
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from sklearn.mixture import GaussianMixture

import jaxgen as jg
from experiments._descent import descended

NOISE, SIDE, N, BATCH, LANGEVIN = 0.15, 160, 4000, 256, 10
XS = np.linspace(-2.2, 3.2, SIDE)
YS = np.linspace(-1.7, 2.2, SIDE)
GRID = np.stack(np.meshgrid(XS, YS, indexing="ij"), -1).reshape(-1, 2).astype(np.float32)
CELL = (XS[1] - XS[0]) * (YS[1] - YS[0])


def moons(x):
    """log-density of the moons at rows of x [n, 2]: 400 Gaussians along the arcs."""
    angle = np.pi * (np.arange(200) + 0.5) / 200
    upper = np.stack([np.cos(angle), np.sin(angle)], 1)
    centres = np.concatenate([upper, np.array([1, 0.5]) - upper])
    squares = np.sum((x[:, None] - centres) ** 2, -1)
    parts = -squares / (2 * NOISE**2) - np.log(2 * np.pi * NOISE**2 * len(centres))
    return np.logaddexp.reduce(parts, axis=1)


def study(settings, folder):
    """KL to the exact moons on a grid, before and after; hybrid.png."""
    key = jax.random.key(settings.seed + 3)
    keys = jax.random.split(key, 6)
    xs = jax.vmap(jg.data.two_moons(noise=NOISE).sample)(jax.random.split(keys[0], N))
    fitted = GaussianMixture(2, random_state=0).fit(np.asarray(xs))
    law = jg.densities.gaussian_mixture(fitted.weights_, fitted.means_, fitted.covariances_)
    base = jg.densities.distribution(law)
    residual = jg.nets.mlp((2,), width=32, depth=2, out_shape=())
    energy = lambda params, x: residual.apply(params, x, jnp.zeros(()))
    truth = moons(GRID)
    held = np.asarray(jax.jit(jax.vmap(base.logdensity))(GRID))
    rows, maps = [], {"moons": truth, "mixture": held}
    trainers = {"weighted": weighted} | ({} if settings.smoke else {"langevin": langevin})
    for index, (name, train) in enumerate(trainers.items()):
        params = train(settings, keys[1 + index], base, energy, residual, xs)
        values = np.asarray(jax.jit(jax.vmap(lambda x, p=params: energy(p, x)))(GRID))
        maps[f"with residual, {name}"] = normalised(held - values)
    before = kl(truth, normalised(held))
    rows.append(("KL of the moons to the mixture, nats", "", before, 0))
    for name in list(maps)[2:]:
        after = kl(truth, maps[name])
        rows.append((f"KL {name}", "", after, 0))
        rows.append((f"KL {name} over the mixture's", "<= 0.5", after / before, 0))
    if not settings.smoke:
        rows += at_the_truth(settings, keys[3], base, energy, residual)
    rows += compositions(xs, base, fitted)
    figure, axes = plt.subplots(1, len(maps), figsize=(15, 3.4))
    for axis, (name, values) in zip(axes, maps.items(), strict=True):
        picture = np.exp(values).reshape(SIDE, SIDE).T
        axis.imshow(picture, origin="lower", extent=(XS[0], XS[-1], YS[0], YS[-1]))
        axis.set_title(f"{name}\nKL {kl(truth, normalised(values)):.3f}", fontsize=9)
    figure.tight_layout()
    figure.savefig(folder / "hybrid.png", dpi=110)
    plt.close(figure)
    return rows


def kl(truth, other):
    return float(np.sum(np.exp(truth) * (truth - other)) * CELL)


def normalised(values):
    return values - np.logaddexp.reduce(values) - np.log(CELL)


def fit(steps, params, update, key, carry):
    """params after steps of update(params, key, carry) -> (gradient, carry), by Adam."""
    adam = optax.adam(optax.cosine_decay_schedule(3e-3, steps))
    return descended(adam, update, params, steps, key, carry=carry)


def weighted(settings, key, base, energy, residual, xs):
    rule = jg.losses.energy.compositional(
        lambda params, x: jg.energies.hybrid(base.logdensity, lambda x: energy(params, x))(x),
        base,
        draws=BATCH,
        decay=0.1,
    )

    def update(params, key, state):
        key_batch, key_loss = jax.random.split(key)
        batch = xs[jax.random.randint(key_batch, (BATCH,), 0, len(xs))]
        return jax.grad(rule.loss, has_aux=True)(params, key_loss, batch, state)

    key_init, key_start, key_run = jax.random.split(key, 3)
    params = residual.init(key_init)
    return fit(settings.hybrid_steps, params, update, key_run, rule.init(params, key_start))


def langevin(settings, key, base, energy, residual, xs):
    f = lambda params, x: jg.energies.hybrid(base.logdensity, lambda x: energy(params, x))(x)
    kernel = lambda logdensity_fn: blackjax.mala(logdensity_fn, 0.05)
    chains = jg.losses.energy.persistent(f, kernel, steps=LANGEVIN)
    loss_fn = jg.losses.energy.contrastive_divergence(f, penalty=1e-4)

    def update(params, key, carry):
        key_batch, key_base, key_move, key_loss = jax.random.split(key, 4)
        batch = xs[jax.random.randint(key_batch, (BATCH,), 0, len(xs))]
        starts = jax.vmap(base.sample)(jax.random.split(key_base, BATCH))
        state, _ = chains.step(params, key_move, chains.init(starts))
        losses = lambda p: jax.vmap(loss_fn, (None, 0, 0, 0))(
            p, jax.random.split(key_loss, BATCH), batch, state.positions
        )
        return jax.grad(lambda p: jnp.mean(losses(p)))(params), carry

    key_init, key_run = jax.random.split(key)
    return fit(settings.hybrid_steps, residual.init(key_init), update, key_run, ())


def at_the_truth(settings, key, base, energy, residual):
    """Data from the base itself: what the residual learns is noise."""
    key_data, key_fit, key_look = jax.random.split(key, 3)
    xs = jax.vmap(base.sample)(jax.random.split(key_data, 16 * N))
    params = weighted(settings, key_fit, base, energy, residual, xs)
    look = jax.vmap(base.sample)(jax.random.split(key_look, N))
    values = jax.jit(jax.vmap(lambda x: energy(params, x)))(look)
    return [("variance of the residual when the base is the truth", "< 0.01", np.var(values), 0)]


def compositions(xs, base, fitted):
    """beta -> +-inf of the base energy and the distance to its nearest mean."""
    far = lambda x: jnp.min(jnp.sum((x - jnp.asarray(fitted.means_, jnp.float32)) ** 2, -1))
    parts = [jg.energies.calibrated(fn, xs) for fn in (lambda x: -base.logdensity(x), far)]
    both = np.stack([jax.jit(jax.vmap(part))(GRID) for part in parts])
    rows = []
    for beta, bound in ((50.0, np.max), (-50.0, np.min)):
        values = jax.jit(jax.vmap(jg.energies.composed(*parts, beta=beta)))(GRID)
        gap = np.max(np.abs(values - bound(both, axis=0)))
        claim = f"<= {np.log(2) / 50:.4f}"
        rows.append((f"composition at beta {beta:g} from the {bound.__name__}", claim, gap, 0))
    return rows
