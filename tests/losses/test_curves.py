"""Areas under curves against scikit-learn, ignored pixels, and what has no curve."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from losses.whole_images import ClassMaps
from losses.whole_images.curves import CurveScores


def measure(*images):
    metric = CurveScores()
    for truth, probability, valid in images:
        metric.add(ClassMaps(truth & valid, probability > 0.5, probability, valid))
    return metric.results()


@pytest.mark.parametrize("sharpness", [0.3, 1.0, 20.0])  # 20: most probabilities are nearly 0 or 1
def test_against_scikit_learn(sharpness):
    random = np.random.default_rng(3)
    truth = random.random((2, 60, 70)) < 0.1
    probability = (1 / (1 + np.exp(-sharpness * (random.normal(size=truth.shape) + 2 * truth - 1.5)))).astype(
        np.float32
    )
    valid = random.random(truth.shape) < 0.8
    found = measure(*zip(truth, probability, valid, strict=True))
    expected = {
        "roc_auc": roc_auc_score(truth[valid], probability[valid]),
        "pr_auc": average_precision_score(truth[valid], probability[valid]),
    }
    assert found == pytest.approx(expected, abs=1e-3)


def test_by_hand():
    truth, valid = np.array([[1, 0, 1, 0]], bool), np.ones((1, 4), bool)
    found = measure((truth, np.array([[0.9, 0.8, 0.7, 0.1]]), valid))
    assert found == pytest.approx({"roc_auc": 3 / 4, "pr_auc": (1 + 2 / 3) / 2})
    same = measure((truth, np.full((1, 4), 1.0), valid))  # a constant answer
    assert same == {"roc_auc": 0.5, "pr_auc": 0.5}


def test_one_class_alone_has_no_curve():
    ones = np.ones((2, 2), bool)
    assert measure((ones, np.ones((2, 2)), ones)) == measure((~ones, np.ones((2, 2)), ones)) == {}
    assert measure() == {}
