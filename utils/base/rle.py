"""Run-length encoding of binary masks, as in Kaggle's tables: `"3 2 9 4"` is 2 pixels from pixel 3 and 4 from pixel 9.

Pixels count from 1, down the first column, then down the next (`order="column"`), or along the rows (`order="row"`).
An empty mask is the empty text; `-1` is read as one as well. The functions whose names end in `_tf` do the same as
TensorFlow operations, inside or outside a `tf.function`; TensorFlow is imported when one is called.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np

from utils.base.errors import UserError

if TYPE_CHECKING:
    import tensorflow as tf

ORDERS = ("column", "row")
EMPTY = ("", "-1")


def encode(mask: np.ndarray, order: str = "column") -> str:
    """The runs of a mask `(height, width)`, everything that is not 0, as text.

    >>> encode(np.array([[0, 1], [0, 1]]))
    '3 2'
    """
    mask = np.asarray(mask)
    if mask.ndim != 2:
        raise UserError(f"A run-length text is made of a mask (height, width), not of the shape {mask.shape}.")
    return format_runs(*find_runs((mask if is_row_major(order) else mask.T).ravel()))


def decode(
    text: str | None, height: int, width: int, order: str = "column", name: str = "run-length text"
) -> np.ndarray:
    """The mask `(height, width)` that a text encodes: uint8, 0 and 1.

    >>> decode("3 2", 2, 2).tolist()
    [[0, 1], [0, 1]]

    Raises:
        UserError: no numbers, an odd count of them, a run without length, outside the image, or
            overlapping another one; names `name`.
    """
    return paint([parse(text, height * width, name)], height, width, order)


def encode_classes(masks: np.ndarray, order: str = "column") -> list[str]:
    """The runs of each class of a stack `(height, width, classes)`: a list of texts."""
    masks = np.asarray(masks)
    if masks.ndim != 3:
        raise UserError(f"Run-length texts are made of masks (height, width, classes), not of the shape {masks.shape}.")
    return [encode(masks[:, :, index], order) for index in range(masks.shape[2])]


def decode_classes(
    texts: Sequence[str | None], height: int, width: int, order: str = "column", name: str = "run-length text"
) -> np.ndarray:
    """The stack `(height, width, classes)` of a list of texts, one for each class: uint8, 0 and 1.

    Classes may overlap. Raises as `decode`.
    """
    stack = np.zeros((height, width, len(texts)), np.uint8)
    for index, text in enumerate(texts):
        stack[:, :, index] = decode(text, height, width, order, f"{name}, class {index}")
    return stack


def parse(text: str | None, pixels: int, name: str = "run-length text") -> np.ndarray:
    """The runs of a text as int64 `(runs, 2)`: first pixel, counted from 0, and the pixel after the last.

    Args:
        text: str; `-1`, None and nothing mean no runs.
        pixels: how many the image has.
        name: what an error calls the text.

    Raises:
        UserError: as `decode`.
    """
    text = "" if text is None else text.strip()
    if text in EMPTY:
        return np.zeros((0, 2), np.int64)
    try:
        numbers = np.array(text.split(), np.int64)
    except (ValueError, OverflowError):
        raise UserError(f"{name}: holds something that is no whole number: {shorten(text)}") from None
    if len(numbers) % 2:
        raise UserError(f"{name}: has {len(numbers)} numbers; runs are pairs of first pixel and length.")
    runs = numbers.reshape(-1, 2)
    if runs.min() < 1:
        row = runs[runs.min(axis=1) < 1][0]
        raise UserError(f"{name}: the run {row[0]} {row[1]} is not possible; pixels and lengths begin with 1.")
    if runs.max() > pixels:  # before adding, which could overflow
        row = runs[runs.max(axis=1) > pixels][0]
        raise UserError(f"{name}: the run {row[0]} {row[1]} lies outside the image of {pixels} pixels.")
    runs[:, 0] -= 1
    runs[:, 1] += runs[:, 0]
    if runs[:, 1].max() > pixels:
        first, end = runs[runs[:, 1].argmax()]
        raise UserError(f"{name}: the run {first + 1} {end - first} lies outside the image of {pixels} pixels.")
    if (runs[1:, 0] < runs[:-1, 1]).any():  # not ascending: allowed, as long as no two meet
        ascending = runs[runs[:, 0].argsort(kind="stable")]
        over = np.flatnonzero(ascending[1:, 0] < ascending[:-1, 1])
        if len(over):
            first, end = ascending[over[0] + 1]
            raise UserError(f"{name}: the run {first + 1} {end - first} overlaps the run before it.")
    return runs


def paint(
    parsed: Sequence[np.ndarray],
    height: int,
    width: int,
    order: str = "column",
    values: Sequence[int] | None = None,
    dtype: type[np.integer] = np.uint8,
) -> np.ndarray:
    """Draw parsed texts into one mask `(height, width)`, later ones over earlier ones.

    Args:
        parsed: list of arrays from `parse`.
        values: the pixel value of each; 1 for all by default.
        dtype: of the mask, int32 or smaller.
    """
    flat = np.zeros(height * width, dtype)
    for runs, value in zip(parsed, values or [1] * len(parsed), strict=True):
        if len(runs) < 1000:  # slices are faster while there are few
            for first, end in runs.tolist():
                flat[first:end] = value
        else:
            edges = np.zeros(height * width + 1, np.int8)
            edges[runs[:, 0]] += 1
            edges[runs[:, 1]] -= 1
            flat[edges[:-1].cumsum(dtype=np.int8).view(bool)] = value
    if is_row_major(order):
        return flat.reshape(height, width)
    return cv2.transpose(flat.reshape(width, height)) if flat.size else flat.reshape(height, width)


def find_runs(flat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`(first pixels counted from 1, lengths)` of what is not 0 in `(pixels,)`."""
    padded = np.zeros(flat.size + 2, bool)
    padded[1:-1] = flat != 0
    changes = np.flatnonzero(padded[1:] != padded[:-1])
    return changes[::2] + 1, changes[1::2] - changes[::2]


def format_runs(first: np.ndarray, lengths: np.ndarray) -> str:
    return " ".join(map(str, np.stack([first, lengths], axis=1).ravel().tolist()))


def is_row_major(order: str) -> bool:
    if order not in ORDERS:
        raise UserError(f"order={order} is not known. Choices: {', '.join(ORDERS)}")
    return order == "row"


def shorten(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "..."


def encode_tf(mask: "tf.Tensor", order: str = "column") -> "tf.Tensor":
    """`encode` as TensorFlow operations: tensor `(height, width)` -> string tensor `()`."""
    import tensorflow as tf

    mask = tf.convert_to_tensor(mask)
    flat = tf.reshape(mask if is_row_major(order) else tf.transpose(mask), [-1])
    edges = tf.pad(tf.cast(tf.not_equal(flat, tf.zeros([], flat.dtype)), tf.int8), [[1, 1]])
    changes = tf.reshape(tf.where(tf.not_equal(edges[1:], edges[:-1])), [-1, 2])
    runs = tf.stack([changes[:, 0] + 1, changes[:, 1] - changes[:, 0]], axis=1)
    return tf.strings.reduce_join(tf.strings.as_string(tf.reshape(runs, [-1])), separator=" ")


def decode_tf(
    text: "tf.Tensor", height: "int | tf.Tensor", width: "int | tf.Tensor", order: str = "column"
) -> "tf.Tensor":
    """`decode` as TensorFlow operations: string tensor `()` -> uint8 `(height, width)`.

    Height and width may be tensors.

    Raises:
        tf.errors.InvalidArgumentError: where `decode` raises a UserError.
    """
    import tensorflow as tf

    height, width = (tf.cast(size, tf.int64) for size in (height, width))
    pixels = height * width
    text = tf.strings.strip(text)
    text = tf.where(tf.equal(text, "-1"), "", text)
    numbers = tf.strings.to_number(tf.strings.split(text), tf.int64)
    with tf.control_dependencies([tf.debugging.assert_equal(tf.size(numbers) % 2, 0, "runs are pairs of numbers")]):
        runs = tf.reshape(numbers, [-1, 2])
    checks = [
        tf.debugging.assert_positive(runs, "pixels and lengths of runs begin with 1"),
        tf.debugging.assert_less_equal(runs, pixels, "a run lies outside the image"),
    ]
    with tf.control_dependencies(checks):
        first, end = runs[:, 0] - 1, runs[:, 0] - 1 + runs[:, 1]
    with tf.control_dependencies([tf.debugging.assert_less_equal(end, pixels, "a run lies outside the image")]):
        ones = tf.ones_like(first, tf.int32)
        steps = tf.tensor_scatter_nd_add(tf.zeros([pixels + 1], tf.int32), first[:, tf.newaxis], ones)
        steps = tf.tensor_scatter_nd_add(steps, end[:, tf.newaxis], -ones)
        flat = tf.cumsum(steps)[:-1]
    with tf.control_dependencies([tf.debugging.assert_less_equal(flat, 1, "two runs overlap")]):
        flat = tf.cast(flat, tf.uint8)
    shape = [height, width] if is_row_major(order) else [width, height]
    mask = tf.reshape(flat, shape)
    return mask if is_row_major(order) else tf.transpose(mask)


def encode_classes_tf(masks: "tf.Tensor", order: str = "column") -> "tf.Tensor":
    """`encode_classes` as TensorFlow operations: `(height, width, classes)` -> string tensor `(classes,)`."""
    import tensorflow as tf

    planes = tf.transpose(tf.convert_to_tensor(masks), [2, 0, 1])
    signature = tf.TensorSpec([], tf.string)
    return tf.map_fn(lambda plane: encode_tf(plane, order), planes, fn_output_signature=signature)


def decode_classes_tf(
    texts: "tf.Tensor", height: "int | tf.Tensor", width: "int | tf.Tensor", order: str = "column"
) -> "tf.Tensor":
    """`decode_classes` as TensorFlow operations: string tensor `(classes,)` -> uint8 `(height, width, classes)`."""
    import tensorflow as tf

    signature = tf.TensorSpec([None, None], tf.uint8)
    planes = tf.map_fn(lambda text: decode_tf(text, height, width, order), texts, fn_output_signature=signature)
    return tf.transpose(planes, [1, 2, 0])
