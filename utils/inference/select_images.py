"""Choose the images to label next, by what the encoder of the network makes of the least sure ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from utils.inference.predictor import Predictor
from utils.inference.read_ahead import Progress, read_ahead
from utils.inference.sources import Source, SourceSettings
from utils.inference.uncertainty.selection import select_next, write_list


def select_images(
    predictor: Predictor,
    expected: Mapping[Source, float],
    reading: SourceSettings,
    count: int,
    workers: int,
    folder: Path,
) -> str:
    """Write the list of the images to label next, which are read again; return a line that says so.

    Args:
        predictor: the networks.
        expected: the expected Dice of each source that was predicted.
        reading: how they are read.
        count: how many are wanted.
        workers: threads that read.
        folder: where the list goes.
    """
    sources = list(expected)

    def features_of(numbers: Sequence[int]) -> np.ndarray:
        """Of each source the mean over its images."""
        rows: dict[Source, list[np.ndarray]] = {sources[number]: [] for number in numbers}
        with Progress(len(rows), verbose=False) as progress:
            for item in read_ahead(list(rows), reading, workers, progress):
                rows[item.source].append(predictor.features(item.image))
                if item.is_last:
                    item.source.close()
        return np.array([np.mean(row, axis=0) for row in rows.values()])

    chosen = select_next(list(expected.values()), count, features_of)
    path = write_list(folder, [str(sources[number].path) for number in chosen])
    return f"{path}: {len(chosen)} of {len(sources)} to label next{too_many(count, len(sources))}"


def too_many(wanted: int, there: int) -> str:
    """What is said if PREDICT.SELECT asks for more than there are.

    >>> too_many(2, 2), too_many(9, 1)
    ('', '; PREDICT.SELECT=9 asks for more, so that all are listed')
    """
    return f"; PREDICT.SELECT={wanted} asks for more, so that all are listed" if wanted > there else ""
