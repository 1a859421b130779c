"""The whole configuration of a run."""

import dataclasses

from experiments._settings import names, read
from experiments.processes._processes import LEARNED, PROCESSES
from experiments.processes._train import LAWS


@dataclasses.dataclass(frozen=True)
class Settings:
    """Compare noising processes on plane data, and one trained network under all of them."""

    run: str = "runs/processes"
    """Folder of the results."""
    smoke: bool = False
    """The smallest size: seconds."""
    data: tuple[str, ...] = ("checkerboard", "pinwheel")
    """Laws in the plane, among checkerboard, pinwheel, spirals, two_moons."""
    processes: tuple[str, ...] = (*PROCESSES, LEARNED)
    """Noising processes, vp first: its network is the one that is sampled under all."""
    noise_min: float = 0.01
    """Noise level sigma/alpha of the clean end, for blocks gamma^(-1/2)."""
    noise_max: float = 40.0
    """Noise level of the noisy end."""
    width: int = 128
    """Hidden units of the network."""
    depth: int = 3
    """Its residual layers."""
    steps: int = 2000
    """Training steps for each process."""
    batch: int = 256
    """Examples in a step."""
    learning_rate: float = 2e-3
    """Adam's, falling to zero as a half cosine."""
    budgets: tuple[int, ...] = (5, 10, 20, 50, 100)
    """Network evaluations of a sample."""
    samples: int = 3000
    """Samples that are compared with as many held-out points."""
    held_out: int = 500
    """Points whose likelihood is taken."""
    likelihood_steps: int = 80
    """Steps of the likelihood ODE."""
    learn_steps: int = 200
    """Gradient steps of the learned process."""
    seed: int = 0
    """Of networks, data and samples."""
    images: str = ""
    """Folder of a finished run of experiments.images, whose network is sampled under all processes;
    none when empty."""
    image_samples: int = 500
    """Images drawn for each process and budget."""
    image_steps: int = 300
    """Training steps of each process's own network on images of half the size; 0 trains none."""
    image_held_out: int = 96
    """Test images whose likelihood is taken."""


SMOKE = {
    "data": ("two_moons",),
    "processes": ("vp", "cld"),
    "width": 16,
    "depth": 1,
    "steps": 20,
    "batch": 32,
    "budgets": (5,),
    "samples": 64,
    "held_out": 8,
    "likelihood_steps": 6,
    "learn_steps": 2,
    "image_steps": 0,
}


def parse(argv) -> Settings:
    """Settings from command-line words; ValueError on those that make no sense."""
    given = read(Settings, SMOKE, "processes", argv)
    names(given, data=LAWS, processes=(*PROCESSES, LEARNED))
    if given.processes[0] != "vp":
        raise ValueError(f"settings: processes must begin with vp; got {given.processes[0]}")
    if not given.budgets or min(given.budgets) < 5:
        raise ValueError(f"settings: budgets must be at least 5; got {given.budgets}")
    least = {
        "width": 1,
        "depth": 1,
        "steps": 2,
        "batch": 1,
        "samples": 10,
        "held_out": 2,
        "likelihood_steps": 5,
        "learn_steps": 1,
        "image_samples": 10,
        "image_steps": 0,
        "image_held_out": 2,
        "seed": 0,
    }
    for field, low in least.items():
        if getattr(given, field) < low:
            got = getattr(given, field)
            raise ValueError(f"settings: {field} must be at least {low}; got {got}")
    if not 0 < given.noise_min < given.noise_max:
        raise ValueError(
            "settings: 0 < noise_min < noise_max must hold; "
            f"got {given.noise_min}, {given.noise_max}"
        )
    return given
