"""The whole configuration of a run."""

import dataclasses

from experiments._settings import at_least, names, read
from experiments.tabular._sets import NAMES


@dataclasses.dataclass(frozen=True)
class Settings:
    """Compare densities on small real tables, nats on test rows; CSV and PNG."""

    run: str = "runs/tabular"
    """Folder of the results."""
    smoke: bool = False
    """The smallest size: seconds."""
    sets: tuple[str, ...] = NAMES
    """Tables, among flowers, wines, patients, nuclei."""
    only_manifold: bool = False
    """Nothing but the demonstration on a thin circle."""
    manifold: bool = True
    """Also run the demonstration on a thin circle."""
    components: tuple[int, ...] = (1, 2, 3, 4, 6)
    """Components of the mixtures tried; 1 must be among them."""
    flow_steps: int = 300
    """Training steps of a spline flow, at most."""
    flow_rate: float = 2e-4
    """Its first learning rate."""
    free_speed: float = 10.0
    """How much faster its free splines learn than its conditioners."""
    flow_width: int = 16
    """Hidden units of its conditioners."""
    flow_layers: int = 4
    """Its coupling layers."""
    flow_noise: float = 0.1
    """Deviation of the noise on its training rows, in whitened coordinates."""
    bins: int = 6
    """Bins of its splines."""
    net_steps: int = 200
    """Training steps of a diffusion, at most."""
    net_rate: float = 5e-4
    """Its first learning rate."""
    net_width: int = 32
    """Hidden units of its network."""
    flow_from_normal: bool = True
    """Also train spline flows that start as one normal law, not as the mixture."""
    diffusion_from_normal: bool = False
    """Also train diffusions that start as one normal law, not as the mixture."""
    decay: float = 0.1
    """Weight decay of both."""
    batch: int = 64
    """Rows in a training step of a flow."""
    net_batch: int = 256
    """Rows, each with its own noise, in a training step of a diffusion."""
    check: int = 25
    """Steps between looks at the validation part."""
    average: float = 0.98
    """Decay of the averages of parameters."""
    ode_steps: int = 50
    """Steps of the flow of a diffusion, of order 4."""
    bound_points: int = 128
    """Evaluations of the bound of a diffusion."""
    circle_steps: int = 2000
    """Training steps of each flow on the circle."""
    seed: int = 0
    """Of all randomness in training."""


SMOKE = {
    "sets": ("flowers",),
    "components": (1, 2),
    "flow_from_normal": False,
    "manifold": False,
    "flow_steps": 10,
    "net_steps": 10,
    "check": 10,
    "flow_layers": 2,
    "flow_width": 8,
    "net_width": 8,
    "ode_steps": 5,
    "bound_points": 8,
    "circle_steps": 20,
}
POSITIVE = (
    "flow_steps",
    "net_steps",
    "flow_width",
    "flow_layers",
    "bins",
    "net_width",
    "batch",
    "net_batch",
)
POSITIVE += ("check", "bound_points", "circle_steps")


def parse(argv) -> Settings:
    """Settings from command-line words; ValueError on those that make no sense."""
    given = read(Settings, SMOKE, "tabular", argv)
    names(given, sets=NAMES)
    if 1 not in given.components or min(given.components) < 1:
        raise ValueError(f"settings: components must hold 1; got {given.components}")
    at_least(given, **dict.fromkeys(POSITIVE, 1))
    return given
