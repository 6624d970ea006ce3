"""Measure the images and masks of a folder, before anything is known about them."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import numpy as np

from data_generators.files.image_file import ImageFile
from data_generators.files.pairing import Pair, list_problems
from data_preparation.planning.advice import stack_option
from data_preparation.planning.stored_form import StoredForm, read_stored_image, read_stored_mask
from utils.base.errors import UserError
from utils.base.progress import track
from utils.base.wording import counted

VALUES = 65536  # that a pixel of a mask can have


class PairProperties(NamedTuple):
    """Properties of a pair.

    size: (height, width); channels: of the image; is_gray: whether they are equal; values: pixels of each value of the
    mask, up to its largest; is_picture: whether the channels are grey or colours; kinds: types of the image; low, high:
    its lowest and highest value; black: share of its values that are 0.
    """

    size: tuple[int, int]
    channels: int
    is_gray: bool
    values: np.ndarray
    is_picture: bool
    kinds: frozenset[str]
    low: float
    high: float
    black: float

    def has_any(self, values: Sequence[int]) -> bool:
        """Whether the mask has a pixel with one of the values."""
        return any(value < len(self.values) and self.values[value] > 0 for value in values)


class ValueCounts(NamedTuple):
    """How often each value occurs in masks: arrays `(65536,)`.

    pixels: with the value; images: with such pixels; shares: of the value among the pixels of these images.
    """

    pixels: np.ndarray
    images: np.ndarray
    shares: np.ndarray


def measure_pairs(pairs: Sequence[Pair], form: StoredForm, quiet: bool) -> list[PairProperties]:
    """The properties of all pairs, in their order.

    Raises:
        UserError: lists the pairs that cannot be read or whose sizes differ.
    """
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        results = list(
            track(threads.map(partial(measure_pair, form=form), pairs), "measure pairs", len(pairs), quiet=quiet)
        )
    problems = [result for result in results if isinstance(result, str)]
    if problems:
        raise UserError(f"{counted(len(problems), 'pair')} cannot be used:\n{list_problems(problems)}")
    return [result for result in results if isinstance(result, PairProperties)]


def measure_pair(pair: Pair, form: StoredForm) -> PairProperties | str:
    """The properties of a pair, or a problem."""
    assert pair.mask is not None, "a plan is made from pairs"
    try:
        image, kinds, is_picture = read_stored_image(pair.image)
    except UserError as error:
        return str(error)
    try:
        mask = read_stored_mask(pair.mask, form)
    except UserError as error:
        return f"{error}{advice_on_bands(pair.mask) if form.classes is None else ''}"
    height, width, channels = image.shape
    if mask.shape != (height, width):
        return f"{pair.mask}: is {mask.shape[0]}x{mask.shape[1]}, its image {height}x{width}."
    colours = image[:, :, :3]
    is_gray = is_picture and bool((colours == colours[:, :, :1]).all())
    black = 1 - np.count_nonzero(image) / image.size
    counts = np.bincount(mask.ravel())
    extremes = float(image.min()), float(image.max())
    return PairProperties((height, width), channels, is_gray, counts, is_picture, kinds, *extremes, black)


def advice_on_bands(mask: ImageFile) -> str:
    """What a mask that cannot be read may be: one whose bands are the masks of classes."""
    try:
        bands = read_stored_image(mask).values.shape[2]
    except UserError:
        return ""
    return f" If each band is the mask of a class: {stack_option(bands)}." if bands > 1 else ""


def count_values(measured: Sequence[PairProperties]) -> ValueCounts:
    """Count the values of all masks."""
    pixels, images, pixels_of_images = (np.zeros(VALUES) for _ in range(3))
    for pair in measured:
        present = pair.values > 0
        pixels[: len(present)] += pair.values
        images[: len(present)] += present
        pixels_of_images[: len(present)] += present * pair.values.sum()
    return ValueCounts(pixels, images, pixels / np.maximum(pixels_of_images, 1))
