"""Convert nuclei (2018 Data Science Bowl, stage1_train): `<id>/images/<id>.png`, `<id>/masks/*.png`, one per nucleus.

    python data_preparation/nuclei.py stage1_train data/nuclei
    python data_preparation/nuclei.py stage1_train data/nuclei --border 1     # touching nuclei stay apart

All nuclei of an image become class 1. Where some touch, they are one piece in such a mask; --border N makes those of
their pixels background that are within N pixels of another nucleus.
"""

import sys
from argparse import Namespace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that this file runs as a script from any folder

import cv2
import numpy as np

from data_generators.reading.masks import read_mask
from data_preparation.common.command_line import dataset_command
from data_preparation.common.dataset_writer import Conversion, NewPair
from data_preparation.common.image_files import list_images, raise_problems
from data_preparation.common.splits import existing_path, with_splits
from utils.base.errors import UserError

CLASSES = ("background", "nucleus")


def collect(options: Namespace) -> Conversion:
    """Find the images and the masks of their nuclei."""
    if options.border < 0:
        raise UserError(f"--border {options.border}: a number of pixels is at least 0.")
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
            (masks[folder], options.border),
            tuple(masks[folder]),
        )
        for path, folder in zip(images, folders, strict=True)
    ]
    return Conversion(with_splits(pairs, [pair.name for pair in pairs], options), join_nuclei, skipped, CLASSES)


def join_nuclei(pair: NewPair, height: int, width: int) -> np.ndarray:
    """The union of the nuclei as 0 and 1, without the pixels that are too near to another nucleus."""
    files, border = pair.annotation
    kernel = np.ones((2 * border + 1, 2 * border + 1), np.uint8)
    near, union = np.zeros((2, height, width), np.uint8)
    for file in files:
        nucleus = read_nucleus(file, height, width)
        union |= nucleus
        near += cv2.dilate(nucleus, kernel) > 0
    return union if border == 0 else union * (near < 2)


def read_nucleus(path: Path, height: int, width: int) -> np.ndarray:
    """One nucleus, 0 and 255 as 0 and 1: uint8 `(height, width)`."""
    mask = read_mask(path)
    if mask.shape != (height, width):
        raise UserError(f"{path}: is {mask.shape[0]}x{mask.shape[1]} pixels, its image {height}x{width}.")
    if np.count_nonzero(mask) != np.count_nonzero(mask == 255):
        raise UserError(f"{path}: contains the values {np.unique(mask)[:10].tolist()}; a mask has 0 and 255.")
    return (mask > 0).astype(np.uint8)


SOURCES = {"source": "the folder stage1_train, with one folder per image"}
OPTIONS = {
    "--border": {
        "type": int,
        "default": 0,
        "metavar": "N",
        "help": "pixels of nuclei that become background towards another nucleus (default 0)",
    }
}

main = dataset_command(__doc__, SOURCES, collect, OPTIONS)

if __name__ == "__main__":
    main()
