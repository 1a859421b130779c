"""A diffusion model and a ladder of energies of 8 x 8 digits, on networks of one kind."""

import json
from typing import Any, NamedTuple

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxgen as jg
from experiments._descent import descended

NONE, SCALE, DROPPED = 10, 0.75, 0.2  # the label of no class, the data's deviation, labels left out
RATIOS = np.geomspace(0.06, 8.0, 7)  # noise over signal of the levels
LANGEVIN, LONG, STEP = (
    8,
    30,
    0.4,
)  # steps in training and in sampling; in units of the least variance
PROCESS = jg.processes.scalar.vp()


class Digits(NamedTuple):
    """Images in [-1, 1] as rows, a third of them held out."""

    images: Any  # ImageSet
    train: Any  # [n, 64]
    labels: Any  # [n]
    test: Any  # [m, 64]
    test_labels: Any  # [m]


def digits():
    """scikit-learn's 1,797 digits; the package's own tenth held out is too few to judge by."""
    whole = jg.data.digits8()
    x = np.concatenate([whole.train_x, whole.test_x])
    labels = np.concatenate([whole.train_labels, whole.test_labels])
    cut = len(x) * 2 // 3
    images = jg.data.ImageSet(x[:cut], labels[:cut], x[cut:], labels[cut:], 17, "digits8, a third")
    return Digits(images, unit(x[:cut]), labels[:cut], unit(x[cut:]), labels[cut:])


def unit(levels):
    """Rows [n, 64] in [-1, 1] of images of whole levels."""
    return jnp.asarray(jg.data.to_unit(levels, 17)).reshape(-1, 64)


def rounded(xs):
    """Rows [n, 64] on the middles of the 17 levels: what is judged, of every model alike."""
    return unit(jg.data.to_levels(np.clip(np.asarray(xs), -1, 1), 17))


def network(width):
    return jg.nets.mlp((64,), width=width, depth=3, num_classes=10)


def size(params):
    """The number of parameters."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def trained(key, data, loss_fn, params, steps, batch):
    """Averaged parameters after training on loss_fn(params, key, x, index, label) -> [], `index`
    the place in the batch.
    """
    rate = optax.warmup_cosine_decay_schedule(0.0, 2e-3, min(100, steps // 2), steps)
    adam = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate))
    xs, labels = jnp.asarray(data.train), jnp.asarray(data.labels)

    def gradient(params, key, carry):
        key_rows, key_loss, key_drop = jax.random.split(key, 3)
        rows = jax.random.randint(key_rows, (batch,), 0, len(xs))
        left_out = jax.random.bernoulli(key_drop, DROPPED, (batch,))
        label = jnp.where(left_out, NONE, labels[rows])
        keys = jax.random.split(key_loss, batch)

        def total(params):
            one = lambda key, x, index, label: loss_fn(params, key, x, index, label)
            return jnp.mean(jax.vmap(one)(keys, xs[rows], jnp.arange(batch), label))

        return jax.grad(total)(params), carry

    share = lambda i: jnp.maximum(0.002, 1 / (i + 1.0))
    return descended(adam, gradient, params, steps, key, average=share)


def restored(path, stamp, like, make):
    """The parameters that make() gives, read back from `path` when it holds those of the stamp;
    `like` has their structure.
    """
    stamp = json.dumps(stamp)
    leaves, tree = jax.tree.flatten(like)
    if path.exists():
        with np.load(path) as file:
            if str(file["stamp"]) == stamp:
                found = [jnp.asarray(file[f"leaf{i}"]) for i in range(len(leaves))]
                return jax.tree.unflatten(tree, found)
    params = make()
    arrays = {f"leaf{i}": np.asarray(a) for i, a in enumerate(jax.tree.leaves(params))}
    np.savez(path, stamp=stamp, **arrays)
    return params


class Diffusion(NamedTuple):
    """A denoising diffusion model."""

    init: Any  # key -> params
    loss_fn: Any  # as `trained` wants
    draw: Any  # (params, key, label, steps, ancestral) -> [64]
    denoise: Any  # (params, z [64], t, label) -> [64]


def diffusion(width):
    """EDM's preconditioning on the variance-preserving process; DEIS or ancestral sampling."""
    net, kind = network(width), jg.predictions.edm(SCALE)

    def apply(params, z, t, label):
        alpha, sigma = PROCESS.transition(t)
        scaled = z / jnp.sqrt((alpha * SCALE) ** 2 + sigma**2)
        return net.apply(params, scaled, jnp.log(sigma / alpha) / 2, label=label)

    law = jg.losses.score.log_normal_noise(PROCESS, -0.8, 1.3)
    score = jg.losses.score.denoising(PROCESS, apply, kind=kind, time=law)

    def loss_fn(params, key, x, index, label):
        return score(params, key, x, label=label)

    def denoise(params, z, t, label):
        predict = lambda z, t: apply(params, z, t, label=label)
        return jg.as_denoiser(PROCESS, predict, kind=kind)(z, t)

    def draw(params, key, label, steps, ancestral=False):
        denoiser = lambda z, t: denoise(params, z, t, label)
        solver = (
            jg.solvers.sde.ancestral(PROCESS, denoiser)
            if ancestral
            else jg.solvers.exponential.deis(PROCESS, denoiser, order=3, hold="x0")
        )
        key_start, key_run = jax.random.split(key)
        start = jax.random.normal(key_start, (64,))
        return jg.solve(key_run, solver, start, jg.grids.karras(PROCESS, steps))[0]

    return Diffusion(net.init, loss_fn, draw, denoise)


def time_of(ratio):
    """Times of noise over signal."""
    times = np.linspace(0, 1, 100_001)[1:]
    alpha, sigma = (np.asarray(a) for a in jax.vmap(PROCESS.transition)(jnp.asarray(times)))
    return np.interp(ratio, sigma / alpha, times)


class Ladder(NamedTuple):
    """A cooperative recovery likelihood."""

    rungs: Any  # losses.energy.recovery.Ladder
    init: Any  # key -> params
    loss_fn: Any  # as `trained` wants
    energy: Any  # (params, z [64], level, labels [j], weights [T, j]) -> [], a log-density
    guess: Any  # the same of a noisy z -> [64], the mean of the initialiser
    draw: Any  # (params, key, labels, weights, known, mask) -> (x [64], z of level 0 [64])


def cooperative(width, noise="coupled"):
    """Energies -|residual|^2 / 2 and guesses, each a network of this width.

    With a diffusion model's network F and preconditioning, residual = (z - alpha D(z)) / sigma: the
    energy of a Gaussian about D(z), exact where D is the one image near z, and about 0 where the
    noise is large. Pixels lie in [-1, 1]: two deviations outside, a Gaussian tail is added.
    """
    recovery, net = jg.losses.energy.recovery, network(width)
    rungs = recovery.ladder(PROCESS, time_of(RATIOS))
    rungs = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), rungs)
    total = jnp.sqrt((rungs.alpha * SCALE) ** 2 + rungs.sigma**2)

    def output(params, z, level, label):
        noise = jnp.log(rungs.sigma[level] / rungs.alpha[level]) / 2
        return net.apply(params, z / total[level], noise, label=label)

    def one(params, z, level, label):
        signal = rungs.alpha[level] * SCALE / total[level]
        residual = rungs.sigma[level] / total[level] ** 2 * z
        tail = jax.nn.relu((jnp.abs(z) - rungs.alpha[level]) / rungs.sigma[level] - 2)
        own = (residual - signal * output(params, z, level, label)) ** 2
        return -jnp.sum(own + tail**2) / 2

    def guess_one(params, noisy, level, label):
        """Mean of z given noisy and x0, an estimate of x0 in its place."""
        alpha, sigma, deviation = (a[level + 1] for a in (rungs.alpha, rungs.sigma, total))
        x0 = alpha * SCALE**2 / deviation**2 * noisy
        x0 = x0 + sigma * SCALE / deviation * output(params, noisy, level + 1, label)
        back = rungs.keep[level] * rungs.sigma[level] ** 2 / sigma**2
        return rungs.alpha[level] * x0 + back * (noisy - alpha * x0)

    def summed(fn):
        def over(params, z, level, labels, weights):
            values = jax.vmap(lambda label: fn(params, z, level, label))(labels)
            return jnp.tensordot(weights[level], values, 1)

        return over

    loss_fn = recovery.cooperative(
        rungs, one, guess_one, kernel(rungs), steps=LANGEVIN, noise=noise
    )
    energy, guess = summed(one), summed(guess_one)
    sampler = recovery.draw(rungs, energy, kernel(rungs), guess, steps=LONG)

    def draw(params, key, labels, weights, known=None, mask=None):
        cond = {"labels": labels, "weights": weights}
        _, zs = sampler(params, key, (64,), known, mask, **cond)
        score = jax.grad(lambda z: energy(params[0], z, 0, **cond))(zs[-1])
        return (zs[-1] + rungs.sigma[0] ** 2 * score) / rungs.alpha[0], zs[-1]

    def init(key):
        return tuple(net.init(key) for key in jax.random.split(key))

    by_level = lambda params, key, x, index, label: loss_fn(
        params, key, x, index % len(rungs.keep), label=label
    )
    return Ladder(rungs, init, by_level, energy, guess, draw)


def kernel(rungs):
    """(logdensity_fn, variance) -> MALA, a step in units of the least variance of a rung.

    That is the variance given the image itself, the one of all directions in which the noisy point
    says nothing new; `variance` is the widest, and tells which rung it is.
    """
    widest, least = most_variance(rungs), least_variance(rungs)
    return lambda logdensity_fn, variance: blackjax.mala(
        logdensity_fn, STEP * jnp.interp(variance, widest, least)
    )


def least_variance(rungs):
    """Variances [T] of a level given the next and the image."""
    return (rungs.sigma[:-1] * rungs.noise / rungs.sigma[1:]) ** 2


def most_variance(rungs):
    """Variances [T] of a level given the next, were it unit noise."""
    return rungs.noise**2 / (rungs.noise**2 + rungs.keep**2)


def many(fn, *arguments):
    """fn over rows of the arguments, 600 at a time."""
    return jax.tree.map(
        np.asarray, jax.jit(lambda xs: jax.lax.map(lambda x: fn(*x), xs, batch_size=600))(arguments)
    )
