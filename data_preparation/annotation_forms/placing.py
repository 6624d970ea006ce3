"""Find the image of each annotation, and in which direction it was annotated."""

import os
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from data_generators.files.image_file import ImageFile
from data_generators.reading.headers import picture_size
from data_generators.reading.orientation import is_webp, orientation_of
from data_generators.reading.tiff import TIFF_STARTS
from data_preparation.annotation_forms.records import AnnotatedImage
from data_preparation.annotation_forms.source import ImageIndex
from data_preparation.common.image_files import Skipped, raise_problems
from data_preparation.common.made_images import EmbeddedImage, UprightImage
from utils.base.errors import UserError

HEAD = 65536  # bytes in which EXIF stands


class Placed(NamedTuple):
    """An image and its description.

    image: what is written; file: where it was found; stored: the image with the EXIF orientation, whose stored pixels
    the coordinates mean, or None.
    """

    image: ImageFile
    file: Path | None
    stored: ImageFile | None
    described: AnnotatedImage


def place_images(
    images: Sequence[AnnotatedImage], index: ImageIndex, options: Namespace, split: str | None
) -> tuple[list[Placed], list[Skipped]]:
    """Return `(images that were found, skipped)`, in the order of their names.

    Raises:
        UserError: an image was not found, or is described twice.
    """
    placed: list[Placed] = []
    skipped: list[Skipped] = []
    problems = []
    described: dict[str, str] = {}
    for image in images:
        file = image.file or index.find(image.names, image.folder, image.where)
        if file is None and image.keys is None:
            searched = ", ".join(map(str, index.folders))
            problem = f"{image.where}: there is no image {image.names[0]} below {searched}"
            if options.missing == "skip":
                skipped.append((image.where, f"there is no image {image.names[0]}"))
            else:
                problems.append(f"{problem}. Name its folder: --images; or leave it out: --missing skip.")
            continue
        found: ImageFile = file or EmbeddedImage(image.sources[0], image.keys or ())
        other = described.setdefault(str(found), image.where)
        if other != image.where:
            raise UserError(f"{other} and {image.where} both describe {found}. Merge them, or remove one.")
        placed.append(turn(found, file, image._replace(split=split or image.split), options))
    raise_problems(problems)
    return sorted(placed, key=lambda entry: str(entry.image)), skipped


def unlisted_images(index: ImageIndex, placed: Sequence[Placed]) -> list[Path]:
    """The images that no annotation names."""
    taken = {entry.file for entry in placed}
    return [path for path in index.paths.values() if path not in taken]


def place_empty(files: Sequence[Path], options: Namespace, split: str | None) -> list[Placed]:
    """Images without annotations as images without objects."""
    return [
        turn(file, file, AnnotatedImage(str(file), (), file.parent, (), (), split=split), options) for file in files
    ]


def turn(found: ImageFile, file: Path | None, image: AnnotatedImage, options: Namespace) -> Placed:
    """The image upright, if EXIF turns it; annotation tools show it so.

    Where the file says the size of the image, and it is that of the stored pixels only, the coordinates are theirs.
    """
    orientation = 1 if file is None else orientation_in(file)
    if orientation == 1:
        return Placed(found, file, None, image)
    height, width = picture_size(found)
    is_stored = options.stored or (orientation >= 5 and height != width and image.size == (height, width))
    path = file or image.sources[0]
    return Placed(UprightImage(found, path), file, found if is_stored else None, image)


def orientation_in(file: Path) -> int:
    """The EXIF orientation of a file, of which only the head is read if that holds none."""
    with open(file, "rb") as opened:
        head = opened.read(HEAD)
        if head.startswith(TIFF_STARTS) or not (b"Exif" in head or b"eXIf" in head or is_webp(head)):
            return 1
        opened.seek(0, os.SEEK_SET)
        return orientation_of(opened.read())
