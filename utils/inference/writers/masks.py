"""Masks: PNG of a picture, TIFF of a stack, NIfTI of a volume; class indices as values, or those of the data set.

Of overlapping classes the values are bits (`utils.base.class_bits`); NIfTI then has a fourth axis, a mask per class,
unless the values are those of DATASET.LABEL_SETS. Binary masks are a file for each class, in a folder of its name.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from utils.base.class_bits import unpack
from utils.base.files import atomic_write
from utils.inference.sources import VolumeSource
from utils.inference.writers import MaskPrediction, Writer

LONGEST_FOLDER = 60  # characters, of at most 4 bytes each


class MaskWriter(Writer[MaskPrediction]):
    """Writes `masks/<name>` in the format that fits the source; PNG with a table of colours if that is asked for."""

    def write(self, prediction: MaskPrediction) -> None:
        source = prediction.source
        path = self.folder / "masks" / f"{source.name}{source.ending}"
        if self.settings.binary:
            self.write_binary(prediction)
            return
        values = self.settings.mask_values
        if self.settings.multi_label and values is None and isinstance(source, VolumeSource):
            volume = np.stack(prediction.labels, axis=-1)
            source.save_array(path, unpack(volume, len(self.settings.class_names) - 1))
            return
        stored = self.to_stored(prediction.labels)
        if self.settings.palette and not source.is_series and stored[0].dtype == np.uint8:
            write_palette_png(path, stored[0], self.settings.colors(values))
        else:
            source.save_mask(path, stored)

    def write_binary(self, prediction: MaskPrediction) -> None:
        """Write a mask of 0 and 1 for each class that is no background."""
        source, meaning = prediction.source, self.settings.meaning
        for index, folder in enumerate(class_folders(meaning.class_names)[meaning.first_class :], meaning.first_class):
            one = [
                unpack(labels, index)[..., -1] if meaning.multi_label else (labels == index).astype(np.uint8)
                for labels in prediction.labels
            ]
            source.save_mask(self.folder / "masks" / folder / f"{source.name}{source.ending}", one)

    def to_stored(self, labels: list[np.ndarray]) -> list[np.ndarray]:
        """Class indices -> the values to write, uint8 or uint16."""
        values = self.settings.mask_values
        if values is None:
            return labels
        table = np.array(values, np.uint8 if max(values) < 256 else np.uint16)
        return [table[classes] for classes in labels]


class ColorMaskWriter(Writer[MaskPrediction]):
    """Writes `color_masks/<name>.png` of single images: class indices with a table of colours, to look at.

    Pillow reads the indices. Other readers (OpenCV, scikit-image, imageio, TensorFlow) turn them into colours, which is
    why the files in `masks` have no such table unless it is asked for.
    """

    def write(self, prediction: MaskPrediction) -> None:
        source = prediction.source
        if source.is_series:  # viewers of volumes colour labels themselves
            return
        path = self.folder / "color_masks" / f"{source.name}{source.ending}"
        write_palette_png(path, prediction.labels[0], self.settings.colors())


def class_folders(names: Sequence[str]) -> list[str]:
    """A folder for each class: its name without what a folder may not be called, or its number.

    >>> class_folders(["background", "left kidney/cyst", ".."])
    ['background', 'left_kidney_cyst', 'class2']
    """
    folders = [re.sub(r"[^\w-]+", "_", name).strip("_")[:LONGEST_FOLDER] for name in names]
    if len({folder.lower() for folder in folders}) < len(folders):  # also on file systems that do not tell a from A
        return [f"class{index}" for index in range(len(names))]
    return [folder or f"class{index}" for index, folder in enumerate(folders)]


def write_palette_png(path: Path, values: np.ndarray, colors: list[int]) -> None:
    """Write `(height, width)` uint8 with a table of colours, as `color_table` makes it."""
    picture = Image.fromarray(values)
    picture.putpalette(colors)
    with atomic_write(path, sync=False) as temporary:
        picture.save(temporary, format="PNG")
