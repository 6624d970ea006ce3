"""Pictures of the worst predictions of a report: a bounded number, compressed as they come."""

import heapq

import cv2
import numpy as np

from utils.base.errors import UserError
from utils.base.pictures import class_color, enlarge, overlay

SIDE = 384  # longest side of a picture in pixels: sharp on a phone, about 15 kB
SMALLEST = 256  # smaller pictures are enlarged by a whole factor, so that contours are thin beside the image
PALE = 0.3  # share of white in the colour of a predicted contour
MANY = 3  # with more foreground classes than that, contours in one picture cannot be told apart


class Gallery:
    """Keep the worst pictures that were offered.

    Args:
        size: int, at most so many are kept, and no more than these are in memory at any time.
        classes: int, OUTPUT.CLASSES; decides between contours in one picture and two pictures side by side.

    Attributes:
        contours: bool, which of the two it is.
    """

    def __init__(self, size, classes):
        self.size = size
        self.contours = classes - 1 <= MANY
        self.heap = []  # (-score, -order, WebP bytes): the best one kept is on top

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
        image, truth, predicted = fit(image, truth, predicted)
        if self.contours:
            picture = draw_contours(image, truth, predicted)
        else:
            picture = np.hstack([overlay(image, truth), overlay(image, predicted)])
        (heapq.heappushpop if len(self.heap) == self.size else heapq.heappush)(self.heap, (*key, encode(picture)))

    def pictures(self):
        """list of `(order, WebP bytes)`, the worst first."""
        return [(-order, data) for _, order, data in sorted(self.heap, reverse=True)]


def fit(image, truth, predicted):
    """Image and masks at the size of the report's pictures."""
    height, width = image.shape[:2]
    if max(height, width) <= SIDE:
        factor = max(1, SMALLEST // max(height, width))
        larger = cv2.resize(image, (width * factor, height * factor), interpolation=cv2.INTER_LINEAR)
        return larger, enlarge(truth, factor), enlarge(predicted, factor)
    ratio = SIDE / max(height, width)
    height, width = max(1, round(height * ratio)), max(1, round(width * ratio))
    masks = (cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST_EXACT) for mask in (truth, predicted))
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), *masks


def draw_contours(image, truth, predicted):
    """The image with the contours of the truth (class colour) and of the prediction (the complement), uint8 RGB."""
    picture = image.copy()
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
