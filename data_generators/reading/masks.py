"""Read masks: stored values to class indices."""

import functools
import io
import struct
import zlib

import cv2
import numpy as np
from PIL import Image

from data_generators.reading.decoding import decode
from data_generators.reading.headers import read_header, read_whole, without_turn
from utils.base.errors import UserError


def read_mask_as(path, settings):
    """`read_mask` with the `ReadSettings` of the config."""
    return read_mask(path, settings.divide_mask_by, settings.ignore_label, settings.label_values)


def read_mask(path, divide_by=1, ignore_label=None, label_values=None):
    """Read a mask: uint8 `(height, width)` class indices, the stored values divided by `divide_by` and rounded.

    With `label_values` a class index is the place of the stored value in that tuple. Pixels that are stored as
    `ignore_label` keep that value.

    A palette picture gives its indices, not its colours; a grey picture stored as colour its grey value.

    Raises:
        UserError: as `read_image`; also colours, values above 255, and values that are not in `label_values`.
    """
    values = read_values(path)
    if label_values is not None:
        return look_up(path, values, label_values, ignore_label)
    if divide_by != 1:
        divided = np.rint(values.astype(np.float32) / divide_by)
        values = divided if ignore_label is None else np.where(values == ignore_label, ignore_label, divided)
    if values.dtype != np.uint8:
        largest = int(values.max())
        if largest > 255:
            raise UserError(f"{path}: holds the value {largest}; class indices of a mask go up to 255.")
        values = values.astype(np.uint8)
    return values


def read_values(path):
    """The values a mask is stored with: uint8 or uint16 `(height, width)`, indices of a palette."""
    data = read_whole(path)
    if read_header(path, data).has_palette:
        try:
            return np.asarray(Image.open(io.BytesIO(without_turn(data))))
        except (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error):
            raise UserError(f"{path}: cannot be decoded; the file is damaged. Copy or export it again.") from None
    return drop_equal_channels(path, decode(path, data))


def look_up(path, values, label_values, ignore_label):
    """Stored values -> uint8 class indices, the places of the values in `label_values`."""
    table = class_table(label_values, ignore_label)
    classes = table[values]
    if classes.min() < 0:
        unknown = int(values[classes < 0][0])
        ignored = "" if ignore_label is None else f" and DATASET.IGNORE_LABEL={ignore_label}"
        raise UserError(
            f"{path}: holds the value {unknown}; DATASET.LABEL_VALUES has {list(label_values)}{ignored}. Add "
            "its class, or ignore it."
        )
    return classes.astype(np.uint8)


@functools.cache
def class_table(label_values, ignore_label):
    """int16 `(65536,)`: the class index of each value a mask may hold, -1 for those it must not."""
    table = np.full(65536, -1, np.int16)
    table[list(label_values)] = np.arange(len(label_values))
    if ignore_label is not None:
        table[ignore_label] = ignore_label
    return table


def drop_equal_channels(path, pixels):
    """`(height, width, channels)` -> `(height, width)`, where the colour channels are all the same."""
    first = pixels[:, :, 0]
    if any(not np.array_equal(first, pixels[:, :, channel]) for channel in range(1, min(pixels.shape[2], 3))):
        raise UserError(
            f"{path}: is a colour picture; a mask needs one channel whose pixel value is the class index "
            "(0, 1, ...). Save it as grey or with a palette."
        )
    return first


def is_foreground(mask: np.ndarray, ignore_label: int | None) -> np.ndarray:
    """Which pixels of a mask are foreground: bool, of its shape."""
    return (mask > 0) & (mask != (0 if ignore_label is None else ignore_label))


def resize_mask(mask, height, width):
    """Resize `(height, width)` labels without mixing them: the nearest pixel, by its centre."""
    if mask.shape == (height, width):
        return mask
    return cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
