"""The feature network of the image experiment: what it learns, stores and refuses."""

import numpy as np
import pytest

from experiments.images import _features as nets
from jaxgen import data

STEPS = 120


@pytest.fixture(scope="module")
def digits():
    return data.digits8()


@pytest.fixture(scope="module")
def trained(digits):
    return nets.train_features(digits, 0, STEPS)


def embed(trained, x):
    return nets.features(trained.params, data.to_unit(x, 17))


def test_learns_standardised_features(digits, trained):
    assert trained.accuracy > 0.9
    assert trained.task == "labels"
    real = np.asarray(embed(trained, digits.train_x))
    assert real.shape == (1618, 64)
    assert real.dtype == np.float32
    np.testing.assert_allclose(real.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(real.var(axis=0).mean(), 1, rtol=1e-4)


def test_quality_falls_with_damage_and_has_a_floor(digits, trained):
    real, train = embed(trained, digits.test_x), embed(trained, digits.train_x)
    floor = nets.quality_floor(real, train, len(real))
    noise = np.random.RandomState(0).randint(-6, 7, digits.test_x.shape)
    noisy = np.clip(digits.train_x[: len(real)].astype(int) + noise, 0, 16).astype(np.uint8)
    damaged = nets.quality(real, embed(trained, noisy))
    assert floor["n_real"] == floor["n_fake"] == damaged["n_fake"] == 179
    assert damaged["frechet"] > 1.5 * floor["frechet"]
    assert damaged["precision"] < floor["precision"]
    assert abs(floor["kernel"]) < 5 * floor["kernel_se"]
    one = nets.quality(real, train[np.resize(np.flatnonzero(digits.train_labels == 3), 179)])
    assert one["precision"] > 0.7 > 0.3 > one["recall"]


def test_same_seed_same_parameters_and_reload(digits, trained, tmp_path):
    path = tmp_path / "features.npz"
    first = nets.saved_features(path, digits, 0, STEPS)
    again = nets.saved_features(path, digits, 0, STEPS)
    for name, value in trained.params.items():
        np.testing.assert_array_equal(value, first.params[name])
        np.testing.assert_array_equal(value, again.params[name])
    assert first.accuracy == again.accuracy == trained.accuracy
    assert [p.name for p in tmp_path.iterdir()] == ["features.npz"]


def test_refuses_another_or_a_damaged_file(digits, trained, tmp_path):
    path = tmp_path / "features.npz"
    nets.save_features(path, trained, nets.settings(digits, 0, STEPS))
    with pytest.raises(ValueError, match=r"features.npz must have been made with seed = 1; got 0"):
        nets.saved_features(path, digits, 1, STEPS)
    other = digits._replace(train_x=digits.train_x[::-1])
    with pytest.raises(ValueError, match=r"made with images = "):
        nets.saved_features(path, other, 0, STEPS)
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    for broken in (whole[: len(whole) // 2], b"", b"not a zip", bytes(flipped)):
        path.write_bytes(broken)
        with pytest.raises(ValueError, match=r"features: .*features.npz must be a readable"):
            nets.saved_features(path, digits, 0, STEPS)
        assert path.read_bytes() == broken
    bad = trained._replace(params=trained.params | {"scale": np.float32(np.nan)})
    nets.save_features(path, bad, nets.settings(digits, 0, STEPS))
    with pytest.raises(ValueError, match="finite parameters"):
        nets.saved_features(path, digits, 0, STEPS)


def test_images_without_labels_teach_their_turns(digits):
    blank = digits._replace(
        train_labels=np.full(len(digits.train_x), -1, np.int32),
        test_labels=np.full(len(digits.test_x), -1, np.int32),
    )
    trained = nets.train_features(blank, 0, STEPS)
    assert trained.task == "turns"
    assert trained.accuracy > 0.5  # chance is 0.25
