"""When a score says that a network has learnt nothing, or misses a class."""

import math

import numpy as np
import pytest

from losses.learnt import dice_of_confusion, dice_of_logs, explain_low_score, explain_unfound

NAMES = ["background", "liver", "tumour"]


@pytest.mark.parametrize(
    "score, constant, training, words",
    [
        (0.8662, 0.8657, 0.87, "no better than 0.8657"),  # above by rounding
        (0.1255, 0.2771, None, "below 0.2771"),
        (0.0016, 0.2771, 0.8967, "pixel, but 0.8967 in training: the network overfits"),
        (0.0016, None, 0.8967, "val_dice is 0.0016, but 0.8967 in training"),
        (0.0016, 0.2771, 0.1, "Train longer."),
        (0.9, 0.8657, 0.95, None),
        (1.0, 0.998, 1.0, None),
        (0.3, None, None, None),
        (math.nan, 0.5, None, None),
    ],
)
def test_a_score_that_is_not_clearly_above_the_constant_answer(score, constant, training, words):
    said = explain_low_score("val_dice", score, constant, training)
    assert said is None if words is None else words in said


def test_classes_that_are_hardly_ever_found():
    dices = dice_of_confusion(np.array([[900, 0, 0], [50, 50, 0], [999, 0, 1]]))
    assert "truth: tumour (class 2, Dice 0.0020)." in explain_unfound(dices, NAMES)
    absent = dice_of_confusion(np.array([[90, 0, 0], [5, 5, 0], [0, 0, 0]]))
    assert list(absent) == [0, 1] and explain_unfound(absent, NAMES) is None
    many = explain_unfound(dict.fromkeys(range(5), 0.0), [*NAMES, "cyst", "vessel"])
    assert many.endswith("and 2 more.")


def test_overlapping_classes_that_are_hardly_ever_found():
    any_class, found, missed, absent = [[70, 0], [20, 10]], [[85, 0], [5, 10]], [[80, 0], [20, 0]], [[100, 0], [0, 0]]
    dices = dice_of_confusion(np.array([any_class, found, missed, absent]))
    assert dices == {1: 0.8, 2: 0.0}


def test_classes_of_the_log_in_numeric_order_without_absent_ones():
    logs = {f"val_dice_class{index}": index / 20 for index in (1, 10, 2, 0)}
    counts = np.array([[1, 1, 0, *[1] * 8]])
    assert dice_of_logs(logs, counts) == {0: 0.0, 1: 0.05, 10: 0.5}
