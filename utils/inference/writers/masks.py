"""Masks: PNG of a picture, TIFF of a stack, NIfTI of a volume; class indices as values.

Of overlapping classes the values are bits (`utils.base.class_bits`); NIfTI then has a fourth axis, a mask per class.
"""

import numpy as np

from utils.base.class_bits import unpack
from utils.inference.sources import VolumeSource
from utils.inference.writers import MaskPrediction, Writer


class MaskWriter(Writer[MaskPrediction]):
    """Writes `masks/<name>` in the format that fits the source."""

    def write(self, prediction: MaskPrediction) -> None:
        source = prediction.source
        path = self.folder / "masks" / f"{source.name}{source.ending}"
        if self.settings.multi_label and isinstance(source, VolumeSource):
            volume = np.stack(prediction.labels, axis=-1)
            source.save_array(path, unpack(volume, len(self.settings.class_names) - 1))
            return
        source.save_mask(path, prediction.labels)
