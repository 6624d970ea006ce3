"""Encode PNG files."""

import struct
import zlib

import cv2
import numpy as np
from isal import isal_zlib

from data_generators.reading.headers import PNG_START

COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # of PNG, by channels


def encode_png(pixels):
    """uint8 or uint16 `(height, width[, channels])` as PNG: each row as the difference from the one above.

    Colours are in OpenCV's BGR order. That filter suits flat masks, and ISA-L compresses several times as fast as the
    zlib of OpenCV's writer, to about the same size.
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
