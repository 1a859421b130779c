"""Time of 20 evaluations beside a loop by hand and beside other packages, within one run.

Problem: batch 4096 in 64 dimensions, float32, exact score of a mixture of 8. Packages that are not
installed are named and left out (`pip install ".[bench-peers]"`).
"""

import importlib.util
import time

import jax
import numpy as np

import jaxgen as jg
from experiments._rows import write_csv
from experiments.bench import _sampler, _timing

REPEATS = 15
E_ = jg.solvers.exponential
OURS = {
    "ddim": E_.ddim,
    "dpmpp_2m": E_.dpmpp_2m,
    "deis": E_.deis,
    "unipc": E_.unipc,
}


def by_diffrax(process, denoiser):
    """A jitted sampler by diffrax's Tsit5 at tolerance 1e-3, as `solvers.ode.adaptive` calls it."""
    ts = np.array([float(process.t_max), float(process.t_min)])

    def draw(x):
        solver = jg.solvers.ode.adaptive(jg.as_field(process, denoiser), rtol=1e-3, atol=1e-3)
        return jg.solve(jax.random.key(0), solver, x, ts)[0]

    return jax.jit(jax.vmap(draw))


def write(folder):
    """cost.csv: milliseconds, and the ratio to the bare scan of the same run."""
    process, denoiser, x = _sampler.problem()
    floor = _sampler.bare(process, denoiser)
    jax.block_until_ready(floor(x))
    rows = []
    runs = {f"jaxgen {name}": _sampler.ours(process, denoiser, make) for name, make in OURS.items()}
    runs["diffrax Tsit5, 1e-3"] = by_diffrax(process, denoiser)
    for name, run in runs.items():
        jax.block_until_ready(run(x))
        mine, theirs, ratio = _timing.paired(lambda run=run: run(x), lambda: floor(x), REPEATS)
        rows.append({"package": name, "ms": 1e3 * mine, "bare scan ms": 1e3 * theirs})
        rows[-1]["ratio"] = ratio
    for package, build in PEERS.items():
        if importlib.util.find_spec(package) is None or importlib.util.find_spec("torch") is None:
            print(f"cost: {package} is not installed, left out")
            continue
        run, beside = build(), lambda: jax.block_until_ready(floor(x))
        rows.append(
            min((_beside(package, run, beside, n) for n in (1, 2)), key=lambda row: row["ratio"])
        )
    for row in rows:
        print(f"{row['package']:24s}{row['ms']:9.2f} ms{row['ratio']:8.2f} x the bare scan")
    write_csv(folder / "cost.csv", rows)


def _beside(package, run, beside, threads):
    """A row of another package, on a number of threads: torch on two stalls when a core is busy."""
    import torch

    torch.set_num_threads(threads)
    run()
    times = np.array([(_seconds(run), _seconds(beside)) for _ in range(REPEATS)])
    mine, theirs = 1e3 * np.median(times, 0)
    ratio = float(np.median(times[:, 0] / times[:, 1]))
    return {"package": package, "ms": mine, "bare scan ms": theirs, "ratio": ratio}


def _seconds(run):
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _torch_problem():
    """The same mixture's denoiser and starts, in torch, matrix form."""
    import torch

    random = np.random.default_rng(0)
    means = torch.tensor(
        random.normal(size=(_sampler.COMPONENTS, _sampler.DIM)), dtype=torch.float32
    )
    x = torch.tensor(random.normal(size=(_sampler.BATCH, _sampler.DIM)), dtype=torch.float32)

    def denoise(x, alpha, sigma):
        """E[x0 | x] for x = alpha x0 + sigma eps."""
        spread = alpha**2 * 0.1 + sigma**2
        squares = (x**2).sum(1, keepdim=True) - 2 * alpha * x @ means.T
        logits = -(squares + alpha**2 * (means**2).sum(1)) / (2 * spread)
        centre = torch.softmax(logits, 1) @ means
        return centre + alpha * 0.1 / spread * (x - alpha * centre)

    return torch, x, denoise


def _alpha_sigma(t):
    integral = 0.1 * t + 19.9 * t**2 / 2
    return np.exp(-integral / 2), np.sqrt(-np.expm1(-integral))


def diffusers_loop():
    """DPM-Solver++(2M) of diffusers, 20 steps of its default VP schedule."""
    torch, x, denoise = _torch_problem()
    from diffusers import DPMSolverMultistepScheduler

    scheduler = DPMSolverMultistepScheduler(
        beta_start=0.0001, beta_end=0.02, prediction_type="sample", algorithm_type="dpmsolver++"
    )

    def run():
        with torch.no_grad():
            scheduler.set_timesteps(_sampler.STEPS)
            z = x
            for t in scheduler.timesteps:
                product = scheduler.alphas_cumprod[t]
                x0 = denoise(z, product**0.5, (1 - product) ** 0.5)
                z = scheduler.step(x0, t, z).prev_sample
        return z

    return run


def k_diffusion_loop():
    """sample_dpmpp_2m of k-diffusion, 20 steps of Karras' grid."""
    torch, x, denoise = _torch_problem()
    from k_diffusion.sampling import get_sigmas_karras, sample_dpmpp_2m

    sigmas = get_sigmas_karras(_sampler.STEPS, 0.01, 80.0)

    def model(z, sigma, **_):
        return denoise(z, 1.0, sigma[0])

    def run():
        with torch.no_grad():
            return sample_dpmpp_2m(model, x * 80.0, sigmas, disable=True)

    return run


def azula_loop():
    """DDIM sampling of azula, 20 steps of its VP schedule."""
    torch, x, denoise = _torch_problem()
    from azula.denoise import Denoiser, DiracPosterior
    from azula.noise import VPSchedule
    from azula.sample import DDIMSampler

    class Exact(Denoiser):
        def __init__(self):
            super().__init__()
            self.schedule = VPSchedule()

        def forward(self, x_t, t, **_):
            alpha, sigma = self.schedule(t)
            return DiracPosterior(mean=denoise(x_t, alpha, sigma))

    sampler = DDIMSampler(Exact(), steps=_sampler.STEPS, silent=True)

    def run():
        with torch.no_grad():
            return sampler(x)

    return run


PEERS = {"diffusers": diffusers_loop, "k_diffusion": k_diffusion_loop, "azula": azula_loop}
