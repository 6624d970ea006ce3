"""DATASET.SLICES_AROUND: slices of volumes, whose neighbours the network sees as further channels (2.5-D)."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from data_generators.files.image_file import volume_and_slice
from data_generators.files.neighbours import with_neighbours
from data_generators.files.pairing import Pair, list_problems
from data_generators.files.preparation import CHANNELS, PREPARED_BY
from data_preparation.planning.classes import COLOUR, NEIGHBOURS
from data_preparation.planning.experiment_file import Choice
from data_preparation.planning.stored_form import read_stored_image
from utils.base.errors import UserError

OPTION = "--slices-around"
MOST_COMPARED = 50  # pairs of slices
FEW_SLICES = 3  # a volume has more on average, where numbers at the end of names are likely to be slices


def holds_neighbours(pairs: Sequence[Pair], prepared: Mapping[str, Any]) -> bool:
    """Whether the three bands of an image are the slice below, the slice and the slice above: as prepared, or as seen.

    Args:
        pairs: of training; two slices of a volume that follow each other and differ are compared.
        prepared: `{key: value}` that the preparation noted.
    """
    if prepared.get(PREPARED_BY) is not None:
        return prepared.get(CHANNELS) is None
    places = {place: pair.image for pair in pairs if (place := volume_and_slice(pair.image))}
    following = [(image, places.get((volume, number + 1))) for (volume, number), image in places.items()]
    for lower, upper in [(lower, upper) for lower, upper in following if upper is not None][:MOST_COMPARED]:
        here, there = (read_stored_image(file).values for file in (lower, upper))
        if here.shape != there.shape or here.shape[2] != 3:
            return False
        if not np.array_equal(here[:, :, 1], there[:, :, 1]):  # bands in OpenCV's order: above, the slice, below
            return np.array_equal(here[:, :, :2], there[:, :, 1:])
    return False


def choose_slices(around: int, channels: int, reason: str) -> tuple[int, str, list[Choice]]:
    """Return `(channels, reason, choices)` with so many neighbours of each slice on either side.

    Args:
        around: of --slices-around.
        channels, reason: of a single image; prepared slices that hold their neighbours give the slice itself.
    """
    if not around:
        return channels, reason, []
    choices = [Choice("DATASET.SLICES_AROUND", around, f"{OPTION}: neighbours on either side as channels (2.5-D)")]
    if reason == NEIGHBOURS:
        choices.append(Choice("DATASET.BANDS", [2], "the slice itself; files also hold the slices below and above"))
        channels = 1
    slices = 2 * around + 1
    return channels * slices, f"{slices} slices of {channels}: {reason}", choices


def check_neighbours(around: int, splits: Mapping[str, Sequence[Pair]]) -> None:
    """Raise a UserError unless all images are slices of volumes, which are complete in each split."""
    for pairs in splits.values():
        _, problems = with_neighbours([pair.image for pair in pairs], around)
        if problems:
            raise UserError(f"{OPTION} {around} needs slices of whole volumes:\n{list_problems(problems)}")


def slice_notes(around: int, splits: Mapping[str, Sequence[Pair]], reason: str) -> list[str]:
    """A line on --slices-around, where images are slices without their neighbours by all that is known.

    Args:
        around: of --slices-around.
        splits: `{split: pairs}`.
        reason: of INPUT.CHANNELS; colours are no slices.
    """
    pairs = [pair for found in splits.values() for pair in found]
    places = [volume_and_slice(pair.image) for pair in pairs]
    volumes = {place[0] for place in places if place}
    if around or reason in (COLOUR, NEIGHBOURS) or None in places or len(pairs) <= FEW_SLICES * len(volumes):
        return []
    if len(volumes) < 2 or any(with_neighbours([pair.image for pair in found], 1)[1] for found in splits.values()):
        return []
    return [
        f"By their names the images are slices of {len(volumes)} volumes: {OPTION} 1 --force shows the network the "
        "neighbours of each, too (2.5-D)."
    ]
