"""ZOOM keeps the foreground in the frame in every engine, for any number of classes and every form of mask."""

import numpy as np
import pytest
import tensorflow as tf
from augmentation_helpers import config, on

from data_generators.augmentation.albumentations_engine import AlbumentationsAugmentation
from data_generators.augmentation.keep_foreground import foreground_box, keep_in_frame
from data_generators.augmentation.knobs import AugmentationSettings
from data_generators.augmentation.tensorflow_engine import TensorFlowAugmentation
from data_generators.augmentation.tensorflow_geometry import foreground_box as foreground_box_tf
from data_generators.augmentation.tensorflow_geometry import keep_in_frame as keep_in_frame_tf
from data_generators.loaders.dali_augmentation import draw_inputs
from utils.base.errors import UserError

SIZE = (64, 96)
DRAWS = 300
KNOBS = (*on("ZOOM"), "AUGMENTATION.ZOOM.FACTOR=[0.7,3.0]", "AUGMENTATION.ZOOM.PAN=0.3", "AUGMENTATION.FILL=zero")
OTHERS = on("HORIZONTAL_FLIP", "VERTICAL_FLIP", "ROTATION", "SHEAR")


def objects(classes, random):
    """Class indices: blocks of 3x3, one for each class, in a part of the picture."""
    mask = np.zeros(SIZE, np.uint8)
    top, left = random.integers(0, SIZE[0] - 20), random.integers(0, SIZE[1] - 3 * classes)
    for label in range(1, classes + 1):
        y, x = top + random.integers(0, 18), left + 3 * (label - 1)
        mask[y : y + 3, x : x + 3] = label
    return mask


def stack_of(mask, classes, background):
    """One channel for each class: without background, class 1 lies under all the others too."""
    stack = np.stack([mask == label for label in range(0 if background else 1, classes + 1)], axis=2)
    if not background:
        stack[:, :, 0] |= mask > 0
    return stack.astype(np.uint8)


def found(mask):
    """The classes of a mask."""
    return set(np.unique(mask)) if mask.ndim == 2 else set(np.flatnonzero(mask.any((0, 1))))


def engine(name, *overrides):
    """`function (mask of any form, position) -> the mask as changed`."""
    extra = ["AUGMENTATION.ENGINE=tensorflow", "DATA_GENERATOR_TYPE=TF_DATA"] if name == "tensorflow" else []
    cfg = config(*KNOBS, *overrides, *extra, size=SIZE)
    image = np.zeros((*SIZE, 3), np.float32)
    if name == "albumentations":
        augment = AlbumentationsAugmentation.from_config(cfg)
        return lambda mask, position: augment(image, mask, 0, position)[1]
    graph = tf.function(TensorFlowAugmentation.from_config(cfg))

    def change(mask, position):
        channels = mask if mask.ndim == 3 else mask[:, :, None]
        changed = graph(image, tf.constant(channels), 0, tf.constant(position))[1].numpy()
        return changed if mask.ndim == 3 else changed[:, :, 0]

    return change


@pytest.mark.parametrize("form", ["indices", "stack", "one-hot"])
@pytest.mark.parametrize("name", ["albumentations", "tensorflow"])
def test_no_class_loses_a_part(name, form):
    keeping, turning = engine(name), engine(name, *OTHERS)
    cutting = engine(name, "AUGMENTATION.ZOOM.KEEP_FOREGROUND=False")
    random, lost = np.random.default_rng(0), 0
    draws = DRAWS if form == "indices" else DRAWS // 3  # where the frame comes to lie is drawn alike for all forms
    for position in range(draws):
        classes = 1 + position % 7 if form == "indices" else 5
        mask = objects(classes, random)
        mask = mask if form == "indices" else stack_of(mask, classes, background=form == "one-hot")
        kept = keeping(mask, position)
        assert found(kept) == found(turning(mask, position)) == found(mask)
        kept = (
            kept[:, :, 1:] if form == "one-hot" else kept
        )  # beyond the edge a pixel has no class, not even background
        (left, top, right, bottom), (x0, y0, x1, y1) = foreground_box(mask), foreground_box(kept)
        wide, high = (right - left + 1, bottom - top + 1), (x1 - x0 + 1, y1 - y0 + 1)
        zoom = max(high[0] / wide[0], high[1] / wide[1])
        assert all(abs(after - zoom * before) < 2 + zoom for after, before in zip(high, wide, strict=True))
        lost += found(cutting(mask, position)) != found(mask)
    assert lost > draws / 10


# What zooming of the TPU kit (tests/references/README.md) did to a square of 16 in the middle of 96x96 in 300
# draws: the least and the largest factor of its sides.
KIT = {"out": (0.70, 0.91), "in": (1.10, 1.50)}


@pytest.mark.parametrize("name", ["albumentations", "tensorflow"])
@pytest.mark.parametrize("way", KIT)
def test_zoom_reaches_what_the_tpu_kit_reaches(way, name):
    low, high = KIT[way]
    change = engine(name, f"AUGMENTATION.ZOOM.FACTOR=[{low},{high}]", "AUGMENTATION.ZOOM.PAN=0.15")
    mask = np.zeros(SIZE, np.uint8)
    mask[24:40, 40:56] = 1
    factors = np.sort([np.sqrt(change(mask, position).sum()) / 16 for position in range(60)])
    pixel = 1 / 16  # a side is a whole number of pixels
    assert low - pixel < factors[0] < low + 2 * pixel and high - 2 * pixel < factors[-1] < high + pixel


def test_dali_draws_keep_the_box():
    cfg = config(*KNOBS, size=SIZE)
    random, cut = np.random.default_rng(0), 0
    for position in range(DRAWS):
        box = foreground_box(objects(2, random))
        corners = np.array([[box[0], box[1]], [box[2] + 1, box[3] + 1]])  # the outer corners of pixels
        for kept in (box, None):
            matrix = draw_inputs(AugmentationSettings.from_config(cfg), (*SIZE, 3), 0, position, kept)["matrix"]
            moved = (corners - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T
            slack = 0.5 / matrix[0, 0]  # the centres of the outermost pixels are in the frame
            outside = (moved < -slack).any() or (moved > np.array(SIZE[::-1]) + slack).any()
            cut += kept is None and outside
            assert kept is None or not outside
    assert cut > DRAWS / 10


@pytest.mark.parametrize("form", ["indices", "stack", "one-hot"])
def test_both_find_the_same_box(form):
    mask = objects(3, np.random.default_rng(5))
    mask = mask if form == "indices" else stack_of(mask, 3, background=form == "one-hot")
    channels = mask if mask.ndim == 3 else mask[:, :, None]
    np.testing.assert_array_equal(foreground_box(mask), foreground_box_tf(tf.constant(channels)))
    assert foreground_box(np.zeros(SIZE)) is None and foreground_box_tf(tf.zeros([4, 4, 1], tf.uint8))[0] == -1
    assert foreground_box(np.array([[9, 9, 1]]), ignore_label=9).tolist() == [2, 0, 2, 0]


def test_both_keep_a_box_in_the_same_way():
    random = np.random.default_rng(1)
    for _ in range(50):
        linear, shift = random.uniform(-1, 1, (2, 2)) + np.eye(2), random.uniform(-60, 60, 2)
        box, zoom = np.sort(random.uniform(0, 63, (2, 2)), axis=0).ravel(), random.uniform(0.5, 4)
        wanted = keep_in_frame(linear, zoom, shift, box, SIZE[::-1])
        tensors = [tf.constant(part, tf.float32) for part in (linear, zoom, shift, box, SIZE[::-1])]
        for one, two in zip(wanted, keep_in_frame_tf(*tensors), strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-3, atol=1e-3)


def test_a_classifier_has_no_foreground_to_keep():
    with pytest.raises(UserError, match=r"ZOOM\.KEEP_FOREGROUND.*masks"):
        config("MODEL.TYPE=classifier", "AUGMENTATION.ZOOM.KEEP_FOREGROUND=True")
