"""Label images of objects that any tool wrote, as masks of one class: EVALUATION.OBJECTS."""

import numpy as np

from data_generators.reading.objects import read_objects
from utils.base.errors import UserError
from utils.evaluation.mask_files import FolderMasks, Grid


class ObjectMasks(FolderMasks):
    """Pictures or pages of TIFF files, in which every number above 0 is an object of class 1."""

    def read(self, name: str, grid: Grid) -> np.ndarray:
        if self.volumes:
            raise UserError(f"{self.names[name]}: is a volume, and EVALUATION.OBJECTS=True takes label images.")
        return (read_objects(self.names[name], self.settings.turned) > 0).astype(np.uint8)[np.newaxis]
