"""Objects on their way into scores: true ones of label images, predicted ones as PREDICT.INSTANCES divides them."""

import cv2
import numpy as np
import pytest
from helpers import run_command

from data_generators.files.pairing import Pair
from evaluate import evaluate
from utils.base.errors import UserError
from utils.config import load_config
from utils.evaluation.evaluator import Evaluator
from utils.evaluation.gallery import Gallery
from utils.evaluation.split_data import SplitData
from utils.inference.mask_meaning import MaskMeaning

OBJECTS = "EVALUATION.METRICS=[confusion,objects]"
BY_DISTANCE = "PREDICT.INSTANCES.METHOD=distance"


def two_discs():
    """A label image of two equal discs that touch."""
    labels = np.zeros((40, 60), np.uint16)
    for x in (20, 39):
        cv2.circle(labels, (x, 20), 10, 7, -1)
    return np.where(np.arange(60) < 30, labels, labels // 7 * 300).astype(np.uint16)


@pytest.fixture
def folder(tmp_path):
    """One image whose mask is found exactly, and its label image."""
    for name, picture in {
        "truth/mask_a.png": (two_discs() > 0).astype(np.uint8),
        "found/image_a.png": (two_discs() > 0).astype(np.uint8),
        "objects/mask_a.png": two_discs(),
    }.items():
        (tmp_path / name).parent.mkdir()
        cv2.imwrite(str(tmp_path / name), picture)
    return tmp_path


def settings(folder, *overrides):
    paths = ["DATASET.VAL.MASK_PATH=truth", "DATASET.VAL.OBJECTS_PATH=objects", "EVALUATION.PREDICTIONS=found"]
    chosen = [OBJECTS, "OUTPUT.CLASSES=2", "VERBOSE=0", "EVALUATION.GALLERY=0", "EVALUATION.BOOTSTRAP=0"]
    return [f"WORK_DIR={folder}", *paths, *chosen, *overrides]


def score(folder, *overrides):
    return evaluate(load_config(settings(folder, *overrides)))


def test_touching_objects_are_two_if_numbered_and_found_if_divided(folder):
    assert score(folder, "DATASET.VAL.OBJECTS_PATH=null")["object_f1_class1"] == 1  # of one piece
    merged = score(folder)
    assert merged["object_f1_class1"] == 0 and merged["object_aji_class1"] == pytest.approx(0.5, abs=0.01)
    divided = score(folder, BY_DISTANCE)
    assert divided["object_f1_75_class1"] == divided["object_ap75_class1"] == 1 and divided["object_pq_class1"] > 0.9
    assert score(folder, BY_DISTANCE, "EVALUATION.KEEP_LARGEST_COMPONENT=True") == pytest.approx(divided)


def test_ignored_pixels_belong_to_no_object(folder):
    mask = (two_discs() > 0).astype(np.uint8)
    mask[two_discs() == 300] = 255
    cv2.imwrite(str(folder / "truth/mask_a.png"), mask)
    found = score(folder, BY_DISTANCE, "DATASET.IGNORE_LABEL=255")
    assert found["object_f1_class1"] == 1 and found["object_aji_class1"] > 0.95


def test_probabilities_divide_also_what_is_postprocessed(folder):
    """A valley of probability between two halves of a square, in masks as predicted and postprocessed."""
    truth = np.ones((1, 1, 8, 1), np.uint8)
    row = np.float32([0.9, 0.9, 0.9, 0.9, 0.6, 0.9, 0.9, 0.9])
    cv2.imwrite(str(folder / "b.png"), np.uint8([[1, 1, 1, 1, 2, 2, 2, 2]]))
    cv2.imwrite(str(folder / "mask.png"), truth[0])
    for overrides in ([], ["EVALUATION.POSTPROCESS=True", "PREDICT.POSTPROCESS.MINIMUM_SIZE=2"]):
        cfg = load_config(
            ["OUTPUT.CLASSES=2", OBJECTS, "PREDICT.INSTANCES.METHOD=probability", "EVALUATION.BOOTSTRAP=0", *overrides]
        )
        data = SplitData("val", 1, 0, [Pair(folder / "b.png", folder / "mask.png")], objects=[folder / "b.png"])
        gallery = Gallery(0, MaskMeaning.from_config(cfg, ["background", "cell"]))
        evaluator = Evaluator(cfg, data, lambda masks, found: np.zeros((len(masks), 2, 2)), gallery)
        evaluator.add(np.zeros((1, 1, 8, 3)), truth, np.stack([1 - row, row], -1)[None, None])
        found = evaluator.result()["regions"]["class1"]
        assert found["object_f1_75"]["value"] in (0.5, 1) and found["object_f1"]["value"] == 1


def test_label_images_of_any_tool_are_scored(folder):
    """Values above 255; one disc is found, one is split into halves of 32 bit numbers."""
    (folder / "tool").mkdir()
    found = two_discs().astype(np.int32)
    found[20:][found[20:] == 300] = 100_000
    cv2.imwrite(str(folder / "tool/image_a.tif"), found)
    scores = score(folder, "EVALUATION.PREDICTIONS=tool", "EVALUATION.OBJECTS=True")
    assert scores["dice_class1"] == 1 and scores["object_f1_75_class1"] == pytest.approx(2 / (2 + 3))
    cv2.imwrite(str(folder / "tool/image_a.tif"), two_discs().astype(np.int32))
    assert score(folder, "EVALUATION.PREDICTIONS=tool", "EVALUATION.OBJECTS=True")["object_pq_class1"] == 1
    for override, message in {
        "EVALUATION.PREDICTIONS=null": "name their folder",
        "OUTPUT.CLASSES=3": "is for one class",
        BY_DISTANCE: "has the objects already",
        "EVALUATION.PREDICTIONS=table.csv": "is a table",
    }.items():
        with pytest.raises(UserError, match=message):
            score(folder, "EVALUATION.PREDICTIONS=tool", "EVALUATION.OBJECTS=True", override)


def test_bad_label_images(folder, capsys):
    cv2.imwrite(str(folder / "objects/mask_a.png"), two_discs()[:-1])
    with pytest.raises(UserError, match=r"objects/mask_a.png: is 39x60, the mask .*truth/mask_a.png 40x60"):
        score(folder)
    (folder / "objects/mask_a.png").rename(folder / "objects/mask_b.png")
    with pytest.raises(UserError, match=r"mask_a.png: no label image in DATASET.VAL.OBJECTS_PATH"):
        score(folder)
    with pytest.raises(UserError, match=r"DATASET.VAL.OBJECTS_PATH=nowhere: there is no such folder"):
        score(folder, "DATASET.VAL.OBJECTS_PATH=nowhere")
    result = run_command("evaluate.py", *settings(folder))
    assert result.returncode == 2 and "Traceback" not in result.stderr
