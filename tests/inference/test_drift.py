"""New images against the fingerprint of the training set."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from helpers import TINY

from data_preparation.common.fingerprint import QUANTILES, facts_of, fingerprint
from data_preparation.verify_data import verify_data
from utils.base.errors import UserError
from utils.checkpoints import weights_path
from utils.checkpoints.fingerprint import load_fingerprint, save_fingerprint
from utils.config import load_config
from utils.inference.drift import Drift
from utils.inference.read_ahead import SourceImage

RNG = np.random.default_rng(0)


def image(low=0, high=256, size=(40, 50), channels=3, kind=np.uint8):
    return RNG.integers(low, high, (*size, channels)).astype(kind)


def test_what_is_measured_of_an_image():
    picture = image(size=(30, 34))
    facts = facts_of(picture)
    assert facts[:4] == (30, 34, 8, "colour")
    expected = np.quantile(picture.reshape(-1, 3) / 255, QUANTILES, axis=0, method="nearest").T
    np.testing.assert_allclose(facts.intensities, expected, atol=1 / 255)
    assert facts_of(np.repeat(picture[..., :1], 3, axis=-1)).channels == "grey"
    assert facts_of(image(channels=5)).channels == "5 channels"
    assert facts_of(image(0, 65536, kind=np.uint16)).bits == 16
    large = image(100, 120, (900, 1000), 1)
    np.testing.assert_allclose(facts_of(large).intensities[0, 2], 110 / 255, atol=2 / 255)


def test_the_fingerprint_of_images():
    dark, light = np.full((10, 20, 1), 51, np.uint8), np.full((30, 10, 1), 204, np.uint8)
    found = fingerprint([facts_of(dark), facts_of(light)], [(0.9, 0.9, 3), (1.1, 1, 3)])
    assert (found["height"], found["width"], found["bits"], found["channels"]) == ([10, 30], [10, 20], [8], ["grey"])
    assert found["spacing_mm"] == [[0.9, 1.1], [0.9, 1], [3, 3]]
    assert found["intensities"] == [[[0.2, 0.8]] * 5]
    assert fingerprint([], []) is None


def source(spacing=None, frames=1, name="x"):
    return SimpleNamespace(spacing=spacing, frames=frames, path=name)


def kinds(drift, *images, spacing=None):
    """What the last image of a source says."""
    one = source(spacing, len(images))
    return [drift.add(SourceImage(one, index, picture)) for index, picture in enumerate(images)][-1]


@pytest.fixture
def trained():
    facts = [facts_of(image(60, 200)) for _ in range(3)]
    return fingerprint(facts, [(0.9, 0.9, 3.0), (1.1, 1.1, 3.0)])


def test_images_like_those_of_the_training_say_nothing(trained):
    drift = Drift(trained)
    assert kinds(drift, image(50, 210), spacing=(1.2, 0.8, 3.5)) == []
    assert kinds(drift, image(60, 200, (70, 30))) == []
    assert drift.lines() == []


def test_one_line_for_each_kind(trained):
    drift = Drift(trained)
    for spacing in [(0.7, 0.7, 5.0)] * 2 + [(1.0, 1.0, 3.0)]:
        kinds(drift, image(60, 200), image(60, 200), spacing=spacing)
    assert kinds(drift, image(0, 20)) == ["intensity"]
    assert kinds(drift, image(60, 200, (400, 50))) == ["image size"]
    assert set(kinds(drift, image(15000, 50000, kind=np.uint16))) == {"bits"}
    assert kinds(drift, np.repeat(image(60, 200, channels=1), 3, axis=-1)) == ["channels"]
    voxels, sizes, channels, bits, intensity = drift.lines()
    expected = "2 of 3 scans have a voxel size the model never saw (0.7 x 0.7 x 5 mm; training 0.9 to 1.1 x"
    assert expected in voxels
    assert "1 of 4 images has a size far" in sizes and "400 x 50 pixels; training 40 x 50 pixels" in sizes
    assert "(grey; training colour)" in channels and "(16; training 8)" in bits
    assert "99th percentile" in intensity or "upper quartile" in intensity or "median" in intensity


def test_a_dark_slice_does_not_make_a_scan_unlike(trained):
    assert kinds(Drift(trained), image(0, 20), *[image(60, 200) for _ in range(9)], spacing=(1, 1, 3)) == []


def padded(picture, top, bottom, left, right):
    return np.pad(picture, ((top, bottom), (left, right), (0, 0)))


def test_padding_is_no_drift(trained):
    """Two thirds of the image are zeros that were added, and half of the slices."""
    inner = image(60, 200)
    outer = padded(inner, 30, 0, 10, 15)
    np.testing.assert_array_equal(facts_of(outer).intensities, facts_of(inner).intensities)
    assert kinds(Drift(trained), outer) == []
    assert kinds(Drift({**trained, "without_padding": False}), outer) == ["intensity"]  # of an earlier version
    empty = np.zeros_like(inner)
    assert kinds(Drift(trained), empty, empty, inner, spacing=(1, 1, 3)) == []
    large = padded(image(60, 200, (900, 1000), 3), 500, 700, 1100, 0)
    np.testing.assert_allclose(facts_of(large).intensities[:, 2], 130 / 255, atol=10 / 255)
    assert facts_of(large)[:2] == (2100, 2100)


def test_zeros_inside_and_images_of_nothing_else_still_count(trained):
    inner = image(60, 200)
    inner[1:-1, 1:-1] = 0
    assert kinds(Drift(trained), inner) == ["intensity"]
    empty = np.zeros_like(inner)
    assert "intensity" in kinds(Drift(trained), empty)
    known = fingerprint([facts_of(image(60, 200)), facts_of(empty)], [])
    assert known["intensities"][0][2][0] > 0.4 and known["channels"] == ["colour"]
    assert fingerprint([facts_of(empty)], [])["intensities"] == [[[0.0, 0.0]] * 5] * 3


def test_the_data_check_finds_the_fingerprint(phantom):
    cfg = load_config([f"WORK_DIR={phantom}", "VERBOSE=0", *TINY])
    found = verify_data(cfg)
    assert "fingerprint" not in found["val"]
    one = found["train"]["fingerprint"]
    assert one["images"] == 20 and one["height"] == [48, 48] and one["channels"] == ["colour"]
    manifest = json.loads(next((phantom / "data/train/manifest").glob("*.json")).read_text())
    assert [low for low, _ in one["spacing_mm"]] == pytest.approx(manifest["spacing_mm"])


def test_the_file_beside_the_weights(trained, tmp_path):
    cfg = load_config([f"WORK_DIR={tmp_path}"])
    assert load_fingerprint(cfg) is None
    save_fingerprint(weights_path(cfg), trained)
    assert load_fingerprint(cfg) == json.loads(json.dumps(trained))
    path = tmp_path / "checkpoint/model_unet3plus.fingerprint.json"
    found = json.loads(path.read_text())
    found["height"][0] = "tall"
    path.write_text(json.dumps(found))
    with pytest.raises(UserError, match="is damaged"):
        load_fingerprint(cfg)
