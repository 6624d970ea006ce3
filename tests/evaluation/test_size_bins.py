"""Sizes of objects on their way from masks to the table, the report and evaluation.json. No TensorFlow."""

import csv
import json

import cv2
import nibabel
import numpy as np
import pytest

from evaluate import evaluate
from utils.base.errors import UserError
from utils.config import load_config
from utils.evaluation.score_table import in_order, is_compared

OBJECTS = "EVALUATION.METRICS=[confusion,objects,lesions]"


def score(folder, *overrides):
    settings = ["OUTPUT.CLASSES=2", "EVALUATION.GALLERY=1", "EVALUATION.BOOTSTRAP=9", "DATASET.VAL.MASK_PATH=truth"]
    evaluate(load_config([f"WORK_DIR={folder}", *settings, "EVALUATION.PREDICTIONS=found", OBJECTS, *overrides]))
    saved = json.loads((folder / "found.evaluation/evaluation.json").read_text())["splits"]["val"]
    return saved["regions"]["class1"], (folder / "found.evaluation/report.html").read_text()


def test_pictures_by_pixels(tmp_path, capsys):
    """Two images, each of a square of 4 and one of 16 pixels; the large one is found in both, a small one in one."""
    for name, smalls in {"truth": (1, 1), "found": (1, 0)}.items():
        (tmp_path / name).mkdir()
        for number, small in enumerate(smalls):
            mask = np.zeros((12, 12), np.uint8)
            mask[6:10, 6:10], mask[:2, :2] = 1, small
            cv2.imwrite(str(tmp_path / name / f"case{number}.png"), mask)
    found, page = score(tmp_path, "EVALUATION.SIZE_BINS=[10,100]")
    small = found["object_sensitivity_size_0_10"]
    assert small["value"] == 0.5 and small["cases"] == 2 and small["low"] <= 0.5 <= small["high"]
    assert found["object_sensitivity_size_10_100"]["value"] == found["lesion_sensitivity_size_10_100"]["value"] == 1
    assert found["object_count_size_0_10"]["value"] == 2 and found["object_count_size_100_inf"]["value"] == 0
    assert "object_sensitivity_size_100_inf" not in found
    assert "object_sensitivity_size_0_10_class1" in page and "sensitivity for objects below 10 pixels" in page
    with open(tmp_path / "found.evaluation/per_image.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["object_sensitivity_size_0_10_class1"]) for row in rows] == [1, 0]
    assert rows[0]["object_sensitivity_size_100_inf_class1"] == ""
    printed = " ".join(capsys.readouterr().out.split())
    assert "objects by size" in printed and "below 10 pixels" in printed and "lesions by size" in printed


def test_volumes_by_ml(tmp_path):
    """Voxels of 2 ml: a lesion of 16 ml over two slices is found, one voxel is not."""
    truth, predicted = np.zeros((2, 6, 8, 8), np.uint8)
    truth[1:3, 1:3, 1:3] = predicted[1:3, 1:3, 1:3] = 1
    truth[5, 5, 5] = 1
    for name, mask in {"truth": truth, "found": predicted}.items():
        (tmp_path / name).mkdir()
        nibabel.save(nibabel.Nifti1Image(mask, np.diag([20, 10, 10, 1])), tmp_path / name / "a.nii.gz")
    found, page = score(tmp_path, "EVALUATION.SIZE_BINS=[4]", "VERBOSE=0")
    assert found["lesion_sensitivity_size_0_4_ml"]["value"] == 0 and found["lesion_count_size_0_4_ml"]["value"] == 1
    assert found["lesion_sensitivity_size_4_inf_ml"]["value"] == 1
    assert "lesion_sensitivity_size_4_inf_ml_class1" in page and "from 4 ml on" in page
    assert (found["object_count_size_0_4"]["value"], found["object_count_size_4_inf"]["value"]) == (1, 2)  # of slices


@pytest.mark.parametrize("value", ["[]", "[0,5]", "[5,5]", "[100,10]", "[-1,5]"])
def test_bad_edges(value):
    with pytest.raises(UserError, match=r"EVALUATION.SIZE_BINS"):
        load_config([OBJECTS, f"EVALUATION.SIZE_BINS={value}"])


def test_sizes_need_objects():
    with pytest.raises(UserError, match=r"SIZE_BINS=\[100.*name one of them in EVALUATION.METRICS"):
        load_config(["EVALUATION.SIZE_BINS=[100]"])


def test_names_are_in_the_order_of_the_sizes():
    sizes = ["object_sensitivity_size_0_9", "object_sensitivity_size_9_100", "object_sensitivity_size_100_inf"]
    assert in_order(["object_count_size_0_9", *sizes, "dice"]) == ["dice", *sizes, "object_count_size_0_9"]
    assert is_compared(sizes[0]) and not is_compared("object_count_size_0_9")
