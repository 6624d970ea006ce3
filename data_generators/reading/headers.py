"""Image headers: size, palette, orientation and truncation of a file, before anything is decoded."""

import io
import struct
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from data_generators.files.image_file import ImageFile
from data_generators.reading.jpeg import JPEG_START, is_whole_jpeg, jpeg_size
from data_generators.reading.tiff import MAX_PIXELS, TIFF_STARTS, page_header
from utils.base.errors import UserError

PNG_START, PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"

# Pillow warns above a smaller size. `read_header` checks the limit here.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS


class Header(NamedTuple):
    """Size in pixels, and whether the values of the file are indices of a palette."""

    height: int
    width: int
    has_palette: bool


def picture_size(file: ImageFile | str) -> tuple[int, int]:
    """(height, width) of an image file, from its header.

    Raises:
        UserError: it is no image, or has more than 400 million pixels.
    """
    header = read_header(file, read_bytes(file))
    return header.height, header.width


def read_whole(file: ImageFile | str) -> bytes:
    """The bytes of an image file.

    Raises:
        UserError: it is no image, is truncated, or has more than 400 million pixels.
    """
    return read_whole_and_header(file)[0]


def read_whole_and_header(file: ImageFile | str) -> tuple[bytes, Header]:
    """`read_whole`, and the header of the file."""
    data = read_bytes(file)
    return data, check_whole(file, data)


def check_whole(file: ImageFile | str, data: bytes) -> Header:
    """The header of an image from the bytes of its file, after a check that they are all there."""
    header = read_header(file, data)
    if data.startswith(PNG_START):
        whole = PNG_END in data[-64:] or PNG_END in data
    elif data.startswith(JPEG_START):
        whole = is_whole_jpeg(data)
    else:
        whole = True
    if not whole:
        raise UserError(f"{file}: the file is truncated ({len(data)} bytes). Copy or export it again.")
    return header


def read_bytes(file: ImageFile | str) -> bytes:
    """The bytes of a file.

    Raises:
        UserError: it cannot be read.
    """
    try:
        return Path(file).read_bytes() if isinstance(file, str) else file.read_bytes()
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}.") from None


def read_header(file: ImageFile | str, data: bytes) -> Header:
    """The header of an image from the bytes of its file; `file` names it in errors.

    Raises:
        UserError: it is no image, or has more than 400 million pixels.
    """
    try:
        header = parse_header(data)
    except Image.DecompressionBombError:
        raise UserError(f"{file}: promises more than {MAX_PIXELS:,} pixels and is not read.") from None
    except (OSError, SyntaxError, ValueError, KeyError, struct.error):
        kind = "is not a picture that can be read (PNG, JPEG, TIFF, BMP)" if data else "is empty"
        raise UserError(f"{file}: {kind}.") from None
    if header.height * header.width > MAX_PIXELS:
        raise UserError(
            f"{file}: promises {header.height}x{header.width} pixels, more than {MAX_PIXELS:,}, and is not read."
        )
    return header


def parse_header(data: bytes) -> Header:
    """PNG, JPEG and TIFF (of any number of bands) without Pillow, which takes as long as decoding a small image."""
    if data.startswith(PNG_START):
        width, height, _, colour_type = struct.unpack_from(">IIBB", data, 16)
        return Header(height, width, has_palette=colour_type == 3)
    if data.startswith(JPEG_START):
        return Header(*jpeg_size(data), has_palette=False)
    if data.startswith(TIFF_STARTS):
        return Header(*page_header(data))
    with Image.open(io.BytesIO(data)) as picture:
        return Header(picture.height, picture.width, has_palette=picture.mode == "P")


def is_grey_png(data: bytes) -> bool:
    """Whether a file is a PNG with one channel of 8 bit and no palette."""
    return data.startswith(PNG_START) and data[24:26] == b"\x08\x00"
