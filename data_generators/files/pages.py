"""Pairs of image and mask whose files have several pages: each page is a sample, `name_0`, `name_1`, ..."""

from collections.abc import Sequence
from pathlib import Path

from data_generators.files.image_file import ImageFile, ImageParts
from data_generators.reading.tiff_pages import split_pages
from utils.base.errors import UserError


def page_pairs(image: Path | ImageParts, mask: Path | None) -> list[tuple[ImageFile, ImageFile | None]]:
    """The pages of an image with those of its mask; files of one page stay as they are.

    Raises:
        UserError: they have different numbers of pages, or which pages are images is not certain.
    """
    images: Sequence[ImageFile] = split_parts(image) if isinstance(image, ImageParts) else split_pages(image)
    if mask is None:
        return [(page, None) for page in images]
    masks: Sequence[ImageFile] = split_pages(mask)
    if len(images) != len(masks):
        raise UserError(
            f"{mask}: the number of its pages is {len(masks)}, that of its image {image} {len(images)}. Each page of "
            "an image needs one of its mask."
        )
    return list(zip(images, masks, strict=True))


def split_parts(image: ImageParts) -> list[ImageParts]:
    """The image itself, or those of the pages of its files, which are as many in each.

    Raises:
        UserError: they are not; or see `split_pages`.
    """
    pages = [split_pages(Path(str(part))) for part in image.parts]
    for part, found in zip(image.parts, pages, strict=True):
        if len(found) != len(pages[0]):
            raise UserError(
                f"{part}: the number of its pages is {len(found)}, that of {image.shown}, another channel, "
                f"{len(pages[0])}. Each page needs one in each channel."
            )
    if len(pages[0]) == 1:
        return [image]
    return [
        ImageParts(parts, f"{image.stem}_{number}", image.parent, parts[0])
        for number, parts in enumerate(zip(*pages, strict=True))
    ]
