"""What a network scores that gives the same class to every pixel, exactly, from the pixels of each class in each image.

A score means little unless it is clearly above that of the best such answer: where nine of ten pixels are cell, "cell
everywhere" has a Dice of 0.95.
"""

from collections.abc import Sequence
from itertools import chain, combinations

import numpy as np

from losses.count_scores import Scoring, scores_of_areas

Answer = tuple[int, ...]  # the classes that every pixel gets: one; of overlapping classes any number


def best_constant(
    counts: np.ndarray, scoring: Scoring | None = None, known: np.ndarray | None = None
) -> dict[str, tuple[float, Answer]]:
    """The best score that a constant answer has, by each score by itself.

    Args:
        counts: int `(images, classes)`, pixels of each class, class 0 first, ignored ones left out. Of overlapping
            classes the first column is all pixels that are not ignored.
        scoring: how metrics average; None: as they do by default.
        known: int `(images, channels)`, pixels of which each of overlapping classes is known, where one may be ignored
            by itself; None: those of the first column.

    Returns:
        `{name: (score, answer)}`, names as in `losses.AVERAGING`; of equal answers the first. A score that no answer
        defines is left out; without pixels it is empty.

    Example, 6 of 10 pixels are foreground:
        >>> best_constant(np.array([[4, 6]]))["dice"]
        (0.75, (1,))
    """
    scoring = scoring or Scoring()
    best: dict[str, tuple[float, Answer]] = {}
    for answer in possible_answers(counts.shape[1], scoring.overlapping) if counts.sum() else []:
        for name, score in constant_scores(counts, answer, scoring, known).items():
            if not np.isnan(score) and (name not in best or score > best[name][0]):
                best[name] = (score, answer)
    return best


def possible_answers(classes: int, overlapping: bool) -> list[Answer]:
    """Every constant answer, `classes` counted with class 0.

    >>> possible_answers(3, overlapping=False), possible_answers(3, overlapping=True)
    ([(0,), (1,), (2,)], [(), (1,), (2,), (1, 2)])
    """
    if not overlapping:
        return [(index,) for index in range(classes)]
    return list(chain.from_iterable(combinations(range(1, classes), size) for size in range(classes)))


def answer_name(answer: Answer, names: Sequence[str]) -> str:
    """A constant answer for readers.

    >>> answer_name((1,), ["background", "liver"]), answer_name((), ["background", "liver"])
    ('liver', 'none')
    """
    return " + ".join(names[index] for index in answer) or "none"


def constant_scores(
    counts: np.ndarray, answer: Answer, scoring: Scoring | None = None, known: np.ndarray | None = None
) -> dict[str, float]:
    """All scores of one constant answer, given with certainty, NaN where undefined; arguments as in `best_constant`."""
    scoring = scoring or Scoring()
    pixels = counts[:, :1] if scoring.overlapping else counts.sum(1, keepdims=True)
    pixels = pixels if known is None else known
    shift = int(scoring.overlapping)
    true = counts[:, shift:].astype(float)
    chosen = np.isin(np.arange(shift, counts.shape[1]), answer)
    areas = np.stack([chosen * true, true, chosen * pixels.astype(float)])
    channels = areas[..., int(scoring.single) :]
    decisions = int(np.broadcast_to(pixels, channels.shape[1:]).sum())
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            **scores_of_areas(areas, int(pixels.sum()) if known is None else pixels.sum(0), scoring),
            **scores_of_channels(channels, decisions),
        }


def scores_of_channels(areas: np.ndarray, decisions: int) -> dict[str, float]:
    """The metrics `channels` and `soft_images`.

    Args:
        areas: as in `scores_of_set`, of the channels of a network.
        decisions: pixels of all channels together.
    """
    common, true, predicted = areas

    def soft(axis: int | tuple[()] | None) -> float:
        """Dice of sums over an axis, mean over what is left."""
        return float(((2 * common.sum(axis) + 1) / (true.sum(axis) + predicted.sum(axis) + 1)).mean())

    wrong = (true + predicted - 2 * common).sum()
    return {
        "soft_dice_flat": soft(None),
        "soft_dice_channels": soft(0),
        "binary_accuracy": float(1 - wrong / decisions),
        "soft_dice_images": soft(1),
        "soft_dice_images_channels": soft(()),
    }
