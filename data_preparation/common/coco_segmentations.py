"""Draw the segmentations of COCO: polygons and run-length encodings, pixel by pixel as pycocotools does."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from pycocotools import mask as coco_mask

from utils.base.errors import UserError


class Region(NamedTuple):
    """A part of an image: its corner, and uint8 `(height, width)`, 1 on the object."""

    top: int
    left: int
    pixels: np.ndarray


EMPTY_REGION = Region(0, 0, np.zeros((0, 0), np.uint8))


NO_SEGMENTATION = "no segmentation"
COVERS_NOTHING = "covers no pixel of its image"


def enclosing_parts(segmentation: Any) -> tuple[Any, str]:
    """Return `(segmentation, why some or all of it is left out or "")`: polygons of one or two points enclose nothing.

    Four numbers are two points to some programs and a box to others, so they are never drawn.
    """
    if not segmentation:
        return None, NO_SEGMENTATION
    if not isinstance(segmentation, list):
        return segmentation, ""
    parts = [part for part in segmentation if not isinstance(part, list) or len(part) % 2 or len(part) >= 6]
    if len(parts) == len(segmentation):
        return segmentation, ""
    short = [part for part in segmentation if isinstance(part, list) and len(part) < 6]
    return parts, f"polygons of fewer than three points enclose nothing: {', '.join(map(str, short))[:80]}"


def covers_no_pixel(segmentation: Any, height: int, width: int, name: str) -> bool:
    """Whether drawing would leave nothing in the image: all polygons lie outside it, or between the pixels.

    Only those that reach over an edge or are narrower than a pixel are drawn to find out; RLE has at least one run.
    """
    if not isinstance(segmentation, list):
        counts = segmentation.get("counts") if isinstance(segmentation, dict) else None
        return isinstance(counts, list) and counts == [height * width]
    try:
        across = [(min(part[::2]), max(part[::2])) for part in segmentation]
        down = [(min(part[1::2]), max(part[1::2])) for part in segmentation]
        doubtful = all(
            min(right - left, bottom - top) < 1 or left < 0 or top < 0 or right > width or bottom > height
            for (left, right), (top, bottom) in zip(across, down, strict=True)
        )
    except (TypeError, ValueError, KeyError, OverflowError):
        return False  # drawing it names what is wrong
    return doubtful and not draw_polygons(segmentation, height, width, name).pixels.any()


def draw_segmentation(segmentation: object, height: int, width: int, name: str) -> Region:
    """Draw the segmentation of an annotation; see `draw_polygons` and `decode_runs`."""
    if isinstance(segmentation, list):
        return draw_polygons(segmentation, height, width, name)
    return Region(0, 0, decode_runs(segmentation, height, width, name))


def draw_polygons(polygons: Sequence, height: int, width: int, name: str) -> Region:
    """Draw polygons as pycocotools does.

    Args:
        polygons: lists of numbers x, y, x, y, ...; those of fewer than three points are empty.
        height, width: of the image.
        name: of the annotation, for messages.

    Raises:
        UserError: not such a list, or a coordinate far outside the image.
    """
    farthest = 10 * max(height, width)
    drawn = []
    for polygon in polygons:
        try:
            points = np.array(polygon, float)
        except (ValueError, TypeError, OverflowError):
            points = np.zeros(1)
        if points.ndim != 1 or len(points) % 2:
            raise UserError(f"{name}: a polygon must be a list of numbers x, y, x, y, ...")
        if len(points) and not np.abs(points).max() <= farthest:  # also true for NaN
            raise UserError(f"{name}: a polygon reaches {points[np.abs(points).argmax()]:g}, far outside the image.")
        if len(points) >= 6:  # two points enclose nothing
            drawn.append(points)
    if not drawn:
        return EMPTY_REGION
    # The canvas ends below and right of the polygon, which saves time, but begins where the image does: pycocotools
    # rounds some pixels of a shifted polygon differently. Its empty columns are dropped before the runs are decoded.
    points = np.concatenate(drawn) if len(drawn) > 1 else drawn[0]
    left, right = bounds(points[::2], width)
    top, bottom = bounds(points[1::2], height)
    if left >= right or top >= bottom:
        return EMPTY_REGION
    runs = coco_mask.frPyObjects(drawn, bottom, right)
    runs = coco_mask.merge(runs) if len(runs) > 1 else runs[0]
    return Region(top, left, coco_mask.decode(drop_columns(runs, left))[top:].copy())


def drop_columns(runs: dict, columns: int) -> dict:
    """Remove the first columns, which are empty, from the run-length encoding of pycocotools.

    Runs go down the columns and begin with the number of leading zeros; no other count depends on that number.
    """
    height, width = runs["size"]
    text = runs["counts"]
    first, end = 0, 0
    while text[end] - 48 & 32:  # see `expand_counts`
        first |= (text[end] - 48 & 31) << 5 * end
        end += 1
    first |= (text[end] - 48 & 31) << 5 * end
    first -= columns * height
    start = bytearray()
    while first > 15:  # the highest bit of the last character would be a sign
        start.append((first & 31 | 32) + 48)
        first >>= 5
    start.append(first + 48)
    return {"size": [height, width - columns], "counts": bytes(start) + text[end + 1 :]}


def bounds(numbers: np.ndarray, size: int) -> tuple[int, int]:
    """The first pixel that a polygon can reach and the one after the last, with a margin of one, within the image."""
    return max(math.floor(numbers.min()) - 2, 0), min(math.ceil(numbers.max()) + 2, size)


def decode_runs(segmentation: object, height: int, width: int, name: str) -> np.ndarray:
    """Decode a run-length encoding to uint8 `(height, width)`.

    Args:
        segmentation: {"size": [height, width], "counts": a list, or a (compressed) text}.
        height, width: of the image.
        name: of the annotation, for messages.

    Raises:
        UserError: not such an encoding, or one of another size.
    """
    counts = segmentation.get("counts") if isinstance(segmentation, dict) else None
    if not isinstance(segmentation, dict) or not isinstance(counts, (list, str)):
        raise UserError(f"{name}: the segmentation is neither polygons nor a run-length encoding.")
    if segmentation.get("size") != [height, width]:
        raise UserError(
            f"{name}: the run-length encoding has the size {segmentation.get('size')}, not {[height, width]}."
        )
    if isinstance(counts, str):
        counts = expand_counts(counts, name)
    if not all(type(count) is int and count >= 0 for count in counts):
        raise UserError(f"{name}: the counts of a run-length encoding must be integers from 0.")
    if sum(counts) != height * width:
        raise UserError(f"{name}: the run-length encoding has {sum(counts)} pixels, the image {height * width}.")
    flat = np.repeat(np.arange(len(counts)) % 2, counts).astype(np.uint8)
    return flat.reshape(width, height).T


def expand_counts(text: str, name: str) -> list[int]:
    """The counts in a compressed text: 5 bits per character, the lowest first; the sixth says that more follow.

    From the third count on the text has the difference from the count before the last. Decoded here because
    pycocotools does not check what it reads.
    """
    counts: list[int] = []
    value = bits = 0
    for character in text:
        code = ord(character) - 48
        if not 0 <= code < 64 or bits > 60:
            raise UserError(f"{name}: the text of the run-length encoding is damaged.")
        value |= (code & 31) << bits
        bits += 5
        if not code & 32:
            value -= (1 << bits) if code & 16 else 0
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value = bits = 0
    if bits:
        raise UserError(f"{name}: the text of the run-length encoding is truncated.")
    return counts
