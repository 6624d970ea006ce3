"""What a constant answer scores: by hand, and as the metrics measure a network that gives it."""

import numpy as np
import pytest

from losses.constant_answer import best_constant, constant_scores, unpredicted_classes
from utils.config import load_config


def test_by_hand():
    """Two images of 10 pixels, 8 and 2 of them foreground."""
    counts = np.array([[2, 8], [8, 2]])
    best = best_constant(counts)
    assert best["dice"] == (pytest.approx(2 * 10 / (10 + 20)), 1) and best["iou"] == (0.5, 1)
    assert best["dice_coef"] == (pytest.approx((16 / 18 + 4 / 12) / 2), 1)
    assert best["pixel_accuracy"] == (0.5, 0)  # of equals the first
    assert best["dice_class0"] == (pytest.approx(2 / 3), 0)


def test_mostly_empty_images_make_the_empty_answer_the_best():
    best = best_constant(np.array([[10, 0], [10, 0], [10, 0], [5, 5]]))
    assert best["dice_coef"] == (pytest.approx(3 / 4), 0)
    assert best["dice"] == (pytest.approx(10 / 45), 1)


def test_without_background_every_class_counts():
    assert best_constant(np.array([[2, 8]]), background=False)["dice"] == (pytest.approx((0 + 16 / 18) / 2), 1)


def test_nothing_to_measure():
    assert best_constant(np.zeros((0, 2), int)) == {} and best_constant(np.zeros((3, 2), int)) == {}


@pytest.mark.parametrize("overrides", [[], ["OUTPUT.BACKGROUND=False"], ["OUTPUT.CLASSES=1"], ["OUTPUT.CLASSES=4"]])
def test_the_metrics_measure_the_same(overrides):
    """Every score of every constant answer on random masks, the last class absent from the first image."""
    pytest.importorskip("tensorflow")
    from losses import build_metrics

    cfg = load_config([*overrides, "EVALUATION.METRICS=[dice_coef,confusion]"])
    classes = cfg.OUTPUT.CLASSES
    known = max(classes, 2)
    masks = np.random.default_rng(0).integers(0, known, (3, 8, 8)).astype("uint8")
    masks[0][masks[0] == known - 1] = 0
    counts = np.stack([np.bincount(mask.ravel(), minlength=known) for mask in masks])
    for answer in range(known):
        predicted = (
            np.full((3, 8, 8, 1), float(answer)) if classes == 1 else np.eye(classes)[np.full((3, 8, 8), answer)]
        )
        expected = constant_scores(counts, answer, cfg.OUTPUT.BACKGROUND is not False)
        for metric in build_metrics(cfg, full=True):
            metric.update_state(masks[..., None], predicted.astype("float32"))
            value = metric.result()
            for name, found in (value if isinstance(value, dict) else {metric.name: value}).items():
                if not name.startswith("specificity"):
                    assert expected[name] == pytest.approx(float(found), abs=1e-6, nan_ok=True), name


def test_classes_that_are_hardly_ever_predicted():
    assert unpredicted_classes(np.array([[900, 0, 0], [50, 50, 0], [999, 0, 1]])) == [2]
    assert unpredicted_classes(np.array([[90, 0, 0], [5, 5, 0], [0, 0, 0]])) == []  # an absent class is not missing
