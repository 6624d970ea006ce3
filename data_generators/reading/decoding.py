"""Decode images and convert them to the channels and size that the config asks for."""

import io
import struct

import cv2
import numpy as np
from PIL import Image

from data_generators.files.image_file import ImageFile, ImageParts
from data_generators.reading.channels import Bands, choose_bands, read_parts, refuse_colours
from data_generators.reading.headers import read_whole
from data_generators.reading.jpeg import JPEG_START, decode_jpeg
from data_generators.reading.orientation import turn_as_shown
from data_generators.reading.tiff import TIFF_STARTS, decode_tiff
from data_generators.reading.value_range import ValueRange, to_uint16
from utils.base.errors import UserError

GIF_START = b"GIF8"
MOST_CHANNELS = 128  # of an array in OpenCV 5
CANNOT_DECODE = "{}: cannot be decoded; the file is damaged or of an unusual kind. Save it as PNG."

# Errors here name the file; OpenCV's own lines on stderr would repeat them without it.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def read_image(
    file: ImageFile | str,
    channels: int,
    value_range: ValueRange | None = None,
    turned: bool = False,
    bands: Bands | None = None,
) -> np.ndarray:
    """Read an image as stored: uint8 or uint16 `(height, width, channels)`, colours in RGB order.

    For 3 channels grey is repeated, for 1 channel colour becomes grey. A fourth channel, alpha, is dropped unless
    `channels` is 4 (grey with alpha is decoded as colour with alpha). Other counts must match.

    The channels of an `ImageParts` are those of its files, one after the other.

    Args:
        file: the image.
        channels: INPUT.CHANNELS.
        value_range: PREPROCESS_DATA.VALUE_RANGE, the values that become 0 and 65535, or None.
        turned: whether to turn it by its EXIF orientation, as viewers do.
        bands: DATASET.BANDS, the bands that become the channels, or None.

    Raises:
        UserError: the file is unreadable, truncated, damaged or huge, has neither 8 nor 16 bit and no value range is
            given, or its channels do not fit.
    """
    if not isinstance(file, ImageParts):
        return decode_image(file, read_whole(file), channels, value_range, turned, bands)

    def read(part: ImageFile, share: int) -> np.ndarray:
        return decode_image(part, read_whole(part), share, value_range, turned, bands, is_part=True)

    return read_parts(file, channels, read)


def decode_image(
    file: ImageFile | str,
    data: bytes,
    channels: int,
    value_range: ValueRange | None,
    turned: bool,
    bands: Bands | None = None,
    is_part: bool = False,
) -> np.ndarray:
    """`read_image` from the bytes of the file; `is_part`: of one of several files of an image."""
    pixels = decode(file, data, None if bands else channels, value_range)
    pixels = to_channels(file, pixels, channels, bands, is_part)
    return turn_as_shown(pixels, data) if turned else pixels


def decode(
    file: ImageFile | str, data: bytes, channels: int | None = None, value_range: ValueRange | None = None
) -> np.ndarray:
    """Bytes of a file -> uint8 or uint16 `(height, width, channels)`, colours in OpenCV's BGR order.

    Each format has a decoder that raises where data is missing or damaged, instead of filling the rest with grey or 0.

    Args:
        file: names the image in errors.
        data: the bytes of its file.
        channels: see `data_generators.reading.tiff.decode_tiff`.
        value_range: see `read_image`.

    Raises:
        UserError: `data` cannot be decoded as a whole, or has neither 8 nor 16 bit.
    """
    if data.startswith(TIFF_STARTS):
        return decode_tiff(file, data, channels, value_range)
    if data.startswith(JPEG_START):
        pixels = decode_jpeg(file, data)
    else:
        pixels = decode_gif(file, data) if data.startswith(GIF_START) else decode_other(file, data)
    if value_range is not None or pixels.dtype not in (np.uint8, np.uint16):
        pixels = to_uint16(file, pixels, value_range)
    return pixels if pixels.ndim == 3 else pixels[:, :, np.newaxis]


def decode_other(file: ImageFile | str, data: bytes) -> np.ndarray:
    """PNG, BMP, WebP and JPEG 2000: OpenCV refuses these where they are not whole."""
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        pixels = None
    if pixels is None:
        raise UserError(CANNOT_DECODE.format(file))
    return pixels


def decode_gif(file: ImageFile | str, data: bytes) -> np.ndarray:
    """The first frame of a GIF, uint8 `(height, width, 1, 3 or 4)`; OpenCV makes its transparent pixels black."""
    decode_other(file, data)  # only to find damage
    try:
        with Image.open(io.BytesIO(data)) as picture:
            if "transparency" in picture.info:
                return np.asarray(picture.convert("RGBA"))[:, :, [2, 1, 0, 3]]
            pixels = np.asarray(picture if picture.mode == "L" else picture.convert("RGB"))
    except (OSError, SyntaxError, ValueError, EOFError, struct.error):
        raise UserError(CANNOT_DECODE.format(file)) from None
    return pixels if pixels.ndim == 2 else pixels[:, :, ::-1]


def to_channels(
    file: ImageFile | str, pixels: np.ndarray, channels: int, bands: Bands | None = None, is_part: bool = False
) -> np.ndarray:
    """Convert what `decode` returns to a number of channels, as `read_image` does; `file` names it in errors."""
    if bands is not None:
        return choose_bands(file, pixels, bands)
    if is_part:
        refuse_colours(file, pixels, channels)
    count = stored = pixels.shape[2]
    if count == 4 and channels != 4:
        pixels, count = pixels[:, :, :3], 3
    if (count, channels) == (1, 3):
        return np.repeat(pixels, 3, axis=2)
    if (count, channels) == (3, 1):
        return cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)[:, :, np.newaxis]
    if count != channels:
        wanted = f"its share of INPUT.CHANNELS is {channels}" if is_part else f"INPUT.CHANNELS={channels}"
        raise UserError(f"{file}: has {stored} channels, {wanted}. DATASET.BANDS chooses some.")
    if count == 3:
        return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
    if count == 4:
        return cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGBA)
    return pixels


def to_unit_range(image: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """uint8 or uint16 -> float32 in [0, 1], divided by the range of the type (255 or 65535); float32 is unchanged.

    Args:
        image: any shape.
        out: array of that shape to write the values to, or None.

    Example:
        >>> to_unit_range(np.array([0, 255], np.uint8)).tolist()
        [0.0, 1.0]
    """
    if image.dtype == np.float32:
        if out is None:
            return image
        out[...] = image
        return out
    return np.divide(image, np.float32(np.iinfo(image.dtype).max), out=out, dtype=np.float32)


def resize_image(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize `(height, width[, channels])`: area averages to shrink, cubic interpolation to enlarge; keeps the type.

    Example:
        >>> resize_image(np.zeros((40, 60, 3), np.uint8), 20, 30).shape
        (20, 30, 3)
    """
    if image.shape[:2] == (height, width):
        return image
    if image.ndim == 3 and image.shape[2] > MOST_CHANNELS:
        groups = np.array_split(image, -(-image.shape[2] // MOST_CHANNELS), axis=2)
        return np.concatenate([resize_image(np.ascontiguousarray(group), height, width) for group in groups], axis=2)
    shrinks = height * width < image.shape[0] * image.shape[1]
    resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
    return resized.reshape(height, width, *image.shape[2:])
