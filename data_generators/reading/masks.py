"""Read masks: from stored values to class indices."""

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np

from data_generators.files.image_file import ImageFile
from data_generators.reading.class_masks import read_class_masks
from data_generators.reading.mask_values import STORED, read_values
from utils.base.errors import UserError
from utils.base.ignored_classes import plain

MOST_CLASSES = 16  # values in a mask up to which they are taken for classes, not for edges that a JPEG file blurs

if TYPE_CHECKING:
    from data_generators.reading.samples import ReadSettings


def read_mask_as(file: ImageFile, settings: "ReadSettings") -> np.ndarray:
    """The mask of a file with the settings of the config, see `read_mask`; bits of overlapping classes."""
    if settings.class_masks is not None:
        return read_class_masks(file, settings.class_masks, settings.ignore_label, settings.mask_form, settings.turned)
    return to_classes(file, read_values(file, settings.mask_form, settings.turned), settings)


def read_mask(
    file: ImageFile | str,
    divide_by: int = 1,
    ignore_label: int | None = None,
    label_values: tuple[int, ...] | None = None,
    form: str = STORED,
    turned: bool = False,
) -> np.ndarray:
    """Read a mask as class indices.

    An image with a palette has the indices, not the colours, as values; a grey image stored as colour its grey values.

    Args:
        file: the mask.
        divide_by: a class index is the stored value divided by this; it must be a multiple.
        ignore_label: pixels stored with this value keep it, or None.
        label_values: a class index is the position of the stored value in this tuple, or None.
        form: see `data_generators.reading.mask_values.read_values`.
        turned: whether to turn it by its EXIF orientation, as viewers do.

    Returns:
        uint8 `(height, width)`.

    Raises:
        UserError: as `read_image`; also colours, values above 255, values that are not in `label_values`, and values
            that are no multiple of `divide_by`.
    """
    return classes_of(file, read_values(file, form, turned), divide_by, ignore_label, label_values)


def to_classes(file: ImageFile | str, values: np.ndarray, settings: "ReadSettings") -> np.ndarray:
    """What `read_values` returns -> class indices or bits, with the settings of the config; `file` names the mask."""
    if settings.label_sets is not None:
        return map_values(file, values, settings.label_sets, settings.ignore_label, "LABEL_SETS")
    return classes_of(file, values, settings.divide_mask_by, settings.ignore_label, settings.label_values)


def classes_of(
    file: ImageFile | str,
    values: np.ndarray,
    divide_by: int,
    ignore_label: int | None,
    label_values: tuple[int, ...] | None,
) -> np.ndarray:
    """`to_classes` with the values of the settings."""
    if label_values is not None:
        indices = tuple((value, index) for index, value in enumerate(label_values))
        return map_values(file, values, indices, ignore_label, "LABEL_VALUES")
    if divide_by != 1:
        return divide_values(file, values, divide_by, ignore_label)
    return to_uint8(file, values)


def to_uint8(file: ImageFile | str, classes: np.ndarray) -> np.ndarray:
    """Class indices as uint8; `file` names the mask in the error about one above 255."""
    if classes.dtype == np.uint8:
        return classes
    largest = int(classes.max())
    if largest > 255:
        raise UserError(f"{file}: holds the value {largest}; class indices of a mask go up to 255.")
    return classes.astype(np.uint8)


def divide_values(file: ImageFile | str, values: np.ndarray, divide_by: int, ignore_label: int | None) -> np.ndarray:
    """Stored values -> uint8 class indices, PREPROCESS_DATA.NORMALIZE_MASK: the multiples of `divide_by`, counted.

    Raises:
        UserError: a value is no multiple; rounding would drop it. `file` names the mask.
    """
    classes = quotient_table(divide_by, ignore_label)[values]
    if classes.min() < 0:
        unknown = np.unique(values[classes < 0]).tolist()
        shown = ", ".join(map(str, unknown[:5])) + (", ..." if len(unknown) > 5 else "")
        raise UserError(
            f"{file}: holds {shown}, {'which is no multiple' if len(unknown) == 1 else 'no multiples'} of {divide_by}, "
            f"so that PREPROCESS_DATA.NORMALIZE_MASK makes no class of it. {advice_on(values, unknown, ignore_label)}"
        )
    return to_uint8(file, classes)


def advice_on(values: np.ndarray, unknown: Sequence[int], ignore_label: int | None) -> str:
    """What to do about a mask with values that are no multiples of PREPROCESS_DATA.NORMALIZE_MASK.

    Args:
        values: of the mask.
        unknown: those that are no multiples.
        ignore_label: DATASET.IGNORE_LABEL.
    """
    off = "set PREPROCESS_DATA.NORMALIZE_MASK.VALUE=False"
    if len(unknown) > MOST_CLASSES:
        return "Save the masks without loss, as PNG: JPEG and smooth resizing change values at edges."
    held = [value for value in np.unique(values).tolist() if value != ignore_label]
    if held[-1] <= MOST_CLASSES:
        return f"If all masks hold class indices, {off}; if others hold 0 and 255, save all of them alike."
    named = ",".join(map(str, sorted({0, *held})))
    return f"If all masks hold these values, {off} and DATASET.LABEL_VALUES=[{named}]; else save all of them alike."


@functools.cache
def quotient_table(divide_by: int, ignore_label: int | None) -> np.ndarray:
    """int32 `(65536,)`: the class index of each stored value, -1 for values that are no multiples of `divide_by`."""
    values = np.arange(65536, dtype=np.int32)
    table = np.where(values % divide_by == 0, values // divide_by, -1).astype(np.int32)
    if ignore_label is not None:
        table[ignore_label] = ignore_label
    return table


def map_values(
    file: ImageFile | str,
    values: np.ndarray,
    classes_of_values: tuple[tuple[int, int], ...],
    ignore_label: int | None,
    key: str,
) -> np.ndarray:
    """Stored values -> uint8 class indices or bits, by pairs of both; `file` and the key of DATASET are for errors."""
    table = class_table(classes_of_values, ignore_label)
    classes = table[values]
    if classes.min() < 0:
        unknown = int(values[classes < 0][0])
        ignored = "" if ignore_label is None else f" and DATASET.IGNORE_LABEL={ignore_label}"
        known = [value for value, _ in classes_of_values]
        raise UserError(
            f"{file}: holds the value {unknown}; DATASET.{key} has {known}{ignored}. "
            f"Add its {'classes' if key == 'LABEL_SETS' else 'class'}, or ignore it."
        )
    return classes.astype(np.uint8)


@functools.cache
def class_table(classes_of_values: tuple[tuple[int, int], ...], ignore_label: int | None) -> np.ndarray:
    """int16 `(65536,)`: the class index or bits of each stored value, -1 for values that a mask must not hold."""
    table = np.full(65536, -1, np.int16)
    for value, classes in classes_of_values:
        table[value] = classes
    if ignore_label is not None:
        table[ignore_label] = ignore_label
    return table


def is_foreground(mask: np.ndarray, ignore_label: int | None) -> np.ndarray:
    """Which pixels of a mask are foreground: bool, of its shape."""
    labels = plain(mask)
    return (labels > 0) & (labels != (0 if ignore_label is None else ignore_label))


def resize_mask(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize class indices `(height, width)` to the nearest pixel, by its centre, which mixes no classes."""
    if mask.shape == (height, width):
        return mask
    return cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
