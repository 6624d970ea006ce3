"""What a folder of images and masks holds, before anything is known about it."""

import os
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from data_generators.files.pairing import list_problems
from data_generators.reading.decoding import decode
from data_generators.reading.headers import read_whole
from data_generators.reading.masks import read_values
from utils.base.errors import UserError

VALUES = 65536  # that a pixel of a mask may have


class Found(NamedTuple):
    """What one pair holds. size: (height, width); values: pixels of each value of the mask, up to the largest."""

    size: tuple
    channels: int
    is_grey: bool
    values: np.ndarray


def survey(pairs, quiet):
    """Read all pairs, in parallel.

    Returns:
        list of Found, in the order of the pairs.

    Raises:
        UserError: lists the pairs that cannot be read or whose sizes differ.
    """
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        results = list(tqdm(threads.map(look, pairs), "survey", len(pairs), unit="pair", disable=quiet))
    problems = [result for result in results if isinstance(result, str)]
    if problems:
        raise UserError(f"{len(problems)} pairs are not sound:\n{list_problems(problems)}")
    return results


def look(pair):
    """What a pair holds, or a message."""
    try:
        image = decode(pair.image, read_whole(pair.image))
        mask = read_values(pair.mask)
    except UserError as error:
        return str(error)
    if mask.shape != image.shape[:2]:
        return f"{pair.mask}: is {mask.shape[0]}x{mask.shape[1]}, its image {image.shape[0]}x{image.shape[1]}."
    colours = image[:, :, :3]
    return Found(mask.shape, image.shape[2], bool((colours == colours[:, :, :1]).all()), np.bincount(mask.ravel()))


def count_values(found):
    """`(pixels, images, share_where_present)`, each by value `(65536,)`: how often it occurs, in how many masks, and
    its share of the pixels of those masks."""
    pixels, images, whole = (np.zeros(VALUES) for _ in range(3))
    for pair in found:
        held = pair.values > 0
        pixels[: len(held)] += pair.values
        images[: len(held)] += held
        whole[: len(held)] += held * pair.values.sum()
    return pixels, images, pixels / np.maximum(whole, 1)
