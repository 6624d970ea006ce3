"""What an evaluation warns of, and which scores it prints. No TensorFlow."""

from types import SimpleNamespace

import numpy as np
import pytest

from utils.config import load_config
from utils.evaluation.class_table import find_warnings
from utils.evaluation.console import shown_names

NAMES = "OUTPUT.CLASS_NAMES=[background,liver]"


def split_result(confusion, **scores):
    """The result of a split of one image."""
    confusion = np.array(confusion)
    case = SimpleNamespace(confusion=confusion)
    return SimpleNamespace(
        scores=scores, evaluator=SimpleNamespace(images=[case], volumes=[], confusion=lambda: confusion)
    )


@pytest.mark.parametrize(
    "confusion, dice, words",
    [
        ([[0, 84], [0, 16]], 0.2759, ["every pixel is predicted as liver"]),
        ([[24, 60], [10, 6]], 0.1463, ["dice is 0.1463, below 0.2759 for the same class in every pixel"]),
        ([[5, 79], [1, 15]], 0.2727, ["dice is 0.2727, below 0.2759"]),
        ([[8400, 0], [1599, 1]], 0.0012, ["below 0.2759", "in the truth: liver (class 1, Dice 0.0012)"]),
        ([[80, 4], [4, 12]], 0.75, []),
        ([[100, 0], [0, 0]], np.nan, []),  # nothing to find, and nothing found
    ],
)
def test_a_network_that_is_no_better_than_a_constant_answer(confusion, dice, words):
    found = find_warnings(load_config([NAMES]), split_result(confusion, dice=dice))
    assert len(found) == len(words) and all(word in line for word, line in zip(words, found, strict=True)), found


def test_tiny_classes_and_empty_images_are_named():
    """Nine of 10,000 pixels in two images, three empty images."""
    tiny, empty = np.array([[9990, 1], [0, 9]]), np.array([[10000, 0], [0, 0]])
    cases = [SimpleNamespace(confusion=one) for one in (tiny, tiny, empty, empty, empty)]
    evaluator = SimpleNamespace(images=cases, volumes=[], confusion=lambda: np.sum([c.confusion for c in cases], 0))
    result = SimpleNamespace(scores={"dice": 0.947}, evaluator=evaluator)
    (found,) = find_warnings(load_config([NAMES]), result)
    assert found.startswith("liver has 9 pixels in the median image")
    both = find_warnings(load_config([NAMES, "EVALUATION.EMPTY_IMAGES=one"]), result)
    assert both[0] == found and both[1].startswith("60% of the images have no foreground")


def test_a_classifier_has_no_such_warning():
    assert find_warnings(load_config(), SimpleNamespace(evaluator=None)) == []


def test_few_scores_of_the_whole_set_are_printed_unless_they_are_asked_for():
    names = ["loss", "dice_coef", "dice", "dice_class1", "dice_all_classes", "iou_all_classes", "pixel_accuracy"]
    names += ["binary_accuracy", "soft_dice_flat", "soft_dice_channels", "soft_dice_images", "specificity"]
    result = SimpleNamespace(rules=dict.fromkeys(names, ""), evaluator="of masks")
    assert shown_names(load_config(), result) == ["loss", "dice_coef", "iou_all_classes", "pixel_accuracy"]
    asked = load_config(["EVALUATION.METRICS=[dice_coef,channels]"])
    assert shown_names(asked, result) == [name for name in names if name not in ("dice", "dice_class1")]
    classifier = SimpleNamespace(rules={"loss": "", "accuracy": "", "roc_auc": ""}, evaluator=None)
    assert shown_names(load_config(), classifier) == ["loss", "accuracy", "roc_auc"]
