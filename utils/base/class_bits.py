"""Masks of overlapping classes in one channel: bit c - 1 of a pixel's value says whether class c is there.

Such a mask passes through files, caches, crops and augmentation like class indices, whose nearest-neighbour geometry
mixes no values. With `multi_label=False` the functions take class indices, so that callers need no case of their own.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from utils.base.errors import UserError

NO_CLASS = 255  # in masks of which class 0 is drawn, too
MOST_CLASSES = 8  # bits of a uint8 mask


def pack(maps: np.ndarray) -> np.ndarray:
    """A map per class `(..., classes)`, what is not 0 being the class -> uint8 `(...)`.

    >>> pack(np.array([[1, 0, 1], [0, 1, 0]])).tolist()
    [5, 2]
    """
    labels = np.zeros(maps.shape[:-1], np.uint8)
    for index in range(maps.shape[-1]):
        labels |= (maps[..., index] != 0).astype(np.uint8) << np.uint8(index)
    return labels


def unpack(labels: np.ndarray, classes: int) -> np.ndarray:
    """uint8 `(...)` -> a map of 0 and 1 per class, uint8 `(..., classes)`.

    >>> unpack(np.array([5, 2], np.uint8), 3).tolist()
    [[1, 0, 1], [0, 1, 0]]
    """
    return labels[..., np.newaxis] >> np.arange(classes, dtype=np.uint8) & 1


def bit_of(index: int, name: str) -> int:
    """The value of a pixel that has a class, from 1, and no other.

    Raises:
        UserError: there is no bit left for it; `name` says what has the class.
    """
    if index > MOST_CLASSES:
        raise UserError(f"{name}: class {index} has no bit: a mask of overlapping classes holds {MOST_CLASSES}.")
    return 1 << index - 1


def in_region(labels: np.ndarray, region: Sequence[int], multi_label: bool) -> np.ndarray:
    """Where at least one of the classes of a region is: bool, of the shape of the labels.

    >>> in_region(np.array([0, 1, 2, 3]), [2], multi_label=True).tolist()
    [False, False, True, True]
    >>> in_region(np.array([0, 1, 2, 3]), [2], multi_label=False).tolist()
    [False, False, True, False]
    """
    if not multi_label:
        return np.isin(labels, region)
    return labels & np.uint8(sum(1 << index - 1 for index in region)) != 0


def class_areas(labels: np.ndarray, multi_label: bool, first: int = 1) -> Iterator[tuple[int, np.ndarray]]:
    """Yield `(class, where it is)` of each class from `first`, 0 or 1, that a mask holds; from 0, 255 is no class."""
    present = np.unique(labels[(labels > 0) if first else (labels != NO_CLASS)])
    if multi_label:
        present = np.flatnonzero(unpack(present.astype(np.uint8), MOST_CLASSES).any(axis=0)) + 1
    for index in present.tolist():
        yield index, in_region(labels, [index], multi_label)


def count_classes(values: np.ndarray, classes: int, multi_label: bool) -> np.ndarray:
    """Pixels of each value `(up to 256,)` -> pixels of each class `(classes,)`, the first those without any class.

    >>> count_classes(np.array([10, 1, 2, 4]), classes=3, multi_label=True).tolist()
    [10, 5, 6]
    """
    counts = np.zeros(classes, np.int64)
    if not multi_label:
        counts[: len(values)] = values[:classes]
        return counts
    members = unpack(np.arange(len(values), dtype=np.uint8), classes - 1)
    return np.concatenate([values[:1], values @ members.astype(np.int64)])
