"""Pictures of the worst predictions for the report: a bounded number, compressed as they come."""

import heapq
import zlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import cv2
import numpy as np

from utils.base.class_bits import class_areas
from utils.base.errors import UserError
from utils.base.palette import ERROR_COLORS, VOID, class_color
from utils.base.pictures import draw_contours, enlarge
from utils.inference.comparison import AREA_TINT, TINT, find_errors, fit
from utils.inference.mask_meaning import MaskMeaning

LARGEST_SIDE = 512  # pixels; a CT slice keeps all of its own, about 30 kB
SMALLEST_SIDE = 256  # smaller masks are enlarged by a whole factor, so that contours are thin beside the image
QUALITY, LOSSLESS = 82, 101  # of WebP
UNUSED = 1  # red, green and blue where nothing is drawn; no colour of the palette

Areas = Iterable[tuple[tuple[int, int, int], np.ndarray]]  # RGB colour, and where: bool `(height, width)`


class Layers(NamedTuple):
    """A picture of the report in WebP files that lie on each other, so that the page can show and hide masks.

    image: RGB, at most LARGEST_SIDE; truth and predicted: transparent but for contours (the truth's dashed) and, of
    many classes, tinted areas; errors: what `draw_errors` of `utils.inference.comparison` puts on a pale grey image.
    The masks may have a whole multiple of the image's size.
    """

    image: bytes
    truth: bytes
    predicted: bytes
    errors: bytes


class Pixels(NamedTuple):
    """A picture that may be shown: what `Layers` are drawn from, so that only those that are shown are drawn.

    image: WebP; truth and predicted: zlib-compressed uint8 of `shape`.
    """

    image: bytes
    truth: bytes
    predicted: bytes
    shape: tuple[int, ...]


class Gallery:
    """Keeps the worst pictures that were offered.

    Args:
        size: how many are kept, and in memory at any time.
        meaning: of the masks; decides between contours of both and tinted areas of one at a time.
    """

    def __init__(self, size: int, meaning: MaskMeaning) -> None:
        self.size, self.meaning = size, meaning
        self.heap: list[tuple[float, int, Pixels]] = []  # (-Dice, -number, pixels): the best one kept is on top

    def wants(self, number: int, dice: float | None) -> bool:
        """Whether a picture would be kept, see `offer`."""
        return self.size > 0 and (len(self.heap) < self.size or key_of(number, dice) >= self.heap[0][:2])

    def offer(
        self, number: int, dice: float | None, image: np.ndarray, truth: np.ndarray, predicted: np.ndarray
    ) -> None:
        """Take a picture if it is among the worst so far.

        Args:
            number: of the image, unique; of images with equal Dice the first is kept.
            dice: None for an image without any foreground, which comes last.
            image: `(height, width, 3)` uint8 RGB.
            truth, predicted: `(height, width)` class indices.
        """
        if not self.wants(number, dice):
            return
        image, truth, predicted = (shrink(picture) for picture in (image, truth, predicted))
        pixels = Pixels(encode(image, QUALITY), compress(truth), compress(predicted), truth.shape)
        entry = (*key_of(number, dice), pixels)
        (heapq.heappushpop if len(self.heap) == self.size else heapq.heappush)(self.heap, entry)

    def draw(self, image: bytes, truth: np.ndarray, predicted: np.ndarray) -> Layers:
        """The layers of a picture of its final size; `image` is encoded."""
        factor = max(1, SMALLEST_SIDE // max(truth.shape[:2]))
        errors = [(ERROR_COLORS[name], area) for name, area in find_errors(truth, predicted, self.meaning).items()]
        void = self.meaning.is_void(truth)
        masks = (
            self.draw_mask(enlarge(truth, factor), dashed=True),
            self.draw_mask(enlarge(predicted, factor)),
            tinted([*errors, (VOID, void)], TINT, void.shape),
        )
        return Layers(image, *(encode(mask, LOSSLESS) for mask in masks))

    def draw_mask(self, mask: np.ndarray, dashed: bool = False) -> np.ndarray:
        """A mask `(height, width)` as contours, of many classes with tinted areas: `(height, width, 4)` uint8 RGBA.

        Args:
            dashed: the mask is the truth, where pixels may be void; dashes need no areas around them.
        """
        meaning = self.meaning
        void = meaning.is_void(mask) & dashed
        known = meaning.without_void(mask) if dashed else mask
        areas = () if meaning.draws_contours else class_areas(known, meaning.multi_label, meaning.first_class)
        layer = tinted([(class_color(index), area) for index, area in areas], AREA_TINT, mask.shape)
        layer[void] = (*VOID, round(TINT * 255))
        lines = np.full((*mask.shape, 3), UNUSED, np.uint8)
        draw_contours(lines, known, meaning.multi_label, dashed and meaning.draws_contours, meaning.first_class)
        drawn = (lines != UNUSED).any(axis=-1)
        layer[drawn] = np.insert(lines[drawn], 3, 255, axis=-1)
        return layer

    def pictures(self) -> list[tuple[int, Layers]]:
        """`(number of the image, its layers)`, the worst first; several are drawn at once."""
        kept = sorted(self.heap)[::-1]
        with ThreadPoolExecutor() as threads:
            layers = threads.map(lambda entry: self.draw(entry[2].image, *masks_of(entry[2])), kept)
            return [(-number, drawn) for (_, number, _), drawn in zip(kept, layers, strict=True)]


def key_of(number: int, dice: float | None) -> tuple[float, int]:
    """What pictures are ordered by: the higher, the worse; of equal ones the first."""
    return (-np.inf if dice is None else -dice, -number)


def compress(mask: np.ndarray) -> bytes:
    """A mask in few bytes, quickly."""
    return zlib.compress(np.ascontiguousarray(mask, np.uint8).tobytes(), 1)


def masks_of(pixels: Pixels) -> list[np.ndarray]:
    """The true and the predicted mask, uint8 `(height, width)`."""
    parts = (pixels.truth, pixels.predicted)
    return [np.frombuffer(zlib.decompress(part), np.uint8).reshape(pixels.shape) for part in parts]


def shrink(picture: np.ndarray) -> np.ndarray:
    """An image or a mask, at most LARGEST_SIDE pixels high and wide."""
    return fit(picture, LARGEST_SIDE) if max(picture.shape[:2]) > LARGEST_SIDE else picture


def tinted(areas: Areas, opacity: float, shape: tuple[int, ...]) -> np.ndarray:
    """Areas in their colours, the last on top, on a transparent picture `(height, width, 4)` uint8 RGBA."""
    layer = np.zeros((*shape, 4), np.uint8)
    for color, area in areas:
        layer[area] = (*color, round(opacity * 255))
    return layer


def encode(picture: np.ndarray, quality: int) -> bytes:
    """RGB or RGBA picture -> bytes of a WebP file."""
    code = cv2.COLOR_RGBA2BGRA if picture.shape[2] == 4 else cv2.COLOR_RGB2BGR
    done, data = cv2.imencode(".webp", cv2.cvtColor(picture, code), [cv2.IMWRITE_WEBP_QUALITY, quality])
    if not done:
        raise UserError(f"OpenCV could not encode a picture of shape {picture.shape}.")
    return data.tobytes()
