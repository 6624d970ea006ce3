"""Which images are slices of one volume, whether all are there, and how far its voxels lie apart."""

import json
from typing import NamedTuple

from data_generators.files.pairing import list_problems, volume_and_slice
from data_generators.reading.headers import picture_size
from utils.base.errors import UserError


class Place(NamedTuple):
    """Where a slice belongs: the volume, unique in its split, and the number of the slice."""

    volume: str
    slice: int


def find_volumes(cfg, pairs):
    """What is known of the volumes that the images of a split are slices of.

    Args:
        cfg: the config; EVALUATION and PREPROCESS_DATA.RESIZE are read.
        pairs: list of Pair, of one split.

    Returns:
        `(places, spacings)`: list of Place, one per pair, or None where the images are no slices;
        `{volume: (slice, row, column) in mm, or None where nobody knows}`.

    Raises:
        UserError: see `find_places`; EVALUATION.SURFACE is asked for, but there are no volumes, or the spacing of one
            is not known.
    """
    places = find_places(cfg, pairs)
    if places is None and cfg.EVALUATION.SURFACE:
        raise UserError(
            f"EVALUATION.SURFACE=True needs volumes, and {pairs[0].image} is not named image_<volume>_<slice>. Other "
            "names that end in _<slice>: EVALUATION.VOLUMES=True."
        )
    spacings = {}
    for pair, place in zip(pairs, places or [None] * len(pairs), strict=True):
        if place is None or place.volume in spacings:
            continue
        spacings[place.volume] = find_spacing(cfg, pair.image)
        if spacings[place.volume] is None and cfg.EVALUATION.SURFACE:
            raise UserError(
                f"EVALUATION.SURFACE=True: the spacing of volume {place.volume} is not known, there is no spacing_mm "
                f"in {manifest_of(pair.image)}. Prepare the scans, or set EVALUATION.SPACING_MM=[slice,row,column]."
            )
    return places, spacings


def find_places(cfg, pairs):
    """The volume and slice of each image, or None where they are no slices.

    EVALUATION.VOLUMES decides: null takes names of the form `image_<volume>_<slice>`, as the preparation writes them;
    true names of any form that ends in `_<slice>`; false none.

    Args:
        cfg: the config.
        pairs: list of Pair, of one split.

    Returns:
        list of Place, one per pair; or None.

    Raises:
        UserError: slices are missing or there twice; with VOLUMES=true a name without a slice. Lists up to 20.
    """
    wanted = cfg.EVALUATION.VOLUMES
    found = [volume_and_slice(pair.image) for pair in pairs]
    if wanted is None:
        wanted = all(place and pair.image.stem.startswith("image_") for pair, place in zip(pairs, found, strict=True))
    if not wanted:
        return None
    if None in found:
        raise UserError(f"EVALUATION.VOLUMES=True: {pairs[found.index(None)].image} does not end in _<slice>.")
    folders = {}
    for pair, (volume, _) in zip(pairs, found, strict=True):
        folders.setdefault(volume, {})[pair.image.parent] = None
    places = []
    for pair, (volume, number) in zip(pairs, found, strict=True):
        # One name in two folders stands for two volumes.
        several = len(folders[volume]) > 1
        places.append(Place(f"{pair.image.parent.parent.name}/{volume}" if several else volume, number))
    check_slices(pairs, places)
    return places


def check_slices(pairs, places):
    """Raise a UserError that lists the volumes with a missing slice, or with one that is there twice."""
    slices, first = {}, {}
    for pair, place in zip(pairs, places, strict=True):
        slices.setdefault(place.volume, []).append(place.slice)
        first.setdefault(place.volume, pair.image)
    problems = []
    for volume, numbers in slices.items():
        expected = range(min(numbers), max(numbers) + 1)
        whole = read_manifest(manifest_of(first[volume])).get("slices")
        if isinstance(whole, int):
            expected = range(max(whole, max(numbers) + 1))
        missing = sorted(set(expected) - set(numbers))
        if missing:
            shown = ", ".join(map(str, missing[:5])) + (", ..." if len(missing) > 5 else "")
            problems.append(f"volume {volume} in {first[volume].parent}: slice {shown} missing of {len(expected)}")
        if len(set(numbers)) < len(numbers):
            twice = next(number for number in numbers if numbers.count(number) > 1)
            problems.append(f"volume {volume} in {first[volume].parent}: slice {twice} is there twice")
    if problems:
        raise UserError(
            "scores of volumes need whole volumes. Add the files, or set EVALUATION.VOLUMES=False to score images:\n"
            + list_problems(problems)
        )


def find_spacing(cfg, image):
    """Spacing of a volume's slices as the network sees them.

    Args:
        cfg: the config; EVALUATION.SPACING_MM comes before the manifest of the preparation. Both tell the spacing of
            the stored slices, which changes where PREPROCESS_DATA.RESIZE resizes them.
        image: path of one of its slices.

    Returns:
        mm along (slice, row, column); None where nobody knows.

    Raises:
        UserError: the manifest holds something else than three numbers above 0.
    """
    spacing = cfg.EVALUATION.SPACING_MM
    if spacing is None:
        path = manifest_of(image)
        stored = read_manifest(path).get("spacing_mm")
        if stored is None:
            return None
        numbers = isinstance(stored, list) and all(isinstance(value, (int, float)) and value > 0 for value in stored)
        if not numbers or len(stored) != 3:
            raise UserError(f"{path}: spacing_mm={stored} must be three numbers above 0. Prepare the volume again.")
        row, column, along = stored
        spacing = (along, row, column)
    along, row, column = spacing
    if cfg.PREPROCESS_DATA.RESIZE.VALUE:
        height, width = picture_size(image)
        row, column = row * height / cfg.INPUT.HEIGHT, column * width / cfg.INPUT.WIDTH
    return float(along), float(row), float(column)


def manifest_of(image):
    """Where the preparation leaves what it knows of the volume of a slice."""
    volume, _ = volume_and_slice(image)
    return image.parent.parent / "manifest" / f"volume-{volume}.json"


def read_manifest(path):
    """The manifest of a volume; empty where there is none or it cannot be read."""
    try:
        manifest = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return manifest if isinstance(manifest, dict) else {}
