"""What a trained ladder of energies is good for: log-densities, outliers, guidance, inpainting."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from sklearn.datasets import load_sample_images

import jaxgen as jg
from experiments.energy import _digits_models as models
from experiments.images import _features

LEVELS = len(models.RATIOS) - 1
WEIGHTS, UNGUIDED = (0.0, 1.0, 2.0, 4.0), 2  # of guidance; the levels below which there is none
PAIRS = (3, 8), (4, 9), (1, 7), (5, 6)
FREE = (
    jnp.array([models.NONE]),
    jnp.ones((LEVELS, 1)),
)  # labels and weights of the energy without a class


def features(network, xs):
    return _features.features(network.params, jnp.asarray(xs).reshape(-1, 8, 8, 1))


def chances(network, xs):
    """Chances of the ten classes [n, 10] by the classifier whose features judge the samples."""
    held = network.params
    raw = features(network, xs) * held["scale"] + held["mean"][None]
    return np.asarray(jax.nn.softmax(raw @ held["out"] + held["out_bias"][None]))


def variances(settings, key, data, params):
    """Variance of the energy's gradient with shared and coupled noise, over that with fresh."""
    n = 16 * LEVELS
    xs, labels = data.train[:n], jnp.asarray(data.labels[:n])
    keys, indices = jax.random.split(key, n), jnp.arange(n)
    found = {}
    for noise in ("fresh", "shared", "coupled"):
        loss_fn = models.cooperative(settings.digits_energy_width, noise).loss_fn

        def slope(key, x, index, label, loss_fn=loss_fn):
            half = lambda own: loss_fn((own, params[1]), key, x, index, label)
            return ravel_pytree(jax.grad(half)(params[0]))[0]

        slopes = models.many(slope, keys, xs, indices, labels).reshape(16, LEVELS, -1)
        found[noise] = np.sum(np.var(slopes, axis=0, ddof=1), axis=-1)
    return [
        (f"variance of the gradient over fresh noise's, {noise}, {place} level", "", ratio, 0)
        for noise in ("shared", "coupled")
        for place, ratio in zip(
            ("lowest", "fourth", "top"), (found[noise] / found["fresh"])[[0, 3, -1]], strict=True
        )
    ]


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
    alike, above = lambda *weights: np.tile(weights, (LEVELS, 1)), np.arange(LEVELS) >= UNGUIDED
    jobs = {
        f"w = {w:g}": (
            np.stack([classes, classes, np.full(n, models.NONE)], 1),
            alike(1, 0, 0) + w * above[:, None] * np.array([1, 0, -1]),
        )
        for w in WEIGHTS
    }
    pairs = np.array([(*PAIRS[i % len(PAIRS)], models.NONE) for i in range(n)])
    jobs["both"] = pairs, alike(1, 1, -1)
    jobs["halves"] = np.full((n, 3), models.NONE), alike(1, 0, 0)
    known = data.test[:n]
    labels = np.concatenate([labels for labels, _ in jobs.values()])
    weights = np.concatenate([np.tile(np.float32(w), (n, 1, 1)) for _, w in jobs.values()])
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
