"""Scores of candidates from counted pixels, each the mean over the classes of sum / sum over cases."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Fractions = tuple[np.ndarray, np.ndarray]  # numerators and denominators, float `(cases, classes)`


def pooled_dice(counts: np.ndarray) -> Fractions:
    """Of all pixels of the set."""
    common, true, predicted = np.moveaxis(counts, -1, 0)
    return 2.0 * common, (true + predicted).astype(float)


def pooled_iou(counts: np.ndarray) -> Fractions:
    """Of all pixels of the set."""
    common, true, predicted = np.moveaxis(counts, -1, 0)
    return common.astype(float), (true + predicted - common).astype(float)


def per_case(pooled: Callable[[np.ndarray], Fractions], empty: float | None, counts: np.ndarray) -> Fractions:
    """Of each case; a class absent in truth and prediction counts as `empty`, None: is left out."""
    top, bottom = pooled(counts)
    defined = bottom > 0
    values = np.where(defined, top / np.maximum(bottom, 1), empty or 0.0)
    return values, np.ones_like(values) if empty is not None else defined.astype(float)


# Name, as evaluate.py has it -> function of int64 `(cases, classes, 3)`, of `utils.choice.counts`
SCORES: dict[str, Callable[[np.ndarray], Fractions]] = {
    "dice_per_case": lambda counts: per_case(pooled_dice, None, counts),
    "dice_per_case_lits": lambda counts: per_case(pooled_dice, 1.0, counts),
    "iou_per_case": lambda counts: per_case(pooled_iou, None, counts),
    "dice": pooled_dice,
    "iou": pooled_iou,
}


def score_of(name: str, counts: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """The score of a set: the mean over the classes that some case defines; 0 if none is.

    Args:
        name: a row of SCORES.
        counts: int64 `(cases, classes, 3)`.
        weights: how often each case counts, `(draws, cases)`; None: once.

    Returns:
        float64 `(draws,)`, or a scalar without weights.

    >>> counts = np.array([[[1, 2, 2]], [[0, 0, 4]]])
    >>> float(score_of("dice_per_case", counts)), float(score_of("dice", counts))
    (0.25, 0.25)
    >>> score_of("dice_per_case", counts, np.array([[2, 0], [0, 2]])).tolist()
    [0.5, 0.0]
    """
    top, bottom = SCORES[name](counts)
    drawn = np.ones((1, len(counts))) if weights is None else weights
    tops, bottoms = drawn @ top, drawn @ bottom
    defined = bottoms > 0
    values = np.where(defined, tops / np.where(defined, bottoms, 1), 0)
    mean = values.sum(-1) / np.maximum(defined.sum(-1), 1)
    return mean[0] if weights is None else mean
