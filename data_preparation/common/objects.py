"""Options of commands that know single objects: label images beside the masks, and borders where objects touch."""

from argparse import Namespace
from collections.abc import Mapping
from typing import Any, NamedTuple, Self

import cv2
import numpy as np

from data_preparation.common.dataset_writer import MadeMask
from utils.base.errors import UserError
from utils.base.pieces import renumber

MOST = 65535  # objects of an image, the largest value of a PNG file of 16 bit
BORDER = "border"  # name of the class

OBJECT_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "--objects": {
        "action": "store_true",
        "help": "also write OUTPUT/<split>/objects: label images, a number for each object (DATASET.VAL.OBJECTS_PATH)",
    },
    "--border": {
        "type": int,
        "default": 0,
        "metavar": "N",
        "help": "pixels of objects that become background towards another object (default 0)",
    },
    "--border-class": {"action": "store_true", "help": "they become a class of their own, the last"},
}


class ObjectMasks(NamedTuple):
    """What becomes of objects in a mask.

    objects: whether label images are written; border: in pixels; border_value: of those within it in the mask.
    """

    objects: bool = False
    border: int = 0
    border_value: int = 0

    @classmethod
    def from_options(cls, options: Namespace, classes: int, highest: int = 255) -> Self:
        """The values of OBJECT_OPTIONS, and of --multi-label where a command has it.

        Args:
            options: as typed.
            classes: how many there are, with the background.
            highest: value that a class may have.

        Raises:
            UserError: they do not go together.
        """
        if options.border < 0:
            raise UserError(f"--border {options.border}: a number of pixels is at least 0.")
        if options.border_class and not options.border:
            raise UserError("--border-class needs the width of the border in pixels: --border 1.")
        if options.border_class and classes > highest:
            raise UserError(f"--border-class would be class {classes}; a mask has 0 to {highest}.")
        chosen = cls(options.objects, options.border, classes if options.border_class else 0)
        if getattr(options, "multi_label", False) and not chosen.is_plain:
            raise UserError(
                "--multi-label lets objects overlap, which --objects and --border do not: leave one of them out."
            )
        return chosen

    @property
    def is_plain(self) -> bool:
        """Whether nothing depends on single objects."""
        return not (self.objects or self.border)

    def class_names(self, names: list[str]) -> list[str]:
        """The names of the classes with that of the border, if it is one."""
        return [*names, BORDER] if self.border_value else names

    def finish(self, mask: np.ndarray, objects: np.ndarray, name: object) -> MadeMask:
        """The mask with its borders, and the label image if it is to be written.

        Args:
            mask: uint8 `(height, width)`.
            objects: int `(height, width)`, numbers of objects, 0 where there is none.
            name: of the image, for messages.

        Raises:
            UserError: there are more objects than a PNG file can number.
        """
        if self.border:
            mask = np.where(near_others(objects, self.border), np.uint8(self.border_value), mask)
        if not self.objects:
            return MadeMask(mask)
        numbers = renumber(objects)
        if numbers.max(initial=0) > MOST:
            raise UserError(f"{name}: has {numbers.max()} objects; label images of 16 bit number {MOST}. Cut it up.")
        return MadeMask(mask, objects=numbers.astype(np.uint16))


def near_others(objects: np.ndarray, border: int) -> np.ndarray:
    """Which pixels of objects are at most `border` pixels, rows or columns, from another object; bool.

    >>> near_others(np.array([[3, 3, 3, 5, 5, 0, 0]]), 1).astype(int).tolist()
    [[0, 0, 1, 1, 0, 0, 0]]
    """
    kernel = np.ones((2 * border + 1, 2 * border + 1), np.uint8)
    numbers = objects.astype(np.float64)
    highest = cv2.dilate(numbers, kernel)
    lowest = cv2.erode(np.where(numbers == 0, np.inf, numbers), kernel)
    return (objects > 0) & ((highest != numbers) | (lowest != numbers))
