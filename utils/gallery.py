"""Pictures of the worst predictions of a report: a bounded number, compressed as they come."""

import heapq

import cv2
import numpy as np

from utils.errors import UserError
from utils.visualize import class_color, enlarge

SIDE = 384  # longest side of a picture in pixels: sharp on a phone, about 15 kB
SMALLEST = 256  # smaller pictures are enlarged by a whole factor, so that contours are thin beside the image
PALE = 0.3  # share of white in the colour of a predicted contour


class Gallery:
    """Keep the `size` worst pictures that were offered.

    Attributes:
        size: int, at most so many are kept, and no more than these are in memory at any time.
    """

    def __init__(self, size):
        self.size = size
        self.heap = []  # (-score, -order, order, WebP bytes): the best one kept is on top

    def offer(self, order, score, image, truth, predicted):
        """Take a picture if it is among the worst so far.

        Args:
            order: int, unlike that of every other; of equal scores the first is kept.
            score: float, or None for an image without any foreground, which comes last.
            image: `(height, width, 3)` uint8 RGB.
            truth, predicted: `(height, width)` class indices.
        """
        key = (-np.inf if score is None else -score, -order)
        if self.size == 0 or (len(self.heap) == self.size and key < self.heap[0][:2]):
            return
        entry = (*key, order, encode(draw_contours(image, truth, predicted)))
        (heapq.heappushpop if len(self.heap) == self.size else heapq.heappush)(self.heap, entry)

    def pictures(self):
        """list of `(order, WebP bytes)`, the worst first."""
        return [(order, data) for _, _, order, data in sorted(self.heap, reverse=True)]


def draw_contours(image, truth, predicted):
    """The image with the contours of the truth (class colour) and of the prediction (the complement), uint8 RGB."""
    height, width = image.shape[:2]
    factor = max(1, SMALLEST // max(height, width))
    if factor == 1 and max(height, width) > SIDE:
        ratio = SIDE / max(height, width)
        size = (round(width * ratio) or 1, round(height * ratio) or 1)
        picture = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        truth, predicted = (
            cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST_EXACT) for mask in (truth, predicted)
        )
    else:
        picture = cv2.resize(image, (width * factor, height * factor), interpolation=cv2.INTER_LINEAR)
        truth, predicted = enlarge(truth, factor), enlarge(predicted, factor)
    for mask, color in ((truth, class_color), (predicted, prediction_color)):
        for index in np.unique(mask[mask > 0]):
            contours, _ = cv2.findContours((mask == index).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(picture, contours, -1, color(int(index)), 1)
    return picture


def prediction_color(index):
    """RGB colour of the contour of a predicted class: the complement of the class's, lighter."""
    return tuple(round(PALE * 255 + (1 - PALE) * (255 - value)) for value in class_color(index))


def encode(picture):
    """RGB picture -> bytes of a WebP file."""
    done, data = cv2.imencode(".webp", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_WEBP_QUALITY, 82])
    if not done:
        raise UserError(f"OpenCV could not encode a picture of shape {picture.shape}.")
    return data.tobytes()
