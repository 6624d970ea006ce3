"""Augmentation moves image and mask as one, changes what its knobs say and nothing else, and repeats for a seed."""

import cv2
import numpy as np
import pytest
import yaml
from augmentation_helpers import (
    LEVELS,
    PHOTOMETRIC,
    POLICIES,
    angle_of,
    bar,
    batches,
    config,
    inner,
    on,
    pattern,
)
from helpers import PROJECT, full, source_of
from omegaconf import OmegaConf
from warm_helpers import run_warm

from data_generators import LOADERS
from data_generators.augmentation.albumentations_engine import AFTER, BEFORE, AlbumentationsAugmentation
from data_generators.augmentation.knobs import AFFINE, GEOMETRY, INTENSITY, KNOBS
from data_generators.augmentation.policy_files import library, read_policy
from data_generators.augmentation.tensorflow_intensity import INTENSITY_CHANGES
from data_generators.loaders.dali_augmentation import DRAW_ORDER
from utils.base.errors import UserError
from utils.base.pictures import STRIP
from utils.config import load_config
from utils.config.schema import SCHEMA


def augmentation(*overrides, size=(96, 96)):
    return AlbumentationsAugmentation.from_config(config(*overrides, size=size))


@pytest.mark.parametrize("channels", [1, 3, 4, 6])
@pytest.mark.parametrize("knob", GEOMETRY)
def test_the_mask_goes_where_the_image_goes(knob, channels):
    size = (96, 96) if knob == "ROTATE_90" else (96, 128)
    augment = augmentation(*on(knob), size=size)
    image, mask = pattern(*size, channels)
    changed = 0
    for position in range(6):
        new_image, new_mask = augment(image, mask, 0, position)
        assert new_image.shape == image.shape and new_mask.shape == mask.shape
        assert new_image.dtype == new_mask.dtype == np.uint8
        inside = inner(new_mask)
        assert inside.mean() > 0.5
        wrong = np.abs(new_image[inside].astype(int) - LEVELS[new_mask[inside]][:, None]).max(axis=1) > 40
        assert wrong.mean() < 0.01  # a warp by half a pixel reaches past a class here and there
        changed += not np.array_equal(mask, new_mask)
    assert changed >= 3


@pytest.mark.parametrize("policy", [name for name in POLICIES if name != "none"])
def test_no_policy_makes_new_mask_values(policy):
    image, mask = pattern()
    augment = augmentation(f"augmentation={policy}")
    different = 0
    for position in range(40):
        new_image, new_mask = augment(image, mask, 2, position)
        assert set(np.unique(new_mask)) <= set(range(4))
        different += not np.array_equal(new_image, image)
    assert different > 30


def test_what_lies_outside_is_ignored_or_background_or_mirrored():
    image, mask = np.full((96, 96, 3), 200, np.uint8), np.full((96, 96), 2, np.uint8)
    away = (*on("ZOOM"), "AUGMENTATION.ZOOM.FACTOR=[0.5,0.5]")
    for overrides, outside in (
        (["AUGMENTATION.FILL=zero"], (0, 0)),
        (["AUGMENTATION.FILL=zero", "DATASET.IGNORE_LABEL=11"], (0, 11)),
        (["AUGMENTATION.FILL=reflect"], (200, 2)),
    ):
        new_image, new_mask = augmentation(*away, *overrides)(image, mask, 0, 0)
        assert (new_image[2, 2, 0], new_mask[2, 2]) == outside
        assert (new_image[48, 48, 0], new_mask[48, 48]) == (200, 2)


def test_off_is_nothing_at_all():
    assert augmentation() is None
    assert augmentation("augmentation=none") is None


def test_a_range_of_nothing_changes_nothing():
    neutral = {
        "ROTATION.DEGREES": 0,
        "ZOOM.FACTOR": 1,
        "SHEAR.DEGREES": 0,
        "TRANSLATION.SHARE": 0,
        "BRIGHTNESS.SHIFT": 0,
        "CONTRAST.FACTOR": 1,
        "GAMMA.EXPONENT": 1,
        "NOISE.STD": 0,
    }
    ranges = [f"AUGMENTATION.{key}=[{value},{value}]" for key, value in neutral.items()]
    augment = augmentation(*on(*(key.split(".")[0] for key in neutral)), *ranges)
    image, mask = pattern()
    new_image, new_mask = augment(image, mask, 0, 0)
    np.testing.assert_array_equal(new_image, image)
    np.testing.assert_array_equal(new_mask, mask)


def test_rotations_stay_in_their_range_and_fill_it():
    augment = augmentation(*on("ROTATION"), "AUGMENTATION.ROTATION.DEGREES=[10,40]", "AUGMENTATION.FILL=zero")
    angles = np.abs([angle_of(augment(*bar(), 0, n)[1]) for n in range(60)])
    assert angles.min() >= 9 and angles.max() <= 41
    assert angles.min() < 15 and angles.max() > 35


def test_zoom_changes_areas_by_its_square():
    for factor in (0.5, 1.5):
        augment = augmentation(
            *on("ZOOM"), f"AUGMENTATION.ZOOM.FACTOR=[{factor},{factor}]", "AUGMENTATION.FILL=zero", size=(101, 101)
        )
        image = np.zeros((101, 101, 1), np.uint8)
        image[35:66, 35:66] = 255
        assert augment(image, image[:, :, 0] // 255, 0, 0)[1].sum() == pytest.approx(31**2 * factor**2, rel=0.07)


def test_zooms_out_and_in_are_equally_likely():
    augment = augmentation(*on("ZOOM"), "AUGMENTATION.ZOOM.FACTOR=[0.5,4.0]", "AUGMENTATION.FILL=zero")
    image = np.zeros((96, 96, 1), np.uint8)
    image[40:56, 40:56] = 255
    areas = np.array([augment(image, image[:, :, 0] // 255, 0, n)[1].sum() for n in range(200)])
    assert 75 <= (areas < 16**2).sum() <= 125


def test_translations_stay_in_their_range():
    augment = augmentation(
        *on("TRANSLATION"), "AUGMENTATION.TRANSLATION.SHARE=[0.1,0.2]", "AUGMENTATION.FILL=zero", size=(100, 100)
    )
    image = np.zeros((100, 100, 1), np.uint8)
    image[30:41, 30:41] = 255
    for n in range(20):
        moved = np.mean(np.nonzero(augment(image, image[:, :, 0] // 255, 0, n)[1]), axis=1) - 35
        assert (moved > 9).all() and (moved < 21).all()


def test_elastic_displacements_have_the_standard_deviation_that_is_asked_for():
    augment = augmentation(
        *on("ELASTIC"), "AUGMENTATION.ELASTIC.DISPLACEMENT=3.0", "AUGMENTATION.ELASTIC.SMOOTHNESS=8.0", size=(200, 200)
    )
    ramp = np.repeat(np.arange(200, dtype=np.uint8)[None], 200, axis=0)
    moved = []
    for n in range(8):
        changed = augment(ramp[:, :, None], np.zeros_like(ramp), 0, n)[0][:, :, 0]
        moved.append((changed.astype(float) - ramp)[40:160, 40:160])  # at the edge they are larger
    assert np.std(moved) == pytest.approx(3, rel=0.1)


@pytest.mark.parametrize("knob, low, high", PHOTOMETRIC)
def test_photometric_ranges(knob, low, high):
    augment = augmentation(*on(knob.split(".")[0]), f"AUGMENTATION.{knob}")
    image = np.full((96, 96, 3), 100, np.uint8)
    values = [float(augment(image, image[:, :, 0], 0, n)[0].mean()) for n in range(60)]
    assert low - 1.5 <= min(values) and max(values) <= high + 1.5
    assert max(values) - min(values) > 0.6 * (high - low)


def test_noise_and_dropout():
    image = np.full((96, 96, 3), 128, np.uint8)
    noisy, mask = augmentation(*on("NOISE"), "AUGMENTATION.NOISE.STD=[0.04,0.04]")(image, image[:, :, 0], 0, 0)
    assert noisy.astype(float).std() == pytest.approx(0.04 * 255, rel=0.05)
    holes, kept = augmentation(
        *on("COARSE_DROPOUT"), "AUGMENTATION.COARSE_DROPOUT.HOLES=[1,1]", "AUGMENTATION.COARSE_DROPOUT.SIZE=[0.5,0.5]"
    )(image, image[:, :, 0], 0, 0)
    assert (holes == 0).all(axis=2).sum() == 48 * 48 and (holes[holes > 0] == 128).all()
    assert (mask == 128).all() and (kept == 128).all()


def test_knobs_are_drawn_independently():
    augment = augmentation(
        "AUGMENTATION.HORIZONTAL_FLIP.PROBABILITY=0.5",
        "AUGMENTATION.VERTICAL_FLIP.PROBABILITY=0.5",
        "AUGMENTATION.TRANSLATION.PROBABILITY=0.3",
        "AUGMENTATION.TRANSLATION.SHARE=[0.02,0.02]",
        "AUGMENTATION.FILL=zero",
    )
    corner = np.zeros((100, 100), np.uint8)
    corner[10:20, 10:20] = 1
    found = {}
    for n in range(400):
        rows, columns = np.nonzero(augment(corner[:, :, None], corner, 0, n)[1])
        moved = rows.min() not in (10, 80)
        key = bool(rows.mean() > 50), bool(columns.mean() > 50), bool(moved)
        found[key] = found.get(key, 0) + 1
    assert len(found) == 8
    for (_, _, moved), count in found.items():
        assert count == pytest.approx(30 if moved else 70, abs=25)


def test_the_seed_the_epoch_and_the_position_decide():
    image, mask = pattern()
    medical = augmentation("augmentation=medical", "AUGMENTATION.ROTATION.PROBABILITY=1.0")
    first = medical(image, mask, 1, 2)
    medical(image, mask, 7, 7)  # what came before does not matter
    again = augmentation("augmentation=medical", "AUGMENTATION.ROTATION.PROBABILITY=1.0")(image, mask, 1, 2)
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    other_seed = augmentation("augmentation=medical", "AUGMENTATION.ROTATION.PROBABILITY=1.0", "SEED=6")
    for other in (medical(image, mask, 2, 2), medical(image, mask, 1, 3), other_seed(image, mask, 1, 2)):
        assert not np.array_equal(first[0], other[0])


def test_16_bit_images_keep_their_fineness():
    image = np.repeat(np.arange(96 * 96, dtype=np.uint16).reshape(96, 96, 1), 3, axis=2)
    changed, _ = augmentation(*on("HORIZONTAL_FLIP"))(image, image[:, :, 0].astype(np.uint8), 0, 0)
    np.testing.assert_allclose(changed, image[:, ::-1] / 65535, rtol=1e-6)


@pytest.mark.parametrize("policy", ["light", "medical", "tpu_segmentation"])
def test_thin_structures_survive(policy):
    mask = np.zeros((128, 128), np.uint8)
    mask[64, 24:104] = mask[24:104, 64] = 1
    augment = augmentation(f"augmentation={policy}", size=(128, 128))
    kept = [augment(mask[:, :, None] * 255, mask, 0, n)[1].sum() / mask.sum() for n in range(30)]
    assert min(kept) > 0.4 and np.median(kept) > 0.8


def test_all_loaders_give_the_same_augmented_batches(stored):
    first, *others = (batches(stored, loader, "train", True, *source_of(loader, stored)) for loader in full(LOADERS))
    assert len(first) == 3 and others
    for other in others:
        for one, two in zip(first, other, strict=True):
            for part, same in zip(one, two, strict=True):
                np.testing.assert_allclose(part, same, rtol=0, atol=1e-6)  # border weights of 1e-14 vary


def test_only_training_is_augmented(stored):
    plain = batches(stored, "TF_DATA", augment=False)
    assert not np.array_equal(batches(stored, "TF_DATA")[0][0], plain[0][0])
    for one, two in zip(batches(stored, "TF_DATA", "val"), batches(stored, "TF_DATA", "val", False), strict=True):
        np.testing.assert_array_equal(one[0], two[0])


def test_border_weights_are_those_of_the_augmented_mask(stored):
    from data_generators.reading.boundary_weights import boundary_weights

    for _, masks, borders in batches(stored, "TF_DATA"):
        for mask, border in zip(masks, borders, strict=True):
            np.testing.assert_allclose(border, boundary_weights(mask, 10.0, 5.0), rtol=1e-5, atol=1e-6)


def test_a_saved_policy_of_albumentations_is_read_in_both_formats(tmp_path):
    A = library()
    policy = A.Compose([A.HorizontalFlip(p=1.0), A.OneOf([A.RandomGamma(p=1.0), A.Blur(p=1.0)], p=0.5)])
    image, mask = pattern()
    for ending in ("json", "yaml"):
        A.save(policy, tmp_path / f"mine.{ending}", data_format=ending)
        augment = augmentation(f"AUGMENTATION.ALBUMENTATIONS={tmp_path}/mine.{ending}")
        np.testing.assert_array_equal(augment(image, mask, 0, 0)[1], mask[:, ::-1])
        assert [type(t).__name__ for t in read_policy(tmp_path / f"mine.{ending}").transforms] == [
            "HorizontalFlip",
            "OneOf",
        ]


@pytest.mark.parametrize(
    "described, words",
    [
        ({"__class_fullname__": "os.system", "p": 1.0}, ["os.system", "not a transform"]),
        ({"__class_fullname__": "Lambda.__init__", "p": 1.0}, ["not a transform"]),
        ({"__class_fullname__": "HorizontalFlip"}, ["HorizontalFlip", "no probability"]),
        ({"__class_fullname__": "Blur", "blur_limit": "wide", "p": 1.0}, ["blur_limit"]),
        ({"__class_fullname__": "RandomCrop", "height": 16, "width": 16, "p": 1.0}, ["16x16", "keep the size"]),
    ],
)
def test_bad_policies(tmp_path, described, words):
    path = tmp_path / "bad.yaml"
    path.write_text(yaml.safe_dump({"transform": {"__class_fullname__": "Compose", "transforms": [described]}}))
    with pytest.raises(UserError) as error:
        augmentation(f"AUGMENTATION.ALBUMENTATIONS={path}")
    for word in [str(path), *words]:
        assert word in str(error.value)


def test_unreadable_policies(tmp_path):
    (tmp_path / "no.json").write_text("{")
    for name in ("no.json", "missing.yaml"):
        with pytest.raises(UserError, match=name):
            augmentation(f"AUGMENTATION.ALBUMENTATIONS={tmp_path / name}")


def test_colour_transforms_need_colour():
    with pytest.raises(UserError, match=r"CLAHE cannot be combined with images of 96x96x2"):
        augmentation("augmentation=mapping_challenge", "INPUT.CHANNELS=2")


@pytest.mark.parametrize(
    "overrides, words",
    [
        (["AUGMENTATION.ROTATION.DEGREES=[5,-5]"], ["ROTATION.DEGREES", "smaller number"]),
        (["AUGMENTATION.ROTATION.DEGREES=[5]"], ["ROTATION.DEGREES", "2 entries"]),
        (["AUGMENTATION.ZOOM.FACTOR=[0,1]"], ["ZOOM.FACTOR", "at least 0.1"]),
        (["AUGMENTATION.BLUR.PROBABILITY=1.5"], ["BLUR.PROBABILITY", "at most 1"]),
        ([*on("ROTATE_90"), "INPUT.WIDTH=64"], ["ROTATE_90", "square", "96x64"]),
        (["augmentation=mapping_challenge", *on("BLUR")], ["ALBUMENTATIONS", "BLUR"]),
        (["AUGMENTATION.ROTATE=1"], ["AUGMENTATION.ROTATE", "ROTATE_90"]),
        (["augmentation=strong"], ["strong", "medical"]),
    ],
)
def test_bad_settings(overrides, words):
    with pytest.raises(UserError) as error:
        config(*overrides)
    for word in words:
        assert word in str(error.value)


def test_every_knob_is_in_the_config():
    knobs = {name for name, value in config().AUGMENTATION.items() if hasattr(value, "keys")}
    assert knobs == set(KNOBS)
    ranges = [name for name, key in SCHEMA.keys["AUGMENTATION"].leaves() if key.ascending]
    assert len(ranges) == 11  # HOLES too


def test_every_engine_has_every_knob():
    assert {*BEFORE, *AFFINE, "ELASTIC", *AFTER} == set(KNOBS) and len(set(KNOBS)) == len(KNOBS)
    assert set(INTENSITY_CHANGES) == set(INTENSITY)
    assert {*DRAW_ORDER[0], *DRAW_ORDER[1], "ELASTIC"} == set(KNOBS)  # DALI has no elastic deformation


def test_the_contact_sheet(stored, monkeypatch, capsys):
    from data_generators import __main__ as sheets

    size = ["+show=3", "INPUT.HEIGHT=96", "INPUT.WIDTH=96", "OUTPUT.CLASSES=4"]
    graph = ["AUGMENTATION.ENGINE=tensorflow", "DATA_GENERATOR_TYPE=TF_DATA"]
    medical = ["augmentation=medical", "AUGMENTATION.FILL=zero", *graph]
    found = run_warm("-m", "data_generators", *size, *medical, cwd=stored, PYTHONPATH=str(PROJECT))
    assert found.returncode == 0, found.stderr
    chosen = OmegaConf.create({"runtime": {"choices": {"augmentation": "light"}}})
    monkeypatch.setattr("data_generators.__main__.HydraConfig.get", lambda: chosen)
    sheets.show(load_config([f"WORK_DIR={stored}", *size, "augmentation=light"]))
    printed = found.stdout + capsys.readouterr().out
    for name in ("light_albumentations", "medical_changed_tensorflow"):
        path = stored / f"augmentation_train_{name}.png"
        assert f"saved {path}" in printed
        sheet = cv2.imread(str(path))
        high = STRIP + 192  # title and picture
        assert sheet.shape == (2 * high + 4 * 6, 4 * (192 + 6), 3)
        above, below = sheet[STRIP:high, :192], sheet[high + 6 + STRIP : 2 * high + 6, :192]
        assert not np.array_equal(above, below)
    with pytest.raises(UserError, match="/nowhere"):
        sheets.show(load_config([*size, "augmentation=light", "WORK_DIR=/nowhere"]))
