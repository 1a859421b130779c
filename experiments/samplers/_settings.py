"""The whole configuration of a run."""

import dataclasses

from experiments._settings import at_least, names, read
from experiments.samplers._methods import GRIDS, METHODS
from experiments.samplers._problems import PROCESSES


@dataclasses.dataclass(frozen=True)
class Settings:
    """Compare samplers on exact mixtures: error against evaluations, orders, cost; CSV and PNG."""

    run: str = "runs/samplers"
    """Folder of the results."""
    smoke: bool = False
    """The smallest size: seconds."""
    processes: tuple[str, ...] = tuple(PROCESSES)
    """Noising processes, among vp, edm, linear_flow, cld, hold."""
    dims: tuple[int, ...] = (2, 16, 64)
    """Dimensions of the random mixtures."""
    guidance: tuple[float, ...] = (0.0, 3.0)
    """Weights of classifier-free guidance towards half of the components; 0 is none."""
    budgets: tuple[int, ...] = (5, 10, 20, 50)
    """Network evaluations."""
    samplers: tuple[str, ...] = tuple(METHODS)
    """Samplers to compare; see _methods.py for what the names mean."""
    grids: tuple[str, ...] = tuple(GRIDS)
    """Grids tried for each; the best is reported, and which it was."""
    order_evaluations: tuple[int, ...] = (64, 128, 256, 512)
    """Evaluations between which orders are read, on the textbook mixture."""
    starts: int = 64
    """Starting points."""
    solution_steps: int = 800
    """Runge-Kutta steps of the solution, four evaluations each."""
    seed: int = 0
    """Of mixtures and starting points."""
    only_cost: bool = False
    """Nothing but the timings."""
    cost: bool = True
    """Also time a sampler beside a loop by hand, and beside other packages where installed."""


SMOKE = {
    "processes": ("vp",),
    "dims": (2,),
    "guidance": (0.0,),
    "budgets": (5, 10),
    "samplers": ("ddim", "DPM-Solver++(2M)", "rhoRK-4"),
    "grids": ("log_snr", "power 2"),
    "order_evaluations": (64, 128),
    "starts": 4,
    "solution_steps": 200,
    "cost": False,
}


def parse(argv) -> Settings:
    """Settings from command-line words; ValueError on those that make no sense."""
    given = read(Settings, SMOKE, "samplers", argv)
    names(given, processes=PROCESSES, samplers=METHODS, grids=GRIDS)
    for field, least in {"dims": 1, "budgets": 1, "order_evaluations": 8, "guidance": 0}.items():
        if not getattr(given, field) or min(getattr(given, field)) < least:
            got = getattr(given, field)
            raise ValueError(f"settings: {field} must be numbers of at least {least}; got {got}")
    at_least(given, starts=2, solution_steps=20, seed=0)
    return given
