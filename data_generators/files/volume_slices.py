"""Images that are slices of volumes: volume and number of each, missing slices, voxel spacing."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig

from data_generators.files.cloud import address, open_file
from data_generators.files.image_file import ImageFile, volume_and_slice
from data_generators.files.pairing import Pair, list_problems
from data_generators.files.tfrecord_index import ShardEntry, name_of_shards
from data_generators.reading.headers import picture_size
from utils.base.errors import UserError

MAX_MANIFEST = 100_000_000  # bytes; a longer one is cut, and then no JSON
MAX_SLICES = 1_000_000


class VolumeSlice(NamedTuple):
    """The volume that an image belongs to, unique in its split, and the number of the slice."""

    volume: str
    slice: int


MAX_TILT = 0.5  # degrees
Spacing = tuple[float, float, float]  # mm along (slice, row, column)


def find_volumes(cfg: DictConfig, pairs: Sequence[Pair]) -> tuple[list[VolumeSlice] | None, dict[str, Spacing | None]]:
    """Find the volumes of a split and their spacing.

    Args:
        cfg: checked config; EVALUATION and PREPROCESS_DATA.RESIZE are read.
        pairs: of one split.

    Returns:
        `(slices, spacings)`: slices, one per pair, or None if the images are no slices; `{volume: spacing}`, None if
        it is not known.

    Raises:
        UserError: see `find_slices`; with EVALUATION.SURFACE also if there are no volumes, or if the spacing of one is
            not known.
    """
    slices = find_slices(cfg, pairs)
    if slices is None and cfg.EVALUATION.SURFACE:
        raise UserError(
            f"EVALUATION.SURFACE=True needs volumes, and {pairs[0].image} is not named image_<volume>_<slice>. Other "
            "names that end in _<slice>: EVALUATION.VOLUMES=True."
        )
    spacings: dict[str, Spacing | None] = {}
    for pair, place in zip(pairs, slices or (), strict=slices is not None):
        if place.volume in spacings:
            continue
        spacings[place.volume] = find_spacing(cfg, pair.image)
        if spacings[place.volume] is None and cfg.EVALUATION.SURFACE:
            raise UserError(
                f"EVALUATION.SURFACE=True: the spacing of volume {place.volume} is not known, there is no spacing_mm "
                f"in {address(manifest_of(pair.image))}. Prepare the scans, or set "
                "EVALUATION.SPACING_MM=[slice,row,column]."
            )
        tilt = read_manifest(manifest_of(pair.image)).get("shear_degrees", 0)
        if cfg.EVALUATION.SURFACE and isinstance(tilt, (int, float)) and tilt > MAX_TILT:
            raise UserError(
                f"EVALUATION.SURFACE=True: the slices of volume {place.volume} are shifted against each other by "
                f"{tilt:g} degrees (gantry tilt), so distances between surfaces are not measured. Set it to false."
            )
    return slices, spacings


def find_slices(cfg: DictConfig, pairs: Sequence[Pair]) -> list[VolumeSlice] | None:
    """The volume and slice of each image, or None if the images are no slices.

    EVALUATION.VOLUMES decides. null: names like `image_<volume>_<slice>`, as the preparation writes them; true: all
    names that end in `_<slice>`; false: none.

    Args:
        cfg: checked config.
        pairs: of one split.

    Raises:
        UserError: a slice is missing or exists twice; with VOLUMES=true, a name has no slice. Lists up to 20 problems.
    """
    wanted = cfg.EVALUATION.VOLUMES
    parsed = [volume_and_slice(pair.image) for pair in pairs]
    if wanted is None:
        wanted = all(re.fullmatch(r"image_.+_\d+", pair.image.stem) for pair in pairs)
    if not wanted:
        return None
    if None in parsed:
        raise UserError(f"EVALUATION.VOLUMES=True: {pairs[parsed.index(None)].image} does not end in _<slice>.")
    named = [found for found in parsed if found is not None]
    folders: dict[str, set[Path]] = {}
    for pair, (volume, _) in zip(pairs, named, strict=True):
        folders.setdefault(volume, set()).add(pair.image.parent)
    slices = []
    for pair, (volume, number) in zip(pairs, named, strict=True):
        # The same name in two folders stands for two volumes.
        several = len(folders[volume]) > 1
        slices.append(VolumeSlice(f"{pair.image.parent.parent.name}/{volume}" if several else volume, number))
    check_slices(pairs, slices)
    return slices


def check_slices(pairs: Sequence[Pair], slices: Sequence[VolumeSlice]) -> None:
    """Raise a UserError that lists the volumes with a missing slice, or with one that exists twice."""
    numbers_of: dict[str, list[int]] = {}
    first: dict[str, ImageFile] = {}
    for pair, place in zip(pairs, slices, strict=True):
        numbers_of.setdefault(place.volume, []).append(place.slice)
        first.setdefault(place.volume, pair.image)
    problems = []
    for volume, numbers in numbers_of.items():
        expected = range(min(numbers), max(numbers) + 1)
        count = read_manifest(manifest_of(first[volume])).get("slices")
        if count is not None:
            expected = range(max(count, max(numbers) + 1))
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


def find_spacing(cfg: DictConfig, image: ImageFile) -> Spacing | None:
    """Voxel spacing of a volume, of its slices as the model sees them; None if it is not known.

    Args:
        cfg: checked config. EVALUATION.SPACING_MM takes precedence over the manifest of the preparation; both give the
            spacing of the stored slices, which PREPROCESS_DATA.RESIZE changes.
        image: one of the slices.

    Raises:
        UserError: the manifest does not hold three numbers above 0.
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


def manifest_of(image: ImageFile) -> Path:
    """The manifest that the preparation writes for the volume of a slice; `tfrecord.py` for one in shards."""
    name = f"volume-{volume_name(image)}.json"
    if isinstance(image, ShardEntry):
        return image.parent / "manifest" / name_of_shards(image.shard) / name
    return image.parent.parent / "manifest" / name


def volume_name(image: ImageFile) -> str:
    """The volume of a slice, or the name of an image that is none."""
    volume, _ = volume_and_slice(image) or (image.stem, None)
    return volume


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest of a volume; empty if it does not exist or cannot be read.

    Entries that are not what the preparation writes are left out, and such a manifest is not complete: the volume is
    prepared again. The names of its files, which the preparation removes, are never paths to elsewhere.
    """
    try:
        with open_file(path) as file:
            manifest = json.loads(file.read(MAX_MANIFEST))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(manifest, dict):
        return {}
    valid = {
        "complete": isinstance(manifest.get("complete"), bool),
        **{key: is_count(manifest.get(key)) for key in ("slices", "slices_with_liver")},
        **{key: is_table_of_files(manifest.get(key)) for key in ("images", "masks")},
    }
    kept = {key: value for key, value in manifest.items() if valid.get(key, True)}
    return kept if all(valid.values()) else {**kept, "complete": False}


def is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_SLICES


def is_table_of_files(value: object) -> bool:
    """Whether a value is `{name of a PNG or TIFF file: bytes}`, without folders in the names."""
    if not isinstance(value, dict):
        return False
    names = all(name.endswith((".png", ".tif")) and not re.search(r"[/\\\0]|^\.", name) for name in value)
    return names and all(isinstance(size, int) for size in value.values())
