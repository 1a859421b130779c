"""Derivative estimators: unbiasedness, and what a percent of error costs against the exact way."""

import math
import time

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import jet
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from experiments.metrics._study import Estimator, Study
from jaxgen.math import derivatives, divergence

WIDTH, DEPTH = 128, 4
MOST = 64  # probes in memory at once
TIMED = 4096  # probes timed at most; more cost in proportion
PERCENT = 0.01


def network(d, seed):
    """Four layers of 128 tanh, as the networks of physics-informed learning: [d] -> []."""
    random = np.random.default_rng(seed)
    sizes = [d] + [WIDTH] * DEPTH
    layers = [
        jnp.asarray(random.standard_normal((m, n)) * (1.5 / m**0.5), jnp.float32)
        for m, n in zip(sizes[:-1], sizes[1:], strict=True)
    ]
    shifts = [jnp.asarray(random.standard_normal(WIDTH) / 2, jnp.float32) for _ in layers]
    last = jnp.asarray(np.abs(random.standard_normal(WIDTH)) / WIDTH, jnp.float32)

    def net(x):
        for layer, shift in zip(layers, shifts, strict=True):
            x = jnp.tanh(x @ layer + shift)
        return 1.0 + x @ last

    return net


def held(net):
    """The ansatz that vanishes on the unit sphere: (1 - |x|²) net(x)."""
    return lambda x: (1 - jnp.sum(x**2)) * net(x)


def clamped(net):
    """The ansatz that vanishes on two spheres: (1 - |x|²) (4 - |x|²) net(x)."""
    return lambda x: (1 - jnp.sum(x**2)) * (4 - jnp.sum(x**2)) * net(x)


def plain(net):
    """The network alone."""
    return net


def one_hidden(d, seed):
    """Σ_k sin(1 + w_k . x) / 128, whose curvature has no favoured sign but the sine's."""
    random = np.random.default_rng(seed)
    rows = jnp.asarray(random.standard_normal((WIDTH, d)) / d**0.5, jnp.float32)
    return lambda x: jnp.mean(jnp.sin(1 + rows @ x))


def place(d, seed, radius=0.7):
    """A point inside the unit ball, [d]."""
    x = np.random.default_rng(seed + 1).standard_normal(d)
    return jnp.asarray(radius * x / np.linalg.norm(x), jnp.float32)


def nested_laplacian(fn):
    """The trace of jax.hessian."""
    return lambda x: jnp.trace(jax.hessian(fn)(x))


def serial_laplacian(fn):
    """d forward-over-reverse Hessian-vector products, one after another."""

    def exact(x):
        push = jax.linearize(jax.grad(fn), x)[1]
        entry = lambda i: push(jnp.zeros_like(x).at[i].set(1))[i]
        return jnp.sum(jax.lax.map(entry, jnp.arange(x.size)))

    return exact


def nested_biharmonic(fn):
    """The trace of jax.hessian of the trace of jax.hessian."""
    return nested_laplacian(nested_laplacian(fn))


def compiled(fn, *args):
    """A compiled function and the bytes it takes besides its arguments."""
    ready = jax.jit(fn).lower(*args).compile()
    return ready, ready.memory_analysis().temp_size_in_bytes


def quickest(calls, repeats):
    """The least seconds of each call, interleaved."""
    best = [math.inf] * len(calls)
    for _ in range(repeats):
        for index, call in enumerate(calls):
            start = time.perf_counter()
            jax.block_until_ready(call())
            best[index] = min(best[index], time.perf_counter() - start)
    return best


# operator: (random estimator, law of probes, exact with a chunk, nested, serial, order)
OPERATORS = {
    "laplacian": (
        derivatives.dense_laplacian,
        lambda key, shape: jax.random.rademacher(key, shape, jnp.float32),
        lambda fn: lambda x: derivatives.laplacian(chunk=256)(fn, x)[1],
        nested_laplacian,
        serial_laplacian,
    ),
    "biharmonic": (
        derivatives.dense_biharmonic,
        lambda key, shape: jax.random.normal(key, shape, jnp.float32),
        lambda fn: lambda x: derivatives.biharmonic(chunk=256)(fn, x)[1],
        nested_biharmonic,
        None,
    ),
}
# (operator, name of the function, how it is made, dimensions, most d to run the nested way at)
TRIALS = (
    ("laplacian", "(1 - |x|²) net", lambda d, s: held(network(d, s)), (100, 1000, 10000), 10000),
    ("laplacian", "net", lambda d, s: network(d, s), (100, 1000, 10000), 10000),
    ("laplacian", "one layer of sines", one_hidden, (100, 1000, 10000), 10000),
    (
        "biharmonic",
        "(1 - |x|²) (4 - |x|²) net",
        lambda d, s: clamped(network(d, s)),
        (10, 30, 100),
        100,
    ),
    ("biharmonic", "net", lambda d, s: network(d, s), (10, 30, 100), 100),
    ("biharmonic", "one layer of sines", one_hidden, (10, 30, 100), 100),
)


def trial(operator, name, make, d, most_nested, seed, smoke):
    """One row: probes for one percent, times and memory of the exact ways and of the estimate."""
    build, law, exact_of, nested_of, serial_of = OPERATORS[operator]
    fn, x = make(d, seed), place(d, seed)
    pilot = 64 if smoke else min(2000, 4_000_000 // d)
    estimate = lambda fn: lambda x, probes: build(probes, chunk=min(len(probes), MOST))(fn, x)[1]

    probes = law(jax.random.key(seed), (pilot, d))
    found = np.asarray(jax.jit(estimate(fn))(x, probes), np.float64)
    exact, exact_bytes = compiled(exact_of(fn), x)
    truth = float(exact(x))
    spread = found.std(ddof=1)
    error = spread / pilot**0.5
    needed = max(1, math.ceil((spread / (PERCENT * abs(truth))) ** 2))

    used = law(jax.random.key(seed + 1), (min(needed, TIMED, 10_000_000 // d), d))
    random, random_bytes = compiled(estimate(fn), x, used)
    nested, nested_bytes = compiled(nested_of(fn), x)
    calls = [lambda: random(x, used), lambda: exact(x)]
    seconds = quickest(calls, 2 if smoke or d > 3000 else 5)
    if seconds[0] < 0.1:
        seconds[0] = min(seconds[0], *quickest(calls[:1], 30))
    seconds[0] *= max(1.0, needed / len(used))
    once = lambda ready: quickest([lambda: ready(x)], 2)[0]
    nested_seconds = once(nested) if d <= most_nested else math.nan
    serial_seconds = math.nan
    if serial_of and not smoke:
        serial_seconds = once(compiled(serial_of(fn), x)[0])
    # Probes are the estimator's own, though they come as an argument.
    random_bytes += used.nbytes
    return {
        "operator": operator,
        "function": name,
        "d": d,
        "exact": truth,
        "pilot": pilot,
        "off, standard errors": (found.mean() - truth) / (error + 1e-6 * abs(truth)),
        "error of one probe": spread / abs(truth),
        "probes for 1 %": needed,
        "seconds, estimate": seconds[0],
        "seconds, exact in chunks": seconds[1],
        "seconds, nested": nested_seconds,
        "seconds, one product at a time": serial_seconds,
        "speed-up on chunks": seconds[1] / seconds[0],
        "speed-up on nested": nested_seconds / seconds[0],
        "speed-up on one at a time": serial_seconds / seconds[0],
        "megabytes, estimate": random_bytes / 1e6,
        "megabytes, exact in chunks": exact_bytes / 1e6,
        "megabytes, nested": nested_bytes / 1e6,
        "memory ratio to nested": nested_bytes / random_bytes,
        "memory ratio to chunks": exact_bytes / random_bytes,
    }


def scaling_rows(smoke, seed):
    """Rows over operators, functions and dimensions."""
    return [
        trial(operator, name, make, d, most, seed, smoke)
        for operator, name, make, dims, most in (TRIALS[::3] if smoke else TRIALS)
        for d in (dims[:1] if smoke else dims)
    ]


def scaling_figure(path, rows):
    """Time and memory against d, for each operator."""
    figure = Figure(figsize=(14, 7))
    FigureCanvasAgg(figure)
    styles = {"estimate": "o-", "exact in chunks": "s--", "nested": "^:"}
    for across, operator in enumerate(OPERATORS):
        shown = [row for row in rows if row["operator"] == operator]
        names = list(dict.fromkeys(row["function"] for row in shown))
        for down, unit in enumerate(("seconds", "megabytes")):
            axes = figure.add_subplot(2, 2, 1 + across + 2 * down)
            for index, name in enumerate(names):
                of = [row for row in shown if row["function"] == name]
                for way, style in styles.items():
                    axes.loglog(
                        [row["d"] for row in of],
                        [row[f"{unit}, {way}"] for row in of],
                        style,
                        color=f"C{index}",
                        markersize=4,
                        linewidth=1,
                        label=f"{name}: {way}" if down == 0 else None,
                    )
            axes.set_title(f"{operator}: {unit} for one percent", fontsize=9)
            axes.set_xlabel("d", fontsize=8)
            axes.grid(True, alpha=0.3)
            if down == 0:
                axes.legend(fontsize=6, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def by_jet(fn, x, v, order):
    """The derivative of an order along v by jax.experimental.jet."""
    series = [v] + [jnp.zeros_like(v)] * (order - 1)
    return jet.jet(fn, (x,), (series,))[1][-1]


def modes_rows(smoke, seed):
    """Rows over orders: nested forward mode along one direction against jet, 64 probes."""
    d, rows = (100 if smoke else 1000), []
    fn, x = network(d, seed), place(d, seed)
    probes = jax.random.normal(jax.random.key(seed), (64, d), jnp.float32)
    for order in (2, 4) if smoke else (1, 2, 3, 4, 5):
        ways = {
            "nested forward": lambda x, vs, k=order: derivatives.directional(vs, k)(fn, x)[1],
            "jet": lambda x, vs, k=order: jax.vmap(lambda v: by_jet(fn, x, v, k))(vs),
        }
        ready, cost = {}, {}
        for way, one in ways.items():
            start = time.perf_counter()
            ready[way], size = compiled(one, x, probes)
            cost[way] = (time.perf_counter() - start, size)
        calls = [lambda call=ready[way]: call(x, probes) for way in ways]
        seconds = quickest(calls, 5 if smoke else 30)
        values = [np.asarray(call()) for call in calls]
        apart = float(np.max(np.abs(values[0] - values[1])) / np.max(np.abs(values[1])))
        for way, second in zip(ways, seconds, strict=True):
            rows.append(
                {
                    "order": order,
                    "way": way,
                    "milliseconds": 1e3 * second,
                    "matrix products": ready[way].as_text().count(" dot("),
                    "megabytes": cost[way][1] / 1e6,
                    "seconds to compile": cost[way][0],
                    "relative difference": apart,
                }
            )
    return rows


def modes_figure(path, rows):
    """Time and memory against the order."""
    figure = Figure(figsize=(9, 3.6))
    FigureCanvasAgg(figure)
    for place_, unit in enumerate(("milliseconds", "megabytes", "seconds to compile")):
        axes = figure.add_subplot(1, 3, place_ + 1)
        for way in ("nested forward", "jet"):
            of = [row for row in rows if row["way"] == way]
            axes.plot([row["order"] for row in of], [row[unit] for row in of], "o-", label=way)
        axes.set_title(unit, fontsize=9)
        axes.set_xlabel("order", fontsize=8)
        axes.set_ylim(bottom=0)
        axes.grid(True, alpha=0.3)
        axes.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def quartic(x):
    """|x|⁴, of Laplacian 4 (d + 2) |x|² and biharmonic 8 d (d + 2)."""
    return jnp.sum(x**2) ** 2


def at(d):
    """A point with |x|² = 1 and no symmetry, [d]."""
    x = jnp.linspace(0.2, 1.0, d)
    return x / jnp.linalg.norm(x)


def signs(key, n, d):
    """Rademacher probes [n, d]."""
    return jax.random.rademacher(key, (n, d), float)


def mean(found):
    """The mean of the estimates of one estimator."""
    return jnp.mean(found[1])


def line(x):
    """(1.x)⁴ / d², of biharmonic 24."""
    return jnp.sum(x) ** 4 / x.size**2


QUARTIC = "|x|⁴ at |x| = 1"
ESTIMATORS = (
    Estimator(
        "math.derivatives.dense_laplacian",
        QUARTIC,
        lambda key, n, d: mean(derivatives.dense_laplacian(signs(key, n, d))(quartic, at(d))),
        lambda d: 4.0 * (d + 2),
        unbiased=True,
    ),
    Estimator(
        "math.derivatives.sparse_laplacian",
        QUARTIC,
        lambda key, n, d: mean(
            derivatives.sparse_laplacian(jax.random.randint(key, (n,), 0, d))(quartic, at(d))
        ),
        lambda d: 4.0 * (d + 2),
        unbiased=True,
    ),
    Estimator(
        "math.divergence.hutchinson",
        "∇|x|⁴ at |x| = 1",
        lambda key, n, d: mean(divergence.hutchinson(signs(key, n, d))(jax.grad(quartic), at(d))),
        lambda d: 4.0 * (d + 2),
        unbiased=True,
    ),
    Estimator(
        "math.divergence.hutch_plus_plus",
        "∇|x|⁴ at |x| = 1",
        lambda key, n, d: mean(
            divergence.hutch_plus_plus(signs(key, n, d))(jax.grad(quartic), at(d))
        ),
        lambda d: 4.0 * (d + 2),
        sizes=(6, 12, 24),
        dims=(16, 64),
        unbiased=True,
    ),
    Estimator(
        "math.derivatives.dense_biharmonic",
        "(1.x)⁴ / d², directions",
        lambda key, n, d: mean(
            derivatives.dense_biharmonic(jax.random.normal(key, (n, d)))(line, at(d))
        ),
        lambda d: 24.0,
        unbiased=True,
    ),
    Estimator(
        "math.derivatives.dense_biharmonic",
        "(1.x)⁴ / d², normals",
        lambda key, n, d: mean(
            derivatives.dense_biharmonic(jax.random.normal(key, (n, d)), sphere=False)(line, at(d))
        ),
        lambda d: 24.0,
        unbiased=True,
    ),
)

STUDIES = (
    Study(
        "derivative_scaling",
        "Random directions find a Laplacian in 10,000 dimensions and a biharmonic in 100 to one "
        "percent a thousand times faster and in a thirtieth of the memory of nested derivatives, "
        "where one probe is off by little, as with a boundary factor; a bare random network, whose "
        "curvatures cancel, needs more probes than it has dimensions.",
        scaling_rows,
        scaling_figure,
    ),
    Study(
        "derivative_modes",
        "A derivative of order k along a line costs k + 1 products a layer: nested forward mode, "
        "whose repeats XLA merges, is as quick as jax.experimental.jet and takes less memory.",
        modes_rows,
        modes_figure,
    ),
)
