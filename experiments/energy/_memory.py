"""Associative memories: descent, and patterns retrieved together."""

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import jaxgen as jg

N, DILUTIONS = 40_000, np.linspace(0.02, 0.98, 25)


def study(settings, folder):
    """Energies along retrieval, and overlaps against dilution; memory.png."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4))
    few = settings.smoke
    rows = retrieval(left, few) + hierarchy(right, DILUTIONS[::12] if few else DILUTIONS)
    figure.tight_layout()
    figure.savefig(folder / "memory.png", dpi=110)
    plt.close(figure)
    return rows


def retrieval(axis, few):
    patterns = jax.random.normal(jax.random.key(0), (16, 32)) / 2
    starts = patterns[:8] + 0.5 * jax.random.normal(jax.random.key(1), (8, 32))
    rows = []
    for beta in (1e3,) if few else (1.0, 4.0, 1e3):
        memory = jg.energies.hopfield(patterns, beta=beta)

        def body(x, _, memory=memory):
            return memory.retrieve(x), memory.energy(x)

        run = jax.jit(jax.vmap(lambda x, body=body: jax.lax.scan(body, x, None, length=60)))
        ends, energies = run(starts)
        rows.append(
            (
                f"largest rise of the energy in a step, beta {beta:g}",
                "<= 0",
                np.max(np.diff(energies)),
                0,
            )
        )
        slope = np.max(np.abs(jax.vmap(jax.grad(memory.energy))(ends)))
        rows.append((f"largest gradient after 60 steps, beta {beta:g}", 0, slope, 0))
        gaps = np.asarray(energies - energies[:, -1:])[:, :20]
        axis.semilogy(np.maximum(np.mean(gaps, 0), 1e-16), "o-", ms=3, label=f"beta {beta:g}")
    rows.append(
        ("distance to the stored pattern, beta 1000", 0, np.max(np.abs(ends - patterns[:8])), 0)
    )
    axis.set(xlabel="retrieval steps", ylabel="energy above its end")
    axis.legend(fontsize=8)
    return rows


def hierarchy(axis, dilutions):
    @jax.jit
    def found(key, dilution):
        key_signs, key_blank, key_rest = jax.random.split(key, 3)
        signs = jax.random.rademacher(key_signs, (3, N), float)
        patterns = jnp.where(jax.random.bernoulli(key_blank, dilution, (3, N)), 0.0, signs)
        # Blanks of the first pattern follow the second, and so on; then all spins at once
        s = jax.random.rademacher(key_rest, (N,), float)
        for pattern in patterns[::-1]:
            s = jnp.where(pattern == 0, s, pattern)
        step = lambda s, _: (jg.energies.multitasking_step(patterns, s), None)
        s, _ = jax.lax.scan(step, s, None, length=30)
        return jg.energies.overlaps(patterns, s)

    keys = jax.random.split(jax.random.key(2), len(dilutions))
    measured = np.array([found(*pair) for pair in zip(keys, dilutions, strict=True)])
    theory = np.array([jg.energies.multitasking_overlaps(d, 3) for d in dilutions])
    for k in range(3):
        axis.plot(dilutions, theory[:, k], f"C{k}-", label=f"m_{k + 1}, mean field")
        axis.plot(dilutions, (1 - dilutions) * dilutions**k, f"C{k}:")
        axis.plot(dilutions, measured[:, k], f"C{k}o", ms=4)
    axis.set(xlabel="dilution d", ylabel="overlap")
    axis.set_title(f"dots: {N} spins; dotted: (1 - d) d^(k - 1)")
    axis.legend(fontsize=8)
    held = found(jax.random.key(3), 0.3)
    claims = (0.7, 0.21, 0.063)
    error = 1 / np.sqrt(N)
    return [
        (f"overlap m_{k + 1} at dilution 0.3, {N} spins", claims[k], held[k], error)
        for k in range(3)
    ]
