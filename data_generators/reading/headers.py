"""Image headers: size, palette, orientation and truncation of a file, before anything is decoded."""

import io
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
from PIL import Image

from data_generators.files.image_file import ImageFile
from utils.base.errors import UserError

MAX_PIXELS = 400_000_000

PNG_START, PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"
JPEG_START, JPEG_SCAN, JPEG_END = b"\xff\xd8\xff", b"\xff\xda", b"\xff\xd9"
TIFF_STARTS = (b"II*\0", b"MM\0*")
# Tags of TIFF and EXIF
WIDTH, HEIGHT, PHOTOMETRIC, ORIENTATION = 256, 257, 262, 274

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
    header = read_header(file, data)
    if data.startswith(PNG_START):
        whole = PNG_END in data[-64:] or PNG_END in data
    elif data.startswith(JPEG_START):
        # An embedded thumbnail has an end of its own; only one after the last scan ends the image.
        whole = data.rfind(JPEG_END) > data.rfind(JPEG_SCAN)
    else:
        whole = True
    if not whole:
        raise UserError(f"{file}: the file is truncated ({len(data)} bytes). Copy or export it again.")
    return data, header


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
    """Parse PNG, JPEG and TIFF here (fast, and TIFF with any number of channels), and leave the others to Pillow."""
    if data.startswith(PNG_START):
        width, height, _, colour_type = struct.unpack_from(">IIBB", data, 16)
        return Header(height, width, has_palette=colour_type == 3)
    if data.startswith(JPEG_START):
        return Header(*jpeg_size(data), has_palette=False)
    if data.startswith(TIFF_STARTS):
        tags = tiff_tags(data)
        return Header(tags[HEIGHT], tags[WIDTH], has_palette=tags.get(PHOTOMETRIC) == 3)
    with Image.open(io.BytesIO(data)) as picture:
        return Header(picture.height, picture.width, has_palette=picture.mode == "P")


def jpeg_size(data: bytes) -> tuple[int, int]:
    """(height, width) of a JPEG file, from its frame segment."""
    position = 2
    while True:
        start, kind, length = struct.unpack_from(">BBH", data, position)
        if start != 0xFF:
            raise ValueError("no segment")
        if kind == 0xFF:  # a fill byte
            position += 1
        elif 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC):  # not the tables, which share the range
            return struct.unpack_from(">HH", data, position + 5)
        else:
            position += 2 + length


def is_grey_png(data: bytes) -> bool:
    """Whether a file is a PNG with one channel of 8 bit and no palette."""
    return data.startswith(PNG_START) and data[24:26] == b"\x08\x00"


def is_turned(data: bytes) -> bool:
    """Whether viewers turn or mirror an image because of its EXIF orientation."""
    # Most images have no EXIF, and Pillow takes as long to open one as to decode a small one.
    if not (data.startswith(TIFF_STARTS) or b"Exif" in data[:65536] or b"eXIf" in data):
        return False
    try:
        with Image.open(io.BytesIO(data)) as picture:
            return picture.getexif().get(ORIENTATION, 1) != 1
    except (OSError, SyntaxError, ValueError, KeyError, struct.error):
        return False  # damaged EXIF


def tiff_tags(data: bytes) -> dict[int, int]:
    """`{tag: value}` of the numbers in the first directory of a TIFF file."""
    return {tag: struct.unpack_from(kind, data, place)[0] for tag, kind, place in tiff_numbers(data)}


def tiff_numbers(data: bytes) -> Iterator[tuple[int, str, int]]:
    """Yield (tag, `struct` format, offset of the value) of the numbers in the first directory of a TIFF file."""
    order = "<" if data.startswith(b"II") else ">"
    (start,) = struct.unpack_from(f"{order}I", data, 4)
    (count,) = struct.unpack_from(f"{order}H", data, start)
    for position in range(start + 2, start + 2 + 12 * count, 12):
        tag, kind = struct.unpack_from(f"{order}HH", data, position)
        if kind in (3, 4):  # 16- and 32-bit numbers
            yield tag, f"{order}{'H' if kind == 3 else 'I'}", position + 8


def without_turn(data: bytes) -> bytes:
    """A TIFF file without its orientation, which OpenCV would apply; other files unchanged."""
    if not data.startswith(TIFF_STARTS):
        return data
    changed = bytearray(data)
    for tag, kind, place in tiff_numbers(data):
        if tag == ORIENTATION:
            struct.pack_into(kind, changed, place, 1)
    return bytes(changed)


def tiff_pages(path: Path) -> int:
    """The number of pages of a TIFF file, from the chain of its directories.

    Raises:
        UserError: the chain is broken. (OpenCV would count the pages before that.)
    """
    data, starts = read_bytes(path), set()
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])
    try:
        if order is None:  # BigTIFF, or another format
            return cv2.imcount(str(path))
        (start,) = struct.unpack_from(f"{order}I", data, 4)
        while start:
            if start in starts:
                raise ValueError("the chain is a circle")
            starts.add(start)
            (count,) = struct.unpack_from(f"{order}H", data, start)
            (start,) = struct.unpack_from(f"{order}I", data, start + 2 + 12 * count)
    except (ValueError, struct.error, cv2.error):
        raise UserError(f"{path}: is not a whole TIFF file. Copy or export it again.") from None
    return len(starts)
