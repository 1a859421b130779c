"""Several expectations from one sample: ways to spend one budget, and Sobol' indices."""

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from experiments.metrics._study import Estimator, Study
from jaxgen import densities
from jaxgen.metrics import importance

WIDE = 1.5  # the standard deviation of the proposal of the estimator


def normal(d, variance=1.0):
    """N(0, variance I), sample and log-density."""
    return densities.distribution(densities.gaussian(jnp.zeros(d), variance))


def second_moment(key, n, d):
    """E |x|² of N(0, I) from n draws of N(0, WIDE² I), the control variate's coefficient given."""
    xs = WIDE * jax.random.normal(key, (n, d))
    square = jnp.sum(xs**2, axis=1)
    log_weights = -0.5 * square * (1 - WIDE**-2) + d * np.log(WIDE)
    beta = jnp.full(1, float(d))
    return importance.estimate(log_weights, square[:, None], beta=beta).value[0]


# Problems: name: (law f, start, values, components).
TAIL = 2.5


def _tails(x):
    total = jnp.sum(x) / np.sqrt(2)
    beyond = jnp.where(total > TAIL, 1.0, 0.0)
    return jnp.stack([beyond, beyond * x[0], beyond * total])


def _moments(x):
    return jnp.stack([x[0], x[1] ** 2, x[0] * x[1] ** 3, jnp.cos(2 * x[0])])


def ishigami(u):
    """The Ishigami function (7, 0.1) of inputs uniform on [-pi, pi]³, given as normals [3]."""
    x = np.pi * (2 * jax.scipy.stats.norm.cdf(u) - 1)
    return jnp.sin(x[0]) + 7 * jnp.sin(x[1]) ** 2 + 0.1 * x[2] ** 4 * jnp.sin(x[0])


PROBLEMS = {
    "tails": (normal(2), normal(2, 4.0), _tails, 2),
    "moments": (normal(2), normal(2, 2.0), _moments, 3),
    "Ishigami": (normal(6), normal(6), importance.pick_freeze(ishigami), 2),
}


def adapted(key, problem, values, budget, control=True):
    """The value [J] of an adapted run that spends the budget: five stages at most, then a draw."""
    law, start, _, components = problem
    stage = budget // 12
    method = importance.adaptive(
        law.logdensity, values, start, budget=budget, num_samples=stage, num_components=components
    )

    def go(carry):
        index, state = carry
        return index + 1, method.step(jax.random.fold_in(key, index), state)[0]

    more = lambda carry: ~carry[1].done & (carry[0] < 5)
    _, state = jax.lax.while_loop(more, go, (0, method.init()))
    if not control:
        state = state._replace(beta=jnp.zeros_like(state.beta))
    return method.draw(jax.random.fold_in(key, 99), state, budget - 5 * stage).value


def plain(key, problem, values, budget):
    """The mean over draws of f itself."""
    return jnp.mean(
        jax.vmap(lambda k: values(problem[0].sample(k)))(jax.random.split(key, budget)), 0
    )


def separate(key, problem, values, budget):
    """Each expectation adapted to alone, with its share of the budget."""
    count = jax.eval_shape(values, jnp.zeros(problem[0].sample(key).shape)).shape[0]
    parts = [
        adapted(
            jax.random.fold_in(key, j),
            problem,
            lambda x, j=j: values(x)[j : j + 1],
            budget // count,
        )
        for j in range(count)
    ]
    return jnp.concatenate(parts)


WAYS = {
    "plain": plain,
    "adapted, no control variate": lambda *a: adapted(*a, control=False),
    "adapted together": adapted,
    "adapted separately": separate,
}


def truth_of(name):
    """The expectations [J], by a large lattice of normals or in closed form."""
    if name == "tails":
        p = float(jax.scipy.stats.norm.sf(TAIL))
        phi = float(jax.scipy.stats.norm.pdf(TAIL))
        return np.array([p, phi / np.sqrt(2), phi])
    if name == "moments":
        return np.array([0.0, 1.0, 0.0, np.exp(-2.0)])
    mean, variance = 3.5, 49 / 8 + 0.1 * np.pi**4 / 5 + 0.01 * np.pi**8 / 18 + 0.5
    first = np.array([0.5 * (1 + 0.1 * np.pi**4 / 5) ** 2, 49 / 8, 0.0])
    both = 0.01 * np.pi**8 * (1 / 18 - 1 / 50)
    total = first + np.array([both, 0.0, both])
    return np.concatenate([[mean, variance + mean**2], first + mean**2, total])


def rows(smoke, seed):
    """Rows over problems and ways: the summed variance times the budget, and its standard error."""
    found = []
    budget, repeats = (600, 4) if smoke else (6000, 100)
    for name in ("tails",) if smoke else PROBLEMS:
        problem, truth = PROBLEMS[name], truth_of(name)
        scales = 1 / np.maximum(np.abs(truth), 1) ** 2 if name != "tails" else truth**-2.0
        for way, run in WAYS.items():
            if smoke and way not in ("plain", "adapted together"):
                continue
            if name == "Ishigami" and way == "adapted separately":
                continue  # eight adapted programs: minutes of compilation
            with jax.debug_key_reuse(False):
                one = lambda key, run=run, problem=problem: run(key, problem, problem[2], budget)
                keys = jax.random.split(jax.random.key(seed), repeats)
                values = np.asarray(jax.jit(lambda ks, one=one: jax.lax.map(one, ks))(keys))
            errors = (values - truth) ** 2 @ scales
            bias = np.abs(values.mean(0) - truth) / (values.std(0, ddof=1) / np.sqrt(repeats))
            row = {
                "problem": name,
                "way": way,
                "budget": budget,
                "variance of one draw": budget * errors.mean(),
                "its error": budget * errors.std(ddof=1) / np.sqrt(repeats),
                "largest bias, standard errors": bias.max(),
            }
            if name == "Ishigami":
                indices = jax.vmap(importance.sobol)(jnp.asarray(values))
                both = np.concatenate([indices.first, indices.total], axis=1)
                row["indices"] = " ".join(f"{x:.4f}" for x in both.mean(0))
                row["errors of one run"] = " ".join(f"{x:.4f}" for x in both.std(0))
            else:
                row["indices"] = row["errors of one run"] = ""
            found.append(row)
    return found


def figure(path, rows):
    """A panel a problem: variance of one draw, by ways."""
    names = list(dict.fromkeys(row["problem"] for row in rows))
    canvas = Figure(figsize=(4.2 * len(names), 3.2))
    FigureCanvasAgg(canvas)
    for place, name in enumerate(names):
        axes = canvas.add_subplot(1, len(names), place + 1)
        shown = [row for row in rows if row["problem"] == name]
        labels = [row["way"].replace(", ", ",\n") for row in shown]
        axes.barh(
            labels,
            [row["variance of one draw"] for row in shown],
            xerr=[2 * row["its error"] for row in shown],
            color=[f"C{i}" for i in range(len(shown))],
        )
        axes.set_xscale("log")
        axes.invert_yaxis()
        axes.set_title(name, fontsize=10)
        axes.set_xlabel("summed relative variance x budget", fontsize=8)
        axes.tick_params(labelsize=7)
    canvas.tight_layout()
    canvas.savefig(path, dpi=110)


ESTIMATORS = (
    Estimator(
        "metrics.importance.estimate",
        f"E |x|² of N(0, I) from N(0, {WIDE}² I)",
        second_moment,
        float,
        dims=(1, 4),
        unbiased=True,
    ),
)
STUDIES = (
    Study(
        "importance-budget",
        "One adapted sample for all expectations beats plain draws and separate runs of one "
        "budget, without bias, on tails and moments; on Sobol' indices in six dimensions a mixture "
        "of two has little to adapt, and plain draws are better.",
        rows,
        figure,
    ),
)
