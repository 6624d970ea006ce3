"""What a constant answer scores: by hand, and as the metrics measure a network that gives it."""

import numpy as np
import pytest

from losses.constant_answer import Scoring, best_constant, constant_scores, possible_answers
from utils.base.class_bits import pack
from utils.config import load_config


def test_by_hand():
    """Two images of 10 pixels, 8 and 2 of them foreground."""
    counts = np.array([[2, 8], [8, 2]])
    best = best_constant(counts)
    assert best["dice"] == (pytest.approx(2 * 10 / (10 + 20)), (1,)) and best["iou"] == (0.5, (1,))
    assert best["dice_coef"] == (pytest.approx((16 / 18 + 4 / 12) / 2), (1,))
    assert best["pixel_accuracy"] == (0.5, (0,))  # of equals the first
    assert best["dice_class0"] == (pytest.approx(2 / 3), (0,))


def test_mostly_empty_images_make_the_empty_answer_the_best():
    best = best_constant(np.array([[10, 0], [10, 0], [10, 0], [5, 5]]))
    assert best["dice_coef"] == (pytest.approx(3 / 4), (0,))
    assert best["dice"] == (pytest.approx(10 / 45), (1,))
    assert best["dice_images"] == (pytest.approx(2 / 3 / 4), (1,))  # of the empty answer: only the last image, 0
    assert best["specificity"] == (1, (0,))  # which says nothing
    ones = best_constant(np.array([[10, 0], [10, 0], [10, 0], [5, 5]]), Scoring(empty="one"))
    assert ones["dice_images"] == (3 / 4, (0,))


def test_without_background_every_class_counts():
    assert best_constant(np.array([[2, 8]]), Scoring(background=False))["dice"] == (
        pytest.approx((0 + 16 / 18) / 2),
        (1,),
    )


def test_nothing_to_measure():
    assert best_constant(np.zeros((0, 2), int)) == {} and best_constant(np.zeros((3, 2), int)) == {}


def test_overlapping_classes_by_hand():
    """10 pixels: 8 of the first class, 2 of the second, some of both."""
    best = best_constant(np.array([[10, 8, 2]]), Scoring(overlapping=True))
    assert best["dice"] == (pytest.approx((16 / 18 + 4 / 12) / 2), (1, 2))
    assert best["precision"] == (0.8, (1,)) and best["specificity"] == (1, ())
    assert best["binary_accuracy"] == (pytest.approx(16 / 20), (1,))


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["OUTPUT.BACKGROUND=False", "EVALUATION.EMPTY_IMAGES=zero"],
        ["OUTPUT.CLASSES=1", "EVALUATION.EMPTY_IMAGES=one"],
        ["OUTPUT.CLASSES=4", "DATASET.IGNORE_LABEL=255"],
        ["OUTPUT.CLASSES=3", "OUTPUT.MULTI_LABEL=True", "DATASET.IGNORE_LABEL=255"],
    ],
)
def test_the_metrics_measure_the_same(overrides):
    """Every score of every constant answer on random masks, the last class absent from the first image."""
    pytest.importorskip("tensorflow")
    from losses import build_metrics

    cfg = load_config(overrides)
    scoring, classes, ignored = Scoring.from_config(cfg), cfg.OUTPUT.CLASSES, cfg.DATASET.IGNORE_LABEL
    masks, counts = random_masks(max(classes, 2), scoring.overlapping, ignored)
    for answer in possible_answers(counts.shape[1], scoring.overlapping):
        channels = np.arange(classes) + (scoring.overlapping or scoring.single)
        predicted = np.broadcast_to(np.isin(channels, answer).astype("float32"), (3, 8, 8, classes))
        expected = constant_scores(counts, answer, scoring)
        for metric in build_metrics(cfg, full=True):
            metric.update_state(masks[..., None], predicted)
            value = metric.result()
            for name, found in (value if isinstance(value, dict) else {metric.name: value}).items():
                assert expected[name] == pytest.approx(float(found), abs=1e-6, nan_ok=True), name


def random_masks(classes, overlapping, ignored):
    """Three masks of 8x8 pixels, with a row that is ignored, and their counts as `best_constant` takes them."""
    stacks = np.random.default_rng(0).integers(0, 2 if overlapping else classes, (3, 8, 8, classes)).astype("uint8")
    if overlapping:
        stacks[0, ..., -1] = 0
        masks, known = pack(stacks), stacks
    else:
        masks = stacks[..., 0]
        masks[0][masks[0] == classes - 1] = 0
        known = np.eye(classes, dtype="uint8")[masks]
    if ignored is not None:
        masks[1, :3], known[1, :3] = ignored, 0
    counts = known.sum((1, 2), dtype="int64")
    if overlapping:
        counts = np.column_stack([[64, 40, 64], counts])
    return masks, counts
