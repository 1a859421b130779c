"""Data lent to users: toy laws in the plane, and small real image sets that ship inside packages.

Door of the laws: `f(*, numbers) -> Distribution`, whose `sample(key) -> x [2]` draws one point (the
batch is `vmap`) and whose `logdensity(x [2]) -> []`, in nats, is exact where one is known, else
None. Door of the images: `f() -> ImageSet`, uint8 levels with a fixed train/test split.
"""

from jaxgen.data._curves import pinwheel, spirals, swiss_roll, two_moons
from jaxgen.data._images import ImageSet, digits8, load_npz, mnist5k
from jaxgen.data._levels import log_cell_width, to_levels, to_unit
from jaxgen.data._regions import checkerboard, eight_gaussians, rings

__all__ = [
    "ImageSet",
    "checkerboard",
    "digits8",
    "eight_gaussians",
    "load_npz",
    "log_cell_width",
    "mnist5k",
    "pinwheel",
    "rings",
    "spirals",
    "swiss_roll",
    "to_levels",
    "to_unit",
    "two_moons",
]
