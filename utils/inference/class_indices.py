"""From probabilities to class indices."""

import numpy as np

STRIP = 4_000_000  # values of a large image that are looked at together


def center(array, size):
    """The centre of `(height, width, ...)`, of the given size."""
    top, left = ((have - want) // 2 for have, want in zip(array.shape, size, strict=False))
    return array[top : top + size[0], left : left + size[1]]


def class_indices(probability, thresholds=None):
    """`(height, width, classes)` probabilities -> `(height, width)` uint8 class indices; one class: p > 0.5 is 1.

    Args:
        thresholds: list of floats, one per foreground class: the likeliest class that is above its own wins, and
            where none is, the background. None: the likeliest class of all.
    """
    return likeliest(probability, thresholds)[0]


def likeliest(probability, thresholds=None):
    """`class_indices`, and the probability of the class chosen, `(height, width)`."""
    if probability.shape[-1] == 1:
        labels = probability[..., 0] > (thresholds[0] if thresholds else 0.5)
        return labels.astype(np.uint8), np.where(labels, probability[..., 0], 1 - probability[..., 0])
    # Class by class: argmax along the last and shortest axis is several times slower.
    labels = np.zeros(probability.shape[:-1], np.uint8)
    best = np.zeros_like(probability[..., 0]) if thresholds else probability[..., 0].copy()
    for index in range(1, probability.shape[-1]):
        better = probability[..., index] > best
        if thresholds:
            better &= probability[..., index] > thresholds[index - 1]
        labels[better] = index
        np.copyto(best, probability[..., index], where=better)
    return labels, np.where(labels > 0, best, probability[..., 0]) if thresholds else best


def decide(probability, thresholds=None):
    """`(class_indices, mean probability of the classes chosen)`, strip by strip."""
    labels, total = np.empty(probability.shape[:2], np.uint8), 0.0
    rows = max(1, STRIP // max(probability[0].size, 1))
    for top in range(0, len(labels), rows):
        labels[top : top + rows], best = likeliest(probability[top : top + rows], thresholds)
        total += float(best.sum(dtype=np.float64))
    return labels, total / labels.size
