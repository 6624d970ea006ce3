"""The pages of a TIFF file: each is an image of its own, `name_0`, `name_1`, ..."""

import io
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from tifffile import PHOTOMETRIC, TiffFile, TiffPage

from data_generators.reading.tiff import errors_named, spread, stored_values
from utils.base.errors import UserError

TIFF_SUFFIXES = (".tif", ".tiff")
REDUCED, TRANSPARENCY_MASK = 1, 4  # bits of the tag NewSubfileType
ORIENTATION = 274


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


def pages_of(path: Path) -> list[TiffPageFile]:
    """The pages of a TIFF file that are images.

    Thumbnails, pyramid levels and transparency masks that are marked as such (the tag NewSubfileType) are none.

    Raises:
        UserError: the file is damaged, its pages differ in size, or they are channels of one image (ImageJ, OME).
    """
    try:
        path.stat()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}.") from None
    with errors_named(path), TiffFile(path) as tiff:
        check_chain(tiff)
        pages = [full_page(tiff, number) for number in range(len(tiff.pages))]
        numbers = [number for number, page in enumerate(pages) if not page.subfiletype & (REDUCED | TRANSPARENCY_MASK)]
        if not numbers:
            raise ValueError("every page is marked as a thumbnail")
        if len(numbers) > 1:
            check_same_size(path, [pages[number] for number in numbers])
        check_channels(path, tiff, len(numbers))
    return [TiffPageFile(path, number) for number in numbers]


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

    ImageJ writes large stacks with one directory: its description counts the images.
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
            return directory[12 * count :] == bytes(4) and b"ImageJ=" not in file.read(4096)
    except (OSError, struct.error):
        return True  # reading it says what is wrong


def full_page(tiff: TiffFile, number: int) -> TiffPage:
    """A page with all its tags."""
    page = tiff.pages[number]
    return page if isinstance(page, TiffPage) else page.aspage()


def check_chain(tiff: TiffFile) -> None:
    """Raise a ValueError if the chain of directories does not end.

    The library ends it quietly where it leaves the file or turns back.
    """
    file, kind = tiff.filehandle, tiff.tiff
    position, seen = kind.offsetsize, set()
    file.seek(position)
    (offset,) = struct.unpack(kind.offsetformat, file.read(kind.offsetsize))
    while offset:
        if offset in seen:
            raise ValueError("the chain of pages is a circle")
        seen.add(offset)
        file.seek(offset)
        (count,) = struct.unpack(kind.tagnoformat, file.read(kind.tagnosize))
        file.seek(offset + kind.tagnosize + count * kind.tagsize)
        (offset,) = struct.unpack(kind.offsetformat, file.read(kind.offsetsize))
    if len(seen) != len(tiff.pages):
        raise ValueError(f"{len(tiff.pages)} of {len(seen)} pages")


def check_same_size(path: Path, pages: list[TiffPage]) -> None:
    """Raise a UserError if pages differ in height, width or bands: which of them is the image?"""
    shapes = [(page.imagelength, page.imagewidth, page.samplesperpixel) for page in pages]
    for shape in shapes[1:]:
        if shape != shapes[0]:
            sizes = ["x".join(map(str, found)) for found in (shapes[0], shape)]
            raise UserError(
                f"{path}: has pages of different sizes ({sizes[0]} and {sizes[1]}, height x width x bands). Save the "
                "pages that are images in a file of their own."
            )


def check_channels(path: Path, tiff: TiffFile, pages: int) -> None:
    """Raise a UserError if the pages are the channels of an image, or if ImageJ counts more images than pages.

    Slices and times of a hyperstack are images; its channels belong to one image, and its file has them apart.
    """
    channels = 1
    if tiff.is_imagej and tiff.imagej_metadata:
        channels = int(tiff.imagej_metadata.get("channels", 1))
        images = int(tiff.imagej_metadata.get("images", pages))
        bands = full_page(tiff, 0).samplesperpixel
        if images > pages * (1 if bands == 1 else bands):
            raise UserError(
                f"{path}: is a stack of ImageJ with {images} images and {pages} directories. Save it again as an image "
                "sequence, or as TIFF with a directory for each page."
            )
        channels = channels if channels > 1 and pages > 1 and images >= pages else 1
    elif tiff.is_ome and pages > 1:
        for series in tiff.series:
            axes = dict(zip(series.axes, series.shape, strict=True))
            channels = max(channels, axes.get("C", 1))
    if channels > 1 and pages > 1:
        raise UserError(
            f"{path}: its {pages} pages are {channels} channels of a hyperstack, not images. Save each image as one "
            "page with the channels as bands, or each channel as a file of its own."
        )


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
