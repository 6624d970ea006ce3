"""Image headers: size, palette, orientation and truncation, before anything is decoded."""

import io
import struct
from pathlib import Path
from typing import NamedTuple

import cv2
from PIL import Image

from utils.base.errors import UserError

MAX_PIXELS = 400_000_000

PNG_START = b"\x89PNG\r\n\x1a\n"

PNG_END = b"IEND\xaeB`\x82"

TIFF_STARTS, ORIENTATION = (b"II*\0", b"MM\0*"), 274

JPEG_START, JPEG_SCAN, JPEG_END = b"\xff\xd8\xff", b"\xff\xda", b"\xff\xd9"

# Pillow warns from a smaller size on; the limit here is checked by read_header.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS


class Header(NamedTuple):
    """What a picture file promises before it is decoded."""

    height: int
    width: int
    has_palette: bool


def picture_size(path):
    """(height, width) of a picture file, from its header; decodes nothing.

    Raises:
        UserError: the file is no picture, or promises more than 400 million pixels.
    """
    return tuple(read_header(path, read_bytes(path))[:2])


def read_whole(path):
    """The bytes of a picture file that is not too large to decode and not cut short."""
    return read_whole_and_header(path)[0]


def read_whole_and_header(path):
    """`read_whole`, and the `Header` of the file."""
    data = read_bytes(path)
    header = read_header(path, data)
    if data.startswith(PNG_START):
        whole = PNG_END in data[-64:] or PNG_END in data
    elif data.startswith(JPEG_START):
        # A thumbnail inside has an end of its own; only one after the last scan ends the picture.
        whole = data.rfind(JPEG_END) > data.rfind(JPEG_SCAN)
    else:
        whole = True
    if not whole:
        raise UserError(f"{path}: the file is truncated ({len(data)} bytes). Copy or export it again.")
    return data, header


def read_bytes(path):
    try:
        # A picture inside a shard (`data_generators.files.tfrecord_index`) reads itself.
        return path.read_bytes() if hasattr(path, "read_bytes") else Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}.") from None


def read_header(path, data):
    """Height, width and kind of a picture from the first bytes of its file.

    Raises:
        UserError: not a picture, or more than 400 million pixels.
    """
    try:
        header = parse_header(data)
    except Image.DecompressionBombError:
        raise UserError(f"{path}: promises more than {MAX_PIXELS:,} pixels and is not read.") from None
    except (OSError, SyntaxError, ValueError, KeyError, struct.error):
        kind = "is not a picture that can be read (PNG, JPEG, TIFF, BMP)" if data else "is empty"
        raise UserError(f"{path}: {kind}.") from None
    if header.height * header.width > MAX_PIXELS:
        raise UserError(
            f"{path}: promises {header.height}x{header.width} pixels, more than {MAX_PIXELS:,}, and is not read."
        )
    return header


def parse_header(data):
    """PNG, JPEG and TIFF by hand (fast, and TIFF with any number of channels); Pillow knows the others."""
    if data.startswith(PNG_START):
        width, height, _, colour_type = struct.unpack_from(">IIBB", data, 16)
        return Header(height, width, has_palette=colour_type == 3)
    if data.startswith(JPEG_START):
        return Header(*jpeg_size(data), has_palette=False)
    if data.startswith(TIFF_STARTS):
        tags = tiff_tags(data)
        return Header(tags[257], tags[256], has_palette=tags.get(262) == 3)
    with Image.open(io.BytesIO(data)) as picture:
        return Header(picture.height, picture.width, has_palette=picture.mode == "P")


def jpeg_size(data):
    """(height, width) of a JPEG file, from the segment before its first scan that tells them."""
    position = 2
    while True:
        start, kind, length = struct.unpack_from(">BBH", data, position)
        if start != 0xFF:
            raise ValueError("no segment")
        if kind == 0xFF:  # a byte that only fills
            position += 1
        elif 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC):  # tables have those numbers too
            return struct.unpack_from(">HH", data, position + 5)
        else:
            position += 2 + length


def is_grey_png(data):
    """Whether a file is a PNG whose values are stored as they are read: one channel of 8 bit, no palette."""
    return data.startswith(PNG_START) and data[24:26] == b"\x08\x00"


def is_turned(data):
    """Whether a picture asks those who show it to turn or mirror it (EXIF orientation)."""
    # Most pictures hold no EXIF, and opening them with Pillow takes as long as decoding a small one.
    if not (data.startswith(TIFF_STARTS) or b"Exif" in data[:65536] or b"eXIf" in data):
        return False
    try:
        with Image.open(io.BytesIO(data)) as picture:
            return picture.getexif().get(ORIENTATION, 1) != 1
    except (OSError, SyntaxError, ValueError, KeyError, struct.error):
        return False  # damaged EXIF: nothing is known


def tiff_tags(data):
    """`{tag: value}` of the numbers in the first directory of a TIFF file."""
    return {tag: struct.unpack_from(kind, data, place)[0] for tag, kind, place in tiff_numbers(data)}


def tiff_numbers(data):
    """(tag, how `struct` calls its type, where its value is) of the numbers in the first directory of a TIFF file."""
    order = "<" if data.startswith(b"II") else ">"
    (start,) = struct.unpack_from(f"{order}I", data, 4)
    (count,) = struct.unpack_from(f"{order}H", data, start)
    for position in range(start + 2, start + 2 + 12 * count, 12):
        tag, kind = struct.unpack_from(f"{order}HH", data, position)
        if kind in (3, 4):  # 16- and 32-bit numbers
            yield tag, f"{order}{'H' if kind == 3 else 'I'}", position + 8


def without_turn(data):
    """A TIFF file without its orientation, which OpenCV would follow; other files as they are."""
    if not data.startswith(TIFF_STARTS):
        return data
    changed = bytearray(data)
    for tag, kind, place in tiff_numbers(data):
        if tag == ORIENTATION:
            struct.pack_into(kind, changed, place, 1)
    return bytes(changed)


def tiff_pages(path):
    """How many pages a TIFF file has, from the chain of its directories.

    Raises:
        UserError: the chain is broken; what OpenCV counts then are the pages before that.
    """
    data, starts = read_bytes(path), set()
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])
    try:
        if order is None:  # a large TIFF, or another kind of picture
            return cv2.imcount(str(path))
        (start,) = struct.unpack_from(f"{order}I", data, 4)
        while start:
            if start in starts:
                raise ValueError("a circle")
            starts.add(start)
            (count,) = struct.unpack_from(f"{order}H", data, start)
            (start,) = struct.unpack_from(f"{order}I", data, start + 2 + 12 * count)
    except (ValueError, struct.error, cv2.error):
        raise UserError(f"{path}: is not a whole TIFF file. Copy or export it again.") from None
    return len(starts)
