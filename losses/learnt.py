"""Whether scores show that a network has learnt its task: one rule for training, evaluation and report.

Importing this module imports no Keras.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

# A constant answer is counted on masks as they are stored or as the network takes them: that alone moves it by a
# thousandth, and a network that gives it may be "above" it by as much.
MARGIN = 0.005
NOT_FOUND = 0.02  # Dice of a class below which it is as good as never found
APART = 0.2  # training score above that of validation by which a network does not carry over to new images


def explain_low_score(name: str, score: float, constant: float | None, training: float | None = None) -> str | None:
    """A sentence if a score is not clearly above that of the best constant answer; None if it is.

    Args:
        name: of a score where more is better.
        constant: what the best constant answer has, None if that is not known.
        training: the score on the training data, None if that is not known.

    Example:
        >>> explain_low_score("dice", 0.1, None, 0.1) is None
        True
        >>> print(explain_low_score("dice", 0.0, None, training=0.1))
        dice is 0.0000: the network has learnt nothing yet. Train longer.
        >>> explain_low_score("dice", 0.9, 0.2771)
    """
    floor = constant or 0.0
    if not score < floor + min(MARGIN, (1 - floor) / 2):  # NaN is not low
        return None
    relation = "below" if score < floor else "no better than"
    compared = f", {relation} {constant:.4f} for the same class in every pixel" if constant else ""
    if training is None:
        reason = (
            ": the network has learnt nothing of use here. Compare with its score on the training data "
            "(EVALUATION.SPLITS): if that is low, train longer; if not, it overfits or these images differ."
        )
    elif training - score >= APART:
        reason = (
            f", but {training:.4f} in training: the network overfits, or these images differ from those of the "
            "training (preparation, labels, origin). Look at both; use more images or stronger augmentation."
        )
    else:
        reason = ": the network has learnt nothing yet. Train longer."
    return f"{name} is {score:.4f}{compared}{reason}"


def explain_unfound(dices: Mapping[int, float], names: Sequence[str]) -> str | None:
    """A sentence if some classes that occur have a Dice of nearly 0; None if none has.

    Args:
        dices: {class that occurs: its Dice over the pixels of the set}.
        names: of all classes from 0 on.

    >>> explain_unfound({0: 0.95, 1: 0.001}, ["background", "tumour"])
    'hardly ever found, though in the truth: tumour (class 1, Dice 0.0010).'
    """
    unfound = [index for index, dice in dices.items() if dice < NOT_FOUND]
    if not unfound:
        return None
    shown = ", ".join(f"{names[index]} (class {index}, Dice {dices[index]:.4f})" for index in unfound[:3])
    more = f" and {len(unfound) - 3} more" if len(unfound) > 3 else ""
    return f"hardly ever found, though in the truth: {shown}{more}."


def dice_of_confusion(confusion: np.ndarray) -> dict[int, float]:
    """`{class that occurs: its Dice}`.

    Args:
        confusion: int `(classes, classes)`, rows truth, columns prediction; of overlapping classes `(classes, 2, 2)`, a
            table of absent and present each, the first of pixels with any class.

    >>> dice_of_confusion(np.array([[90, 0], [10, 0]]))
    {0: 0.9473684210526315, 1: 0.0}
    """
    true, predicted, common = confusion.sum(1), confusion.sum(0), confusion.diagonal()
    if confusion.ndim == 3:
        true, predicted, common = confusion[:, 1].sum(1), confusion[:, :, 1].sum(1), confusion[:, 1, 1]
        true = true * (np.arange(len(true)) > 0)  # any class is none of them
    occurring = np.flatnonzero(true).tolist()
    return {index: float(2 * common[index] / (true[index] + predicted[index])) for index in occurring}


def dice_of_logs(logs: Mapping[str, float], counts: np.ndarray) -> dict[int, float]:
    """`{class that occurs in the validation data: its Dice}` of an epoch.

    Args:
        logs: `{log name: value}`.
        counts: of the validation masks, as in `losses.constant_answer.best_constant`.

    >>> dice_of_logs({"val_dice_class1": 0.5, "val_dice_class2": 0.0}, np.array([[5, 4, 0]]))
    {1: 0.5}
    """
    found = {int(match[1]): log for log in logs if (match := re.fullmatch(r"val_dice_class(\d+)", log))}
    occurring = np.asarray(counts).sum(0) > 0
    return {index: logs[found[index]] for index in sorted(found) if index < len(occurring) and occurring[index]}
