"""The images of a split: of one run, or of all folds together."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from omegaconf import DictConfig

from data_generators.files.image_file import ImageFile
from data_generators.files.object_files import find_objects
from data_generators.files.pairing import Pair
from data_generators.files.split_files import SplitFiles
from data_generators.files.volume_slices import Spacing, VolumeSlice, find_volumes
from utils.base.errors import UserError


@dataclass(frozen=True)
class SplitData:
    """What an evaluation knows of a split before it begins.

    Attributes:
        split: "train", "val" or "test".
        images: how many.
        first: number of the first one among those of all splits.
        pairs: image and mask files; empty for a classifier.
        places: volume and slice of each image, or None if they are no slices.
        folds: number of the fold of each image; empty unless folds are evaluated together.
        objects: label image of the true objects of each image; empty without DATASET.<SPLIT>.OBJECTS_PATH.
        found: label image of the predicted objects of each image; empty without EVALUATION.OBJECTS.
        spacings: {volume: mm along (slice, row, column), or None if unknown}.
        samples: of each fold, as they were found; empty: they are found when they are read.
    """

    split: str
    images: int
    first: int = 0
    pairs: Sequence[Pair] = ()
    places: Sequence[VolumeSlice] | None = None
    spacings: Mapping[str, tuple[float, float, float] | None] = field(default_factory=dict)
    folds: Sequence[int] = ()
    objects: Sequence[ImageFile] = ()
    found: Sequence[ImageFile] = ()
    samples: Sequence[Sequence[Any]] = ()


def find_splits(folds: Sequence[DictConfig], files: Sequence[Mapping[str, SplitFiles]]) -> list[SplitData]:
    """The images of each split, those of all folds together, and the volumes that they are slices of.

    Args:
        folds: restored configs, one per fold.
        files: {split: its files} of each fold, which were verified.

    Raises:
        UserError: a volume with a missing slice, or without spacing where it is needed; folds that share an image of
            validation; an image without its label image of objects.
    """
    splits, first = [], 0
    for split in files[0]:
        of_folds = [found[split].samples for found in files]
        count = sum(map(len, of_folds))
        if folds[0].MODEL.TYPE == "classifier":
            splits.append(SplitData(split, count, first, samples=of_folds))
        else:
            pairs = [pair for found in of_folds for pair in found]
            if split == "val" and len(folds) > 1:
                check_once(pairs)
            numbers = [number for number, found in enumerate(of_folds) for _ in found] if len(folds) > 1 else []
            objects = [
                file for fold, found in zip(folds, of_folds, strict=True) for file in find_objects(fold, split, found)
            ]
            places = find_places(folds, of_folds, split)
            splits.append(SplitData(split, count, first, pairs, *places, numbers, objects, samples=of_folds))
        first += count
    return splits


def find_places(
    folds: Sequence[DictConfig], of_folds: Sequence[Sequence[Pair]], split: str
) -> tuple[list[VolumeSlice] | None, dict[str, Spacing | None]]:
    """`find_volumes` of all folds.

    Outside of validation folds share images, which are scored once for each of their networks: volumes get the number
    of the fold.
    """
    if split == "val" or len(folds) == 1:
        return find_volumes(folds[0], [pair for found in of_folds for pair in found])
    places: list[VolumeSlice] = []
    spacings: dict[str, Spacing | None] = {}
    for number, (fold, pairs) in enumerate(zip(folds, of_folds, strict=True)):
        found, own = find_volumes(fold, pairs)
        if found is None:
            return None, {}
        places += [VolumeSlice(f"{place.volume}, fold {number}", place.slice) for place in found]
        spacings |= {f"{volume}, fold {number}": spacing for volume, spacing in own.items()}
    return places, spacings


def check_once(pairs: Sequence[Pair]) -> None:
    """Raise a UserError if folds share an image, as they do where DATASET.VAL is typed beside DATASET.FOLDS."""
    image, count = Counter(pair.image for pair in pairs).most_common(1)[0]
    if count > 1:
        raise UserError(
            f"{image} is for validation in {count} folds, and would be scored as often. Leave out "
            "DATASET.VAL beside DATASET.FOLD=all, or score one fold, such as DATASET.FOLD=0."
        )


def evaluates_any_size(cfg: DictConfig) -> bool:
    """Whether the model must take images of any size: training saw crops, evaluation sees whole images."""
    return cfg.DATASET.CROP.MODE is not None
