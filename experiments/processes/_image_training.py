"""One image network for each process: the demo's images at half their size, one budget.

28x28 images are averaged over 2x2 pixels and rounded to levels again, so that ten networks fit two
cores. The network sees every block of z as a channel, each scaled to unit variance.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from tqdm import tqdm

import jaxgen as jg
from experiments._rows import write_csv
from experiments.processes import _figures
from experiments.processes._measure import METHODS
from experiments.processes._train import scales_of
from jaxgen import data, losses, metrics, nets, training

SIGMA_DATA = 0.6
BUDGETS = (5, 10, 20, 50)
KIND = jg.predictions.edm(SIGMA_DATA)


def load():
    """Levels [n, 14, 14, 1] of training and test images, uint8."""
    images = data.mnist5k()

    def halved(x):
        x = np.asarray(x, float).reshape(len(x), 14, 2, 14, 2, 1)
        return np.round(x.mean((2, 4))).astype(np.uint8)

    return halved(images.train_x), halved(images.test_x)


def network(process):
    """(net, apply) of a process, for z [(c,) 14, 14, 1]."""
    blocks = jg.processes.num_blocks(process) or 1
    net = nets.unet(
        (14, 14, blocks),
        channels=32,
        multipliers=(1,),
        blocks=(3,),
        noise_features=lambda t: -jg.processes.log_snr(process, t) / 8,
    )

    def apply(params, z, t):
        scales = scales_of(process, t, SIGMA_DATA)
        z = (z / scales.reshape(scales.shape + (1,) * 3)).reshape(blocks, 14, 14)
        return net.apply(params, jnp.moveaxis(z, 0, -1), t)[..., :1]

    return net, apply


def train(process, levels, settings):
    """(apply, averaged parameters, losses) after settings.image_steps steps."""
    quick = jg.processes.tabulated(process) if process.t_min > 0 else process
    net, apply = network(quick)
    law = losses.score.log_normal_noise(process, -0.6, 1.6)
    loss_fn = losses.score.denoising(quick, apply, kind=KIND, time=law)
    steps = settings.image_steps
    rate = optax.warmup_cosine_decay_schedule(0.0, 3e-3, steps // 8, steps, 1e-4)
    trainer = training.trainer(
        loss_fn,
        optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate)),
        averages={"ema": training.averages.power(0.1)},
        time=law,
    )
    key = jax.random.key(settings.seed)
    state = jax.jit(lambda key: trainer.init(net.init(key)))(key)

    @jax.jit
    def step(key, state, x):
        key_offset, key_step = jax.random.split(key)
        x0 = data.to_unit(x, 256, jax.random.uniform(key_offset, x.shape))
        state, info = trainer.step(key_step, state, x0)
        return state, info.loss

    random, seen = np.random.default_rng(settings.seed), []
    for i in range(settings.image_steps):
        rows = random.integers(len(levels), size=64)
        state, loss = step(jax.random.fold_in(key, i + 1), state, levels[rows])
        seen.append(float(loss))
    return apply, state.ema, seen


def bits(process, apply, params, levels, settings):
    """Bits a dimension of test images and their standard error: flow ODE, 4 probes."""
    key = jax.random.key(settings.seed + 5)
    ts = jg.grids.log_snr(process, 40)

    @jax.jit
    def log_probs(params, keys, x):
        denoiser = jg.as_denoiser(process, lambda z, t: apply(params, z, t), kind=KIND)
        log_prob = jg.likelihoods.flow_ode(process, denoiser, ts, order=3, probes=4)
        return jax.vmap(log_prob)(keys, x)

    x = levels[: settings.image_held_out]
    key_offset, key_flow = jax.random.split(key)
    phi = np.asarray(process.transition(np.float64(process.t_min))[0])
    alpha = float(phi if phi.ndim == 0 else phi[0, 0])
    x0 = alpha * data.to_unit(x, 256, jax.random.uniform(key_offset, x.shape))
    found = np.asarray(log_probs(params, jax.random.split(key_flow, len(x)), x0), float)
    found = jg.likelihoods.bits_per_dim(found + 196 * np.log(alpha), 196, levels=256)
    return found.mean(), found.std(ddof=1) / np.sqrt(len(found))


def samples(process, apply, params, budget, settings):
    """Images [n, 196] of DEIS at a budget."""
    build, grid = METHODS["DEIS-3, t^2"]

    def one(params, z, t):
        return jg.as_denoiser(process, lambda z, t: apply(params, z, t), kind=KIND)(z, t)

    # The batch is one event of the solver, so that all budgets share the network's program.
    axis = 0 if jg.processes.num_blocks(process) is None else 1
    many = jax.jit(jax.vmap(one, (None, axis, None)))
    solver = build(process, lambda z, t: many(params, z, t))
    prior = jg.prior(process, (settings.image_samples, 14, 14, 1))
    start = prior.sample(jax.random.key(settings.seed + 6)).astype("float32")
    ts = grid(process, budget)
    rows, state = solver.plan(ts), solver.init(start, ts)
    for i in range(len(rows.t)):
        row = jax.tree.map(lambda leaf, i=i: jnp.asarray(leaf[i], jnp.float32), rows)
        state, _ = solver.step(jax.random.key(0), state, row)
    return np.asarray(jg.data_part(process, state[0])).reshape(-1, 196)


def apart(drawn, true, test):
    """Fréchet distance of the 30 leading principal components of true images [n, 196]."""
    mean = true.mean(0)
    axes = np.linalg.svd(true - mean, full_matrices=False)[2][:30]
    return float(metrics.frechet((test - mean) @ axes.T, (drawn - mean) @ axes.T))


def study(settings, folder, processes):
    """image_training.csv: loss, bits a dimension and distances of every process's own network."""
    train_levels, test_levels = load()
    flat = lambda x: np.asarray(data.to_unit(x, 256), float).reshape(len(x), -1)  # noqa: E731
    true, test = flat(train_levels), flat(test_levels)
    rows, curves = [], []
    for name in tqdm(processes, desc="images at half size"):
        process = processes[name]
        apply, params, seen = train(process, train_levels, settings)
        window = max(1, len(seen) // 20)
        curves += [
            {"data": "images 14x14", "process": name, "step": i + window, "relative error": loss}
            for i, loss in (
                (i, float(np.mean(seen[i : i + window]))) for i in range(0, len(seen), window)
            )
        ]
        value, error = bits(process, apply, params, test_levels, settings)
        row = {"process": name, "bits/dim": value, "s.e.": error}
        for budget in BUDGETS:
            row[f"{budget} evaluations"] = apart(
                samples(process, apply, params, budget, settings), true, test
            )
        row["floor"] = apart(true[: settings.image_samples], true, test)
        rows.append(row)
        print(row, flush=True)
        write_csv(folder / "image_training.csv", rows)
    write_csv(folder / "image_losses.csv", curves)
    _figures.training(folder / "image_losses.png", curves)
