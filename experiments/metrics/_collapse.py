"""Models refitted to their own samples: what is lost by generation, and what real data saves."""

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from experiments.metrics._study import Study
from jaxgen import densities
from jaxgen.metrics import importance


def chain(key, fit, sample, real, steps, m, share):
    """The models of generations 0, ..., steps: fit to m real points, then each to the last one.

    Args:
        key: for all of it.
        fit: (key, xs [m, d]) -> model, a pytree.
        sample: (key, model, n) -> [n, d].
        real: (key, n) -> [n, d], the law of the data.
        steps: of refitting.
        m: points of a generation.
        share: of them that are real, drawn afresh.
    """
    fresh = round(share * m)
    key_first, key_rest = jax.random.split(key)
    first = fit(jax.random.fold_in(key_first, 1), real(jax.random.fold_in(key_first, 0), m))

    def refit(model, i):
        place = lambda j: jax.random.fold_in(jax.random.fold_in(key_rest, i), j)
        xs = jnp.concatenate([real(place(0), fresh), sample(place(1), model, m - fresh)])
        model = fit(place(2), xs)
        return model, model

    later = jax.lax.scan(refit, first, jnp.arange(steps))[1]
    return jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), first, later)


def gaussian_fit(key, xs):
    """Mean and unbiased variance of points on a line."""
    return jnp.mean(xs), jnp.var(xs, ddof=1)


def gaussian_rows(smoke, seed):
    """Rows over shares of real data and generations: Var(X_n) and sigma_n² over many chains."""
    m, steps, chains = 20, 40, 500 if smoke else 20000
    real = lambda key, n: jax.random.normal(key, (n, 1))
    draw = lambda key, model, n: model[0] + jnp.sqrt(model[1]) * jax.random.normal(key, (n, 1))
    found = []
    for share in (0.0, 0.1, 0.5):
        one = lambda key, share=share: chain(key, gaussian_fit, draw, real, steps, m, share)
        keys = jax.random.split(jax.random.key(seed), chains)
        mean, variance = jax.jit(lambda ks, one=one: jax.lax.map(one, ks, batch_size=500))(keys)
        for n in (0, 1, 2, 5, 10, 20, 40):
            # A point of generation n comes from the model that n fits have made: X_0 is real.
            if n == 0:
                continue
            mu, sigma2 = np.asarray(mean[:, n - 1]), np.asarray(variance[:, n - 1])
            point = mu**2 + sigma2
            found.append(
                {
                    "model": "Gaussian",
                    "real share": share,
                    "generation": n,
                    "variance of a point": point.mean(),
                    "its error": point.std() / np.sqrt(chains),
                    "theory": 1 + n / m if share == 0 else float(_bounded(share, m, n)),
                    "mean sigma²": sigma2.mean(),
                    "mean sigma² error": sigma2.std() / np.sqrt(chains),
                    "median sigma²": np.median(sigma2),
                    "tail left": np.mean(sigma2 > 0.5),
                }
            )
    return found


def _bounded(share, m, n):
    """Var(X_n) where a share of each generation's m points is real, by the two moments' recursion.

    With a = real points of m: the fitted mean has expected square (1 - a)² E mu² + V / m with V the
    mean variance within the two parts; the fitted variance is V m / (m - 1) times (1 - 1/m) plus
    the parts' distance a (1 - a) E mu² m / (m - 1).
    """
    a, square, sigma2 = round(share * m) / m, 1 / m, 1.0
    for _ in range(n - 1):
        within = a + (1 - a) * sigma2
        square, sigma2 = (
            (1 - a) ** 2 * square + within / m,
            within + a * (1 - a) * square * m / (m - 1),
        )
    return square + sigma2


MIXTURE = ([0.9, 0.07, 0.03], [[0.0, 0.0], [4.0, 0.0], [0.0, 5.0]], [1.0, 0.3, 0.2])


def mixture_rows(smoke, seed):
    """Rows over shares and generations: what a fitted mixture keeps of two rare populations."""
    law = densities.distribution(densities.gaussian_mixture(*MIXTURE))
    real = lambda key, n: jax.vmap(law.sample)(jax.random.split(key, n))
    fit = lambda key, xs: importance.fit_mixture(key, jnp.zeros(len(xs)), xs, 4)

    def draw(key, model, n):
        return jax.vmap(densities.distribution(model).sample)(jax.random.split(key, n))

    m, steps, chains = (60, 4, 2) if smoke else (200, 30, 48)
    probe = real(jax.random.key(12345), 2000)
    truth = jax.vmap(law.logdensity)(probe)

    def lost(model):
        """KL(real, model) [], and the share of the model's mass with the rare populations []."""
        gap = jnp.mean(truth - jax.vmap(densities.distribution(model).logdensity)(probe))
        xs = draw(jax.random.key(7), model, 1000)
        return gap, jnp.mean((xs[:, 0] > 2.5) | (xs[:, 1] > 3.2))

    found = []
    for share in (0.0, 0.2):

        def one(key, share=share):
            models = chain(key, fit, draw, real, steps, m, share)
            return jax.lax.map(lost, models)

        with jax.debug_key_reuse(False):
            keys = jax.random.split(jax.random.key(seed), chains)
            gaps, masses = jax.jit(lambda ks, one=one: jax.lax.map(one, ks))(keys)
        for n in range(0, steps + 1, 2 if smoke else 5):
            gap, mass = np.asarray(gaps[:, n]), np.asarray(masses[:, n])
            found.append(
                {
                    "model": "mixture of 4",
                    "real share": share,
                    "generation": n + 1,
                    "KL from the data, median": np.median(gap),
                    "KL quartile": np.quantile(gap, 0.75),
                    "rare mass": mass.mean(),
                    "rare mass error": mass.std(ddof=1) / np.sqrt(chains),
                    "rare populations lost": np.mean(mass < 0.02),
                }
            )
    return found


def _panels(path, rows, panels):
    canvas = Figure(figsize=(4.2 * len(panels), 3.3))
    FigureCanvasAgg(canvas)
    for place, (key, title, scale) in enumerate(panels):
        axes = canvas.add_subplot(1, len(panels), place + 1)
        for share in dict.fromkeys(row["real share"] for row in rows):
            shown = [row for row in rows if row["real share"] == share]
            n = [row["generation"] for row in shown]
            axes.plot(n, [row[key] for row in shown], ".-", label=f"real share {share:g}")
            if key == "variance of a point":
                axes.plot(n, [row["theory"] for row in shown], "k:", linewidth=1)
        axes.set_yscale(scale)
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("generation")
        axes.grid(True, alpha=0.3)
    canvas.axes[0].legend(fontsize=8)
    canvas.tight_layout()
    canvas.savefig(path, dpi=110)


def gaussian_figure(path, rows):
    """Variance of a point with the theory dotted, mean and median of sigma², by generation."""
    panels = (
        ("variance of a point", "Var(X_n), theory dotted", "linear"),
        ("mean sigma²", "mean of sigma_n²", "linear"),
        ("median sigma²", "median of sigma_n²", "log"),
    )
    _panels(path, rows, panels)


def mixture_figure(path, rows):
    """What is lost of the data, by generation."""
    panels = (
        ("KL from the data, median", "KL(data, model), median", "log"),
        ("rare mass", "mass of the rare populations (data: 0.10)", "linear"),
        ("rare populations lost", "chains that lost them", "linear"),
    )
    _panels(path, rows, panels)


ESTIMATORS = ()
STUDIES = (
    Study(
        "collapse-gaussian",
        "A Gaussian refitted to 20 points of itself: the variance of a point grows as 1 + n/20, "
        "the mean of sigma² stays, its median decays; real points in each generation bound it.",
        gaussian_rows,
        gaussian_figure,
    ),
    Study(
        "collapse-mixture",
        "A mixture refitted to its own samples loses rare populations; a fifth of real data keeps "
        "them.",
        mixture_rows,
        mixture_figure,
    ),
)
