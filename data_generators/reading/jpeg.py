"""Decode JPEG files so that a warning of the decoder is an error: it goes on with grey where data is missing."""

import re
import struct

import cv2
import numpy as np
import simplejpeg

from data_generators.files.image_file import ImageFile
from utils.base.errors import UserError

JPEG_START, JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # the others of the range are tables
SCAN, END, FILL = 0xDA, 0xD9, 0xFF
WITHOUT_LENGTH = frozenset(range(0xD0, 0xD9)) | {0x01}
# In the data of a scan, FF is followed by 00 or by the number of a restart.
SCAN_ENDS = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")


def decode_jpeg(file: ImageFile | str, data: bytes) -> np.ndarray:
    """A JPEG file as uint8 `(height, width, 1 or 3)`, colours in OpenCV's BGR order.

    Raises:
        UserError: the file is damaged or incomplete; `file` names it.
    """
    try:
        kind = simplejpeg.decode_jpeg_header(data)[2]
        if kind in ("CMYK", "YCCK"):
            simplejpeg.decode_jpeg(data, "CMYK")  # only to find damage: OpenCV converts the colours
            pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
            if pixels is not None:
                return pixels
            raise ValueError("its colours cannot be converted")
        return simplejpeg.decode_jpeg(data, "GRAY" if kind == "Gray" else "BGR")
    except (ValueError, cv2.error) as error:
        raise UserError(
            f"{file}: cannot be decoded; the JPEG file is damaged ({str(error)[:120]}). Copy or export it again."
        ) from None


def jpeg_size(data: bytes) -> tuple[int, int]:
    """(height, width) of a JPEG file, from its frame segment."""
    position = 2
    while True:
        start, kind, length = struct.unpack_from(">BBH", data, position)
        if start != 0xFF:
            raise ValueError("no segment")
        if kind == FILL:
            position += 1
        elif kind in FRAMES:
            return struct.unpack_from(">HH", data, position + 5)
        else:
            position += 2 + length


def is_whole_jpeg(data: bytes) -> bool:
    """Whether the segments of a JPEG file go on to its end.

    Phones and cameras put more after that: a film, a second picture.
    """
    position = 2
    while position + 2 <= len(data) and data[position] == 0xFF:
        kind = data[position + 1]
        if kind == END:
            return True
        if kind == FILL:
            position += 1
        elif kind in WITHOUT_LENGTH:
            position += 2
        else:
            if position + 4 > len(data):
                return False
            position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
            if kind == SCAN:
                found = SCAN_ENDS.search(data, position)
                if found is None:
                    return False
                position = found.start()
    return False
