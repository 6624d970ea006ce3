"""What is an image in a TIFF file, and what its library raises."""

import logging
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from tifffile import TiffFile, TiffPage

from data_generators.files.image_file import ImageFile
from utils.base.errors import UserError

FEW_DIRECTORIES = (
    "{}: is a stack of {} with more images than directories ({}). Save it again as an image sequence, or as "
    "TIFF with a directory for each page."
)
REDUCED, TRANSPARENCY_MASK = 1, 4  # bits of the tag NewSubfileType

# Errors here name the file; the lines of the library would repeat them without it.
logging.getLogger("tifffile").setLevel(logging.CRITICAL)


@contextmanager
def errors_named(file: ImageFile | str) -> Iterator[None]:
    """Turn what the library raises on a damaged file into a UserError that names the file.

    tifffile does not say what it raises: a changed byte in a tag ends in any of a dozen exceptions.
    """
    try:
        yield
    except UserError:
        raise
    except NotImplementedError as error:
        raise UserError(
            f"{file}: is a TIFF file of a kind that is not read ({first_line(error)}). Save it as PNG."
        ) from None
    except MemoryError:
        raise UserError(f"{file}: promises more pixels than fit into memory, and is not read.") from None
    except Exception as error:
        raise UserError(
            f"{file}: cannot be decoded; the TIFF file is damaged ({first_line(error)}). Copy or export it again."
        ) from None


def first_line(error: Exception) -> str:
    """The first line of an error, without control characters, or its kind."""
    text = next(iter(str(error).splitlines()), "")[:120]
    return "".join(letter for letter in text if letter.isprintable()) or type(error).__name__


def image_pages(file: ImageFile | str, tiff: TiffFile) -> list[int]:
    """The numbers of the pages that are images, at least one.

    Thumbnails, pyramid levels and transparency masks that are marked as such (the tag NewSubfileType) are none.

    Raises:
        UserError: the pages differ in size, or they are channels of one image (ImageJ, OME); `file` names it.
        ValueError: the chain of pages is broken.
    """
    if len(tiff.pages) == 1 and not tiff.is_imagej and not tiff.is_shaped:
        check_chain(tiff)
        return [0]
    numbers = pages_with_images(tiff)
    check_same_size(file, [full_page(tiff, number) for number in numbers])
    check_channels(file, tiff, len(numbers))
    return numbers


def pages_with_images(tiff: TiffFile) -> list[int]:
    """The numbers of the pages that are not marked as thumbnails or the like, whatever the pages are of one another.

    Raises:
        ValueError: the chain of pages is broken.
    """
    check_chain(tiff)
    pages = [full_page(tiff, number) for number in range(len(tiff.pages))]
    numbers = [number for number, page in enumerate(pages) if not page.subfiletype & (REDUCED | TRANSPARENCY_MASK)]
    if not numbers:
        raise ValueError("every page is marked as a thumbnail")
    return numbers


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


def check_same_size(file: ImageFile | str, pages: list[TiffPage]) -> None:
    """Raise a UserError if pages differ in height, width or bands: which of them is the image?"""
    shapes = [(page.imagelength, page.imagewidth, page.samplesperpixel) for page in pages]
    for shape in shapes[1:]:
        if shape != shapes[0]:
            sizes = ["x".join(map(str, found)) for found in (shapes[0], shape)]
            raise UserError(
                f"{file}: has pages of different sizes ({sizes[0]} and {sizes[1]}, height x width x bands). Save the "
                "pages that are images in a file of their own."
            )


def check_channels(file: ImageFile | str, tiff: TiffFile, pages: int) -> None:
    """Raise a UserError if the pages are the channels of an image, or if ImageJ counts more images than pages.

    Slices and times of a hyperstack are images; its channels belong to one image, and its file has them apart.
    """
    if any(found.get("truncated") for found in tiff.shaped_metadata or ()):
        raise UserError(FEW_DIRECTORIES.format(file, "tifffile", pages))
    channels = 1
    if tiff.is_imagej and tiff.imagej_metadata:
        channels = int(tiff.imagej_metadata.get("channels", 1))
        images = int(tiff.imagej_metadata.get("images", pages))
        if images > pages:
            raise UserError(FEW_DIRECTORIES.format(file, "ImageJ", pages))
    elif tiff.is_ome and pages > 1:
        for series in tiff.series:
            axes = dict(zip(series.axes, series.shape, strict=True))
            channels = max(channels, axes.get("C", 1))
    if channels > 1 and pages > 1:
        raise UserError(
            f"{file}: its {pages} pages are {channels} channels of a hyperstack, not images. Save each image as one "
            "page with the channels as bands, or each channel as a file of its own."
        )
