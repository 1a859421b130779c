"""What a trained ladder of energies is good for: log-densities, outliers, guidance, inpainting."""

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm
from sklearn.datasets import load_sample_images
from sklearn.mixture import GaussianMixture

import jaxgen as jg
from experiments.energy import _digits_models as models
from experiments.images import _features
from jaxgen.types import Distribution

WEIGHTS = 0.0, 1.0, 2.0, 4.0
PAIRS = (3, 8), (4, 9), (1, 7), (5, 6)
FREE = jnp.array([models.NONE]), jnp.ones(1)  # labels and weights of the energy without a class


def features(network, xs):
    return _features.features(network.params, jnp.asarray(xs).reshape(-1, 8, 8, 1))


def chances(network, xs):
    """Chances of the ten classes [n, 10] by the classifier whose features judge the samples."""
    held = network.params
    raw = features(network, xs) * held["scale"] + held["mean"][None]
    return np.asarray(jax.nn.softmax(raw @ held["out"] + held["out_bias"][None]))


def path_of(rungs, energy):
    """(path(exponent), kernel(exponent)): from unit noise down all levels to the lowest energy."""
    top = len(rungs.keep)

    def place(exponent):
        upper = jnp.minimum(jnp.floor(exponent * top), top - 1).astype(int)
        return upper, exponent * top - upper

    def path(exponent):
        upper, part = place(exponent)

        def logdensity_fn(z):
            noise = jnp.sum(norm.logpdf(z))
            above = energy(z, jnp.minimum(top - upper, top - 1))
            above = jnp.where(upper == 0, noise, above)
            return (1 - part) * above + part * energy(z, top - upper - 1)

        return logdensity_fn

    def kernel(exponent):
        upper, part = place(exponent)
        sigma = jnp.where(upper == 0, 1.0, rungs.sigma[top - upper])
        least = 1 / ((1 - part) / sigma**2 + part / rungs.sigma[top - upper - 1] ** 2)
        return blackjax.mala(path(exponent), models.STEP * least)

    return path, kernel


def densities(settings, key, data, ladder, params, zs, flow):
    """Log-densities of held-out digits with the noise of the lowest level, nats an image."""
    energy = lambda z, level: ladder.energy(params[0], z, level, *FREE)
    path, kernel = path_of(ladder.rungs, energy)
    keys = jax.random.split(key, 4)
    stops = np.linspace(0, 1, settings.digits_rungs + 1)
    start = Distribution(
        lambda key: jax.random.normal(key, (64,)), lambda z: jnp.sum(norm.logpdf(z))
    )
    terms = jg.likelihoods.annealed_terms(path, kernel, stops, start, draws=settings.digits_chains)
    found = jax.jit(terms)(keys[0])
    back = jax.jit(jg.likelihoods.annealed_reverse(path, kernel, stops))
    back = back(keys[1], jnp.asarray(zs[: settings.digits_chains]))
    alpha, sigma = ladder.rungs.alpha[0], ladder.rungs.sigma[0]
    noised = lambda key, xs: alpha * xs + sigma * jax.random.normal(key, xs.shape)
    train, test = noised(keys[2], data.train), noised(keys[3], data.test)
    height = jax.jit(jax.vmap(lambda z: energy(z, 0)))
    log_z = float(found.log_normaliser)
    rows = [
        ("log Z of the lowest energy, annealed down the ladder", "", log_z, found.standard_error),
        ("mean of its log-weights", "below", found.bound, found.bound_error),
        ("the same from the model's samples upwards", "above", back.bound, back.bound_error),
        ("effective chains of its weights", "", found.effective_draws, 0),
    ]
    for name, z in (("training digits", train), ("held-out digits", test)):
        values = np.asarray(height(z)) - log_z
        rows.append((f"log-density of {name}, energy", "", *mean_of(values)))
    parts = min(40, len(train) // 4)
    mixture = GaussianMixture(parts, reg_covar=1e-3, random_state=0).fit(np.asarray(train))
    rows.append(("the same held out, 40 Gaussians", "", *mean_of(mixture.score_samples(test))))
    some = test[: settings.digits_exact]
    values = jax.jit(jax.vmap(lambda z: flow(z)))(some)
    rows.append(("the same held out, the diffusion model's flow", "", *mean_of(values)))
    return rows + outliers(height, test, data, keys[3], noised)


def mean_of(values):
    """The mean and its standard error."""
    values = np.asarray(values, float)
    return np.mean(values), np.std(values, ddof=1) / len(values) ** 0.5


def patches(key):
    """8 x 8 grey patches [600, 64] of scikit-learn's two photographs, thirds of their pixels."""
    pictures = [image.mean(-1)[::3, ::3] / 127.5 - 1 for image in load_sample_images().images]
    starts = np.asarray(jax.random.randint(key, (600, 2), 0, min(pictures[0].shape) - 8))
    cut = lambda i, row, column: pictures[i % 2][row : row + 8, column : column + 8]
    return jnp.asarray(np.stack([cut(i, *start) for i, start in enumerate(starts)]), jnp.float32)


def outliers(height, inside, data, key, noised):
    """Areas under the curve of minus the lowest energy, held-out digits against other pictures."""
    keys = jax.random.split(key, 5)
    images = data.test.reshape(-1, 8, 8)
    others = {
        "uniform noise": jax.random.uniform(keys[0], data.test.shape, minval=-1, maxval=1),
        "scrambled pixels": jax.vmap(jax.random.permutation)(
            jax.random.split(keys[1], len(images)), data.test
        ),
        "inverted": -data.test,
        "a quarter turn": jnp.rot90(images, axes=(1, 2)).reshape(data.test.shape),
        "patches of photographs": patches(keys[2]).reshape(-1, 64),
        "blank": jnp.full_like(data.test, -16 / 17),
        "mean of two digits": (data.test + data.test[::-1]) / 2,
    }
    score = lambda z: -height(z)
    rows = []
    for name, xs in others.items():
        area = jg.metrics.outliers.auroc(score(inside), score(noised(keys[3], xs)))
        rows.append((f"area under the curve, digits against: {name}", "", *area))
    return rows


def guided(settings, key, data, network, ladder, params):
    """(rows, pictures by name): class guidance, two classes at once, and lower halves filled in.

    One compilation: every image is a sum of three energies, and a mask of what is known.
    """
    n = settings.digits_guided
    draw = lambda key, labels, weights, known, mask: ladder.draw(
        params, key, labels, weights, known, mask
    )[0]
    classes = np.arange(n) % 10
    jobs = {
        f"w = {w:g}": (np.stack([classes, classes, np.full(n, models.NONE)], 1), (1 + w, 0, -w))
        for w in WEIGHTS
    }
    pairs = np.array([(*PAIRS[i % len(PAIRS)], models.NONE) for i in range(n)])
    jobs["both"] = pairs, (1, 1, -1)
    jobs["halves"] = np.full((n, 3), models.NONE), (1, 0, 0)
    known = data.test[:n]
    labels = np.concatenate([labels for labels, _ in jobs.values()])
    weights = np.concatenate([np.tile(np.float32(w), (n, 1)) for _, w in jobs.values()])
    mask = np.zeros((len(labels), 64), bool)
    mask[-n:, :32] = True
    xs = models.many(
        draw,
        jax.random.split(key, len(labels)),
        jnp.asarray(labels),
        jnp.asarray(weights),
        jnp.tile(known, (len(jobs), 1)),
        jnp.asarray(mask),
    )
    xs = np.where(mask, np.tile(known, (len(jobs), 1)), xs)
    found = dict(zip(jobs, models.rounded(xs).reshape(len(jobs), n, 64), strict=True))
    rows = []
    for w in WEIGHTS:
        images = found[f"w = {w:g}"]
        right = np.argmax(chances(network, images), 1) == classes
        rows.append((f"share of the class asked for, guidance {w:g}", "", *mean_of(right)))
        rows.append((f"spread within a class, guidance {w:g}", "", spread(network, images), 0))
    rows.append(("spread within a class, held-out digits", "", held_spread(network, data), 0))
    two = chances(network, found["both"])
    places = np.arange(n)
    best = (np.argmax(two, 1)[:, None] == pairs[:, :2]).any(1)
    least = np.minimum(two[places, pairs[:, 0]], two[places, pairs[:, 1]])
    rows.append(("two classes at once: judged one of the two", "", *mean_of(best)))
    rows.append(("two classes at once: chance of the lesser", "", *mean_of(least)))
    single = chances(network, found["w = 0"])
    partner = {a: b for pair in PAIRS for a, b in (pair, pair[::-1])}
    rows_of = [i for i in places if classes[i] in partner]
    lesser = [single[i, partner[classes[i]]] for i in rows_of]
    rows.append(("the same for one class alone", "", *mean_of(lesser)))
    half = np.array(known)
    half[:, 32:] = -16 / 17
    truth = data.test_labels[:n]
    for name, images in (("filled in", found["halves"]), ("blank", half)):
        right = np.argmax(chances(network, images), 1) == truth
        rows.append((f"lower half {name}: judged the right class", "", *mean_of(right)))
    found["known"] = known
    return rows, found


def spread(network, images):
    """Mean squared distance from the mean of a class, in features, classes 0 .. 9 in turn."""
    held = np.asarray(features(network, images))
    parts = [held[label::10] for label in range(min(10, len(held)))]
    return np.mean([np.sum(np.var(part, 0, ddof=1)) for part in parts if len(part) > 1])


def held_spread(network, data):
    held = np.asarray(features(network, data.test))
    parts = [held[data.test_labels == label] for label in range(10)]
    return np.mean([np.sum(np.var(part, 0, ddof=1)) for part in parts])
