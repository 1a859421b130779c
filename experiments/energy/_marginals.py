"""A marginalisation model of the 4 x 4 Ising grid, trained on its energy alone.

Two small networks see spins, and zeros where nothing is seen. The marginal's adds to the bonds
between seen spins, the conditional's to the field of seen neighbours. Beside them stand tables of
couplings by the number of seen spins and by displacement on the torus, which alone would do for
pairs. Both models know the symmetry under a flip of all spins. Where everything is seen the
marginal is the energy and one number, minus log Z; with `marginal_learned` it is learned too.
"""

import functools
import time

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

import jaxgen as jg
from experiments._descent import descended
from experiments.energy._grid import COLOURS, SPINS, TRUTH, bonds

SITES = 16
ROWS, COLUMNS = np.divmod(np.arange(SITES), 4)
SHIFTS = (ROWS[:, None] - ROWS[None]) % 4 * 4 + (COLUMNS[:, None] - COLUMNS[None]) % 4
PAIRS = np.array([(i, j) for i in range(SITES) for j in range(i)])


def init(key, width):
    """Parameters of both networks; at the start they add nothing."""

    def layers(key, m):
        keys = jax.random.split(key, 2)
        return {
            "first": jax.random.normal(keys[0], (2 * SITES, width)) / (2 * SITES) ** 0.5,
            "bias": jnp.zeros(width),
            "second": jax.random.normal(keys[1], (width, width)) / width**0.5,
            "bias2": jnp.zeros(width),
            "last": jnp.zeros((width, m)),
        }

    keys = jax.random.split(key, 2)
    tables = {name: jnp.zeros((SITES + 1, SITES)) for name in ("pairs", "fields")}
    tables["sizes"] = jnp.zeros(SITES + 1)
    return {"marginal": layers(keys[0], 1), "conditional": layers(keys[1], SITES)} | tables


def net(params, spins, seen):
    """[m] outputs of a network of two hidden layers at spins [16], 0 where not seen."""
    h = jnp.concatenate([2 * spins, seen.astype(spins.dtype)]) @ params["first"] + params["bias"]
    h = jax.nn.silu(h)
    h = h + jax.nn.silu(h @ params["second"] + params["bias2"])
    return h @ params["last"]


def model(beta, learned):
    """The log_marginal and conditional of the model, on symbols 0 and 1, and its target."""
    pull = jax.grad(bonds)  # the field of the neighbours

    def visible(x, seen):
        return jnp.where(seen, 2.0 * x - 1.0, 0.0).astype(jnp.float32)

    def log_marginal(params, x, seen):
        spins, none = visible(x, seen), jnp.zeros(SITES, jnp.float32)
        even = net(params["marginal"], spins, seen) + net(params["marginal"], -spins, seen)
        zero = net(params["marginal"], none, seen & False)
        size = jnp.sum(seen)
        start = beta * bonds(spins) - jnp.log(2.0) * size
        pulls = spins @ params["pairs"][size][SHIFTS] @ spins / 2
        more = jnp.where(learned | (size < SITES), even[0] - 2 * zero[0] + pulls, 0.0)
        return start + jnp.where(size > 0, more + 10 * params["sizes"][size], 0.0)

    def conditional(params, x, seen):
        spins = visible(x, seen)
        odd = net(params["conditional"], spins, seen) - net(params["conditional"], -spins, seen)
        half = beta * pull(spins) + odd + params["fields"][jnp.sum(seen)][SHIFTS] @ spins
        return jnp.stack([-half, half], 1)

    target = lambda x: beta * bonds((2.0 * x - 1.0).astype(jnp.float32))
    return log_marginal, conditional, target


def study(settings, folder):
    """Marginals and log Z at both temperatures, against all 65,536 states; marginals.png."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 4.4))
    rows = []
    for axis, (beta, (log_z, _)) in zip(axes, TRUTH.items(), strict=True):
        start = time.perf_counter()
        params = jax.block_until_ready(trained(settings, beta))
        seconds = time.perf_counter() - start
        rows += measured(settings, axis, beta, log_z, params)
        rows.append((f"seconds of training, beta {beta}", "", seconds, 0))
        if settings.smoke:
            break
    figure.tight_layout()
    figure.savefig(folder / "marginals.png", dpi=110)
    plt.close(figure)
    return rows


def trained(settings, beta):
    """Parameters after training on the energy alone."""
    log_marginal, conditional, target = model(beta, settings.marginal_learned)
    loss_fn = jg.losses.energy.marginal_reverse_kl(
        target,
        log_marginal,
        conditional,
        sites=SITES,
        draws=settings.marginal_draws,
        weight=4.0,
        spans=(1,) * 4 + (SITES,),
    )
    rate = optax.cosine_decay_schedule(3e-3, settings.marginal_steps)
    adam = optax.chain(optax.clip_by_global_norm(5.0), optax.adam(rate))
    key_init, key_run = jax.random.split(jax.random.key(settings.seed + 6))

    gradient = lambda params, key, carry: (jax.grad(loss_fn)(params, key), carry)
    start = init(key_init, settings.marginal_width)
    return descended(adam, gradient, start, settings.marginal_steps, key_run)


def measured(settings, axis, beta, log_z, params):
    """Rows of a temperature, and its picture: learned marginals of all pairs and blocks, exact."""
    log_marginal, conditional, target = model(beta, settings.marginal_learned)
    learned = functools.partial(log_marginal, params)
    logs = beta * np.asarray(jax.vmap(bonds)(SPINS))
    exact = np.exp(logs - np.logaddexp.reduce(logs))
    symbols = jnp.asarray((SPINS > 0).astype(np.int32))
    pairs, truth = pair_marginals(learned, exact)
    rows = [
        (
            f"largest error of all {pairs.size} two-site marginals, beta {beta}",
            "< 0.01",
            np.max(np.abs(pairs - truth)),
            0,
        )
    ]
    whole = np.asarray(
        jax.jit(
            lambda xs: jax.lax.map(lambda x: learned(x, jnp.ones(SITES, bool)), xs, batch_size=4096)
        )(symbols[:: 256 if settings.smoke else 1]),
        float,
    )
    rows.append(
        (f"sum of the learned p(x) over all states, beta {beta}", 1, np.exp(whole).sum(), 0)
    )
    draw = jg.losses.energy.any_order_draw(conditional, SITES)
    keys = jax.random.split(jax.random.key(settings.seed + 7), 16 * settings.marginal_draws)
    xs, log_probs = jax.jit(jax.vmap(lambda key: draw(params, key)))(keys)
    heights = np.asarray(jax.vmap(target)(xs), float)
    models = np.asarray(jax.jit(jax.vmap(lambda x: learned(x, jnp.ones(SITES, bool))))(xs), float)
    scale = np.sqrt(len(xs))
    for name, values in (
        ("log Z, mean of energy less learned log p", heights - models),
        ("lower bound of log Z from the conditionals", heights - np.asarray(log_probs, float)),
    ):
        rows.append((f"{name}, beta {beta}", log_z, values.mean(), values.std() / scale))
    weights = np.exp(heights - np.asarray(log_probs, float) - log_z)
    value = log_z + np.log(weights.mean())
    error = weights.std() / weights.mean() / scale
    rows.append((f"log Z, weighted draws, beta {beta}", log_z, value, error))
    axis.plot([0, 0.5], [0, 0.5], color="grey", lw=0.8)
    axis.plot(truth.ravel(), pairs.ravel(), ".", label="pairs of sites")
    blocks, block_truth = block_marginals(learned, exact)
    axis.plot(block_truth, blocks, "x", label="eight sites of one colour")
    axis.set(xlabel="exact marginal", ylabel="learned, one pass", title=f"beta = {beta}")
    axis.set(xscale="log", yscale="log")
    axis.legend(fontsize=8)
    gap = np.abs(blocks - block_truth).sum() / 2
    rows.append((f"total variation of eight sites of one colour, beta {beta}", "", gap, 0))
    return rows


def pair_marginals(learned, exact):
    """p(x_i = a, x_j = b) [pairs, 4] of the model and of the enumeration."""
    ups = (SPINS > 0).astype(int)
    codes = 2 * ups[:, PAIRS[:, 0]] + ups[:, PAIRS[:, 1]]
    truth = np.stack([exact @ (codes == code) for code in range(4)], 1)

    def one(pair, code):
        x = jnp.zeros(SITES, int).at[pair].set(jnp.stack([code // 2, code % 2]))
        return learned(x, jnp.zeros(SITES, bool).at[pair].set(True))

    both = jax.jit(jax.vmap(lambda pair: jax.vmap(lambda code: one(pair, code))(jnp.arange(4))))
    return np.exp(np.asarray(both(jnp.asarray(PAIRS)), float)), truth


def block_marginals(learned, exact):
    """p of every pattern of the eight sites of one colour [256], learned and enumerated."""
    sites = np.flatnonzero(COLOURS == 0)
    ups = (SPINS > 0).astype(int)[:, sites]
    truth = np.bincount(ups @ 2 ** np.arange(8), weights=exact, minlength=256)
    patterns = (np.arange(256)[:, None] >> np.arange(8)[None]) & 1
    xs = np.zeros((256, SITES), int)
    xs[:, sites] = patterns
    seen = jnp.asarray(COLOURS == 0)
    return np.exp(
        np.asarray(jax.jit(jax.vmap(lambda x: learned(x, seen)))(jnp.asarray(xs)), float)
    ), truth
