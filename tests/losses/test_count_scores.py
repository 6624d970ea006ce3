"""The scores of counted pixels are those of the metrics in Keras."""

import numpy as np
import pytest

from losses import build_metrics
from losses.count_scores import COUNT_METRICS, Scoring, confusion_of_masks, scores_of_counts
from utils.base.classes import is_multi_label, number_of_classes
from utils.config import load_config
from utils.evaluation.postprocessing import one_hot


@pytest.mark.parametrize(
    "overrides",
    [
        ["OUTPUT.CLASSES=1", "EVALUATION.EMPTY_IMAGES=one"],
        ["OUTPUT.CLASSES=3", "DATASET.IGNORE_LABEL=9"],
        ["OUTPUT.CLASSES=3", "OUTPUT.BACKGROUND=False", "EVALUATION.EMPTY_IMAGES=zero"],
        ["OUTPUT.CLASSES=3", "OUTPUT.MULTI_LABEL=True", "DATASET.IGNORE_LABEL=9"],
    ],
)
def test_masks_have_the_scores_of_certain_probabilities(overrides):
    cfg = load_config([*overrides, f"EVALUATION.METRICS=[{','.join(COUNT_METRICS)}]"])
    random = np.random.default_rng(1)
    values = 2**cfg.OUTPUT.CLASSES if is_multi_label(cfg) else number_of_classes(cfg)
    truth, predicted = random.integers(0, values, (2, 4, 5, 6)).astype(np.uint8)
    truth[0] = predicted[0] = 0  # an image without foreground
    truth[2, :2] = 9 if cfg.DATASET.IGNORE_LABEL else 0
    metrics = build_metrics(cfg, full=True)
    expected = {}
    for metric in metrics:
        metric.update_state(truth[..., None], one_hot(predicted, cfg.OUTPUT.CLASSES, is_multi_label(cfg)))
        value = metric.result()
        expected |= value if isinstance(value, dict) else {metric.name: value}
    form = (number_of_classes(cfg), cfg.DATASET.IGNORE_LABEL, is_multi_label(cfg))
    counts = np.stack([confusion_of_masks(*pair, *form) for pair in zip(truth, predicted, strict=True)])
    found = scores_of_counts(counts, Scoring.from_config(cfg), COUNT_METRICS)
    assert found == pytest.approx({name: float(value) for name, value in expected.items()}, abs=1e-6, nan_ok=True)
