"""Pictures of the worst predictions for the report: a bounded number, compressed as they come."""

import heapq
from typing import NamedTuple

import cv2
import numpy as np

from utils.base.class_bits import class_areas
from utils.base.errors import UserError
from utils.base.palette import class_color
from utils.base.pictures import draw_contours, enlarge

LARGEST_SIDE = 512  # pixels; a CT slice keeps all of its own, about 30 kB
SMALLEST_SIDE = 256  # smaller masks are enlarged by a whole factor, so that contours are thin beside the image
MAX_CONTOUR_CLASSES = 3  # more foreground classes cannot be told apart as contours in one picture
TINT = 0.45  # opacity of their areas
QUALITY, LOSSLESS = 82, 101  # of WebP
UNUSED = 1  # red, green and blue where nothing is drawn; no colour of the palette


class Layers(NamedTuple):
    """A picture of the report in three WebP files that lie on each other, so that the page can show and hide masks.

    image: RGB, at most LARGEST_SIDE; truth and predicted: transparent but for contours (the truth's dashed) and, of
    many classes, tinted areas. The masks may have a whole multiple of the image's size.
    """

    image: bytes
    truth: bytes
    predicted: bytes


class Gallery:
    """Keeps the worst pictures that were offered.

    Args:
        size: how many are kept, and in memory at any time.
        classes: with the background; decides between contours of both masks and tinted areas of one at a time.
        multi_label: whether the values of masks are those of `utils.base.class_bits`.

    Attributes:
        contours: which of the two it is.
    """

    def __init__(self, size: int, classes: int, multi_label: bool = False) -> None:
        self.size = size
        self.multi_label = multi_label
        self.contours = classes - 1 <= MAX_CONTOUR_CLASSES
        self.heap: list[tuple[float, int, Layers]] = []  # (-Dice, -number, layers): the best one kept is on top

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
        key = (-np.inf if dice is None else -dice, -number)
        if self.size == 0 or (len(self.heap) == self.size and key < self.heap[0][:2]):
            return
        layers = self.draw(*shrink(image, truth, predicted))
        (heapq.heappushpop if len(self.heap) == self.size else heapq.heappush)(self.heap, (*key, layers))

    def draw(self, image: np.ndarray, truth: np.ndarray, predicted: np.ndarray) -> Layers:
        """The layers of a picture of its final size."""
        factor = max(1, SMALLEST_SIDE // max(image.shape[:2]))
        masks = [
            draw_mask(enlarge(mask, factor), dashed and self.contours, not self.contours, self.multi_label)
            for mask, dashed in ((truth, True), (predicted, False))
        ]
        return Layers(encode(image, QUALITY), *(encode(mask, LOSSLESS) for mask in masks))

    def pictures(self) -> list[tuple[int, Layers]]:
        """`(number of the image, its layers)`, the worst first."""
        return [(-number, layers) for _, number, layers in sorted(self.heap, reverse=True)]


def shrink(image: np.ndarray, truth: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image and masks, at most LARGEST_SIDE pixels high and wide."""
    height, width = image.shape[:2]
    if max(height, width) <= LARGEST_SIDE:
        return image, truth, predicted
    ratio = LARGEST_SIDE / max(height, width)
    height, width = max(1, round(height * ratio)), max(1, round(width * ratio))
    truth, predicted = (
        cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST_EXACT) for mask in (truth, predicted)
    )
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), truth, predicted


def draw_mask(mask: np.ndarray, dashed: bool, filled: bool, multi_label: bool = False) -> np.ndarray:
    """A mask `(height, width)` as contours, and with `filled` tinted areas: `(height, width, 4)` uint8 RGBA."""
    colors, tint = np.full((*mask.shape, 3), UNUSED, np.uint8), np.zeros(mask.shape, np.uint8)
    for index, area in class_areas(mask, multi_label) if filled else ():
        colors[area], tint[area] = class_color(index), round(TINT * 255)
    areas = colors.copy()
    colors[:] = UNUSED
    draw_contours(colors, mask, multi_label, dashed)
    drawn = (colors != UNUSED).any(axis=-1, keepdims=True)
    return np.dstack([np.where(drawn, colors, areas), np.where(drawn[..., 0], 255, tint).astype(np.uint8)])


def encode(picture: np.ndarray, quality: int) -> bytes:
    """RGB or RGBA picture -> bytes of a WebP file."""
    code = cv2.COLOR_RGBA2BGRA if picture.shape[2] == 4 else cv2.COLOR_RGB2BGR
    done, data = cv2.imencode(".webp", cv2.cvtColor(picture, code), [cv2.IMWRITE_WEBP_QUALITY, quality])
    if not done:
        raise UserError(f"OpenCV could not encode a picture of shape {picture.shape}.")
    return data.tobytes()
