"""Convert nuclei (2018 Data Science Bowl, stage1_train): `<id>/images/<id>.png`, `<id>/masks/*.png`, one per nucleus.

    python data_preparation/nuclei.py stage1_train data/nuclei
    python data_preparation/nuclei.py stage1_train data/nuclei --border 1 --objects     # touching nuclei stay apart

All nuclei of an image become class 1. Where some touch, they are one piece in such a mask; --border N makes those of
their pixels background that are within N pixels of another nucleus, --border-class a class of their own. --objects
keeps the nuclei themselves, as label images.
"""

import sys
from argparse import Namespace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that this file runs as a script from any folder

import numpy as np

from data_generators.reading.masks import read_mask
from data_preparation.common.command_line import dataset_command
from data_preparation.common.dataset_writer import Conversion, MadeMask, NewPair
from data_preparation.common.image_files import list_images, raise_problems
from data_preparation.common.objects import OBJECT_OPTIONS, ObjectMasks
from data_preparation.common.splits import existing_path, with_splits
from utils.base.errors import UserError

CLASSES = ("background", "nucleus")


def collect(options: Namespace) -> Conversion:
    """Find the images and the masks of their nuclei."""
    chosen = ObjectMasks.from_options(options, len(CLASSES))
    paths, skipped = list_images(existing_path(Path(options.source)), recursive=True)
    images: list[Path] = []
    masks: dict[Path, list[Path]] = {}
    for path in paths:
        if path.parent.name == "masks":
            masks.setdefault(path.parent.parent, []).append(path)
        elif path.parent.name == "images" and path.stem == path.parent.parent.name:
            images.append(path)
        else:
            skipped.append((path, "neither <id>/images/<id>.png nor <id>/masks/*.png"))
    folders = [path.parent.parent for path in images]
    raise_problems(
        [
            f"{path} has no masks in {folder / 'masks'}."
            for path, folder in zip(images, folders, strict=True)
            if folder not in masks
        ]
        + [
            f"{folder} has masks, but no image {folder / 'images' / folder.name}.png."
            for folder in masks
            if folder not in set(folders)
        ]
    )
    pairs = [
        NewPair(
            None,
            path,
            folder.name,
            folder.name,
            (masks[folder], chosen),
            tuple(masks[folder]),
        )
        for path, folder in zip(images, folders, strict=True)
    ]
    pairs, names = with_splits(pairs, [pair.name for pair in pairs], options), chosen.class_names([*CLASSES])
    return Conversion(pairs, join_nuclei, skipped, names, objects=chosen.objects)


def join_nuclei(pair: NewPair, height: int, width: int) -> MadeMask:
    """The nuclei as class 1, but for the pixels that are too near to another; where some overlap, the last counts."""
    files, chosen = pair.annotation
    numbers = np.zeros((height, width), np.int32)
    for number, file in enumerate(files, start=1):
        numbers[read_nucleus(file, height, width) > 0] = number
    return chosen.finish((numbers > 0).astype(np.uint8), numbers, pair.image)


def read_nucleus(path: Path, height: int, width: int) -> np.ndarray:
    """One nucleus, 0 and 255 as 0 and 1: uint8 `(height, width)`."""
    mask = read_mask(path)
    if mask.shape != (height, width):
        raise UserError(f"{path}: is {mask.shape[0]}x{mask.shape[1]} pixels, its image {height}x{width}.")
    if np.count_nonzero(mask) != np.count_nonzero(mask == 255):
        raise UserError(f"{path}: contains the values {np.unique(mask)[:10].tolist()}; a mask has 0 and 255.")
    return (mask > 0).astype(np.uint8)


SOURCES = {"source": "the folder stage1_train, with one folder per image"}

main = dataset_command(__doc__, SOURCES, collect, OBJECT_OPTIONS)

if __name__ == "__main__":
    main()
