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
PIXELS = 1024  # of an image that are looked at, evenly spread: enough for the MARGIN of a comparison


class ImageFacts(NamedTuple):
    """What is known of an image.

    Attributes:
        height, width: pixels.
        bits: of a value, 8 or 16.
        channels: "grey" (all channels are the same), "colour", or their number.
        intensities: QUANTILES of each channel, float64 `(channels, 5)` in [0, 1].
    """

    height: int
    width: int
    bits: int
    channels: str
    intensities: np.ndarray


def facts_of(image: np.ndarray) -> ImageFacts:
    """Measure an image, uint8 or uint16 `(height, width, channels)`.

    >>> facts = facts_of(np.full((2, 3, 3), 51, np.uint8))
    >>> facts.channels, facts.bits, facts.intensities[0].tolist()
    ('grey', 8, [0.2, 0.2, 0.2, 0.2, 0.2])
    """
    height, width, channels = image.shape
    flat = image.reshape(-1, channels)
    pixels = flat[np.linspace(0, len(flat) - 1, min(PIXELS, len(flat))).astype(np.intp)]
    ordered = np.sort(np.ascontiguousarray(pixels.T), axis=1)
    ranks = [round(share * (len(pixels) - 1)) for share in QUANTILES]
    grey = bool((pixels == pixels[:, :1]).all())
    name = "grey" if grey else ("colour" if channels == 3 else f"{channels} channels")
    return ImageFacts(height, width, 8 * image.itemsize, name, ordered[:, ranks] / np.iinfo(image.dtype).max)


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
        `quantiles`; `intensities`, for each channel the [lowest, highest] of each quantile; `spacing_mm`, the [lowest,
        highest] of row, column and slice, or None if it is not known.
    """
    if not facts or len({len(one.intensities) for one in facts}) > 1:
        return None
    intensities = np.array([one.intensities for one in facts])
    ranges = np.stack([intensities.min(axis=0), intensities.max(axis=0)], axis=-1)
    return {
        "images": len(facts),
        "height": [min(one.height for one in facts), max(one.height for one in facts)],
        "width": [min(one.width for one in facts), max(one.width for one in facts)],
        "bits": sorted({one.bits for one in facts}),
        "channels": sorted({one.channels for one in facts}),
        "quantiles": list(QUANTILES),
        "intensities": ranges.round(5).tolist(),
        "spacing_mm": [[min(axis), max(axis)] for axis in zip(*spacings, strict=True)] if spacings else None,
    }
