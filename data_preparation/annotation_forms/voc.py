"""Pascal VOC: SegmentationClass with palette PNG, JPEGImages, lists of the split in ImageSets/Segmentation.

The values of the PNG are the classes, 255 is void: nothing is drawn, every pixel is kept.
"""

import functools
from argparse import Namespace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data_generators.reading.headers import read_header, read_whole
from data_generators.reading.masks import read_mask
from data_preparation.annotation_forms.records import VOID, AnnotatedImage, Colour, Found, Shape
from data_preparation.annotation_forms.source import Source
from data_preparation.common.coco_segmentations import Region
from data_preparation.common.colour_tables import read_table
from data_preparation.common.image_files import Skipped
from data_preparation.common.splits import SPLITS
from utils.base.errors import UserError
from utils.base.text_files import read_text

FOLDER = "SegmentationClass"
VOID_VALUE = 255
CLASSES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)


class PixelsOf(NamedTuple):
    """The pixels of one value in a mask file."""

    path: Path
    value: int

    def draw(self, height: int, width: int, where: str) -> Region:
        mask = values_of(self.path)
        if mask.shape != (height, width):
            raise UserError(f"{self.path}: is {mask.shape[0]}x{mask.shape[1]} pixels, its image {height}x{width}.")
        return Region(0, 0, (mask == self.value).astype(np.uint8))


def values_of(path: Path) -> np.ndarray:
    """The values of a mask with a palette, or of a grey one: uint8 `(height, width)`.

    Raises:
        UserError: see `read_mask`; or it has colours.
    """
    return kept_values(path, path.stat().st_mtime_ns)


@functools.lru_cache(maxsize=1)
def kept_values(path: Path, changed: int) -> np.ndarray:
    """`values_of` a file of this time of change: its classes are drawn one after the other."""
    data = read_whole(path)
    try:
        return read_mask(path)
    except UserError as error:
        if read_header(path, data).has_palette:
            raise
        raise UserError(
            f"{error} If its classes are colours: index_masks.py JPEGImages {FOLDER} OUTPUT --colours labelmap.txt."
        ) from None


def recognise(source: Source) -> bool:
    """See `forms`."""
    return any(path.parent.name == FOLDER for path in source.ending(".png"))


def read(source: Source, options: Namespace) -> Found:
    """See `forms`."""
    images: list[AnnotatedImage] = []
    skipped: list[Skipped] = []
    names: list[str] = []
    colours: dict[str, Colour] = {}
    for folder in sorted({path.parent for path in source.ending(".png") if path.parent.name == FOLDER}):
        names, known = names_of_classes(folder.parent)
        colours |= {name: voc_colour(value) for value, name in enumerate(names)} | known
        splits = splits_of(folder.parent)
        for path in source.ending(".png"):
            if path.parent != folder:
                continue
            if splits and path.stem not in splits:
                skipped.append((path, "is in no list of ImageSets/Segmentation"))
                continue
            values = [value for value in np.unique(values_of(path)).tolist() if value]
            names += [f"class{number}" for number in range(len(names), 1 + max({0, *values} - {VOID_VALUE}))]
            shapes = [
                Shape(f"{path}: value {value}", VOID if value == VOID_VALUE else names[value], [PixelsOf(path, value)])
                for value in values
            ]
            where, split = str(path), splits.get(path.stem)
            beside = [f"JPEGImages/{path.stem}", path.stem]
            images.append(AnnotatedImage(where, beside, folder.parent, shapes, (path,), split=split))
    return Found(images, names, colours, skipped)


def names_of_classes(folder: Path) -> tuple[list[str], dict[str, Colour]]:
    """The classes in the order of their values, and their colours where a file says them.

    `labelmap.txt` of CVAT, `class_names.txt` of labelme; without either those of Pascal VOC.
    """
    table, listed = folder / "labelmap.txt", folder / "class_names.txt"
    if table.is_file():
        lines = read_table(table)
        return [line.name or f"class{line.label}" for line in lines], {line.name: line.colour for line in lines}
    if listed.is_file():
        names = [line.strip() for line in read_text(listed).splitlines() if line.strip() not in ("", VOID)]
        return names, {}
    return list(CLASSES), {}


def splits_of(folder: Path) -> dict[str, str]:
    """`{name: split}` of the lists in ImageSets/Segmentation; empty if there are none."""
    lists = {split: folder / "ImageSets" / "Segmentation" / f"{split}.txt" for split in SPLITS}
    return {
        name.strip(): split
        for split, path in lists.items()
        if path.is_file()
        for name in read_text(path).splitlines()
        if name.strip()
    }


def voc_colour(value: int) -> Colour:
    """The colour of a value in the palette of Pascal VOC: its bits, three at a time, from the highest bit on.

    >>> voc_colour(1), voc_colour(15)
    ((128, 0, 0), (192, 128, 128))
    """
    bits = [value >> 3 * step for step in range(8)]
    return tuple(sum((part >> channel & 1) << 7 - step for step, part in enumerate(bits)) for channel in range(3))
