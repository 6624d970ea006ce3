"""Find images that two splits share: scores on images that the model was trained on say nothing about new ones."""

import sys
from collections.abc import Mapping, Sequence
from itertools import combinations

from data_generators.files.image_file import ImageFile
from data_generators.reading.decoding import read_image

Contents = Mapping[ImageFile, int]  # image file -> hash of its bytes


def warn_of_shared_images(splits: Mapping[str, Contents], channels: int) -> None:
    """Print a warning for each two splits that have an image in common, by its contents and whatever its name is.

    Args:
        splits: `{split: {image: hash}}`.
        channels: INPUT.CHANNELS.
    """
    for (one, images), (other, others) in combinations(splits.items(), 2):
        if not images or not others:
            continue
        if set(map(str, images)) == set(map(str, others)):
            print(
                f"Warning: {one} and {other} are the same {len(images)} images. Scores on images that the model was "
                "trained on are too good; data_preparation/split.py draws a split.",
                file=sys.stderr,
            )
        elif shared := shared_images(images, others, channels):
            first, second = shared[0]
            print(
                f"Warning: {len(shared)} images of {other} are in {one} too, such as {second}, which is the same as "
                f"{first}. Scores on images that the model was trained on are too good; remove them from one.",
                file=sys.stderr,
            )


def shared_images(images: Contents, others: Contents, channels: int) -> Sequence[tuple[ImageFile, ImageFile]]:
    """The pairs of equal images `(of the first, of the second)`; those of one colour, as outside a body, do not count.

    >>> from pathlib import Path
    >>> shared_images({Path("a.png"): 1}, {Path("b.png"): 2}, channels=3)
    []
    """
    by_contents = {contents: image for image, contents in images.items()}
    equal = [(by_contents[contents], image) for image, contents in others.items() if contents in by_contents]
    return [(first, second) for first, second in equal if (pixels := read_image(second, channels)).min() < pixels.max()]
