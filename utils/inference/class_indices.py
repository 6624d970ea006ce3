"""From probabilities to class indices, or to the bits of overlapping classes."""

from collections.abc import Sequence

import numpy as np

from utils.base.class_bits import pack

STRIP_VALUES = 4_000_000  # large images are processed in strips of so many values


def center_crop(array: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """The centre of `(height, width, ...)`, of the given `(height, width)`.

    >>> center_crop(np.arange(16).reshape(4, 4), (2, 2)).tolist()
    [[5, 6], [9, 10]]
    """
    height, width = size[:2]
    top, left = (array.shape[0] - height) // 2, (array.shape[1] - width) // 2
    return array[top : top + height, left : left + width]


def class_indices(
    probability: np.ndarray, thresholds: Sequence[float] | None = None, multi_label: bool = False
) -> np.ndarray:
    """`(height, width, classes)` probabilities -> `(height, width)` uint8 class indices.

    With one class, probabilities above 0.5 become class 1.

    Args:
        probability: float32.
        thresholds: one per foreground class: the most likely class above its own threshold wins, the background where
            there is none. None: the most likely class.
        multi_label: whether the classes may overlap: each is where its probability is above its threshold (0.5), as a
            bit of the value, see `utils.base.class_bits`.

    >>> class_indices(np.array([[[0.6, 0.3, 0.1], [0.2, 0.3, 0.5]]])).tolist()
    [[0, 2]]
    >>> class_indices(np.array([[[0.6, 0.3, 0.1], [0.2, 0.3, 0.5]]]), [0.25, 0.9]).tolist()
    [[1, 1]]
    >>> class_indices(np.array([[[0.6, 0.3, 0.7], [0.2, 0.3, 0.5]]]), multi_label=True).tolist()
    [[5, 0]]
    """
    return classes_and_confidence(probability, thresholds, multi_label)[0]


def classes_and_confidence(
    probability: np.ndarray, thresholds: Sequence[float] | None = None, multi_label: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """`class_indices`, and the probability of the class chosen, `(height, width)`.

    Of overlapping classes that is the mean over the classes of the probability of what was decided.
    """
    if multi_label:
        chosen = probability > np.asarray(thresholds or 0.5, probability.dtype)
        return pack(chosen), np.where(chosen, probability, 1 - probability).mean(axis=-1)
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


def classes_and_mean_confidence(
    probability: np.ndarray, thresholds: Sequence[float] | None = None, multi_label: bool = False
) -> tuple[np.ndarray, float]:
    """`class_indices`, and the mean probability of the classes chosen, computed strip by strip to save memory."""
    labels, total = np.empty(probability.shape[:2], np.uint8), 0.0
    rows = max(1, STRIP_VALUES // max(probability[0].size, 1))
    for top in range(0, len(labels), rows):
        strip = probability[top : top + rows]
        labels[top : top + rows], confidence = classes_and_confidence(strip, thresholds, multi_label)
        total += float(confidence.sum(dtype=np.float64))
    return labels, total / labels.size
