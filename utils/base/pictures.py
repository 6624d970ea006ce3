"""Pictures of images with masks, drawn with OpenCV: fast enough for every image of a data set."""

from collections.abc import Sequence

import cv2
import numpy as np

from utils.base.class_bits import class_areas
from utils.base.palette import class_color

STRIP = 22  # height of the caption above a panel, pixels
WHITE = (255, 255, 255)
LIGHTER = 0.7  # share of white in the colour of dashed contours
DASH = 5  # pixels of a dash
CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))  # the neighbours that a contour separates
MIN_PANEL = 192  # panels are enlarged by a whole factor to at least this width, so that captions are readable


def displayable(image: np.ndarray, center_channel: bool) -> np.ndarray:
    """`(height, width, channels)` float in [0, 1] -> `(height, width, 3)` uint8 RGB.

    Args:
        center_channel: show the middle channel in grey (neighbouring slices as channels) instead of colours.
    """
    channels = image.shape[-1]
    if center_channel or channels != 3:
        image = np.repeat(image[..., channels // 2, None], 3, axis=-1)
    return np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)


def overlay(
    image: np.ndarray, mask: np.ndarray, alpha: float = 0.35, multi_label: bool = False, first: int = 1
) -> np.ndarray:
    """Draw a mask `(height, width)` over an RGB image: tinted areas with a bright contour.

    Its values are class indices, or with `multi_label` those of `utils.base.class_bits`. `first`, 0 or 1, is the first
    class that is drawn, see `class_areas`.
    """
    picture = image.copy()
    for index, present in class_areas(mask, multi_label, first):
        color = class_color(index)
        picture[present] = (1 - alpha) * picture[present] + alpha * np.array(color)
        contours, _ = cv2.findContours(present.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, contours, -1, color, 1)
    return picture


def draw_contours(
    picture: np.ndarray, mask: np.ndarray, multi_label: bool = False, dashed: bool = False, first: int = 1
) -> None:
    """Draw the contours of a mask, as in `overlay`, into an RGB picture of its size; none along the edge of the image.

    Args:
        dashed: in dashes of black and of the class's colour, lighter, which show on any image and beside solid ones.
    """
    rows, columns = np.arange(mask.shape[0])[:, None], np.arange(mask.shape[1])
    dark = (columns + 2 * rows) // DASH % 2 == 1
    for index, area in class_areas(mask, multi_label, first):
        inner = cv2.erode(area.astype(np.uint8), CROSS, borderType=cv2.BORDER_CONSTANT, borderValue=1)
        edge = area & (inner == 0)
        color = np.array(class_color(index))
        picture[edge] = LIGHTER * 255 + (1 - LIGHTER) * color if dashed else color
        if dashed:
            picture[edge & dark] = 0


def titled(picture: np.ndarray, title: str) -> np.ndarray:
    """A picture `(height, width, 3)` below a strip with its title."""
    strip = np.zeros((STRIP, picture.shape[1], 3), np.uint8)
    cv2.putText(strip, title, (6, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.5, WHITE, 1, cv2.LINE_AA)
    return np.vstack([strip, picture])


def enlarge(picture: np.ndarray, factor: int) -> np.ndarray:
    """Repeat every pixel, so that masks stay exact."""
    return picture.repeat(factor, axis=0).repeat(factor, axis=1)


def legend(entries: Sequence[tuple[str, tuple[int, int, int] | None]], width: int) -> np.ndarray:
    """A strip `(height, width, 3)` with colour and name of each entry, on several lines if needed.

    Args:
        entries: `(text, RGB colour)`; None for a text without a colour.
    """
    font, x = cv2.FONT_HERSHEY_SIMPLEX, 6
    line: list[tuple[int, str, tuple[int, int, int] | None]] = []
    lines = [line]
    for name, color in entries:
        needed = (18 if color else 0) + cv2.getTextSize(name, font, 0.45, 1)[0][0] + 14
        if line and x + needed > width:
            line, x = [], 6
            lines.append(line)
        line.append((x, name, color))
        x += needed
    strip = np.zeros((STRIP * len(lines), width, 3), np.uint8)
    for row, shown in enumerate(lines):
        for x, name, color in shown:
            top = STRIP * row
            if color:
                cv2.rectangle(strip, (x, top + 5), (x + 12, top + 17), color, -1)
            cv2.putText(strip, name, (x + (18 if color else 0), top + 16), font, 0.45, WHITE, 1, cv2.LINE_AA)
    return strip
