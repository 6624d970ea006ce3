"""Label images of the objects of a mask: PNG of 16 bit, TIFF of a stack, and TIFF of 32 bit where numbers need it."""

import numpy as np

from utils.inference.image_sources import save_tiff
from utils.inference.writers import MaskPrediction, Writer

MOST = 65535  # objects that 16 bit can number


class ObjectWriter(Writer[MaskPrediction]):
    """Writes `objects/<name>`: the number of the object at each pixel, from 1 in each image, 0 where there is none."""

    def write(self, prediction: MaskPrediction) -> None:
        source, objects = prediction.source, prediction.objects
        path = self.folder / "objects" / f"{source.name}{source.ending}"
        if max(int(image.max(initial=0)) for image in objects) > MOST:
            save_tiff(path.with_name(f"{source.name}.tif"), objects)
        else:
            source.save_mask(path, [image.astype(np.uint16) for image in objects])
