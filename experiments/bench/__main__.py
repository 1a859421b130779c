"""What jaxgen costs beside what one would write by hand: ratios within one run."""

import argparse
import json
import platform
from pathlib import Path

import jax

import jaxgen as jg
from experiments.bench import _likelihood, _mcmc, _sampler, _timing, _training

IMPORT = "import time; s = time.perf_counter(); {}; print(time.perf_counter() - s)"
DEPENDENCIES = "import jax, jax.numpy, numpy, optax, flax, chex, blackjax, diffrax"
FIRST = (
    "import jax; jax.config.update('jax_enable_compilation_cache', False); "
    "from experiments.bench import _sampler; print(_sampler.first_call({!r}))"
)


def sampler_rows(repeats):
    """Steady time of samplers at 20 evaluations against the same loop by hand, and their set-up."""
    process, denoiser, x = _sampler.problem()
    exponential = jg.solvers.exponential
    pairs = {
        "dpmpp_2m": (exponential.dpmpp_2m, _sampler.bare),
        "deis": (exponential.deis, _sampler.bare_deis),
    }
    for name, (make, by_hand) in pairs.items():
        run, floor = _sampler.ours(process, denoiser, make), by_hand(process, denoiser)
        jax.block_until_ready((run(x), floor(x)))
        mine, theirs, ratio = _timing.paired(
            lambda run=run: run(x), lambda floor=floor: floor(x), repeats
        )
        yield f"{name}, 20 evaluations / bare scan", 1e3 * mine, 1e3 * theirs, ratio, "<= 1.15"
    for name in ("dpmpp_2m", "deis", "unipc"):
        milliseconds = _sampler.setup(process, denoiser, getattr(exponential, name))
        yield f"{name}, table of 20 steps", milliseconds, None, None, "< 5 ms"
    blocks = {"cld": jg.processes.augmented.cld(), "hold": jg.processes.augmented.hold()}
    for label, block in blocks.items():
        for name in ("deis", "unipc", "rho_rk"):
            milliseconds = _sampler.setup(block, denoiser, getattr(exponential, name))
            yield f"{name}, table of 20 steps, {label}", milliseconds, None, None, "< 50 ms"


def network_row(repeats):
    """A sampler of the main job's network against as many evaluations of the network alone."""
    ours, theirs = _sampler.network_bound()
    jax.block_until_ready((ours(), theirs()))
    mine, other, ratio = _timing.paired(ours, theirs, repeats)
    return "10 evaluations of a U-Net / the U-Net alone", 1e3 * mine, 1e3 * other, ratio, "<= 1.03"


def fresh_row(label, ours, theirs, repeats, goal):
    """A row of two programs, each run in new processes, in turn."""
    runs = [(_timing.fresh(ours, 1)[0], _timing.fresh(theirs, 1)[0]) for _ in range(repeats)]
    mine, other = (1e3 * sorted(column)[repeats // 2] for column in zip(*runs, strict=True))
    ratio = sorted(a / b for a, b in runs)[repeats // 2]
    return label, mine, other, ratio, goal


def likelihood_rows(repeats):
    """Exact log-likelihood, 50 evaluations: beside a loop by hand, diffrax and torchdiffeq."""
    process, law, x = _likelihood.problem()
    denoiser = jg.densities.denoiser(law, process)
    run = _likelihood.ours(process, denoiser)
    beside = {
        "a bare scan": (_likelihood.bare(process, denoiser), "<= 1.05"),
        "diffrax, fixed steps": (_likelihood.by_diffrax(process, denoiser), "<= 0.87"),
    }
    others = {name: (lambda f=f: f(x), goal) for name, (f, goal) in beside.items()}
    if (by_torch := _likelihood.by_torchdiffeq(law)) is not None:
        others["torchdiffeq, fixed steps"] = by_torch, "<= 0.33"
    for name, (other, goal) in others.items():
        jax.block_until_ready((run(x), other()))
        mine, theirs, ratio = _timing.paired(lambda: run(x), other, repeats)
        yield f"exact likelihood / {name}", 1e3 * mine, 1e3 * theirs, ratio, goal


def chains_row(repeats):
    """Langevin steps of 1,000 chains in 64 dimensions against the vmapped gradient alone."""
    ours, theirs = _mcmc.chains()
    jax.block_until_ready((ours(), theirs()))
    mine, other, ratio = _timing.paired(ours, theirs, repeats)
    return "ula, 1,000 chains / vmapped gradient", 1e3 * mine, 1e3 * other, ratio, "<= 1.2"


def training_row(repeats):
    """One training step of the main job's network against a hand-written loop."""
    ours, theirs = _training.steps()
    jax.block_until_ready((ours(), theirs()))
    mine, other, ratio = _timing.paired(ours, theirs, repeats)
    return "training step / hand-written loop", 1e3 * mine, 1e3 * other, ratio, "<= 1.03"


def other_rows(repeats):
    """Samplers, a network-bound sampler, training and import."""
    yield from sampler_rows(repeats)
    yield fresh_row(
        "first call / bare scan", FIRST.format("ours"), FIRST.format("bare"), 5, "<= 1.5"
    )
    yield network_row(max(repeats // 2, 3))
    yield training_row(repeats)
    yield chains_row(max(repeats // 3, 3))
    ours = IMPORT.format("import jaxgen")
    yield fresh_row("import / dependencies", ours, IMPORT.format(DEPENDENCIES), 7, "<= 1.2")


def main():
    """Prints the table and writes it to runs/bench/bench.json."""
    parser = argparse.ArgumentParser(prog="python -m experiments.bench", description=__doc__)
    parser.add_argument("--repeats", type=int, default=30, help="paired runs of each row")
    parser.add_argument("--out", type=Path, default=Path("runs/bench"), help="where the table goes")
    parser.add_argument("--only-likelihood", action="store_true", help="no other rows")
    args = parser.parse_args()
    rows = list(likelihood_rows(args.repeats))
    if not args.only_likelihood:
        rows += other_rows(args.repeats)
    print(f"jax {jax.__version__}, {jax.devices()[0].platform}, {platform.machine()}, float32")
    print(f"{'':42s}{'ms':>10s}{'beside':>10s}{'ratio':>8s}  goal")
    for label, mine, other, ratio, goal in rows:
        beside = "" if other is None else f"{other:.2f}"
        quotient = "" if ratio is None else f"{ratio:.3f}"
        print(f"{label:42s}{mine:10.2f}{beside:>10s}{quotient:>8s}  {goal}")
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "bench.json").write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
