"""New images against the training set: which are far outside of what the network was trained on, and in what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from data_preparation.common.fingerprint import ImageFacts, facts_of

if TYPE_CHECKING:
    from utils.inference.read_ahead import SourceImage
    from utils.inference.sources import Source

# How far outside of the range of the training set is far.
SIZE_FACTOR = 2.0  # of height and width
SPACING_FACTOR = 1.25  # of the voxel size along an axis
MARGIN = 0.1  # of a quantile of the intensities in [0, 1], or
SHARE = 0.25  # this share of the range, if that is more


class Finding(NamedTuple):
    """In what a source is unlike the training set: kind, as in predictions.csv; its value; that of the training."""

    kind: str
    value: str
    training: str


NAMES = ("1st percentile", "lower quartile", "median", "upper quartile", "99th percentile")  # of QUANTILES
# Kind -> what the line says
TEXTS = {
    "voxel size": "have a voxel size the model never saw",
    "image size": "have a size far from those of the training",
    "channels": "have other channels than those of the training",
    "bits": "have another number of bits than those of the training",
    "intensity": "have intensities far from those of the training",
}


class Drift:
    """Compares sources, whose images come in order, with the fingerprint of a training set.

    Args:
        fingerprint: of `data_preparation.common.fingerprint`.
    """

    def __init__(self, fingerprint: Mapping[str, Any]) -> None:
        self.fingerprint = fingerprint
        self.facts: list[ImageFacts] = []  # of the source that is being read
        self.found: dict[str, list[tuple[Finding, bool]]] = {}
        self.sources = {False: 0, True: 0}  # how many, scans or not

    def add(self, item: SourceImage) -> list[str]:
        """Take an image; return the kinds of what is unlike the training if it is the last one of its source."""
        if item.frame == 0:
            self.facts = []
        self.facts.append(facts_of(item.image, padded=not self.fingerprint.get("without_padding")))
        if not item.is_last:
            return []
        is_scan = item.source.spacing is not None
        self.sources[is_scan] += 1
        findings = list(compare(self.facts, item.source, self.fingerprint))
        for finding in findings:
            self.found.setdefault(finding.kind, []).append((finding, is_scan))
        return [finding.kind for finding in findings]

    def lines(self) -> list[str]:
        """One line for each kind."""
        lines = []
        for kind, text in TEXTS.items():
            for is_scan, name in ((True, "scan"), (False, "image")):
                findings = [finding for finding, scan in self.found.get(kind, ()) if scan == is_scan]
                if findings:
                    ((value, _),) = Counter(finding.value for finding in findings).most_common(1)
                    count, total = len(findings), self.sources[is_scan]
                    of = f"{count} of {total} {name}s" if total > 1 else f"the {name}"
                    verb = text if count > 1 else text.replace("have", "has", 1)
                    lines.append(f"Warning: {of} {verb} ({value}; training {findings[0].training})")
        return lines


def compare(facts: list[ImageFacts], source: Source, fingerprint: Mapping[str, Any]) -> Iterator[Finding]:
    """In what the images of a source are far outside of the training set.

    Intensities are the mean over its images; of those that are all padding only their size counts, unless all are.
    """
    filled = [one for one in facts if not one.is_empty] or facts
    first = filled[0]
    if source.spacing is not None and fingerprint["spacing_mm"]:
        ranges = fingerprint["spacing_mm"]
        if any(is_far(one, sides, SPACING_FACTOR) for one, sides in zip(source.spacing, ranges, strict=True)):
            yield Finding("voxel size", f"{times(source.spacing)} mm", f"{times_ranges(ranges)} mm")
    sides = (fingerprint["height"], fingerprint["width"])
    if any(is_far(one, side, SIZE_FACTOR) for one, side in zip((first.height, first.width), sides, strict=True)):
        yield Finding("image size", f"{first.height} x {first.width} pixels", f"{times_ranges(sides)} pixels")
    for kind, value in (("channels", first.channels), ("bits", first.bits)):
        if value not in fingerprint[kind]:
            yield Finding(kind, str(value), " and ".join(map(str, fingerprint[kind])))
    means = np.nan_to_num(np.mean([one.intensities for one in filled], axis=0))
    yield from compare_intensities(means, fingerprint)


def compare_intensities(values: np.ndarray, fingerprint: Mapping[str, Any]) -> Iterator[Finding]:
    """The quantile `(channels, quantiles)` that is the farthest outside, if it is far."""
    ranges = np.array(fingerprint["intensities"])
    if ranges.shape[:2] != values.shape:
        return
    low, high = ranges[..., 0], ranges[..., 1]
    outside = np.maximum(low - values, values - high) - np.maximum(MARGIN, SHARE * (high - low))
    channel, place = np.unravel_index(outside.argmax(), outside.shape)
    if outside[channel, place] > 0:
        name = NAMES[int(place)]
        of = f" of channel {channel + 1}" if len(values) > 1 and np.ptp(values, axis=0).max() > 0.01 else ""
        training = f"{low[channel, place]:.2f} to {high[channel, place]:.2f}"
        yield Finding("intensity", f"{name}{of} {values[channel, place]:.2f}", training)


def is_far(value: float, sides: Sequence[float], factor: float) -> bool:
    """Whether a value is below or above a range by more than a factor."""
    low, high = sides
    return value * factor < low or value > high * factor


def times(values: Sequence[float]) -> str:
    """Sizes as a text.

    >>> times((0.7, 0.7, 5))
    '0.7 x 0.7 x 5'
    """
    return " x ".join(f"{value:.3g}" for value in values)


def times_ranges(ranges: Sequence[Sequence[float]]) -> str:
    """Ranges of sizes as a text.

    >>> times_ranges(((0.9, 1.1), (1, 1)))
    '0.9 to 1.1 x 1'
    """
    return " x ".join(f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}" for low, high in ranges)
