"""Pictures of the worst predictions for the report: a bounded number, compressed as they come."""

import heapq

import cv2
import numpy as np

from utils.base.class_bits import class_areas
from utils.base.errors import UserError
from utils.base.palette import class_color
from utils.base.pictures import enlarge, overlay

LARGEST_SIDE = 384  # pixels; sharp on a phone, about 15 kB
SMALLEST_SIDE = 256  # smaller pictures are enlarged by a whole factor, so that contours are thin beside the image
LIGHTER = 0.3  # share of white in the colour of a predicted contour
MAX_CONTOUR_CLASSES = 3  # more foreground classes cannot be told apart as contours in one picture


class Gallery:
    """Keeps the worst pictures that were offered.

    Args:
        size: how many are kept, and in memory at any time.
        classes: with the background; decides between contours in one picture and two pictures side by side.
        multi_label: whether the values of masks are those of `utils.base.class_bits`.

    Attributes:
        contours: which of the two it is.
    """

    def __init__(self, size: int, classes: int, multi_label: bool = False) -> None:
        self.size = size
        self.multi_label = multi_label
        self.contours = classes - 1 <= MAX_CONTOUR_CLASSES
        self.heap: list[tuple[float, int, bytes]] = []  # (-Dice, -number, WebP): the best one kept is on top

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
        image, truth, predicted = fit(image, truth, predicted)
        if self.contours:
            picture = draw_contours(image, truth, predicted, self.multi_label)
        else:
            picture = np.hstack([overlay(image, mask, multi_label=self.multi_label) for mask in (truth, predicted)])
        (heapq.heappushpop if len(self.heap) == self.size else heapq.heappush)(self.heap, (*key, encode(picture)))

    def pictures(self) -> list[tuple[int, bytes]]:
        """`(number of the image, WebP bytes)`, the worst first."""
        return [(-number, data) for _, number, data in sorted(self.heap, reverse=True)]


def fit(image: np.ndarray, truth: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image and masks at the size of the report's pictures."""
    height, width = image.shape[:2]
    if max(height, width) <= LARGEST_SIDE:
        factor = max(1, SMALLEST_SIDE // max(height, width))
        larger = cv2.resize(image, (width * factor, height * factor), interpolation=cv2.INTER_LINEAR)
        return larger, enlarge(truth, factor), enlarge(predicted, factor)
    ratio = LARGEST_SIDE / max(height, width)
    height, width = max(1, round(height * ratio)), max(1, round(width * ratio))
    truth, predicted = (
        cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST_EXACT) for mask in (truth, predicted)
    )
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), truth, predicted


def draw_contours(image: np.ndarray, truth: np.ndarray, predicted: np.ndarray, multi_label: bool = False) -> np.ndarray:
    """The image with the contours of the truth (class colour) and of the prediction (the complement), uint8 RGB."""
    picture = image.copy()
    for mask, color in ((truth, class_color), (predicted, prediction_color)):
        for index, area in class_areas(mask, multi_label):
            contours, _ = cv2.findContours(area.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(picture, contours, -1, color(index), 1)
    return picture


def prediction_color(index: int) -> tuple[int, ...]:
    """RGB colour of the contour of a predicted class: the complement of the class's, lighter."""
    return tuple(round(LIGHTER * 255 + (1 - LIGHTER) * (255 - value)) for value in class_color(index))


def encode(picture: np.ndarray) -> bytes:
    """RGB picture -> bytes of a WebP file."""
    done, data = cv2.imencode(".webp", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_WEBP_QUALITY, 82])
    if not done:
        raise UserError(f"OpenCV could not encode a picture of shape {picture.shape}.")
    return data.tobytes()
