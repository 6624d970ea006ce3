"""Find images that two splits share: scores on images that the model was trained on say nothing about new ones."""

import sys
from collections.abc import Mapping, Sequence
from itertools import combinations

from data_generators.files.image_file import ImageFile
from data_generators.reading.samples import ReadSettings, read_image_as
from utils.base.wording import counted

Contents = Mapping[ImageFile, int]  # image file -> hash of its bytes


def warn_of_shared_images(splits: Mapping[str, Contents], settings: ReadSettings) -> None:
    """Print a warning for each two splits that have an image in common, by its contents and whatever its name is.

    Args:
        splits: `{split: {image: hash}}`.
        settings: how they are read.
    """
    for (one, images), (other, others) in combinations(splits.items(), 2):
        if not images or not others:
            continue
        if set(map(str, images)) == set(map(str, others)):
            print(
                f"Warning: {one} and {other} have the same {counted(len(images), 'image')}. Scores on images that the "
                "model was trained on are too good; data_preparation/split.py draws a split.",
                file=sys.stderr,
            )
        elif shared := shared_images(images, others, settings):
            first, second = shared[0]
            print(
                f"Warning: {other} shares {counted(len(shared), 'image')} with {one}, such as {second}, which is the "
                f"same as {first}. Scores on images that the model was trained on are too good; remove them from one.",
                file=sys.stderr,
            )


def shared_images(images: Contents, others: Contents, settings: ReadSettings) -> Sequence[tuple[ImageFile, ImageFile]]:
    """The pairs of equal images `(of the first, of the second)`; those of one colour, as outside a body, do not count.

    >>> from pathlib import Path
    >>> settings = ReadSettings(height=None, width=None, channels=3, resize=False, divide_mask_by=1)
    >>> shared_images({Path("a.png"): 1}, {Path("b.png"): 2}, settings)
    []
    """
    by_contents = {contents: image for image, contents in images.items()}
    equal = [(by_contents[contents], image) for image, contents in others.items() if contents in by_contents]
    images_of = ((pair, read_image_as(pair[1], settings)) for pair in equal)
    return [pair for pair, pixels in images_of if pixels.min() < pixels.max()]
