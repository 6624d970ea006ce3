"""Pairs of image and mask whose files have several pages: each page is a sample, `name_0`, `name_1`, ..."""

from collections.abc import Sequence
from pathlib import Path

from data_generators.files.image_file import ImageFile, ImageParts
from data_generators.reading.tiff_pages import split_pages
from utils.base.errors import UserError


def page_pairs(
    image: Path | ImageParts, mask: Path | ImageParts | None, stacks: bool = False
) -> list[tuple[ImageFile, ImageFile | None]]:
    """The pages of an image with those of its mask; files of one page stay as they are.

    Args:
        image, mask: the files.
        stacks: whether the pages of a mask are of the classes: DATASET.CLASS_MASKS=stack.

    Raises:
        UserError: they have different numbers of pages, or which pages are images is not certain.
    """
    images = split_file(image)
    if mask is None:
        return [(page, None) for page in images]
    if stacks:
        if len(images) > 1:
            raise UserError(
                f"{image}: has {len(images)} pages; DATASET.CLASS_MASKS=stack has all masks of one image in a file. "
                "Save a file for each class, with a page for each of the image, and name the classes in CLASS_MASKS."
            )
        return [(images[0], mask)]
    masks = split_file(mask)
    if len(images) != len(masks):
        raise UserError(
            f"{mask}: the number of its pages is {len(masks)}, that of its image {image} {len(images)}. Each page of "
            "an image needs one of its mask."
        )
    return list(zip(images, masks, strict=True))


def split_file(file: Path | ImageParts) -> Sequence[ImageFile]:
    """The pages of an image or a mask, see `split_parts` and `split_pages`."""
    return split_parts(file) if isinstance(file, ImageParts) else split_pages(file)


def split_parts(image: ImageParts) -> list[ImageParts]:
    """The image itself, or those of the pages of its files, which are as many in each.

    Raises:
        UserError: they are not; or see `split_pages`.
    """
    pages = [split_pages(Path(str(part))) for part in image.parts]
    for part, found in zip(image.parts, pages, strict=True):
        if len(found) != len(pages[0]):
            raise UserError(
                f"{part}: the number of its pages is {len(found)}, that of {image.shown}, another file of the "
                f"same image, {len(pages[0])}. Each page needs one in each file."
            )
    if len(pages[0]) == 1:
        return [image]
    return [
        ImageParts(parts, f"{image.stem}_{number}", image.parent, parts[0])
        for number, parts in enumerate(zip(*pages, strict=True))
    ]
