"""Write PNG files: two encoders, each the fastest for its kind of picture.

`encode_png` suits masks and any number of channels; `write_png` suits the noisy slices of scans.
"""

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
from isal import isal_zlib

from data_generators.reading.headers import PNG_START

COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # of PNG, by channels


def write_png(path: Path, pixels: np.ndarray) -> None:
    """Write uint8 or uint16 `(height, width[, 3])`, blue first, with OpenCV.

    Raises:
        OSError: it cannot be written.
    """
    # OpenCV's default (run-length strategy) was the fastest of 30 settings: a third of the time of zlib's level 1.
    if not cv2.imwrite(str(path), pixels):
        raise OSError(f"{path} could not be written; is the disk full?")


def encode_png(pixels: np.ndarray) -> bytes:
    """Encode uint8 or uint16 `(height, width[, channels])`, blue first, as PNG.

    Each row is stored as the difference from the row above, which suits the flat areas of masks. ISA-L compresses
    several times as fast as the zlib in OpenCV's writer, to about the same size.
    """
    height, width = pixels.shape[:2]
    channels = pixels.size // (height * width)
    if channels > 2:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB if channels == 3 else cv2.COLOR_BGRA2RGBA)
    depth = pixels.itemsize
    values = pixels.astype(">u2") if depth == 2 else np.ascontiguousarray(pixels)
    values = values.view(np.uint8).reshape(height, -1)
    rows = np.empty((height, values.shape[1] + 1), np.uint8)
    rows[:, 0] = 2  # PNG's filter "up"
    rows[0, 1:] = values[0]
    np.subtract(values[1:], values[:-1], out=rows[1:, 1:])
    parts = {
        b"IHDR": struct.pack(">IIBBBBB", width, height, 8 * depth, COLOUR_TYPES[channels], 0, 0, 0),
        b"IDAT": isal_zlib.compress(rows, 1),
        b"IEND": b"",
    }
    chunks = (
        struct.pack(">I", len(part)) + kind + part + struct.pack(">I", zlib.crc32(kind + part))
        for kind, part in parts.items()
    )
    return PNG_START + b"".join(chunks)
