"""Maps of uncertainty beside the masks: 16-bit PNG of a picture, TIFF of a stack, NIfTI on the grid of a volume."""

import numpy as np

from utils.inference.sources import VolumeSource
from utils.inference.uncertainty.members import FULL
from utils.inference.writers import MaskPrediction, Writer


class UncertaintyWriter(Writer[MaskPrediction]):
    """Writes `uncertainty/<name>`: uint16, in which 65535 is the most there can be; NIfTI says so, and reads as 0 to 1.

    What that is: `utils.inference.uncertainty.measures`.
    """

    def write(self, prediction: MaskPrediction) -> None:
        source = prediction.source
        path = self.folder / "uncertainty" / f"{source.name}{source.ending}"
        if isinstance(source, VolumeSource):
            source.save_array(path, np.stack(prediction.unsure, axis=-1), slope=1 / FULL)
        else:
            source.save_mask(path, prediction.unsure)
