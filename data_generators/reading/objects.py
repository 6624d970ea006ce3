"""Label images: the number of an object at each of its pixels, 0 where there is none."""

import numpy as np

from data_generators.files.image_file import ImageFile
from data_generators.reading.headers import read_whole
from data_generators.reading.mask_values import drop_equal_channels, read_values
from data_generators.reading.orientation import turn_as_shown
from data_generators.reading.tiff import TIFF_STARTS, decode_tiff_values
from utils.base.errors import UserError

MOST_OBJECTS = 2**31 - 1  # the largest number of an object


def read_objects(file: ImageFile | str, turned: bool = False) -> np.ndarray:
    """Read a label image: PNG of 8 or 16 bit, or TIFF, of 32 bit too.

    Args:
        file: the label image.
        turned: whether to turn it by its EXIF orientation, as viewers do.

    Returns:
        int32 `(height, width)`; numbers may have gaps.

    Raises:
        UserError: it cannot be read, is a colour picture, or holds other values than whole numbers from 0.
    """
    data = read_whole(file)
    if not data.startswith(TIFF_STARTS):
        return read_values(file, turned=turned).astype(np.int32)
    values = drop_equal_channels(file, decode_tiff_values(file, data)[0])
    whole = values.astype(np.int64) if np.isfinite(values).all() else values.astype(object)
    if not np.array_equal(whole, values) or values.min() < 0 or values.max() > MOST_OBJECTS:
        raise UserError(f"{file}: a label image holds numbers of objects, whole and from 0 to {MOST_OBJECTS}.")
    objects = whole.astype(np.int32)
    return turn_as_shown(objects, data) if turned else objects
