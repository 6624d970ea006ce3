"""The fingerprint of a training set: sizes, voxel sizes, channels, bits and intensities of its images.

It is kept beside the weights, so that prediction can say which new images are unlike those of the training. What is
measured is what the network is given, before MODEL and PREPROCESS_DATA.IMAGE_PREPROCESSING_TYPE change it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from data_generators.files.image_file import ImageFile, volume_and_slice
from data_generators.files.volume_slices import manifest_of, read_manifest

QUANTILES = (0.01, 0.25, 0.5, 0.75, 0.99)
PADDING = 0  # the value of pixels that were added around an image
LINES = 256  # rows, and columns, of which the padding is found
PIXELS = 1024  # of an image that are looked at, evenly spread: enough for the MARGIN of a comparison


class ImageFacts(NamedTuple):
    """What is known of an image.

    Attributes:
        height, width: pixels.
        bits: of a value, 8 or 16.
        channels: "grey" (all channels are the same), "colour", or their number.
        intensities: QUANTILES of each channel, float64 `(channels, 5)` in [0, 1]; NaN of an image that is all padding.
    """

    height: int
    width: int
    bits: int
    channels: str
    intensities: np.ndarray

    @property
    def is_empty(self) -> bool:
        """Whether the image is all padding."""
        return bool(np.isnan(self.intensities).all())


def inside_padding(image: np.ndarray) -> tuple[slice, slice]:
    """The rows and columns of an image `(height, width, channels)` without those at its border that are PADDING.

    Of a large image every so many lines are looked at, so that a few of its own lines may be left out.

    >>> image = np.zeros((6, 5, 1), np.uint8)
    >>> image[1:3, 2:4] = 7
    >>> inside_padding(image)
    (slice(1, 3, None), slice(2, 4, None))
    """
    steps = [-(-side // LINES) for side in image.shape[:2]]
    planes = [image[:: steps[0], :: steps[1], channel] != PADDING for channel in range(image.shape[2])]
    filled = np.logical_or.reduce(planes)  # one after the other: ten times faster than over the last axis
    found = []
    for axis, step in enumerate(steps):
        lines = np.flatnonzero(filled.any(axis=1 - axis)) * step
        found.append(slice(int(lines[0]), int(lines[-1]) + 1) if len(lines) else slice(0, 0))
    return found[0], found[1]


def facts_of(image: np.ndarray, padded: bool = False) -> ImageFacts:
    """Measure an image, uint8 or uint16 `(height, width, channels)`.

    Args:
        image: of a loader, before the network.
        padded: whether rows and columns of zeros at the border count, as they do in fingerprints of earlier versions.

    >>> facts = facts_of(np.full((2, 3, 3), 51, np.uint8))
    >>> facts.channels, facts.bits, facts.intensities[0].tolist()
    ('grey', 8, [0.2, 0.2, 0.2, 0.2, 0.2])
    """
    height, width, channels = image.shape
    rows, columns = (slice(0, height), slice(0, width)) if padded else inside_padding(image)
    inside = image[rows, columns]
    count = inside.shape[0] * inside.shape[1]
    places = np.linspace(0, count - 1, min(PIXELS, count)).astype(np.intp)
    pixels = inside[np.unravel_index(places, inside.shape[:2])] if count else image[:1, 0]
    ordered = np.sort(np.ascontiguousarray(pixels.T), axis=1)
    ranks = [round(share * (len(pixels) - 1)) for share in QUANTILES]
    grey = bool((pixels == pixels[:, :1]).all())
    name = "grey" if grey else ("colour" if channels == 3 else f"{channels} channels")
    intensities = (
        ordered[:, ranks] / np.iinfo(image.dtype).max if count else np.full((channels, len(QUANTILES)), np.nan)
    )
    return ImageFacts(height, width, 8 * image.itemsize, name, intensities)


def find_spacings(images: Iterable[ImageFile]) -> list[tuple[float, float, float]]:
    """Voxel sizes in mm, (row, column, slice), of the volumes that images are slices of, as the preparation noted."""
    manifests: dict[Path, None] = {}  # in the order in which they come
    folders: dict[Path, bool] = {}
    for image in images:
        folder = image.parent.parent / "manifest"
        if folders.setdefault(folder, folder.is_dir()) and volume_and_slice(image):
            manifests[manifest_of(image)] = None
    found = [read_manifest(path).get("spacing_mm") for path in manifests]
    return [(one[0], one[1], one[2]) for one in found if isinstance(one, list) and len(one) == 3]


def fingerprint(facts: Sequence[ImageFacts], spacings: Sequence[tuple[float, float, float]]) -> dict[str, Any] | None:
    """The fingerprint of images; None of none.

    Returns:
        A dict for JSON: `images`; `height` and `width` as [lowest, highest]; `bits` and `channels`, those there are;
        `quantiles`; `without_padding`, see `facts_of`; `intensities`, for each channel the [lowest, highest] of each
        quantile; `spacing_mm`, the [lowest, highest] of row, column and slice, or None if it is not known.
    """
    if not facts or len({len(one.intensities) for one in facts}) > 1:
        return None
    filled = [one for one in facts if not one.is_empty] or facts
    intensities = np.nan_to_num([one.intensities for one in filled])
    ranges = np.stack([intensities.min(axis=0), intensities.max(axis=0)], axis=-1)
    return {
        "images": len(facts),
        "height": [min(one.height for one in facts), max(one.height for one in facts)],
        "width": [min(one.width for one in facts), max(one.width for one in facts)],
        "bits": sorted({one.bits for one in facts}),
        "channels": sorted({one.channels for one in filled}),
        "quantiles": list(QUANTILES),
        "without_padding": True,
        "intensities": ranges.round(5).tolist(),
        "spacing_mm": [[min(axis), max(axis)] for axis in zip(*spacings, strict=True)] if spacings else None,
    }
