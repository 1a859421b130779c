"""Learned densities: a spline flow and a diffusion, both starting as a given Gaussian mixture.

All folds train at once, mapped over; parameters are averages, and where to stop is chosen on the
validation parts of all folds together, the start included.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxgen as jg


class Model(NamedTuple):
    """A density to learn on whitened rows [d]; mixture is the fold's start."""

    init: object  # key -> params
    loss: object  # mixture -> loss_fn(params, key, x0, t=None)
    validate: object  # (params, mixture, key, x [d]) -> [] nats, or a bound
    batch: int  # rows in a training step
    tests: dict  # label -> (params, mixture, key, x [d]) -> [] nats


def spline_flow(dim, settings):
    """A flow of splines from the data to the mixture."""
    conditioner = functools.partial(jg.flows.perceptron, width=settings.flow_width, depth=1)
    flow = jg.flows.coupling(
        dim, layers=settings.flow_layers, bins=settings.bins, bound=5.0, conditioner=conditioner
    )

    def log_prob(params, x, mixture):
        base = jg.densities.distribution(mixture)
        return jg.flows.as_distribution(flow, params, base).logdensity(x)

    def loss(mixture):
        of_mixture = functools.partial(log_prob, mixture=mixture)
        return jg.losses.likelihood.instance_noise(of_mixture, settings.flow_noise)

    evaluate = lambda params, mixture, key, x: log_prob(params, x, mixture)
    return Model(flow.init, loss, evaluate, settings.batch, {"spline flow": evaluate})


def diffusion(dim, settings):
    """A network that corrects the mixture's exact denoiser, judged by its flow and by a bound."""
    process = jg.processes.scalar.vp()
    level = lambda t: jg.processes.log_snr(process, t)
    net = jg.nets.mlp(
        (dim,), width=settings.net_width, depth=2, noise_features=lambda t: level(t) / 8
    )

    def apply(params, z, t, mixture):
        exact = jg.densities.denoiser(mixture, process)(z, t)
        return exact + net.apply(params, z, t) * jnp.exp(-jax.nn.softplus(level(t)) / 2)

    def loss(mixture):
        return jg.losses.score.denoising(
            process,
            functools.partial(apply, mixture=mixture),
            kind="x0",
            time=jg.losses.score.likelihood_time(process),
            weighting=jg.losses.score.likelihood_weight(process, 1.0),
        )

    def bound(params, mixture, key, x, points):
        denoiser = lambda z, t: apply(params, z, t, mixture)
        prior = jg.densities.marginal(mixture, process, process.t_max)
        return jg.likelihoods.elbo(process, denoiser, points=points, prior=prior)(key, x)

    def ode(params, mixture, key, x):
        denoiser = lambda z, t: apply(params, z, t, mixture)
        ts = jg.grids.log_snr(process, settings.ode_steps)
        prior = jg.densities.marginal(mixture, process, process.t_max)
        return jg.likelihoods.flow_ode(process, denoiser, ts, prior=prior)(key, x)

    return Model(
        net.init,
        loss,
        functools.partial(bound, points=32),
        settings.net_batch,
        {
            "diffusion, flow": ode,
            "diffusion, bound": functools.partial(bound, points=settings.bound_points),
        },
    )


class Fitted(NamedTuple):
    """What a training returns."""

    curve: list  # (step, mean validation log density of the standardised rows, nats)
    stopped: int  # step
    test: dict  # label -> per fold, log densities [k] of the standardised rows


def fit(model, folds, starts, settings, rate, steps, on_step=lambda n: None):
    """Trains a model on all folds from their starts, stops where validation is best, and tests."""
    factors = [np.linalg.cholesky(np.cov(fold.train.T)) for fold in folds]
    volumes = np.array([np.sum(np.log(np.diag(factor))) for factor in factors])
    turned = lambda parts: np.stack(
        [np.linalg.solve(f, part.T).T for f, part in zip(factors, parts, strict=True)]
    ).astype(np.float32)
    mixtures = stacked(starts, factors)
    train, held = (
        turned([getattr(fold, part) for fold in folds]) for part in ("train", "validation")
    )
    sizes = [len(fold.test) for fold in folds]
    test = turned([np.resize(fold.test, (max(sizes), fold.test.shape[1])) for fold in folds])
    optimiser = optimiser_of(rate, steps, settings)
    time = jg.losses.score.likelihood_time(jg.processes.scalar.vp())
    averages = jg.training.averages.ema(settings.average)

    def advance(state, mixture, x, key):
        trainer = jg.training.trainer(model.loss(mixture), optimiser, averages=averages, time=time)

        def step(state, key):
            key_rows, key_step = jax.random.split(key)
            rows = jax.random.randint(key_rows, (model.batch,), 0, len(x))
            return trainer.step(key_step, state, x[rows])[0], None

        return jax.lax.scan(step, state, jax.random.split(key, settings.check))[0]

    over = lambda fn: jax.vmap(jax.vmap(fn, (None, None, 0, 0)))
    advance = jax.jit(jax.vmap(advance))
    validate = jax.jit(over(model.validate))
    trainer = jg.training.trainer(lambda *_: 0.0, optimiser, averages=averages)
    keys = jax.random.split(jax.random.key(settings.seed), len(folds))
    state = jax.vmap(lambda key: trainer.init(model.init(key)))(keys)
    key_held = split_rows(settings.seed + 1, held.shape[:2])
    curve, kept = [], None
    for done in range(0, steps + 1, settings.check):
        score = float(np.mean(validate(state.ema, mixtures, key_held, held)) - np.mean(volumes))
        if not curve or score > max(value for _, value in curve):
            kept = done, state.ema
        curve.append((done, score))
        if done < steps:
            key = jax.random.fold_in(jax.random.key(settings.seed + 2), done)
            state = advance(state, mixtures, train, jax.random.split(key, len(folds)))
        on_step(settings.check)
    found = {}
    for label, evaluate in model.tests.items():
        key_test = split_rows(settings.seed + 3, test.shape[:2])
        values = np.asarray(jax.jit(over(evaluate))(kept[1], mixtures, key_test, test))
        found[label] = [values[k, :size].astype(float) - volumes[k] for k, size in enumerate(sizes)]
    return Fitted(curve, kept[0], found)


def optimiser_of(rate, steps, settings):
    """AdamW whose rate falls to zero; free splines, safe to learn, go faster than networks."""

    def falling(rate):
        return optax.adamw(optax.cosine_decay_schedule(rate, steps), weight_decay=settings.decay)

    def free(params):
        fast = isinstance(params, dict) and "own" in params
        label = lambda path, _: "fast" if fast and path[0].key == "own" else "slow"
        return jax.tree_util.tree_map_with_path(label, params)

    rates = {"slow": falling(rate), "fast": falling(settings.free_speed * rate)}
    return optax.partition(rates, free)


def split_rows(seed, shape):
    """A key for every row of every fold."""
    return jax.random.split(jax.random.key(seed), shape)


def stacked(starts, factors):
    """The mixtures of all folds as one record, in their whitened coordinates."""
    records = []
    for (weights, means, covs), factor in zip(starts, factors, strict=True):
        inverse = np.linalg.inv(factor)
        turned = inverse @ covs @ inverse.T
        records.append(
            jg.densities.gaussian_mixture(
                weights, means @ inverse.T, (turned + np.swapaxes(turned, 1, 2)) / 2
            )
        )
    return jax.tree.map(lambda *leaves: jnp.stack(leaves).astype(jnp.float32), *records)
