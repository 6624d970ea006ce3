"""Masks: PNG of a picture, TIFF of a stack, NIfTI of a volume; class indices as values, or those of the data set.

Of overlapping classes the values are bits (`utils.base.class_bits`); NIfTI then has a fourth axis, a mask per class,
unless the values are those of DATASET.LABEL_SETS.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from utils.base.class_bits import unpack
from utils.base.files import atomic_write
from utils.inference.sources import VolumeSource
from utils.inference.writers import MaskPrediction, Writer


class MaskWriter(Writer[MaskPrediction]):
    """Writes `masks/<name>` in the format that fits the source; PNG with a table of colours if that is asked for."""

    def write(self, prediction: MaskPrediction) -> None:
        source = prediction.source
        path = self.folder / "masks" / f"{source.name}{source.ending}"
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


def write_palette_png(path: Path, values: np.ndarray, colors: list[int]) -> None:
    """Write `(height, width)` uint8 with a table of colours, as `color_table` makes it."""
    picture = Image.fromarray(values)
    picture.putpalette(colors)
    with atomic_write(path) as temporary:
        picture.save(temporary, format="PNG")
