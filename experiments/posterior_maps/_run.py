"""A whole run: one network a study, its table, and a picture; user errors end in exit code 2."""

import functools
import time

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

import jaxgen as jg
from experiments._command import ended
from experiments._descent import descended
from experiments._studies import run_studies
from experiments.posterior_maps import _network, _problems, _settings

LENGTH = 10


def main(argv) -> int:
    """Runs the experiment on command-line words; the exit code."""
    return ended("experiments.posterior_maps", run, argv)


def run(argv) -> None:
    """The studies that command-line words ask for: posterior_maps.csv and a picture each."""
    run_studies("posterior_maps.csv", _settings.parse(argv), rows_of)


def rows_of(name, settings, folder):
    """The rows of a study."""
    quadratic = name == "quadratic"
    start = time.perf_counter()
    params = jax.block_until_ready(trained(settings, quadratic))
    seconds = time.perf_counter() - start
    learned = functools.partial(_network.apply, params, quadratic=quadratic)
    key = jax.random.fold_in(jax.random.key(settings.seed), 1)
    key_problems, key_order, key_chain = jax.random.split(key, 3)
    rows, gaps = divergences(settings, key_problems, learned)
    rows += [order(key_order, learned), *cost(settings, key_problems, learned)]
    if not settings.smoke:  # twice as long to compile as all the rest
        found, errors = chains(settings, key_chain, learned)
        picture(folder / f"{name}.png", settings, learned, errors, gaps)
        rows += found
    rows += [("seconds of training", "", seconds, 0.0)]
    return [
        {"quantity": q, "claimed": str(c), "measured": float(m), "error": float(e)}
        for q, c, m, e in rows
    ]


def trained(settings, quadratic):
    """Parameters after training."""
    key_init, key_run = jax.random.split(jax.random.key(settings.seed))
    loss_fn = jg.losses.latent.posterior_map(_problems.simulate, _network.posterior(quadratic))
    adam = optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.adam(optax.cosine_decay_schedule(3e-3, settings.steps)),
    )

    def gradient(params, key, carry):
        keys = jax.random.split(key, settings.batch)
        batch = lambda p: jnp.mean(jax.vmap(loss_fn, (None, 0))(p, keys))
        return jax.grad(batch)(params), carry

    start = _network.init(key_init, settings.width)
    return descended(adam, gradient, start, settings.steps, key_run)


def divergences(settings, key, learned):
    """KL of the exact posterior to the learned one and to simpler ones, over random problems."""
    answers = {
        "the network": learned,
        "one Gaussian with the exact moments": lambda p: _problems.gaussian_rows(
            _problems.exact_rows(p)
        ),
        "the prior": lambda problem: problem[0],
    }

    def one(key):
        key_problem, key_draws = jax.random.split(key)
        _, problem = _problems.simulate(key_problem)
        law = jg.densities.rows_distribution(_problems.exact_rows(problem))
        xs = jax.vmap(law.sample)(jax.random.split(key_draws, settings.draws))
        logs = jax.vmap(law.logdensity)(xs)
        gap = lambda rows: jnp.mean(
            logs - jax.vmap(jg.densities.rows_distribution(rows).logdensity)(xs)
        )
        return [gap(answer(problem)) for answer in answers.values()]

    found = jax.jit(jax.vmap(one))(jax.random.split(key, settings.problems))
    rows = []
    for (name, _), values in zip(answers.items(), found, strict=True):
        values = np.asarray(values)
        error = values.std() / np.sqrt(settings.problems)
        goal = "< 0.02" if name == "the network" else ""
        rows.append((f"KL of the exact posterior to {name}, nats", goal, values.mean(), error))
    gaps = np.asarray(found[0])
    rows += [("the network's, 99 of 100 problems below", "", np.quantile(gaps, 0.99), 0.0)]
    return rows, gaps


def order(key, learned):
    """The largest change when components are renamed."""
    _, (rows, y, noise) = _problems.simulate(key)
    turn = jnp.array([2, 0, 1])
    gap = jnp.max(jnp.abs(learned((rows, y, noise))[turn] - learned((rows[turn], y, noise))))
    return ("largest change under a renaming of components", 0, gap, 0.0)


def chains(settings, key, learned):
    """Ten observations in a row, each posterior the next prior: the network beside the exact one.

    Returns rows, and the relative error of the covariance [chains, LENGTH].
    """

    def one(key):
        key_prior, key_x, key_run = jax.random.split(key, 3)
        start = _problems.prior_rows(key_prior)
        x = jg.densities.rows_distribution(start).sample(key_x)

        def body(held, i):
            x, exact, mine = held
            key_noise, key_y, key_move = jax.random.split(jax.random.fold_in(key_run, i), 3)
            noise = _problems.noises(key_noise)
            y = x + jnp.sqrt(noise) * jax.random.normal(key_y, x.shape)
            exact = _problems.exact_rows((exact, y, noise))
            mine = learned((mine, y, noise))
            (mean, cov), (my_mean, my_cov) = _problems.moments(exact), _problems.moments(mine)
            error = jnp.linalg.norm(my_cov - cov) / jnp.linalg.norm(cov)
            off = jnp.linalg.norm(my_mean - mean) / jnp.sqrt(jnp.trace(cov))
            moved = _problems.DRIFT**0.5 * jax.random.normal(key_move, x.shape)
            x = _problems.KEEP * x + moved
            return (x, _problems.predicted(exact), _problems.predicted(mine)), (error, off)

        return jax.lax.scan(body, (x, start, start), jnp.arange(LENGTH))[1]

    errors, off = jax.jit(jax.vmap(one))(jax.random.split(key, settings.chains))
    errors, off = np.asarray(errors), np.asarray(off)
    scale = np.sqrt(settings.chains)
    return [
        (
            "relative error of the covariance after 10 observations",
            "< 0.05",
            errors[:, -1].mean(),
            errors[:, -1].std() / scale,
        ),
        (
            "error of the mean after 10, in standard deviations",
            "",
            off[:, -1].mean(),
            off[:, -1].std() / scale,
        ),
    ], errors


def cost(settings, key, learned):
    """Microseconds a posterior, in one batch: the network, and the closed form."""
    _, problems = jax.vmap(_problems.simulate)(jax.random.split(key, settings.problems))
    rows = []
    for name, answer in (("the network", learned), ("the closed form", _problems.exact_rows)):
        batch, taken = jax.jit(jax.vmap(answer)), []
        for _ in range(4):
            start = time.perf_counter()
            jax.block_until_ready(batch(problems))
            taken.append(time.perf_counter() - start)
        rows.append(
            (f"microseconds a posterior, {name}", "", 1e6 * min(taken) / len(problems[0]), 0)
        )
    return rows


def picture(path, settings, learned, errors, gaps):
    """Three problems, exact beside learned posteriors, errors along the chains, and all gaps."""
    figure, axes = plt.subplots(2, 4, figsize=(14, 7))
    side = np.linspace(-4, 4, 80)
    grid = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2).astype(np.float32)
    density = jax.jit(lambda rows: jax.vmap(jg.densities.rows_distribution(rows).logdensity)(grid))
    answers = {"exact": jax.jit(_problems.exact_rows), "network": jax.jit(learned)}
    for column, seed in enumerate((11, 12, 14)):
        _, problem = _problems.simulate(jax.random.key(settings.seed + seed))
        for row, (name, answer) in enumerate(answers.items()):
            for style, shown in (("k", problem[0]), ("C1", answer(problem))):
                heights = np.exp(np.asarray(density(shown))).reshape(80, 80)
                levels = heights.max() * np.array([0.05, 0.3, 0.7])
                axes[row, column].contour(side, side, heights, levels, colors=style, linewidths=0.9)
            axes[row, column].plot(*np.asarray(problem[1]), "C0x")
            axes[row, column].set_title(f"{name}: prior black, posterior orange", fontsize=9)
    steps = np.arange(1, LENGTH + 1)
    for level in (0.5, 0.9, 0.99):
        axes[0, 3].plot(steps, np.quantile(errors, level, 0), "o-", ms=3, label=f"quantile {level}")
    axes[0, 3].axhline(0.05, color="grey", lw=0.8)
    axes[0, 3].set(xlabel="observations", ylabel="relative error of the covariance", yscale="log")
    axes[0, 3].legend(fontsize=8)
    axes[1, 3].hist(np.maximum(gaps, 1e-5), np.geomspace(1e-5, 1, 40))
    axes[1, 3].set(xscale="log", xlabel="KL of a problem, nats (by draws)", ylabel="problems")
    axes[1, 3].axvline(0.02, color="grey", lw=0.8)
    figure.tight_layout()
    figure.savefig(path, dpi=100)
    plt.close(figure)
