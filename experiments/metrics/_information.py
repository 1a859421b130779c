"""Information: estimators with known answers; compression, critics' bounds, regimes, layers."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from experiments.metrics._study import Estimator, Study
from jaxgen.metrics import information

UNIT = 0.5 * math.log(2 * math.pi * math.e)  # the entropy of N(0, 1)
R = 0.75  # the correlation of pairs: 0.413339 nats a coordinate
EACH = -0.5 * math.log(1 - R**2)


def pairs(key, n, d, r=R):
    """Two normals [n, d] with correlation r between like coordinates."""
    a, b = jax.random.normal(key, (2, n, d))
    return a, r * a + jnp.sqrt(1 - r**2) * b


def log_ratio(xs, ys, r=R):
    """The scores [n, n] of the optimal critic of `pairs` in one dimension."""
    x, y = xs[:, None, 0], ys[None, :, 0]
    return -0.5 * jnp.log(1 - r**2) - ((y - r * x) ** 2 / (1 - r**2) - y**2) / 2


def _of(fn, **options):
    return lambda key, n, d: fn(jax.random.normal(key, (n, d)), **options).value


def _between(fn, **options):
    return lambda key, n, d: fn(*pairs(key, n, d), **options).value


def _critic(fn, shift=0.0):
    return lambda key, n, d: fn(log_ratio(*pairs(key, n, 1)) + shift).value


def _symbols(key, n, d, estimator):
    p = jnp.arange(1.0, d + 1) / (d * (d + 1) / 2)
    return information.entropy_discrete(
        jax.random.choice(key, d, (n,), p=p), estimator=estimator
    ).value


def _symbol_entropy(d):
    p = np.arange(1.0, d + 1) / (d * (d + 1) / 2)
    return -np.sum(p * np.log(p))


def _given(key, n, d):
    key_z, key_xy = jax.random.split(key)
    xs, ys = pairs(key_xy, n, 1)
    zs = jax.random.normal(key_z, (n, d))
    return information.cmi_ksg(xs + zs[:, :1], ys - zs[:, :1], zs).value


def _lifted(key, n, d):
    """Two coordinates of x in d dimensions, and PCA back."""
    xs, ys = pairs(key, n, 2)
    turn = np.linalg.qr(np.random.RandomState(0).randn(d, 2))[0].T
    images = jnp.matmul(xs * jnp.array([1.0, 0.8]), turn, precision="highest")
    return information.compressed(information.pca(images, 2))(images, ys).value


def _reconstructed(key, n, d):
    xs, ys = pairs(key, n, d)
    log_q = information.gaussian_reconstruction(ys, R * xs, math.sqrt(1 - R**2))
    return information.entropy_reconstruction(ys, log_q).value


def _sliced_truth(d):
    c = np.linspace(-1, 1, 200001)[1:-1]
    law = (1 - c**2) ** ((d - 3) / 2)
    return np.sum(law * -0.5 * np.log(1 - R**2 * c**2)) / law.sum()


def _classes(key, n, d):
    """Logits of a class plus noise; the truth is that of many points."""
    key_y, key_z = jax.random.split(key)
    labels = jax.random.randint(key_y, n, 0, d)
    sure = jax.random.bernoulli(key_z, 0.5, (n,))
    probs = jnp.where(sure[:, None], jax.nn.one_hot(labels, d), 1.0 / d)
    return information.cmi_classes(probs, labels, d).value


def _class_truth(d):
    centre = np.full(d, 0.5 / d)
    centre[0] += 0.5
    return -np.sum(centre * np.log(centre)) - 0.5 * math.log(d)


def _jensen_truth(d):
    grid = np.linspace(-8, 8, 1601)
    log_p = -(grid[:, None] ** 2 + grid[None] ** 2) / 2 - math.log(2 * math.pi)
    ratio = np.asarray(log_ratio(jnp.asarray(grid)[:, None], jnp.asarray(grid)[:, None]))
    apart, cell = np.exp(log_p), (grid[1] - grid[0]) ** 2
    joint = apart * np.exp(ratio)
    return math.log(2) - 0.5 * cell * np.sum(
        joint * np.logaddexp(0, -ratio) + apart * np.logaddexp(0, ratio)
    )


NORMAL, PAIR = "N(0, I)", "normals of correlation 0.75"
CRITIC = f"{PAIR}, the optimal critic"
SIZES = (100, 400, 1600)
SHORT = (50, 200, 800)  # where a bandwidth is searched


def _line(name, case, estimate, truth, dims=(1,), sizes=SIZES, **options):
    return Estimator(f"metrics.information.{name}", case, estimate, truth, sizes, dims, **options)


_entropy, _mutual = (lambda d: d * UNIT), (lambda d: d * EACH)
ESTIMATORS = (
    _line("entropy_knn", NORMAL, _of(information.entropy_knn), _entropy, (2, 16), repeats=24),
    _line(
        "entropy_knn",
        f"{NORMAL}, 40 weighted neighbours",
        _of(information.entropy_knn, k=40, weighted=True),
        _entropy,
        (2, 16),
        repeats=24,
    ),
    _line("entropy_kde", NORMAL, _of(information.entropy_kde), _entropy, (1, 2), SHORT, repeats=8),
    _line(
        "entropy_discrete",
        "d symbols",
        functools.partial(_symbols, estimator="plug_in"),
        _symbol_entropy,
        (8, 32),
    ),
    _line(
        "entropy_discrete",
        "d symbols, Miller-Madow",
        functools.partial(_symbols, estimator="miller_madow"),
        _symbol_entropy,
        (8, 32),
    ),
    _line("mi_ksg", PAIR, _between(information.mi_ksg), _mutual, (1, 4), repeats=24),
    _line(
        "mi_ksg",
        f"{PAIR}, version 2",
        _between(information.mi_ksg, version=2),
        _mutual,
        (1, 4),
        repeats=24,
    ),
    _line("mi_knn", PAIR, _between(information.mi_knn), _mutual, (1, 4), repeats=24),
    _line("mi_kde", PAIR, _between(information.mi_kde), _mutual, (1, 2), SHORT, repeats=8),
    _line("mi_binned", PAIR, _between(information.mi_binned, bins=8), _mutual, (1,), repeats=24),
    _line(
        "mi_sliced",
        f"{PAIR}, 16 slices",
        lambda key, n, d: (
            information.mi_sliced(
                jax.random.fold_in(key, 1), *pairs(key, n, d), num_slices=16
            ).value
        ),
        _sliced_truth,
        (3, 8),
        repeats=8,
    ),
    _line("cmi_ksg", f"{PAIR}, a common cause given", _given, lambda d: EACH, (1, 2), repeats=24),
    _line(
        "compressed", "two coordinates in d, PCA", _lifted, lambda d: 2 * EACH, (20,), repeats=16
    ),
    _line("infonce", CRITIC, _critic(information.infonce), lambda d: EACH),
    _line("nwj", CRITIC, _critic(information.nwj, 1.0), lambda d: EACH, unbiased=True),
    _line("donsker_varadhan", CRITIC, _critic(information.donsker_varadhan), lambda d: EACH),
    _line("smile", CRITIC, _critic(information.smile), lambda d: EACH),
    _line(
        "jensen_shannon", CRITIC, _critic(information.jensen_shannon), _jensen_truth, unbiased=True
    ),
    _line(
        "entropy_reconstruction",
        f"{PAIR}, the true conditional",
        _reconstructed,
        _mutual,
        (1, 2),
        SHORT,
        repeats=8,
    ),
    _line("cmi_classes", "d classes, half of the outputs sure", _classes, _class_truth, (3, 10)),
)


# Compression: images of a few coordinates, with a known information between two of them.

SIDE = 16
GRID = (np.arange(SIDE) + 0.5) / SIDE


def blobs(codes):
    """Round bumps [n, 16, 16] at positions [n, 2] in (0.2, 0.8)."""
    at = 0.2 + 0.6 * codes
    bump = lambda p: jnp.exp(-((jnp.asarray(GRID)[None] - p[:, None]) ** 2) / (2 * 0.1**2))
    return bump(at[:, 0])[:, :, None] * bump(at[:, 1])[:, None, :]


def rectangles(codes):
    """Soft-edged rectangles [n, 16, 16] of sides and corners [n, 4]."""

    def stripe(start, length):
        low, high = 0.05 + 0.4 * start, 0.55 + 0.4 * length
        soft = lambda a: jax.nn.sigmoid((jnp.asarray(GRID)[None] - a[:, None]) / 0.04)
        return soft(low) * (1 - soft(high))

    down, across = stripe(codes[:, 0], codes[:, 1]), stripe(codes[:, 2], codes[:, 3])
    return down[:, :, None] * across[:, None, :]


IMAGES = {"blobs": (blobs, 2), "rectangles": (rectangles, 4)}


def uniforms(key, n, d, total):
    """Two uniforms [n, d] of information `total`: a normal's, through its distribution function."""
    r = math.sqrt(1 - math.exp(-2 * total / d))
    return [jax.scipy.stats.norm.cdf(z) for z in pairs(key, n, d, r)]


def _layers(key, sizes):
    keys = jax.random.split(key, len(sizes) - 1)
    shapes = zip(keys, sizes[:-1], sizes[1:], strict=True)
    return [(jax.random.normal(k, (a, b)) / math.sqrt(a), jnp.zeros(b)) for k, a, b in shapes]


def _through(layers, x):
    for weight, bias in layers[:-1]:
        x = jnp.tanh(x @ weight + bias)
    return x @ layers[-1][0] + layers[-1][1]


def autoencoder(key, images, width, steps):
    """An encoder [16, 16] -> [width] fitted to images, and its relative squared error."""
    rows = images.reshape(images.shape[0], -1)
    mean, scale = jnp.mean(rows, axis=0), jnp.std(rows)
    rows = (rows - mean[None]) / scale
    key_in, key_out, key_steps = jax.random.split(key, 3)
    params = (
        _layers(key_in, (SIDE**2, 96, 48, width)),
        _layers(key_out, (width, 48, 96, SIDE**2)),
    )
    optimiser = optax.adam(optax.cosine_decay_schedule(3e-3, steps))
    loss = lambda p, x: jnp.mean(
        (jax.vmap(lambda a: _through(p[1], _through(p[0], a)))(x) - x) ** 2
    )

    def step(carry, index):
        params, state = carry
        batch = jax.random.randint(jax.random.fold_in(key_steps, index), (128,), 0, len(rows))
        updates, state = optimiser.update(jax.grad(loss)(params, rows[batch]), state)
        return (optax.apply_updates(params, updates), state), None

    carry = params, optimiser.init(params)
    fitted, _ = jax.jit(lambda c: jax.lax.scan(step, c, jnp.arange(steps)))(carry)[0]
    left = float(loss(fitted, rows) / jnp.mean(rows**2))
    return lambda x: _through(fitted[0], (x.reshape(-1) - mean) / scale), left


def _encoders(key, draw, width, n, steps):
    """name: (encoder, share of the variance it loses), fitted to images of their own."""
    key_codes, key_net = jax.random.split(key)
    images = draw(jax.random.uniform(key_codes, (n, width)))
    rows = images.reshape(n, -1)
    spectrum = jnp.linalg.svd(rows - jnp.mean(rows, axis=0)[None], compute_uv=False) ** 2
    lost = float(jnp.sum(spectrum[width:]) / jnp.sum(spectrum))
    return {
        "none": (lambda x: x, 0.0),
        f"PCA({width})": (information.pca(images, width), lost),
        f"autoencoder({width})": autoencoder(key_net, images, width, steps),
    }


ESTIMATES = {
    "KSG": information.mi_ksg,
    "KL": information.mi_knn,
    "weighted KL": functools.partial(information.mi_knn, k=20, weighted=True),
    "KDE": functools.partial(information.mi_kde, bandwidth=0.4),
}


def compression_rows(smoke, seed):
    """A row for every set of images, encoder, estimator and true information."""
    n, steps = (100, 10) if smoke else (1000, 3000)
    totals = (1.0,) if smoke else (0.0, 1.0, 2.0, 4.0)
    # Compiled once for every length of code.
    estimators = {name: jax.jit(fn) for name, fn in ESTIMATES.items()}
    if smoke:
        estimators = {"KSG": estimators["KSG"]}
    found = []
    for place, (kind, (draw, width)) in enumerate(list(IMAGES.items())[: 1 if smoke else 2]):
        key = jax.random.fold_in(jax.random.key(seed), place)
        encoders = _encoders(key, draw, width, n, steps)
        for code, (encoder, lost) in encoders.items():
            for name, fn in estimators.items():
                run = information.compressed(encoder, encoder, estimator=fn)
                for index, total in enumerate(totals):
                    xs, ys = uniforms(jax.random.fold_in(key, 10 + index), n, width, total)
                    got = run(draw(xs), draw(ys))
                    found.append(
                        {
                            "images": kind,
                            "code": code,
                            "estimator": name,
                            "n": n,
                            "lost variance": lost,
                            "true nats": total,
                            "nats": float(got.value),
                            "standard error": float(got.standard_error),
                        }
                    )
    return found


def compression_figure(path, rows):
    """A panel for every set of images and code: estimates against the truth."""
    panels = list(dict.fromkeys((row["images"], row["code"]) for row in rows))
    figure = Figure(figsize=(10.5, 6.4))
    FigureCanvasAgg(figure)
    most = max(row["true nats"] for row in rows) + 0.5
    for place, (kind, code) in enumerate(panels):
        axes = figure.add_subplot(2, 3, place + 1)
        shown = [row for row in rows if (row["images"], row["code"]) == (kind, code)]
        axes.plot([0, most], [0, most], "k--", linewidth=0.8, label="truth")
        for name in ESTIMATES:
            line = [row for row in shown if row["estimator"] == name]
            axes.errorbar(
                [row["true nats"] for row in line],
                [row["nats"] for row in line],
                [5 * row["standard error"] for row in line],
                marker=".",
                linewidth=1,
                capsize=2,
                label=name,
            )
        if code == "none":
            axes.set_yscale("symlog", linthresh=5)
        else:
            axes.set_ylim(-2, 1.4 * most)
        axes.set_title(f"{kind}, {code}, loses {shown[0]['lost variance']:.1%}", fontsize=9)
        axes.set_xlabel("true information, nats", fontsize=8)
        axes.set_ylabel("estimate (bars: 5 s.e.)", fontsize=8)
        axes.grid(True, alpha=0.3)
        if place == 0:
            axes.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=120)


# Critics: every bound at the optimal critic, over batches.

BOUNDS = {
    "InfoNCE": information.infonce,
    "NWJ": lambda scores: information.nwj(scores + 1),
    "Donsker-Varadhan": information.donsker_varadhan,
    "SMILE, clip 1": functools.partial(information.smile, clip=1.0),
    "SMILE, clip 5": information.smile,
}


def _reconstruction(key, n, r):
    xs, ys = pairs(key, n, 1, r)
    log_q = information.gaussian_reconstruction(ys, r * xs, jnp.sqrt(1 - r**2))
    return information.entropy_reconstruction(ys, log_q, k=3).value


def bounds_rows(smoke, seed):
    """A row for every bound and true information: mean, spread and error over batches."""
    n, batches = (32, 8) if smoke else (128, 200)
    totals = (0.5, 1.0) if smoke else (0.25, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0)
    keys = jax.random.split(jax.random.key(seed), batches)
    runs = {
        name: lambda key, r, fn=fn: fn(log_ratio(*pairs(key, n, 1, r), r)).value
        for name, fn in BOUNDS.items()
    }
    runs["entropy and reconstruction"] = lambda key, r: _reconstruction(key, n, r)
    found = []
    for name, run in runs.items():
        many = jax.jit(jax.vmap(run, (0, None)))
        for total in totals:
            with jax.debug_key_reuse(False):
                values = np.asarray(many(keys, math.sqrt(1 - math.exp(-2 * total))))
            found.append(
                {
                    "bound": name,
                    "n": n,
                    "true nats": total,
                    "nats": float(values.mean()),
                    "standard error": float(values.std(ddof=1) / math.sqrt(batches)),
                    "spread": float(values.std(ddof=1)),
                }
            )
    return found


def bounds_figure(path, rows):
    """Every bound's mean over batches against the truth, and its spread."""
    figure = Figure(figsize=(10.5, 4.2))
    FigureCanvasAgg(figure)
    left, right = figure.add_subplot(1, 2, 1), figure.add_subplot(1, 2, 2)
    most, n = max(row["true nats"] for row in rows), rows[0]["n"]
    left.plot([0, most], [0, most], "k--", linewidth=0.8, label="truth")
    left.axhline(math.log(n), color="grey", linestyle=":", label=f"log {n}")
    for name in dict.fromkeys(row["bound"] for row in rows):
        line = [row for row in rows if row["bound"] == name]
        truth = [row["true nats"] for row in line]
        left.errorbar(
            truth,
            [row["nats"] for row in line],
            [5 * row["standard error"] for row in line],
            marker=".",
            linewidth=1,
            capsize=2,
            label=name,
        )
        right.semilogy(truth, [row["spread"] for row in line], ".-", linewidth=1, label=name)
    left.set_ylim(-0.5, most + 0.5)
    left.set_ylabel("mean over batches (bars: 5 s.e.), nats")
    right.set_ylabel("spread of one batch, nats")
    for axes in (left, right):
        axes.set_xlabel("true information, nats")
        axes.grid(True, alpha=0.3)
    left.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=120)


# Kernel densities in many dimensions.


def regimes_rows(smoke, seed):
    """A row for every dimension and bandwidth: likelihood and participation at new points."""
    sizes = ((10, 300),) if smoke else ((16, 1339), (20, 8103), (30, 4447))
    found = []
    for d, n in sizes:
        key_data, key_new = jax.random.split(jax.random.fold_in(jax.random.key(seed), d))
        data = jax.random.normal(key_data, (n, d))
        new = jax.random.normal(key_new, (50 if smoke else 400, d))
        regimes = information.kde_regimes(math.log(n) / d)
        marks = [float(h) for h in regimes]
        grid = np.linspace(0.4, 1.6, 4 if smoke else 25)
        likely = jax.jit(information.kde_logdensity)
        share = jax.jit(information.participation_ratio)
        for h in sorted([*grid, *marks]):
            found.append(
                {
                    "d": d,
                    "n": n,
                    "bandwidth": float(h),
                    "mark": dict(zip(marks, ("h_G", "h_CLT", "best"), strict=True)).get(h, ""),
                    "tail index": float((h / marks[0]) ** 2),
                    "negative log-density": float(-jnp.mean(likely(new, data, h))),
                    "participation": float(jnp.mean(share(new, data, h))),
                }
            )
    return found


def regimes_figure(path, rows):
    """Negative log-density and participation ratio against the bandwidth, a column a dimension."""
    dims = list(dict.fromkeys(row["d"] for row in rows))
    figure = Figure(figsize=(3.6 * len(dims), 5.6))
    FigureCanvasAgg(figure)
    for place, d in enumerate(dims):
        shown = [row for row in rows if row["d"] == d]
        hs = [row["bandwidth"] for row in shown]
        best = min(row["negative log-density"] for row in shown)
        for line, field in enumerate(("negative log-density", "participation")):
            axes = figure.add_subplot(2, len(dims), place + 1 + line * len(dims))
            axes.plot(hs, [row[field] for row in shown], ".-", linewidth=1)
            for row in shown:
                if row["mark"]:
                    colour = {"h_G": "C3", "h_CLT": "C2", "best": "C1"}[row["mark"]]
                    axes.axvline(row["bandwidth"], color=colour, linewidth=1, label=row["mark"])
            if line == 0:
                axes.set_ylim(best - 0.5, best + 12)
                axes.set_title(f"d = {d}, n = {shown[0]['n']}", fontsize=9)
            axes.set_xlabel("bandwidth", fontsize=8)
            axes.set_ylabel(field, fontsize=8)
            axes.grid(True, alpha=0.3)
            if place == 0 and line == 0:
                axes.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=120)


# A layer and its scale.


def layers_rows(smoke, seed):
    """A row for every scale of a layer: its information by bins and kernels, adapted or fixed."""
    n = 60 if smoke else 500
    key_x, key_w = jax.random.split(jax.random.key(seed))
    layer = jnp.tanh(jax.random.normal(key_x, (n, 4)) @ jax.random.normal(key_w, (4, 3)))
    kde = jax.jit(information.mi_layer_kde)
    found = []
    for scale in (0.0, 1e-3, 1e-2, 0.1, 1.0, 10.0):
        ts = scale * layer
        fixed = jnp.floor(jnp.clip((ts + 1) / 2, 0, 1) * 30)
        # Fixed noise: the width of the kernel that suits scale 1.
        reach = float(jnp.max(jnp.abs(ts - jnp.mean(ts, axis=0, keepdims=True))))
        width = 0.05 * float(jnp.max(jnp.abs(layer))) / reach if reach else 1e9
        adapted, rigid = kde(ts), kde(ts, width=width)
        found.append(
            {
                "scale": scale,
                "log n": math.log(n),
                "adaptive bins": float(information.mi_layer_binned(ts).value),
                "fixed bins": float(information.entropy_discrete(fixed).value),
                "adaptive kernels, lower": float(adapted.lower),
                "adaptive kernels, upper": float(adapted.upper),
                "fixed kernels, upper": float(rigid.upper),
            }
        )
    return found


def layers_figure(path, rows):
    """Information against the layer's scale; the constant layer is in the table only."""
    figure = Figure(figsize=(6.2, 4.0))
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(1, 1, 1)
    shown = [row for row in rows if row["scale"] > 0]
    for name in list(rows[0])[2:]:
        axes.semilogx(
            [row["scale"] for row in shown],
            [row[name] for row in shown],
            "--" if name.startswith("fixed") else "-",
            marker=".",
            label=name,
        )
    axes.axhline(rows[0]["log n"], color="grey", linestyle=":", label="log n")
    axes.set_xlabel("scale of the layer")
    axes.set_ylabel("information about the input, nats")
    axes.grid(True, alpha=0.3)
    axes.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=120)


STUDIES = (
    Study(
        "information_compression",
        "Of images made from a few coordinates, weighted neighbours find the information after an "
        "autoencoder to that many numbers; entropies of pixels say nothing, PCA that folds loses, "
        "and counted neighbours (KSG) do on pixels what they do on codes: too little above 2 nats.",
        compression_rows,
        compression_figure,
    ),
    Study(
        "information_bounds",
        "At the optimal critic NWJ is unbiased with noise that grows, Donsker-Varadhan drifts "
        "above the truth, InfoNCE stops at log n, clipping (SMILE) trades noise for excess; the "
        "entropy-and-reconstruction bound with the true conditional does none of it.",
        bounds_rows,
        bounds_figure,
    ),
    Study(
        "information_regimes",
        "Below h_G one or a few points rule a kernel density, and the likeliest bandwidth lies "
        "below h_CLT.",
        regimes_rows,
        regimes_figure,
    ),
    Study(
        "information_layers",
        "Adaptive bins and kernels give a layer the same information at every scale, fixed ones "
        "lose it; a constant layer has none.",
        layers_rows,
        layers_figure,
    ),
)
