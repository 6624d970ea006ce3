"""Scores of whole images on their way from the network's probabilities to tables: classes, volumes, postprocessing."""

from pathlib import Path

import numpy as np
import pytest

from data_generators.files.pairing import Pair
from data_generators.files.volume_slices import VolumeSlice
from utils.config import load_config
from utils.evaluation.case_scores import case_columns
from utils.evaluation.evaluator import Evaluator
from utils.evaluation.gallery import Gallery
from utils.evaluation.score_table import SCORES
from utils.evaluation.split_data import SplitData
from utils.inference.mask_meaning import MaskMeaning

METRICS = "EVALUATION.METRICS=[rand_information]"
ROW = np.array([1, 1, 1, 0, 1, 1, 1])
MERGED = 0.5 / 0.75  # v_rand of two equal objects predicted as one


def evaluate(rows, truths=(ROW, ROW), *overrides, places=None, spacings=None):
    """Evaluate images of one row: the probabilities of class 1, or of all classes."""
    cfg = load_config([METRICS, "EVALUATION.BOOTSTRAP=0", *overrides])
    data = SplitData(
        "val", len(rows), 0, [Pair(Path(f"{n}.png"), None) for n in range(len(rows))], places, spacings or {}
    )

    def count(masks, probabilities):
        return np.zeros((len(masks), cfg.OUTPUT.CLASSES, cfg.OUTPUT.CLASSES))

    names = ["background", *map(str, range(1, cfg.OUTPUT.CLASSES))]
    evaluator = Evaluator(cfg, data, count, Gallery(0, MaskMeaning.from_config(cfg, names)))
    probabilities = [np.asarray(row, np.float32) for row in rows]
    probabilities = [np.stack([1 - row, row], -1) if row.ndim == 1 else row for row in probabilities]
    masks = np.stack(truths).astype(np.uint8)[:, None, :, None]
    evaluator.add(np.zeros((len(rows), 1, 7, 3), np.float32), masks, np.stack(probabilities)[:, None])
    return evaluator, evaluator.result()["regions"]


def test_mean_over_images_and_the_value_of_each():
    evaluator, regions = evaluate([0.9 * ROW, np.full(7, 0.8)])
    assert regions["class1"]["v_rand"]["value"] == pytest.approx((1 + MERGED) / 2)
    assert regions["class1"]["v_rand"]["cases"] == 2 and regions["class1"]["v_rand_threshold"]["value"] == 0.0
    assert case_columns(evaluator.images[1], evaluator.regions)["v_rand_class1"] == pytest.approx(MERGED)
    assert {name for name in regions["class1"] if name.startswith("v_")} <= set(SCORES)


def test_volumes_have_the_mean_of_their_images():
    places = [VolumeSlice("a", 0), VolumeSlice("a", 1)]
    evaluator, regions = evaluate([0.9 * ROW, np.full(7, 0.8)], places=places)
    assert case_columns(evaluator.volumes[0], evaluator.regions)["v_rand_class1"] == pytest.approx((1 + MERGED) / 2)
    assert regions["class1"]["v_rand"]["cases"] == 1 and evaluator.volumes[0].images == 2


def test_postprocessed_masks_are_scored():
    _, regions = evaluate([0.9 * ROW, 0.9 * ROW], (ROW, ROW), "EVALUATION.KEEP_LARGEST_COMPONENT=True")
    assert regions["class1"]["v_rand"]["value"] == pytest.approx(MERGED)  # one object is left, and grows


def test_classes_are_measured_by_themselves_and_ignored_pixels_left_out():
    truth = np.array([1, 1, 2, 0, 2, 255, 255])
    probabilities = np.eye(3)[np.where(truth == 255, 2, truth)]
    _, regions = evaluate([probabilities], [truth], "OUTPUT.CLASSES=3", "DATASET.IGNORE_LABEL=255")
    assert regions["class1"]["v_rand"]["value"] == regions["class2"]["v_rand"]["value"] == 1
    assert "v_rand" not in regions["foreground"]


def test_scores_of_the_set_stand_beside_those_of_images():
    probabilities = [0.9 * ROW, 0.9 * ROW]
    _, regions = evaluate(probabilities, (ROW, ROW), "EVALUATION.METRICS=[curves,objects]")
    assert regions["class1"]["roc_auc"] == {"value": 1.0, "low": None, "high": None, "cases": 2}
    assert regions["class1"]["object_f1"]["value"] == regions["class1"]["pr_auc"]["value"] == 1
    assert {"object_ap", "object_ap50", "roc_auc", "pr_auc"} <= set(SCORES) & set(regions["class1"])


def test_sizes_are_in_voxels_where_the_spacing_of_a_volume_is_unknown():
    """Lesions of 3 voxels of 1 ml; a volume without spacing has no ml, and all of a set have one unit."""
    places = [VolumeSlice("a", 0), VolumeSlice("b", 0)]
    sizes = ["EVALUATION.METRICS=[lesions]", "EVALUATION.SIZE_BINS=[2]"]
    known = {"a": (10, 10, 10), "b": (10, 10, 10)}
    for spacings, unit in ((known, "_ml"), ({**known, "b": None}, ""), ({}, "")):
        _, regions = evaluate([0.9 * ROW, 0.9 * ROW], (ROW, ROW), *sizes, places=places, spacings=spacings)
        assert regions["class1"][f"lesion_count_size_2_inf{unit}"]["value"] == 4
        assert [name for name in regions["class1"] if "_size_0" in name] == [f"lesion_count_size_0_2{unit}"]


def test_without_the_metric_nothing_is_computed():
    evaluator, regions = evaluate([0.9 * ROW, 0.9 * ROW], (ROW, ROW), "EVALUATION.METRICS=null")
    assert not any("v_rand" in scores for scores in regions.values()) and not evaluator.images[0].image_scores
