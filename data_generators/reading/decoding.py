"""Decode images and bring them to the channels and size that the config asks for."""

import struct

import cv2
import numpy as np

from data_generators.reading.headers import read_whole, without_turn
from utils.base.errors import UserError

# Errors are raised with the file's name; OpenCV's own lines on stderr would only repeat them without it.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def read_image(path, channels):
    """Read a picture as stored: uint8 or uint16 `(height, width, channels)`, colours in RGB order.

    Grey is repeated to 3 channels and colour becomes grey for 1. A fourth channel (alpha; grey with alpha is decoded as
    colour with alpha) is dropped unless `channels` is 4. Other counts must match.

    Raises:
        UserError: unreadable, truncated or huge file, another type than 8 or 16 bit, channels that do not fit.
    """
    return to_channels(path, decode(path, read_whole(path)), channels)


def to_channels(path, pixels, channels):
    """`read_image` of pixels `(height, width, channels)` that are decoded already, colours in OpenCV's BGR order."""
    count = stored = pixels.shape[2]
    if count == 4 and channels != 4:
        pixels, count = pixels[:, :, :3], 3
    if (count, channels) == (1, 3):
        return np.repeat(pixels, 3, axis=2)
    if (count, channels) == (3, 1):
        return cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)[:, :, np.newaxis]
    if count != channels:
        raise UserError(f"{path}: has {stored} channels, INPUT.CHANNELS={channels}.")
    if count == 3:
        return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
    if count == 4:
        return cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGBA)
    return pixels


def to_unit_range(image, out=None):
    """uint8 or uint16 -> float32 in [0, 1], by the range of the type (255 or 65535); float32 is left as it is.

    With `out`, an array of that shape, the values are written there.
    """
    if image.dtype == np.float32:
        if out is None:
            return image
        out[...] = image
        return out
    return np.divide(image, np.float32(np.iinfo(image.dtype).max), out=out, dtype=np.float32)


def resize_image(image, height, width):
    """Resize `(height, width[, channels])`, averaging areas when it shrinks, cubic when it grows; keeps the type."""
    if image.shape[:2] == (height, width):
        return image
    shrinks = height * width < image.shape[0] * image.shape[1]
    resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
    return resized.reshape(height, width, *image.shape[2:])


def decode(path, data):
    """Bytes of a file -> uint8 or uint16 `(height, width, channels)`, colours in OpenCV's BGR order."""
    try:
        pixels = cv2.imdecode(np.frombuffer(without_turn(data), np.uint8), cv2.IMREAD_UNCHANGED)
    except (cv2.error, struct.error):
        pixels = None
    if pixels is None:
        raise UserError(
            f"{path}: cannot be decoded; the file is damaged or of an unusual kind (5 channels, say). Save it as PNG."
        )
    if pixels.dtype not in (np.uint8, np.uint16):
        raise UserError(f"{path}: holds {pixels.dtype} values; pictures of 8 or 16 bit are read. Convert it.")
    return pixels if pixels.ndim == 3 else pixels[:, :, np.newaxis]
