"""What annotations are made of: polygons with holes, run-length encodings, small pictures.

A part is drawn when the size of its image is known, so nothing that a file promises is larger than that. Polygons have
the pixels of pycocotools: a pixel belongs to a polygon by its centre, up to a fifth of a pixel.
"""

import math
import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from data_generators.reading.decoding import decode
from data_generators.reading.headers import read_header
from data_preparation.common.coco_segmentations import EMPTY_REGION, Region, draw_polygons, draw_segmentation
from data_preparation.common.made_images import decode_base64
from utils.base.errors import UserError

DECIMALS = 6  # of pixels, to which coordinates are rounded that were multiplied
ROUND = 0.05  # pixels between an ellipse and the polygon that stands for it


class Part(Protocol):
    """A part of an object."""

    def draw(self, height: int, width: int, where: str) -> Region:
        """Its pixels in an image of this size; `where` names it in messages."""


class Polygon(NamedTuple):
    """A polygon. outer, holes: x, y, x, y, ... in pixels, 0 is the edge of the image; shares: or in shares of it."""

    outer: Sequence[float]
    holes: Sequence[Sequence[float]] = ()
    shares: bool = False

    def draw(self, height: int, width: int, where: str) -> Region:
        rings = [self.outer, *self.holes]
        if self.shares:
            rings = [scaled(ring, width, height) for ring in rings]
        outer, *holes = rings
        region = draw_polygons([outer], height, width, where)
        return without(region, draw_polygons(holes, height, width, where)) if holes else region


class CocoSegmentation(NamedTuple):
    """Polygons or a run-length encoding as in COCO."""

    segmentation: Any

    def draw(self, height: int, width: int, where: str) -> Region:
        return draw_segmentation(self.segmentation, height, width, where)


class RowRuns(NamedTuple):
    """Run lengths along the rows of a rectangle, those of its background first, as in CVAT."""

    left: int
    top: int
    width: int
    height: int
    counts: Sequence[int]

    def draw(self, height: int, width: int, where: str) -> Region:
        size = self.height * self.width
        if size > height * width or sum(self.counts) != size:
            raise UserError(
                f"{where}: the runs have {sum(self.counts)} pixels, their rectangle {self.height}x{self.width}, the "
                f"image {height}x{width}."
            )
        flat = np.repeat(np.arange(len(self.counts)) % 2, self.counts).astype(np.uint8)
        return inside(self.top, self.left, flat.reshape(self.height, self.width), height, width)


class Picture(NamedTuple):
    """A small picture of an object, PNG in base64, at a corner. packed: whether zlib was applied before base64."""

    text: str
    left: int
    top: int
    packed: bool = False

    def draw(self, height: int, width: int, where: str) -> Region:
        data = decode_base64(self.text, where)
        if self.packed:
            data = unpacked(data, 16 * height * width + 65536, where)
        header = read_header(where, data)
        if header.height > height or header.width > width:
            raise UserError(
                f"{where}: its picture is {header.height}x{header.width} pixels, the image {height}x{width}."
            )
        pixels = decode(where, data)
        shown = pixels[:, :, 3] if pixels.shape[2] == 4 else pixels.max(axis=2)
        return inside(self.top, self.left, (shown > 0).astype(np.uint8), height, width)


def unpacked(data: bytes, most: int, where: str) -> bytes:
    """What zlib packed.

    Raises:
        UserError: it is damaged, or larger than `most` bytes.
    """
    unpacker = zlib.decompressobj()
    try:
        found = unpacker.decompress(data, most)
    except zlib.error:
        raise UserError(f"{where}: its picture is damaged. Export it again.") from None
    if not unpacker.eof:
        raise UserError(f"{where}: its picture is truncated, or larger than its image.")
    return found


def inside(top: int, left: int, pixels: np.ndarray, height: int, width: int) -> Region:
    """The part of uint8 `(rows, columns)` at a corner that lies in the image."""
    first, start = max(0, -top), max(0, -left)
    kept = pixels[first : max(height - top, first), start : max(width - left, start)]
    return Region(top + first, left + start, np.ascontiguousarray(kept)) if kept.size else EMPTY_REGION


def without(region: Region, hole: Region) -> Region:
    """A region without the pixels of another."""
    rows, columns = hole.pixels.shape
    top, left = hole.top - region.top, hole.left - region.left
    kept = region.pixels.copy()
    first, start = max(top, 0), max(left, 0)
    part = kept[first : max(top + rows, first), start : max(left + columns, start)]
    part &= 1 - hole.pixels[first - top : first - top + part.shape[0], start - left : start - left + part.shape[1]]
    return region._replace(pixels=kept)


def scaled(ring: Sequence[float], across: float, down: float) -> list[float]:
    """A ring with its x and y multiplied, without what rounding leaves: 14.9 for 14.899999999999999."""
    return np.round(np.reshape(ring, (-1, 2)) * [across, down], DECIMALS).ravel().tolist()


def rectangle(left: float, top: float, right: float, bottom: float) -> Polygon:
    """A rectangle whose sides are those of the image."""
    return Polygon([left, top, right, top, right, bottom, left, bottom])


def turned(polygon: Polygon, degrees: float, around: tuple[float, float]) -> Polygon:
    """A polygon turned clockwise, as seen on the screen, around a point.

    >>> turned(rectangle(0, 0, 4, 2), 90, (0, 0)).outer[2:4]
    [0.0, 4.0]
    """
    angle = math.radians(degrees % 360)
    cosine, sine = round(math.cos(angle), 12), round(math.sin(angle), 12)
    points = np.reshape(polygon.outer, (-1, 2)) - around
    moved = points @ np.array([[cosine, sine], [-sine, cosine]]) + around
    return Polygon((moved + 0.0).ravel().tolist())


def ellipse(x: float, y: float, radius_x: float, radius_y: float, degrees: float = 0) -> Polygon:
    """A polygon within a twentieth of a pixel of an ellipse around (x, y), turned clockwise."""
    radius = max(abs(radius_x), abs(radius_y), 1)
    corners = min(max(16, math.ceil(math.pi / math.sqrt(2 * ROUND / radius))), 4096)
    angles = np.arange(corners) * (2 * math.pi / corners)
    points = np.stack([x + radius_x * np.cos(angles), y + radius_y * np.sin(angles)], axis=1)
    polygon = Polygon(points.ravel().tolist())
    return turned(polygon, degrees, (x, y)) if degrees else polygon
