"""DATASET.SLICES_AROUND: slices of a volume with their neighbours, which become further channels."""

import itertools
from collections.abc import Sequence
from pathlib import Path

from data_generators.files.image_file import ImageFile, ImageParts, parts_of, volume_and_slice


def with_neighbours(images: Sequence[ImageFile], around: int) -> tuple[list[ImageFile], list[str]]:
    """The images, each with its neighbours as parts; at both ends of a volume the last slice is repeated.

    Args:
        images: slices, whose names end in `_<number>`; those of one volume have the rest of the name and the folder in
            common.
        around: how many neighbours on either side; 0 returns the images.

    Returns:
        `(images, problems)`: the parts of an image are in the order of the numbers of the slices; a message for each
        name without a number, missing slice, and slice that is there twice.
    """
    if not around:
        return list(images), []
    key = f"DATASET.SLICES_AROUND={around}"
    problems = []
    volumes: dict[tuple[Path, str], dict[int, ImageFile]] = {}
    for image in images:
        place = volume_and_slice(image)
        if place is None:
            problems.append(
                f"{image}: is no slice of a volume, which {key} needs: its name does not end in _<number>, as "
                "image_3_12.png does. Rename it, or set DATASET.SLICES_AROUND=0."
            )
            continue
        slices = volumes.setdefault((image.parent, place[0]), {})
        if place[1] in slices:
            problems.append(f"{image}: is the slice {place[1]} of its volume, as {slices[place[1]]} is. Remove one.")
        slices[place[1]] = image
    for (folder, volume), slices in volumes.items():
        missing = first_gap(slices)
        if missing is not None:
            problems.append(
                f"{folder}: slice {missing} of volume {volume} is missing, a neighbour for {key}. Add the file, or set "
                "DATASET.SLICES_AROUND=0."
            )
    found: list[ImageFile] = []
    for image in images:
        place = volume_and_slice(image)
        slices = {} if place is None else volumes[image.parent, place[0]]
        found.append(joined(image, slices, 0 if place is None else place[1], around))
    return found, problems


def joined(image: ImageFile, slices: dict[int, ImageFile], number: int, around: int) -> ImageParts:
    """A slice with its neighbours; itself in place of one that is missing."""
    first, last = min(slices, default=number), max(slices, default=number)
    wanted = (min(max(other, first), last) for other in range(number - around, number + around + 1))
    parts = tuple(part for other in wanted for part in parts_of(slices.get(other, image)))
    shown = image.shown if isinstance(image, ImageParts) else image
    return ImageParts(parts, image.stem, image.parent, shown)


def first_gap(slices: dict[int, ImageFile]) -> int | None:
    """The first number that is missing between the lowest and the highest, or None.

    >>> first_gap({3: Path("a_3.png"), 5: Path("a_5.png")})
    4
    """
    numbers = sorted(slices)
    return next((low + 1 for low, high in itertools.pairwise(numbers) if high > low + 1), None)
