"""What a picture file loses or hides before it is decoded: lossy compression and further frames."""

import io
import mmap
import struct

from PIL import Image

from data_generators.files.image_file import ImageFile
from data_generators.files.tfrecord_index import ShardEntry
from data_generators.reading.headers import JPEG_START, PNG_START
from data_generators.reading.tiff import TIFF_STARTS, tag_numbers
from data_generators.reading.tiff_pages import path_of

HEAD = 4096  # bytes that tell the compression, except in TIFF files, whose tags may be anywhere
COMPRESSION = 259
LOSSY_TIFF = {6, 7, 33003, 33005, 34712, 50001}  # JPEG old and new, JPEG 2000 of two makers, WebP
CODING_STYLE = b"\xff\x52"  # the marker COD of JPEG 2000; its 14th byte is 0 for the transform that loses something
ANIMATIONS = (b"GIF8", b"RIFF")


def is_lossy(file: ImageFile) -> bool:
    """Whether a picture is compressed so that values change, whatever its name says. BigTIFF is taken for lossless."""
    if isinstance(file, ShardEntry):
        return loses_values(file.read_bytes())
    with open(path_of(file), "rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return loses_values(data)  # mapped: a stack is not read for each of its pages


def loses_values(data: bytes | mmap.mmap) -> bool:
    """`is_lossy` of the bytes of a file."""
    head = data[:HEAD]
    if head.startswith(TIFF_STARTS):
        try:
            return tag_numbers(data).get(COMPRESSION) in LOSSY_TIFF
        except struct.error:
            return False  # BigTIFF
    if head[:4] == b"RIFF":
        return head[12:16] == b"VP8 "  # VP8L is lossless
    if head[4:8] == b"jP  " or head.startswith(b"\xff\x4f"):
        style = head.find(CODING_STYLE)
        return style >= 0 and head[style + 13 : style + 14] == b"\0"
    return head.startswith(JPEG_START)


def has_frames(data: bytes) -> bool:
    """Whether a PNG, GIF or WebP file is an animation, of which the first frame is read.

    >>> has_frames(b"GIF87a")
    False
    """
    if data.startswith(PNG_START):
        return b"acTL" in data[: max(data.find(b"IDAT"), 0)]
    if not data.startswith(ANIMATIONS):
        return False
    try:
        with Image.open(io.BytesIO(data)) as picture:
            return getattr(picture, "n_frames", 1) > 1
    except (OSError, SyntaxError, ValueError):
        return False
