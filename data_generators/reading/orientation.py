"""The EXIF orientation of an image: how viewers turn and mirror what is stored."""

import io
import struct

import numpy as np
from PIL import Image

from data_generators.reading.tiff import TIFF_STARTS, page_orientation

ORIENTATION = 274  # tag of EXIF


def is_turned(data: bytes) -> bool:
    """Whether viewers turn or mirror an image because of its EXIF orientation."""
    return orientation_of(data) != 1


def orientation_of(data: bytes) -> int:
    """The EXIF orientation in the bytes of an image file, 1 (as stored) to 8; 1 where there is none."""
    if data.startswith(TIFF_STARTS):
        found = page_orientation(data)
    # Most images have no EXIF, and Pillow takes as long to open one as to decode a small one.
    elif b"Exif" not in data[:65536] and b"eXIf" not in data and not (is_webp(data) and b"EXIF" in data):
        return 1
    else:
        try:
            with Image.open(io.BytesIO(data)) as picture:
                found = picture.getexif().get(ORIENTATION, 1)
        except (OSError, SyntaxError, ValueError, KeyError, struct.error):
            return 1  # damaged EXIF
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


def is_webp(data: bytes) -> bool:
    """Whether the bytes are those of a WebP file."""
    return data.startswith(b"RIFF") and data[8:12] == b"WEBP"


def turn_as_shown(pixels: np.ndarray, data: bytes) -> np.ndarray:
    """Turn and mirror an array `(height, width[, channels])` by the orientation in the bytes of its file."""
    orientation = orientation_of(data)
    if orientation == 1:
        return pixels
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)
