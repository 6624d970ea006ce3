"""Probabilities of each class: `.npy`, or NIfTI on the grid of a volume; float32."""

import numpy as np

from utils.base.files import atomic_write
from utils.inference.sources import VolumeSource
from utils.inference.writers import MaskPrediction, Writer


class ProbabilityWriter(Writer[MaskPrediction]):
    """Writes `probabilities/<name>.npy`, `([slices, ]height, width, classes)`, or of a volume `.nii.gz`."""

    def write(self, prediction: MaskPrediction) -> None:
        source, array = prediction.source, prediction.probabilities
        assert array is not None
        folder = self.folder / "probabilities"
        if isinstance(source, VolumeSource):
            source.save_array(folder / f"{source.name}.nii.gz", array)
            return
        array = np.moveaxis(array, 2, 0) if source.is_series else array[:, :, 0]
        with atomic_write(folder / f"{source.name}.npy", sync=False) as temporary:
            np.save(temporary, np.ascontiguousarray(array), allow_pickle=False)
