"""Calibration scores by hand, against scikit-learn and plain loops; perfect, worst, ignored pixels and none at all."""

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, log_loss

from losses.calibration import AT_ONCE, BINS, Calibration
from utils.base.class_bits import pack


def measure(truth, probability, *args, **kwargs):
    calibration = Calibration(probability.shape[-1], *args, **kwargs)
    calibration.add(truth, probability)
    return calibration.results()


def ece_by_loops(confidence, right):
    """Guo et al. 2017, equations 1 to 3, word for word."""
    total = 0.0
    for m in range(1, BINS + 1):
        inside = [i for i, c in enumerate(confidence) if (m - 1) / BINS < c <= m / BINS or (m == 1 and c == 0)]
        if inside:
            accuracy, mean = np.mean(right[inside]), np.mean(confidence[inside])
            total += len(inside) / len(confidence) * abs(accuracy - mean)
    return total


def test_by_hand():
    # Confidences 0.9 (right), 0.9 (wrong), 0.6 (right): |0.5 - 0.9| * 2/3 + |1 - 0.6| * 1/3 = 0.4.
    probability = np.array([[[0.1, 0.9], [0.9, 0.1], [0.6, 0.4]]])
    found = measure(np.array([[1, 1, 0]]), probability)
    assert found["ece"] == pytest.approx(0.4)
    assert found["ece_foreground"] == pytest.approx(0.4)  # the first two: |0.5 - 0.9|
    assert found["brier"] == pytest.approx((0.02 + 1.62 + 0.32) / 3)
    assert found["nll"] == pytest.approx(-np.log([0.9, 0.1, 0.6]).mean())
    assert found["brier_foreground"] == pytest.approx((0.02 + 1.62) / 2)
    # Class 1: p 0.9 true, 0.1 true, 0.4 not.
    assert found["ece_class1"] == pytest.approx((0.1 + 0.9 + 0.4) / 3)


@pytest.mark.parametrize("classes", [2, 4])
def test_against_loops_and_scikit_learn(classes):
    random = np.random.default_rng(classes)
    probability = random.dirichlet(np.full(classes, 0.4), size=(2, 13, 17))
    truth = random.integers(0, classes, (2, 13, 17))
    truth[0, :3] = 255
    probability = np.maximum(probability, 1e-6)  # scikit-learn has another floor
    probability /= probability.sum(-1, keepdims=True)
    found = measure(truth, probability, ignore_label=255)
    p, t = probability[truth != 255], truth[truth != 255]
    assert found["ece"] == pytest.approx(ece_by_loops(p.max(-1), p.argmax(-1) == t))
    there = (t > 0) | (p.argmax(-1) > 0)
    assert found["ece_foreground"] == pytest.approx(ece_by_loops(p.max(-1)[there], (p.argmax(-1) == t)[there]))
    for index in range(classes):
        assert found[f"ece_class{index}"] == pytest.approx(ece_by_loops(p[:, index], t == index))
    assert found["nll"] == pytest.approx(log_loss(t, p, labels=range(classes)))
    assert found["brier"] == pytest.approx(sum(brier_score_loss(t == index, p[:, index]) for index in range(classes)))


def test_one_class_is_two_and_overlapping_classes_are_pairs():
    random = np.random.default_rng(0)
    p, truth = random.random((1, 9, 11, 3)), random.random((1, 9, 11, 3)) < 0.3
    single = measure(truth[..., 0].astype(np.uint8), p[..., :1])
    both = np.stack([1 - p[..., 0], p[..., 0]], -1)
    double = measure(truth[..., 0].astype(np.uint8), both)
    assert single == pytest.approx({name: double[name] for name in single}) and "ece_class0" not in single
    overlapping = measure(pack(truth), p, multi_label=True)
    pairs = measure(truth.reshape(1, 9, -1).astype(np.uint8), p.reshape(1, 9, -1, 1))
    for name in ("ece", "brier", "nll", "ece_foreground", "nll_foreground"):
        assert overlapping[name] == pytest.approx(pairs[name])
    assert overlapping["ece_class3"] == pytest.approx(ece_by_loops(p[..., 2].ravel(), truth[..., 2].ravel()))


def test_perfect_worst_and_empty():
    truth = np.array([[0, 1, 2]])
    perfect, worst = (measure(truth, np.eye(3)[(truth + shift) % 3]) for shift in (0, 1))
    assert set(perfect.values()) == {0.0}
    assert worst["ece"] == 1 and worst["brier"] == 2 and worst["nll"] == pytest.approx(-np.log(1e-7))
    empty = measure(np.full((1, 3), 255), np.eye(3)[truth], ignore_label=255)
    assert set(empty) == set(perfect) and all(np.isnan(value) for value in empty.values())
    background = measure(np.zeros((1, 3), int), np.eye(3)[np.zeros((1, 3), int)])
    assert background["ece"] == 0 and np.isnan(background["ece_foreground"])
    assert not any("foreground" in name for name in measure(truth, np.eye(3)[truth], background=False))


def test_batches_and_strips_give_the_same_sums():
    random = np.random.default_rng(1)
    truth, p = random.integers(0, 2, (2, AT_ONCE // 256 + 3, 256)), random.random((2, AT_ONCE // 256 + 3, 256, 1))
    parts = Calibration(1)
    for one, probability in zip(truth, p, strict=True):
        parts.add(one, probability)
    assert parts.results() == pytest.approx(measure(truth, p))
    assert parts.bins["all"][:, 0].sum() == truth.size
    assert set(parts.rules()) == set(parts.results())
