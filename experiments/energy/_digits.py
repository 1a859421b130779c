"""8 x 8 digits: cooperative recovery likelihoods beside a diffusion model of the same network."""

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import jaxgen as jg
from experiments.energy import _digits_models as models
from experiments.energy import _digits_uses as uses
from experiments.energy._digits_densities import densities
from experiments.images import _features

SETS = 3  # of samples, each as many as are held out
# One image: a guess, the chain's start and its steps a level, and one gradient at the end.
EVALUATIONS = uses.LEVELS * (1 + 1 + models.LONG) + 1
# One example of training: guess, the chain's start and steps, the energy's gradient at two points.
TRAINING = 1 + 1 + models.LANGEVIN + 2


def study(settings, folder):
    """Train both, judge both, then use the energies; digits.png."""
    data = models.digits()
    keys = jax.random.split(jax.random.key(settings.seed + 5), 8)
    network = _features.train_features(data.images, settings.seed, settings.digits_features)
    diffusion = models.diffusion(settings.digits_width)
    ladder = models.cooperative(settings.digits_energy_width)
    start, starts = diffusion.init(keys[0]), ladder.init(keys[1])
    rows = [
        ("parameters of the diffusion model", "", models.size(start), 0),
        ("parameters of the energy", "", models.size(starts[0]), 0),
        ("parameters of the guess", "", models.size(starts[1]), 0),
        ("training steps times evaluations, diffusion", "", settings.digits_diffusion_steps, 0),
        ("the same, energies", "", settings.digits_steps * TRAINING, 0),
    ]

    def fitted(name, model, first, key, steps, width):
        batch, path = settings.digits_batch, folder / f"digits_{name}.npz"
        make = lambda: models.trained(key, data, model.loss_fn, first, steps, batch)
        return models.restored(path, [name, steps, batch, width, settings.seed], first, make)

    widths = settings.digits_width, settings.digits_energy_width
    denoiser = fitted(
        "diffusion", diffusion, start, keys[2], settings.digits_diffusion_steps, widths[0]
    )
    params = fitted("ladder", ladder, starts, keys[3], settings.digits_steps, widths[1])
    n, sets = (settings.digits_guided, 1) if settings.smoke else (len(data.test), SETS)
    found, zs = samples(keys[4], n * sets, diffusion, denoiser, ladder, params)
    rows += judged(keys[5], network, data, found, n)
    flow = flow_of(diffusion, denoiser, ladder.rungs)
    rows += densities(settings, keys[6], data, ladder, params, zs, flow)
    more, shown = uses.guided(settings, keys[7], data, network, ladder, params)
    if not settings.smoke:
        rows += uses.variances(settings, jax.random.fold_in(keys[7], 1), data, params)
    picture(folder, data, found, shown)
    return rows + more


def samples(key, n, diffusion, denoiser, ladder, params):
    """({name: images [n, 64], classes in turn}, samples of level 0 without class, at most 600)."""
    labels, keys = jnp.arange(n) % 10, jax.random.split(key, n)
    found = {}
    for name, count, ancestral in (("DEIS", 20, False), ("ancestral", 50, True)):
        one = lambda key, label, c=count, a=ancestral: diffusion.draw(denoiser, key, label, c, a)
        found[f"diffusion, {name}, {count} evaluations"] = models.many(one, keys, labels)
    one = lambda key, label: ladder.draw(params, key, label[None], jnp.ones((uses.LEVELS, 1)))
    found[f"energies, {EVALUATIONS} evaluations"], _ = models.many(one, keys, labels)
    free = jnp.full((min(n, 600),), models.NONE)
    _, zs = models.many(one, jax.random.split(jax.random.fold_in(key, 1), len(free)), free)
    return {name: models.rounded(xs) for name, xs in found.items()}, zs


def judged(key, network, data, found, n):
    """Distances of every set of samples to the held-out digits, training digits among them."""
    real = uses.features(network, data.test)
    everything = {"training digits": data.train} | found
    fit = jg.metrics.two_sample.ridge_classifier(jg.kernels.rbf(8.0))
    told = jax.jit(lambda key, xs, ys: jg.metrics.two_sample.learned_test(key, xs, ys, fit))
    rows, frechet = [("accuracy of the classifier that judges", "", network.accuracy, 0)], {}
    for name, xs in everything.items():
        sets = [uses.features(network, xs[i : i + n]) for i in range(0, len(xs) - n + 1, n)]
        each = [_features.quality(real, part) for part in sets]
        for measure in ("frechet", "kernel", "precision", "recall"):
            values = [row[measure] for row in each]
            error = np.std(values, ddof=1) / len(values) ** 0.5 if len(values) > 1 else 0
            rows.append((f"{measure}, {name}", "", np.mean(values), error))
            if measure == "frechet":
                frechet[name] = np.mean(values), error
        test = told(key, real, sets[0])
        rows.append((f"share told from held-out digits, {name}", "0.5", test.accuracy, 0))
    ours, best = list(found)[-1], min(list(found)[:-1], key=lambda name: frechet[name][0])
    ratio = frechet[ours][0] / frechet[best][0]
    parts = [frechet[name][1] / frechet[name][0] for name in (ours, best)]
    goal = "frechet, energies over the better diffusion sampler", "<= 1.5"
    return [(*goal, ratio, ratio * np.hypot(*parts))] + rows


def flow_of(diffusion, denoiser, rungs):
    """z [64] of level 0 -> [], its log-density under the probability flow, nats."""
    time = float(models.time_of(rungs.sigma[0] / rungs.alpha[0]))
    ts = np.geomspace(1.0, time, 161)  # 41 stops are 50 nats off, 641 less than 0.2
    at = lambda z, t: diffusion.denoise(denoiser, z, t, models.NONE)
    log_prob = jg.likelihoods.flow_ode(models.PROCESS, at, ts)
    return lambda z: log_prob(jax.random.key(0), z)


def picture(folder, data, found, shown):
    """Rows of twenty digits each."""
    rows = {"held out": data.test[np.argsort(data.test_labels % 10, kind="stable")]}
    take = np.concatenate([np.flatnonzero(data.test_labels == k)[:2] for k in range(10)])
    rows["held out"] = data.test[take]
    order = np.concatenate([[k, k + 10] for k in range(10)])
    for name, xs in found.items():
        rows[name.replace(" evaluations", "")] = xs[order % len(xs)]
    for name, xs in shown.items():
        if name.startswith("w"):
            rows[f"guided, {name}"] = xs[order % len(xs)]
    known, halves = shown["known"][:20], shown["halves"][:20]
    rows["true"], rows["lower half filled in"] = known, halves
    pairs = shown["both"][: 20 // len(uses.PAIRS) * len(uses.PAIRS)]
    rows["at once: " + ", ".join(f"{a}&{b}" for a, b in uses.PAIRS)] = pairs[:20]
    figure, axes = plt.subplots(len(rows), 1, figsize=(12, 0.72 * len(rows)))
    for axis, (name, xs) in zip(axes, rows.items(), strict=True):
        tiles = np.pad(
            np.asarray(xs).reshape(-1, 8, 8), ((0, 0), (1, 1), (1, 1)), constant_values=0
        )
        axis.imshow(np.concatenate(list(tiles), 1), cmap="gray", vmin=-1, vmax=1)
        axis.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=8)
        axis.set_xticks([])
        axis.set_yticks([])
    figure.tight_layout(pad=0.3)
    figure.savefig(folder / "digits.png", dpi=110)
    plt.close(figure)
