"""The graph operations: image and mask as one, in graphs of unknown size, the same whoever runs them."""

import cv2
import numpy as np
import pytest
import tensorflow as tf
from augmentation_helpers import (
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
from helpers import source_of

from data_generators.augmentation import tensorflow_geometry as geometry
from data_generators.augmentation.knobs import GEOMETRY, KNOBS
from data_generators.augmentation.tensorflow_engine import TensorFlowAugmentation
from data_generators.augmentation.tensorflow_intensity import coarse_dropout
from utils.base.errors import UserError

ENGINE = ("AUGMENTATION.ENGINE=tensorflow", "DATA_GENERATOR_TYPE=TF_DATA")
POLICIES = [name for name in POLICIES if name not in ("none", "mapping_challenge")]
UNKNOWN = (None, None)


def augmentation(*overrides, size=(96, 96)):
    """`function (image, mask, epoch, position)` on NumPy arrays, uint8 `(height, width)` masks, traced for any size."""
    return traced(TensorFlowAugmentation.from_config(config(*ENGINE, *overrides, size=size)))


def traced(graph):
    functions = {}

    def change(image, mask, epoch, position):
        image = image.astype(np.float32) / (255 if image.dtype == np.uint8 else 1)
        channels = image.shape[2]
        if channels not in functions:
            shapes = [((*UNKNOWN, channels), tf.float32), ((*UNKNOWN, 1), tf.uint8), ((), tf.int64), ((), tf.int64)]
            functions[channels] = tf.function(graph, input_signature=[tf.TensorSpec(*shape) for shape in shapes])
        changed, labels = functions[channels](image, mask[:, :, None], epoch, position)
        return changed.numpy(), labels.numpy()[:, :, 0]

    return change


def square(size=96, first=40, last=56):
    image = np.zeros((size, size, 1), np.uint8)
    image[first:last, first:last] = 255
    return image, image[:, :, 0] // 255


@pytest.mark.parametrize(
    "channels, fill", [(1, "reflect"), (3, "zero"), pytest.param(5, "reflect", marks=pytest.mark.slow)]
)
def test_the_mask_goes_where_the_image_goes(channels, fill):
    from augmentation_helpers import LEVELS

    for knobs in (*((knob,) for knob in GEOMETRY), GEOMETRY):
        size = (96, 96) if "ROTATE_90" in knobs else (96, 128)
        augment = augmentation(*on(*knobs), f"AUGMENTATION.FILL={fill}", "DATASET.IGNORE_LABEL=9", size=size)
        image, mask = pattern(*size, channels)
        changed = 0
        for position in range(6):
            new_image, new_mask = augment(image, mask, 0, position)
            assert new_image.shape == image.shape and new_mask.shape == mask.shape
            assert set(np.unique(new_mask)) <= {0, 1, 2, 3, *([9] if fill == "zero" else [])}
            inside = inner(new_mask) & (new_mask != 9)
            assert inside.mean() > 0.2
            wrong = np.abs(255 * new_image[inside] - LEVELS[new_mask[inside]][:, None]).max(axis=1) > 40
            assert wrong.mean() < 0.02, knobs
            changed += not np.array_equal(mask, new_mask)
        assert changed >= 2, knobs


@pytest.mark.parametrize("policy", POLICIES)
def test_policies_change_pictures_and_make_no_new_mask_values(policy):
    image, mask = pattern()
    augment, different = augmentation(f"augmentation={policy}"), 0
    for position in range(30):
        new_image, new_mask = augment(image, mask, 2, position)
        assert set(np.unique(new_mask)) <= set(range(4))
        assert new_image.min() >= 0 and new_image.max() <= 1
        different += not np.allclose(new_image, image / 255, atol=1e-6)
    assert different > 20


def test_flips_and_quarter_turns_are_exact():
    rng = np.random.default_rng(0)
    image, mask = rng.integers(0, 256, (33, 33, 3), np.uint8), rng.integers(0, 9, (33, 33), np.uint8)
    for knob, turns in (
        ("HORIZONTAL_FLIP", [lambda a: a[:, ::-1]]),
        ("VERTICAL_FLIP", [lambda a: a[::-1]]),
        ("ROTATE_90", [lambda a, k=k: np.rot90(a, k) for k in range(4)]),
    ):
        augment, seen = augmentation(*on(knob), size=(33, 33)), set()
        for position in range(20):
            new_image, new_mask = augment(image, mask, 0, position)
            (found,) = (n for n, turn in enumerate(turns) if np.array_equal(turn(mask), new_mask))
            np.testing.assert_allclose(new_image, turns[found](image) / np.float32(255), atol=1e-6)
            seen.add(found)
        assert len(seen) == len(turns)


def test_off_is_nothing_at_all():
    assert TensorFlowAugmentation.from_config(config(*ENGINE)) is None
    image, mask = pattern()
    unlikely = [f"AUGMENTATION.{knob}.PROBABILITY=1e-9" for knob in KNOBS]
    new_image, new_mask = augmentation(*unlikely)(image, mask, 0, 0)
    np.testing.assert_array_equal(new_image, image / np.float32(255))
    np.testing.assert_array_equal(new_mask, mask)


def test_what_lies_outside_is_ignored_or_background_or_mirrored():
    image, mask = np.full((96, 96, 3), 200, np.uint8), np.full((96, 96), 2, np.uint8)
    away = (*on("ZOOM"), "AUGMENTATION.ZOOM.FACTOR=[0.5,0.5]")
    bent = (*away, *on("ELASTIC"), "AUGMENTATION.ELASTIC.DISPLACEMENT=0.5")
    for knobs in (away, bent):
        for overrides, outside in (
            (["AUGMENTATION.FILL=zero"], (0, 0)),
            (["AUGMENTATION.FILL=zero", "DATASET.IGNORE_LABEL=11"], (0, 11)),
            (["AUGMENTATION.FILL=reflect"], (200, 2)),
        ):
            new_image, new_mask = augmentation(*knobs, *overrides)(image, mask, 0, 0)
            assert (round(255 * new_image[2, 2, 0]), new_mask[2, 2]) == outside
            assert (round(255 * new_image[48, 48, 0]), new_mask[48, 48]) == (200, 2)


@pytest.mark.parametrize("fill", ["reflect", "zero"])
def test_both_warps_agree(fill):
    """The warp by places, without a field, does what the affine one does, far outside the picture too."""
    image, mask = (part.astype(kind) for part, kind in zip(pattern(40, 56), (np.float32, np.uint8), strict=True))
    matrix = tf.constant([[1.7, -0.4, -20.3], [0.5, 2.1, -30.7]])
    pictures = [tf.constant(image), tf.constant(mask[:, :, None])]
    one = geometry.warp_affine(pictures, [0, 7], fill, matrix)
    two = geometry.warp_by_coordinates(
        pictures, [0, 7], fill, geometry.source_coordinates(matrix, tf.zeros([40, 56, 2]))
    )
    np.testing.assert_allclose(one[0], two[0], atol=0.02)  # values of 0 to 255, coordinates in float32
    assert np.mean(one[1].numpy() != two[1].numpy()) < 0.001


def test_rotations_stay_in_their_range_and_fill_it():
    augment = augmentation(*on("ROTATION"), "AUGMENTATION.ROTATION.DEGREES=[10,40]", "AUGMENTATION.FILL=zero")
    angles = np.array([angle_of(augment(*bar(), 0, n)[1]) for n in range(60)])
    assert angles.min() >= 9 and angles.max() <= 41
    assert angles.min() < 15 and angles.max() > 35


@pytest.mark.parametrize("factor", [0.5, 1.5])
def test_zoom_changes_areas_by_its_square(factor):
    augment = augmentation(*on("ZOOM"), f"AUGMENTATION.ZOOM.FACTOR=[{factor},{factor}]", "AUGMENTATION.FILL=zero")
    image, mask = square(101, 35, 66)
    assert augment(image, mask, 0, 0)[1].sum() == pytest.approx(31**2 * factor**2, rel=0.07)


def test_zooms_out_and_in_are_equally_likely():
    augment = augmentation(*on("ZOOM"), "AUGMENTATION.ZOOM.FACTOR=[0.5,4.0]", "AUGMENTATION.FILL=zero")
    areas = np.array([augment(*square(), 0, n)[1].sum() for n in range(200)])
    assert 75 <= (areas < 16**2).sum() <= 125


def test_zooming_out_pans():
    knobs = (*on("ZOOM"), "AUGMENTATION.ZOOM.FACTOR=[0.5,0.5]", "AUGMENTATION.ZOOM.PAN=0.2", "AUGMENTATION.FILL=zero")
    centres = np.array([np.mean(np.nonzero(augmentation_once(knobs)(*square(), 0, n)[1]), axis=1) for n in range(30)])
    moved = (centres - 47.5) / 96
    assert np.abs(moved).max() <= 0.21 and (moved.max(axis=0) > 0.1).all() and (moved.min(axis=0) < -0.1).all()


def augmentation_once(knobs, cache={}):  # noqa: B006
    return cache.setdefault(knobs, augmentation(*knobs))


def test_zooming_in_never_crops_foreground_out():
    """Small objects of four classes in all corners of a picture; each pixel of each is there afterwards."""
    knobs = (*on("ZOOM"), "AUGMENTATION.ZOOM.FACTOR=[1.5,6.0]", "AUGMENTATION.ZOOM.PAN=0.5")
    turning = (*knobs, *on("ROTATION", "HORIZONTAL_FLIP", "SHEAR"), "AUGMENTATION.FILL=zero")
    rng = np.random.default_rng(3)
    keeping, cutting = augmentation_once(knobs), augmentation_once((*knobs, "AUGMENTATION.ZOOM.KEEP_FOREGROUND=False"))
    lost = grown = 0
    for position in range(30):
        mask = np.zeros((80, 120), np.uint8)
        top, left = rng.integers(0, 60), rng.integers(0, 90)
        for label in range(1, 4):
            mask[top + rng.integers(20), left + rng.integers(30)] = label  # single pixels
        labels = set(np.unique(mask))
        for augment in (keeping, augmentation_once(turning)):
            assert set(np.unique(augment(mask[:, :, None] * 60, mask, 0, position)[1])) == labels
        kept = keeping(mask[:, :, None] * 60, mask, 0, position)[1]
        grown += (kept > 0).sum() > 1.4 * (mask > 0).sum()
        lost += set(np.unique(cutting(mask[:, :, None] * 60, mask, 0, position)[1])) != labels
    assert grown > 25 and lost > 15


def test_translations_stay_in_their_range():
    knobs = (*on("TRANSLATION"), "AUGMENTATION.TRANSLATION.SHARE=[0.1,0.2]", "AUGMENTATION.FILL=zero")
    for n in range(20):
        moved = np.mean(np.nonzero(augmentation_once(knobs)(*square(100, 30, 41), 0, n)[1]), axis=1) - 35
        assert (moved > 9).all() and (moved < 21).all()


@pytest.mark.parametrize("smoothness", [2.0, 12.0])
def test_elastic_fields_are_as_strong_and_as_smooth_as_asked(smoothness):
    fields = np.concatenate(
        [geometry.elastic_field(tf.constant([150, 230]), 3.0, smoothness, [n, 1]) for n in range(24)], axis=-1
    )
    assert fields.shape == (150, 230, 48)
    assert fields.std() == pytest.approx(3, rel=0.1)
    assert fields[:5].std() == pytest.approx(3, rel=0.25)  # at the edge too
    # Two points d apart correlate by exp(-d^2 / (4 sigma^2)).
    far = int(2 * smoothness)
    assert np.mean(fields[far:] * fields[:-far]) / 9 == pytest.approx(np.exp(-1), abs=0.1)


@pytest.mark.parametrize("knob, low, high", PHOTOMETRIC)
def test_photometric_ranges(knob, low, high):
    augment = augmentation(*on(knob.split(".")[0]), f"AUGMENTATION.{knob}")
    image = np.full((20, 30, 3), 100, np.uint8)
    values = [255 * float(augment(image, image[:, :, 0], 0, n)[0].mean()) for n in range(60)]
    assert low - 1e-3 <= min(values) and max(values) <= high + 1e-3
    assert max(values) - min(values) > 0.6 * (high - low)


def test_noise_blur_and_dropout():
    image = np.full((96, 128, 3), 128, np.uint8)
    noisy, mask = augmentation(*on("NOISE"), "AUGMENTATION.NOISE.STD=[0.04,0.04]")(image, image[:, :, 0], 0, 0)
    assert noisy.std() == pytest.approx(0.04, rel=0.05)
    hole = [f"AUGMENTATION.COARSE_DROPOUT.{key}" for key in ("HOLES=[1,1]", "SIZE=[0.5,0.5]")]
    holes, kept = augmentation(*on("COARSE_DROPOUT"), *hole)(image, image[:, :, 0], 0, 0)
    assert (holes == 0).all(axis=2).sum() == 48 * 64
    assert (mask == 128).all() and (kept == 128).all()
    point = np.zeros((96, 128, 3), np.float32)
    point[40, 50], point[0, 0] = 1, 1
    blurred, _ = augmentation(*on("BLUR"), "AUGMENTATION.BLUR.SIGMA=[1.5,1.5]")(point, image[:, :, 0], 0, 0)
    expected = cv2.GaussianBlur(point, (11, 11), 1.5)
    np.testing.assert_allclose(blurred[20:-20, 20:-20], expected[20:-20, 20:-20], atol=1e-6)
    even, _ = augmentation(*on("BLUR"))(image, image[:, :, 0], 0, 0)
    np.testing.assert_allclose(even, 128 / 255, atol=1e-6)  # at the edge too


def test_counts_of_holes_fill_their_range():
    image = np.ones((60, 60, 1), np.float32)
    knob = {"HOLES": [1, 3], "SIZE": [0.02, 0.02]}
    found = [
        cv2.connectedComponents((coarse_dropout(image, knob, [n / 60], [n, 0])[:, :, 0].numpy() == 0).astype(np.uint8))[
            0
        ]
        - 1
        for n in range(60)
    ]
    assert set(found) == {1, 2, 3}


@pytest.mark.parametrize("policy", POLICIES)
def test_thin_structures_survive(policy):
    mask = np.zeros((128, 128), np.uint8)
    mask[64, 24:104] = mask[24:104, 64] = 1
    augment = augmentation(f"augmentation={policy}", size=(128, 128))
    kept = [augment(mask[:, :, None] * 255, mask, 0, n)[1].sum() / mask.sum() for n in range(30)]
    assert min(kept) > 0.3 and np.median(kept) > 0.8  # zooming out by 0.7 leaves 0.49 of the area


def test_the_seed_the_epoch_and_the_position_decide():
    image, mask = pattern()
    knobs = ("augmentation=medical", *on("ROTATION"))
    augment, other_seed = augmentation(*knobs), augmentation(*knobs, "SEED=6")
    first = augment(image, mask, 1, 2)
    others = [augment(image, mask, 2, 2), augment(image, mask, 1, 3), other_seed(image, mask, 1, 2)]
    again = augmentation(*knobs)(image, mask, 1, 2)  # what came before does not matter
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert not any(np.array_equal(first[0], other[0]) for other in others)


def test_one_knob_does_not_change_what_another_does():
    image, mask = pattern()
    flip = augmentation("AUGMENTATION.HORIZONTAL_FLIP.PROBABILITY=0.5")
    both = augmentation("AUGMENTATION.HORIZONTAL_FLIP.PROBABILITY=0.5", *on("BRIGHTNESS"))
    masks = [[augment(image, mask, 0, n)[1] for n in range(12)] for augment in (flip, both)]
    assert len({one.tobytes() for one in masks[0]}) == 2
    np.testing.assert_array_equal(*masks)


@pytest.mark.parametrize("loader", ["TF_DATA", "TFRECORD"])
def test_workers_and_resume_change_no_picture(loader, stored):
    from data_generators import build_dataset
    from data_generators.reading.boundary_weights import boundary_weights

    options = ["AUGMENTATION.ENGINE=tensorflow", *source_of(loader, stored)]
    one, three = (batches(stored, loader, "train", True, *options, f"DATALOADER_WORKERS={n}") for n in (1, 3))
    plain = batches(stored, loader, "train", False, *options)
    assert [len(batch[0]) for batch in one] == [2, 2, 1]
    for first, second, before in zip(one, three, plain, strict=True):
        for part, same in zip(first, second, strict=True):
            np.testing.assert_array_equal(part, same)
        assert not np.array_equal(first[0], before[0])
        for mask, border in zip(first[1], first[2], strict=True):
            np.testing.assert_allclose(border, boundary_weights(mask, 10.0, 5.0), atol=1e-6)
    cfg = config(f"WORK_DIR={stored}", f"DATA_GENERATOR_TYPE={loader}", "augmentation=tpu_segmentation", *options)
    dataset = build_dataset(cfg, "train", augment=True)
    dataset.sampler.set_epoch(0, step=2)
    np.testing.assert_array_equal(next(iter(dataset))[0], one[2][0])


@pytest.mark.parametrize(
    "overrides, words",
    [
        (["AUGMENTATION.ENGINE=tensorflow"], ["ENGINE=tensorflow", "TF_DATA or TFRECORD", "TF_GENERATOR"]),
        ([*ENGINE, "augmentation=mapping_challenge"], ["ENGINE=tensorflow", "ALBUMENTATIONS=mapping_challenge"]),
        ([*ENGINE, "MODEL.TYPE=classifier"], ["ENGINE=tensorflow", "classifier"]),
        (["AUGMENTATION.ENGINE=numpy"], ["ENGINE=numpy", "albumentations, tensorflow"]),
    ],
)
def test_what_an_engine_lacks_is_an_error_at_the_start(overrides, words):
    from utils.config import load_config

    with pytest.raises(UserError) as error:
        load_config(overrides)
    for word in words:
        assert word in str(error.value)
