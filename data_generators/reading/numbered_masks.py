"""Masks that also say which object a pixel belongs to, so that what moves the one moves the other.

Such a mask is int32: 256 times the number of the object, plus the label. `utils.base.ignored_classes.plain` has the
label, as of all masks with more than that.
"""

import numpy as np

from data_generators.files.image_file import ImageFile, parts_of
from data_generators.files.pairing import Pair
from data_generators.reading.headers import picture_size
from data_generators.reading.masks import resize_mask
from data_generators.reading.objects import read_objects
from utils.base.errors import UserError
from utils.base.ignored_classes import plain

DTYPE = "int32"
LABELS = 256
MOST = 2**16 - 1  # objects of an image: float32, in which OpenCV moves such masks, has whole numbers up to 2**24


def with_objects(pair: Pair, mask: np.ndarray, file: ImageFile, resized: bool, turned: bool) -> np.ndarray:
    """Add the objects of a label image to a mask.

    Args:
        pair: whose mask it is.
        mask: uint8 `(height, width)`, as it was read.
        file: the label image.
        resized: whether the mask may have another size than its file.
        turned: whether images are turned by their EXIF orientation.

    Returns:
        int32 `(height, width)`.

    Raises:
        UserError: the label image cannot be read, is not of the size of the mask, or has more than 65535 objects.
    """
    objects = read_objects(file, turned)
    own, expected = objects.shape, mask.shape
    if resized and pair.mask is not None:
        own, expected = picture_size(file), picture_size(parts_of(pair.mask)[0])
    if own != expected:
        raise UserError(f"{file}: is {own[0]}x{own[1]}, the mask {pair.mask} {expected[0]}x{expected[1]}.")
    objects = resize_mask(objects, *mask.shape)
    if objects.max() > MOST:  # close the gaps
        values, numbers = np.unique(np.append(objects, 0), return_inverse=True)
        if len(values) > MOST + 1:
            raise UserError(f"{file}: has {len(values) - 1} objects; boundary weights take {MOST}. Cut the image up.")
        objects = numbers[:-1].reshape(objects.shape)
    return join(mask, objects)


def join(mask: np.ndarray, objects: np.ndarray) -> np.ndarray:
    """Labels and numbers of objects -> int32, of their shape.

    >>> join(np.uint8([0, 1, 2]), np.array([0, 3, 5])).tolist()
    [0, 769, 1282]
    """
    return objects.astype(DTYPE) * LABELS + plain(mask)


def part(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The labels, uint8, and the numbers of objects, int32, of what `join` returned.

    >>> [values.tolist() for values in part(np.int32([0, 769, 1282]))]
    [[0, 1, 2], [0, 3, 5]]
    """
    return plain(mask), mask // LABELS
