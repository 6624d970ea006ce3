"""Read pictures: decode, check, bring to the channels and the size that the config asks for.

Pixels are taken as they are stored: an EXIF rotation is ignored, so that image and mask always agree.
"""

import functools
import io
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

from utils.errors import UserError

MAX_PIXELS = 400_000_000
PNG_START = b"\x89PNG\r\n\x1a\n"
PNG_END = b"IEND\xaeB`\x82"
TIFF_STARTS, ORIENTATION = (b"II*\0", b"MM\0*"), 274
JPEG_START, JPEG_SCAN, JPEG_END = b"\xff\xd8\xff", b"\xff\xda", b"\xff\xd9"

# Errors are raised with the file's name; OpenCV's own lines on stderr would only repeat them without it.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
# Pillow warns from a smaller size on; the limit here is checked by read_header.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS


class Header(NamedTuple):
    """What a picture file promises before it is decoded."""

    height: int
    width: int
    has_palette: bool


@dataclass(frozen=True)
class ReadSettings:
    """The values of the config that reading needs; a look-up in the config itself is slow."""

    height: int
    width: int
    channels: int
    resize: bool
    divide_mask_by: int
    ignore_label: int | None = None
    label_values: tuple | None = None
    crop: object = None  # `data_generators.sampling.Crop`
    augment: object = None  # `data_generators.augment.Augmentation`
    cache: object = None  # of `data_generators.cache.make_cache`

    @classmethod
    def from_config(cls, cfg, crop=None, augment=None, cache=None):
        values = cfg.DATASET.LABEL_VALUES
        divide = cfg.PREPROCESS_DATA.NORMALIZE_MASK
        return cls(
            height=cfg.INPUT.HEIGHT,
            width=cfg.INPUT.WIDTH,
            channels=cfg.INPUT.CHANNELS,
            resize=cfg.PREPROCESS_DATA.RESIZE.VALUE,
            divide_mask_by=divide.NORMALIZE_VALUE if divide.VALUE else 1,
            ignore_label=cfg.DATASET.IGNORE_LABEL,
            label_values=None if values is None else tuple(values),
            crop=crop,
            augment=augment,
            cache=cache,
        )

    @property
    def of_decoding(self):
        """Text that changes with everything that `decode_pair` depends on but the files."""
        parts = (self.channels, self.divide_mask_by, self.ignore_label, self.label_values)
        return str((*parts, (self.height, self.width) if self.resize else None))


def read_pair(pair, settings, epoch=0, position=0):
    """`sample_pair` with the image in float32, in [0, 1]."""
    image, mask = sample_pair(pair, settings, epoch, position)
    return to_unit_range(image), mask


def sample_pair(pair, settings, epoch=0, position=0):
    """Return `(image, mask)` as the model takes them, but for the type of the image.

    Args:
        pair: `Pair` of files.
        settings: `ReadSettings`.
        epoch, position: int, epoch and place in it, from which a random crop and the augmentation are drawn.

    Returns:
        image: uint8 or uint16 `(height, width, channels)` as stored, or float32 in [0, 1].
        mask: uint8 `(height, width, 1)` class indices, or None where the pair has no mask.

    Raises:
        UserError: names the file that cannot be read, or whose size does not fit.
    """
    if settings.cache:
        image, mask = settings.cache(pair, settings.of_decoding, lambda: decode_pair(pair, settings))
    else:
        image, mask = decode_pair(pair, settings)
    check_sizes(pair, image, mask, settings)
    if settings.crop:
        top, left = settings.crop.corner(image.shape[:2], mask, epoch, position)
        window = (slice(top, top + settings.crop.height), slice(left, left + settings.crop.width))
        image, mask = image[window], None if mask is None else mask[window]
    if settings.augment:
        image, mask = settings.augment(image, mask, epoch, position)
    return image, None if mask is None else mask[:, :, np.newaxis]


def decode_pair(pair, settings):
    """Image `(height, width, channels)` and mask `(height, width)` or None, of one size: what DATASET.CACHE keeps."""
    image = read_image(pair.image, settings.channels)
    mask = None if pair.mask is None else read_mask_as(pair.mask, settings)
    if settings.resize:
        check_sizes(pair, image, mask, settings)
        image = resize_image(image, settings.height, settings.width)
        mask = None if mask is None else resize_mask(mask, settings.height, settings.width)
    return image, mask


def check_sizes(pair, image, mask, settings):
    """Raise a UserError where the mask has another size than its image, or the image another than INPUT."""
    height, width = image.shape[:2]
    if mask is not None and mask.shape[:2] != (height, width):
        raise UserError(f"{pair.mask}: is {mask.shape[0]}x{mask.shape[1]}, its image {pair.image} {height}x{width}.")
    crop = settings.crop
    if crop:
        if height < crop.height or width < crop.width:
            raise UserError(
                f"{pair.image}: is {height}x{width} (height x width), smaller than DATASET.CROP "
                f"{crop.height}x{crop.width}. Set a smaller INPUT.HEIGHT and INPUT.WIDTH, or leave the image out."
            )
        return
    any_size = settings.height is None
    if not settings.resize and not any_size and (height, width) != (settings.height, settings.width):
        raise UserError(
            f"{pair.image}: is {height}x{width} (height x width), INPUT is {settings.height}x{settings.width}; "
            "PREPROCESS_DATA.RESIZE.VALUE=True resizes it, DATASET.CROP.MODE=random cuts parts out of larger ones."
        )


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


def resize_mask(mask, height, width):
    """Resize `(height, width)` labels without mixing them: the nearest pixel, by its centre."""
    if mask.shape == (height, width):
        return mask
    return cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)


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
        # A picture inside a shard (`data_generators.records`) reads itself.
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
