"""Which images to label next: unsure ones that differ from each other."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from utils.base.files import atomic_write
from utils.base.text_files import AS_ON_DISK

POOL = 5  # times as many images as are wanted: so many of the least sure are chosen from
LIST_NAME = "select.txt"


def choose_centres(features: np.ndarray, count: int) -> list[int]:
    """Rows of `(images, channels)` so that no row is far from the nearest of them: greedy k-centre.

    The first is row 0, each further one the row that is the farthest from those chosen. The largest distance that
    is left is at most twice the least there can be. O. Sener and S. Savarese 2018, "Active learning for convolutional
    neural networks: a core-set approach", algorithm 1, https://arxiv.org/abs/1708.00489.

    >>> choose_centres(np.array([[0.0], [1.0], [10.0], [11.0]]), 2)
    [0, 3]
    """
    chosen = [0]
    nearest = np.linalg.norm(features - features[0], axis=1)
    while len(chosen) < min(count, len(features)):
        nearest[chosen] = -1  # equal rows have a distance of 0, and may be chosen, too
        chosen.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, np.linalg.norm(features - features[chosen[-1]], axis=1))
    return chosen


def select_next(expected: Sequence[float], count: int, features_of: Callable[[Sequence[int]], np.ndarray]) -> list[int]:
    """Which files to label next, by their numbers: the least sure first, then the farthest from those before.

    Args:
        expected: the expected Dice of each file.
        count: how many are wanted.
        features_of: function, numbers of files -> a row of features for each, `(files, channels)`.
    """
    order = np.argsort(expected, kind="stable")[: POOL * count].tolist()
    if len(order) <= count:
        return order
    return [order[place] for place in choose_centres(features_of(order), count)]


def write_list(folder: Path, paths: Sequence[str]) -> Path:
    """Write a list file, one path a line, which IMAGES_PATH, PREDICT.INPUT and annotation tools take."""
    path = folder / LIST_NAME
    lines = [os.path.abspath(one) for one in paths]
    with atomic_write(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8", errors=AS_ON_DISK)
    return path
