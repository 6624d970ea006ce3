"""Decode TIFF files of any number of bands, as stored, and find their pages."""

import io
import mmap
import struct
from collections.abc import Callable
from typing import TypeVar

import cv2
import imagecodecs
import numpy as np
import simplejpeg
from tifffile import COMPRESSION, PHOTOMETRIC, TiffFile, TiffPage

from data_generators.files.image_file import ImageFile
from data_generators.reading.tiff_file import errors_named, full_page, image_pages
from data_generators.reading.value_range import ValueRange, to_uint16
from utils.base.errors import UserError

TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two: BigTIFF
ALPHA = (1, 2)  # values of the tag ExtraSamples
BAND_COLOURS = {
    PHOTOMETRIC.MINISWHITE,
    PHOTOMETRIC.MINISBLACK,
    PHOTOMETRIC.RGB,
    PHOTOMETRIC.PALETTE,
    PHOTOMETRIC.YCBCR,
}
WIDTH, LENGTH, PHOTOMETRIC_TAG, ORIENTATION = 256, 257, 262, 274
BIG = 43  # the number of BigTIFF
MAX_PIXELS = 400_000_000

Result = TypeVar("Result")


def decode_tiff(
    file: ImageFile | str, data: bytes, channels: int | None = None, value_range: ValueRange | None = None
) -> np.ndarray:
    """The image of a TIFF file of one page as a picture.

    Colours of a palette are looked up, and where 0 stands for white the values are turned round, so that white is the
    highest. All other values are as stored: no alpha is multiplied in, and no band is left out. 1, 2 and 4 bits are
    spread over 8, as in PNG.

    Args:
        file: names the file in errors.
        data: its bytes.
        channels: INPUT.CHANNELS, to refuse four bands without colours where three are wanted; None accepts all.
        value_range: PREPROCESS_DATA.VALUE_RANGE.

    Returns:
        uint8 or uint16 `(height, width, bands)`; three and four bands in the order of OpenCV: BGR, BGRA.

    Raises:
        UserError: the file is damaged, incomplete, or of a form that cannot be read with certainty.
    """

    def read(page: TiffPage) -> tuple[np.ndarray, bool]:
        pixels = spread(page, stored_values(page))
        if page.photometric == PHOTOMETRIC.PALETTE:
            table = page.colormap
            if pixels.shape[2] != 1 or table is None or int(pixels.max()) >= table.shape[1]:
                raise ValueError("an index beyond the colours of its palette")
            pixels = eight_bits(table).T[pixels[:, :, 0]]
        bands = pixels.shape[2]
        if bands == 2 and alpha_of(page):
            pixels = pixels[:, :, [0, 0, 0, 1]]
        elif bands == 4 and channels not in (None, 4) and not has_colours(page) and not alpha_of(page):
            raise UserError(f"{file}: has 4 bands that are no colours, INPUT.CHANNELS={channels}.")
        return pixels, page.photometric == PHOTOMETRIC.MINISWHITE

    pixels, white_is_0 = with_page(file, data, read)
    if value_range is not None or pixels.dtype not in (np.uint8, np.uint16):
        pixels = to_uint16(file, pixels, value_range)
    if white_is_0:  # the range is that of the values stored
        pixels = np.iinfo(pixels.dtype).max - pixels
    return opencv_order(pixels)


def eight_bits(table: np.ndarray) -> np.ndarray:
    """The colours of a palette `(3, colours)` as uint8: 65535 is the highest, in files of some programs 255."""
    return (table if table.max() <= 255 else table >> 8).astype(np.uint8)


def opencv_order(pixels: np.ndarray) -> np.ndarray:
    """RGB or RGBA `(height, width, bands)` of 8 or 16 bits -> BGR or BGRA; other numbers of bands are unchanged."""
    if pixels.shape[2] == 3:
        return cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)  # a tenth of the time of NumPy's copy
    return cv2.cvtColor(pixels, cv2.COLOR_RGBA2BGRA) if pixels.shape[2] == 4 else np.ascontiguousarray(pixels)


def decode_tiff_values(file: ImageFile | str, data: bytes) -> tuple[np.ndarray, str | None]:
    """The values of a TIFF file of one page as stored, for masks.

    Returns:
        values: `(height, width, bands)`, of any type; 1, 2 and 4 bits are spread over 8 unless they are indices.
        form: the name in `data_generators.reading.mask_values.FORMS` if they could be meant otherwise, or None.

    Raises:
        UserError: see `decode_tiff`.
    """

    def read(page: TiffPage) -> tuple[np.ndarray, str | None]:
        values = spread(page, stored_values(page))
        return np.ascontiguousarray(values), ambiguous_form(page)

    return with_page(file, data, read)


def with_page(file: ImageFile | str, data: bytes, use: Callable[[TiffPage], Result]) -> Result:
    """Call a function with the only page that is an image; every error of the library becomes a UserError."""
    with errors_named(file), TiffFile(io.BytesIO(data)) as tiff:
        pages = image_pages(file, tiff)
        if len(pages) > 1:
            raise UserError(f"{file}: has {len(pages)} pages, one picture is wanted. Save each in a file of its own.")
        return use(full_page(tiff, pages[0]))


def page_header(data: bytes) -> tuple[int, int, bool]:
    """(height, width, whether it has a palette) of the first page; without the library, which takes ten times as long.

    Raises:
        ValueError, KeyError, struct.error: it is no TIFF file.
    """
    if BIG in data[2:4]:
        try:
            with TiffFile(io.BytesIO(data)) as tiff:
                page = full_page(tiff, 0)
                return int(page.imagelength), int(page.imagewidth), page.photometric == PHOTOMETRIC.PALETTE
        except Exception as error:  # see `errors_named`
            raise ValueError(str(error)) from None
    numbers = tag_numbers(data)
    return numbers[LENGTH], numbers[WIDTH], numbers.get(PHOTOMETRIC_TAG) == PHOTOMETRIC.PALETTE


def page_orientation(data: bytes) -> int:
    """The orientation of the first page, 1 where it has none or is damaged."""
    try:
        if BIG not in data[2:4]:
            return tag_numbers(data).get(ORIENTATION, 1)
        with TiffFile(io.BytesIO(data)) as tiff:
            return int(full_page(tiff, 0).tags.valueof(ORIENTATION, 1))
    except Exception:  # see `errors_named`
        return 1


def tag_numbers(data: bytes | mmap.mmap) -> dict[int, int]:
    """`{tag: value}` of the numbers in the first directory of a TIFF file, but not of a BigTIFF file."""
    order = "<" if data[:2] == b"II" else ">"
    (start,) = struct.unpack_from(f"{order}I", data, 4)
    (count,) = struct.unpack_from(f"{order}H", data, start)
    numbers = {}
    for position in range(start + 2, start + 2 + 12 * count, 12):
        tag, kind = struct.unpack_from(f"{order}HH", data, position)
        if kind in (3, 4):  # 16- and 32-bit numbers
            (numbers[tag],) = struct.unpack_from(f"{order}{'H' if kind == 3 else 'I'}", data, position + 8)
    return numbers


def stored_values(page: TiffPage) -> np.ndarray:
    """`(height, width, bands)` as stored, after a check that nothing is missing.

    Raises:
        NotImplementedError: a form that is not read.
        ValueError: a strip or tile is missing or incomplete.
    """
    if page.photometric not in BAND_COLOURS:
        raise NotImplementedError(f"its colours are {getattr(page.photometric, 'name', page.photometric)}")
    if page.imagedepth != 1 or page.dtype is None:
        raise NotImplementedError(f"{page.imagedepth} layers of {page.bitspersample} bits")
    if page.dtype.kind not in "buif":
        raise NotImplementedError(f"values of the type {page.dtype}")
    if page.imagelength * page.imagewidth * page.samplesperpixel > MAX_PIXELS * 4:
        raise MemoryError
    check_segments(page)
    pixels = decode_segments(page)
    separate, _, height, width, contiguous = page.shaped
    pixels = pixels.reshape(separate, height, width, contiguous)
    return np.moveaxis(pixels[..., 0], 0, -1) if separate > 1 else pixels[0]


def decode_segments(page: TiffPage) -> np.ndarray:
    """The values of all strips or tiles, in any shape.

    Of LZW, libtiff takes less than half the time of the library's own decoder. It names damage as well, unlike OpenCV,
    which reads with it and goes on.
    """
    if page.compression != COMPRESSION.LZW or page.bitspersample not in (8, 16) or len(page.parent.pages) > 1:
        return page.asarray(maxworkers=1)
    file = page.parent.filehandle
    file.seek(0)
    return imagecodecs.tiff_decode(file.read(file.size))


def check_segments(page: TiffPage) -> None:
    """Raise a ValueError if a strip or tile is missing, lies outside the file, or holds a damaged JPEG.

    The library fills what is missing with 0, and so does its JPEG decoder.
    """
    size = page.parent.filehandle.size
    offsets, counts = page.dataoffsets, page.databytecounts
    rows = page.tilelength if page.is_tiled else page.rowsperstrip
    columns = page.tilewidth if page.is_tiled else page.imagewidth
    if not rows or not columns:
        raise ValueError("no strips")
    expected = -(-page.imagelength // rows) * -(-page.imagewidth // columns)
    if page.planarconfig == 2:
        expected *= page.samplesperpixel
    if len(offsets) < expected or len(counts) < expected:
        raise ValueError(f"{min(len(offsets), len(counts))} of {expected} strips or tiles")
    for number in range(expected):
        if not counts[number] or not offsets[number]:
            raise ValueError(f"strip or tile {number} is not there")
        if offsets[number] + counts[number] > size:
            raise ValueError(f"strip or tile {number} ends after the file")
    if page.compression == COMPRESSION.JPEG:
        file = page.parent.filehandle
        for offset, count in zip(offsets[:expected], counts[:expected], strict=True):
            file.seek(offset)
            check_jpeg_segment(page, file.read(count))


def check_jpeg_segment(page: TiffPage, segment: bytes) -> None:
    """Raise a ValueError if the JPEG of a strip or tile is not whole."""
    if page.jpegtables:  # end of tables and start of the segment are left out
        segment = page.jpegtables[:-2] + segment[2:]
    simplejpeg.decode_jpeg(segment, "GRAY")


def spread(page: TiffPage, values: np.ndarray) -> np.ndarray:
    """Values of 1, 2 and 4 bits spread over 0 to 255; indices of a palette and all others unchanged."""
    if values.dtype == bool:
        values = values.astype(np.uint8)
    if page.bitspersample in (1, 2, 4) and page.photometric != PHOTOMETRIC.PALETTE:
        return values * np.uint8(255 // (2**page.bitspersample - 1))
    return values


def ambiguous_form(page: TiffPage) -> str | None:
    """See `decode_tiff_values`."""
    if page.photometric == PHOTOMETRIC.MINISWHITE:
        return "white is 0"
    if page.photometric == PHOTOMETRIC.PALETTE and page.colormap is not None:
        return "white index" if int(eight_bits(page.colormap)[:, 0].min()) == 255 else None
    return "alpha" if alpha_of(page) else None


def has_colours(page: TiffPage) -> bool:
    """Whether the first three bands are red, green and blue."""
    return page.photometric in (PHOTOMETRIC.RGB, PHOTOMETRIC.YCBCR)


def alpha_of(page: TiffPage) -> bool:
    """Whether the last band is an alpha channel."""
    return bool(page.extrasamples) and int(page.extrasamples[-1]) in ALPHA
