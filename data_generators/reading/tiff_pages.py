"""The pages of a TIFF file: each is an image of its own, `name_0`, `name_1`, ..."""

import io
import re
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from tifffile import PHOTOMETRIC, TiffFile, TiffPage

from data_generators.files.image_file import ImageFile
from data_generators.reading.tiff import spread, stored_values
from data_generators.reading.tiff_file import errors_named, full_page, image_pages
from utils.base.errors import UserError

TIFF_SUFFIXES = (".tif", ".tiff")
ORIENTATION = 274
MADE_BY = re.compile(rb"ImageJ=|\"truncated\": true")


@dataclass(frozen=True, order=True)
class TiffPageFile:
    """One of several pages of a TIFF file, see `data_generators.files.image_file.ImageFile`.

    Attributes:
        path: the file.
        page: which of its pages, from 0.
    """

    path: Path
    page: int

    def __str__(self) -> str:
        return f"{self.path}[page {self.page}]"

    @property
    def stem(self) -> str:
        return f"{self.path.stem}_{self.page}"

    @property
    def name(self) -> str:
        return self.stem + self.suffix

    @property
    def suffix(self) -> str:
        return self.path.suffix

    @property
    def parent(self) -> Path:
        return self.path.parent

    def read_bytes(self) -> bytes:
        """The page as a TIFF file of its own, with the same values."""
        self.path.stat()  # a missing file is an OSError here, as for any other image
        with errors_named(self), TiffFile(self.path) as tiff:
            return encode_page(full_page(tiff, self.page))


def path_of(file: ImageFile) -> Path:
    """The file on disk that an image is read from."""
    if isinstance(file, Path):
        return file
    return file.path if isinstance(file, TiffPageFile) else Path(str(file))


def pages_of(path: Path) -> list[TiffPageFile]:
    """The pages of a TIFF file that are images, see `data_generators.reading.tiff_file.image_pages`.

    Raises:
        UserError: the file is damaged, or which pages are images is not certain.
    """
    try:
        path.stat()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}.") from None
    with errors_named(path), TiffFile(path) as tiff:
        return [TiffPageFile(path, number) for number in image_pages(path, tiff)]


def split_pages(path: Path) -> list[Path | TiffPageFile]:
    """The path itself, or the pages of a TIFF file with more than one.

    Raises:
        UserError: see `pages_of`.
    """
    if path.suffix.lower() not in TIFF_SUFFIXES or has_one_page(path):
        return [path]
    pages = pages_of(path)
    return [path] if len(pages) == 1 and pages[0].page == 0 else list(pages)


def has_one_page(path: Path) -> bool:
    """Whether a file is a TIFF file with one directory, seen without the library; True for what is no TIFF file.

    ImageJ and tifffile write some stacks with one directory, whose description counts the images.
    """
    try:
        with open(path, "rb") as file:
            order = {b"II*\0": "<", b"MM\0*": ">"}.get(start := file.read(4))
            if order is None:
                return start not in (b"II+\0", b"MM\0+")
            file.seek(*struct.unpack(f"{order}I", file.read(4)))
            (count,) = struct.unpack(f"{order}H", file.read(2))
            directory = file.read(12 * count + 4)
            file.seek(0)
            return directory[12 * count :] == bytes(4) and not MADE_BY.search(file.read(4096))
    except (OSError, struct.error):
        return True  # reading it says what is wrong


def encode_page(page: TiffPage) -> bytes:
    """A page as a TIFF file of its own, without compression and with the same values."""
    values = spread(page, stored_values(page))
    several = values.shape[2] > 1
    buffer = io.BytesIO()
    orientation = page.tags.valueof(ORIENTATION, 1)
    tifffile.imwrite(
        buffer,
        np.ascontiguousarray(values if several else values[:, :, 0]),
        photometric=PHOTOMETRIC.RGB if page.photometric == PHOTOMETRIC.YCBCR else page.photometric,
        planarconfig="contig" if several else None,
        colormap=page.colormap if page.photometric == PHOTOMETRIC.PALETTE else None,
        extrasamples=page.extrasamples or None,
        metadata=None,
        extratags=[(ORIENTATION, "H", 1, orientation, True)] if orientation != 1 else (),
    )
    return buffer.getvalue()
