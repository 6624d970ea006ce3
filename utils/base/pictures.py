"""Pictures of images with masks, drawn with OpenCV: fast enough for every image of a data set."""

from collections.abc import Sequence

import cv2
import numpy as np

from utils.base.class_bits import class_areas

# Colours of class 1, 2, ... (RGB), from ColorBrewer's Set1 and Dark2: distinct on grey images.
CLASS_COLORS = (
    (228, 26, 28),
    (55, 126, 184),
    (77, 175, 74),
    (255, 127, 0),
    (152, 78, 163),
    (255, 255, 51),
    (166, 86, 40),
    (247, 129, 191),
    (27, 158, 119),
    (102, 194, 165),
    (231, 41, 138),
    (117, 112, 179),
    (230, 171, 2),
    (217, 95, 2),
)
STRIP = 22  # height of the caption above a panel, pixels
MIN_PANEL = 192  # panels are enlarged by a whole factor to at least this width, so that captions are readable


def class_color(index: int) -> tuple[int, int, int]:
    """RGB colour of a class index >= 1."""
    return CLASS_COLORS[(index - 1) % len(CLASS_COLORS)]


def displayable(image: np.ndarray, center_channel: bool) -> np.ndarray:
    """`(height, width, channels)` float in [0, 1] -> `(height, width, 3)` uint8 RGB.

    Args:
        center_channel: show the middle channel in grey (neighbouring slices as channels) instead of colours.
    """
    channels = image.shape[-1]
    if center_channel or channels != 3:
        image = np.repeat(image[..., channels // 2, None], 3, axis=-1)
    return np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)


def overlay(image: np.ndarray, mask: np.ndarray, alpha: float = 0.35, multi_label: bool = False) -> np.ndarray:
    """Draw a mask `(height, width)` over an RGB image: tinted areas with a bright contour.

    Its values are class indices, or with `multi_label` those of `utils.base.class_bits`.
    """
    picture = image.copy()
    for index, present in class_areas(mask, multi_label):
        area = present.astype(np.uint8)
        color = class_color(index)
        tinted = (1 - alpha) * picture + alpha * np.array(color)
        picture = np.where(area[..., None] > 0, tinted.astype(np.uint8), picture)
        contours, _ = cv2.findContours(area, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, contours, -1, color, 1)
    return picture


def side_by_side(
    image: np.ndarray, truth: np.ndarray | None, prediction: np.ndarray, multi_label: bool = False
) -> np.ndarray:
    """One picture of the image, the truth (if any) and the prediction, each with a caption.

    Args:
        image: `(height, width, 3)` uint8 RGB.
        truth: `(height, width)` class indices, or None.
        prediction: `(height, width)` class indices.
        multi_label: whether both are values of overlapping classes, see `overlay`.

    Returns:
        `(height', width', 3)` uint8 RGB.
    """
    factor = max(1, -(-MIN_PANEL // image.shape[1]))
    panels = [("image", image), ("truth", truth), ("prediction", prediction)]
    drawn: list[np.ndarray] = []
    for caption, content in panels:
        if content is None:
            continue
        panel = enlarge(image, factor)
        if caption != "image":
            panel = overlay(panel, enlarge(content, factor), multi_label=multi_label)
        drawn += [titled(panel, caption), np.zeros((STRIP + panel.shape[0], 4, 3), np.uint8)]
    return np.hstack(drawn[:-1])


def titled(picture: np.ndarray, title: str) -> np.ndarray:
    """A picture `(height, width, 3)` below a strip with its title."""
    strip = np.zeros((STRIP, picture.shape[1], 3), np.uint8)
    cv2.putText(strip, title, (6, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1, cv2.LINE_AA)
    return np.vstack([strip, picture])


def enlarge(picture: np.ndarray, factor: int) -> np.ndarray:
    """Repeat every pixel, so that masks stay exact."""
    return picture.repeat(factor, axis=0).repeat(factor, axis=1)


def legend(names: Sequence[str], width: int) -> np.ndarray:
    """A strip `(height, width, 3)` with colour and name of each foreground class, on several lines if needed."""
    font, x = cv2.FONT_HERSHEY_SIMPLEX, 6
    line: list[tuple[int, int, str]] = []
    lines = [line]
    for index, name in enumerate(names[1:], 1):
        needed = 20 + cv2.getTextSize(name, font, 0.45, 1)[0][0] + 12
        if line and x + needed > width:
            line, x = [], 6
            lines.append(line)
        line.append((x, index, name))
        x += needed
    strip = np.zeros((STRIP * len(lines), width, 3), np.uint8)
    for row, entries in enumerate(lines):
        for x, index, name in entries:
            top = STRIP * row
            cv2.rectangle(strip, (x, top + 5), (x + 12, top + 17), class_color(index), -1)
            cv2.putText(strip, name, (x + 18, top + 16), font, 0.45, (255, 255, 255), 1, cv2.LINE_AA)
    return strip
