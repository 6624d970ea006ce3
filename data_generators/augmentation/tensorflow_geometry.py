"""Geometry of the engine `tensorflow`: matrices, elastic fields, and one warp of image and mask for all of it.

Images are float32 `(height, width, channels)` in [0, 1], masks uint8 `(height, width, 1)`. Coordinates are (x, y) in
pixels from the centre of the first pixel. Height and width may be unknown when a function is traced.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from data_generators.augmentation.knobs import FLIPS, Knob
from utils.base.ignored_classes import OF_CLASSES

FIELD_POINTS = (
    4  # points per sigma of its smoothing on which an elastic field is drawn; between them it is interpolated
)


def affine_matrix(
    knobs: Mapping[str, Knob],
    is_on: Mapping[str, tf.Tensor],
    draws: Mapping[str, tf.Tensor],
    size: tf.Tensor,
    box: tf.Tensor | None = None,
) -> tf.Tensor:
    """What all knobs but ELASTIC do together.

    Args:
        knobs: {name: knob}, those that can be on.
        is_on: {name: bool}, those of `knobs`.
        draws: {name: float32 `(3,)` in [0, 1)}, of all knobs.
        size: int32 (height, width).
        box: see `foreground_box`; where ZOOM is on, it stays inside (unless KEEP_FOREGROUND is false).

    Returns:
        float32 `(2, 3)`, coordinates in the result -> coordinates in the image.
    """

    def value(name, key, which=0):
        if name not in knobs:
            return tf.constant(0.0)
        low, high = knobs[name][key]
        return tf.where(is_on[name], low + (high - low) * draws[name][which], 0.0)

    sides = tf.cast(tf.stack([size[1], size[0]]), tf.float32)
    linear = linear_part(knobs, is_on, draws, value)
    zoom, shift = tf.constant(1.0), tf.stack([value("TRANSLATION", "SHARE", axis) for axis in range(2)]) * sides
    if "ZOOM" in knobs:
        knob, numbers = knobs["ZOOM"], draws["ZOOM"]
        zoom = tf.where(is_on["ZOOM"], zoom_factor(knob["FACTOR"], numbers[0]), 1.0)
        shift += tf.where(is_on["ZOOM"], knob["PAN"] * (2 * numbers[1:3] - 1), 0.0) * sides
        if box is not None and knob.get("KEEP_FOREGROUND") is not False:
            applies = is_on["ZOOM"] & (box[0] >= 0)
            kept_zoom, kept_shift = keep_in_frame(linear, zoom, shift, box, sides)
            zoom, shift = tf.where(applies, kept_zoom, zoom), tf.where(applies, kept_shift, shift)
    inverse = tf.linalg.inv(zoom * linear)
    centre = (sides - 1) / 2
    return tf.concat([inverse, (centre - tf.linalg.matvec(inverse, centre + shift))[:, None]], axis=1)


def linear_part(
    knobs: Mapping[str, Knob],
    is_on: Mapping[str, tf.Tensor],
    draws: Mapping[str, tf.Tensor],
    value: Callable[..., tf.Tensor],
) -> tf.Tensor:
    """Flips, quarter turns, shear and rotation: float32 `(2, 2)`; `value` as in `affine_matrix`."""
    angle = value("ROTATION", "DEGREES") * (math.pi / 180)
    shear = [tf.tan(value("SHEAR", "DEGREES", axis) * (math.pi / 180)) for axis in range(2)]
    quarter = tf.cast(4 * draws["ROTATE_90"][0], tf.int32)
    quarter = tf.where(is_on["ROTATE_90"], quarter, 0) if "ROTATE_90" in knobs else 0
    # Sine and cosine of quarter turns are looked up, so that every pixel lands exactly on a pixel.
    cosine, sine = tf.gather([1.0, 0.0, -1.0, 0.0], quarter), tf.gather([0.0, 1.0, 0.0, -1.0], quarter)
    flips = [tf.where(is_on[name], -1.0, 1.0) if name in knobs else tf.constant(1.0) for name in FLIPS]
    rotation = matrix_of(tf.cos(angle), -tf.sin(angle), tf.sin(angle), tf.cos(angle))
    linear = rotation @ matrix_of(1.0, shear[0], shear[1], 1.0) @ matrix_of(cosine, -sine, sine, cosine)
    return linear @ tf.linalg.diag(tf.stack(flips))


def matrix_of(a: float, b: float, c: float, d: float) -> tf.Tensor:
    return tf.reshape(tf.stack([a, b, c, d]), [2, 2])


def zoom_factor(bounds: Sequence[float], number: tf.Tensor) -> tf.Tensor:
    """A factor from a range; zooming in and out are equally likely if it holds both."""
    low, high = bounds
    if not low < 1 < high:
        return low + (high - low) * number
    share = 2 * number
    return tf.where(share < 1, low + (1 - low) * share, 1 + (high - 1) * (share - 1))


def foreground_box(mask: tf.Tensor, ignore_label: int | None = None) -> tf.Tensor:
    """float32 (left, top, right, bottom): the outermost columns and rows with foreground, -1 if there is none.

    Args:
        mask: class indices `(height, width, 1)`, or one channel for each class, see `keep_foreground.foreground_box`.
        ignore_label: the value that is no class.
    """
    mask = tf.cast(mask, tf.int32) % OF_CLASSES
    labelled = mask != 0
    if ignore_label is not None:
        labelled &= mask != ignore_label
    foreground = tf.reduce_any(labelled, 2)
    if mask.shape[2] != 1:
        foreground = tf.where(tf.reduce_all(foreground), tf.reduce_any(labelled[:, :, 1:], 2), foreground)
    ends = []
    for axis in range(2):
        occupied = tf.reduce_any(foreground, axis)
        indices = tf.range(tf.size(occupied))
        ends += [
            tf.reduce_min(tf.where(occupied, indices, tf.size(occupied))),
            tf.reduce_max(tf.where(occupied, indices, -1)),
        ]
    left, right, top, bottom = ends
    return tf.cast(tf.where(right >= 0, tf.stack([left, top, right, bottom]), -1), tf.float32)


def keep_in_frame(
    linear: tf.Tensor, zoom: tf.Tensor, shift: tf.Tensor, box: tf.Tensor, sides: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """`keep_foreground.keep_in_frame` as graph operations: float32 tensors, `sides` (width, height)."""
    centre, slack = (sides - 1) / 2, sides - 1
    corners = tf.stack([tf.gather(box, pair) for pair in ([0, 1], [2, 1], [0, 3], [2, 3])]) - centre
    reached = tf.linalg.matmul(corners, linear, transpose_b=True)
    low, high = tf.reduce_min(reached, axis=0), tf.reduce_max(reached, axis=0)
    limit = tf.reduce_min(slack / tf.maximum(high - low, 1e-3))
    lowered = tf.minimum(zoom, tf.maximum(limit, 1.0))
    first, last = -centre - lowered * low, slack - centre - lowered * high
    return lowered, tf.where(first <= last, tf.clip_by_value(shift, first, tf.maximum(first, last)), (first + last) / 2)


def elastic_field(size: tf.Tensor, displacement: float, smoothness: float, seed: tf.Tensor) -> tf.Tensor:
    """A smoothed random field (Ronneberger et al. 2015, https://arxiv.org/abs/1505.04597; Simard et al. 2003).

    Args:
        size: int32 (height, width).
        displacement: pixels, its standard deviation along each axis.
        smoothness: pixels, sigma of the Gaussian that smooths it.
        seed: int64 `(2,)`.

    Returns:
        float32 `(height, width, 2)`, along x and y, in pixels.
    """
    # A field this smooth needs no value of its own for each pixel.
    step = max(smoothness / FIELD_POINTS, 1.0)
    sigma = smoothness / step
    radius = math.ceil(3 * sigma)
    kernel = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).astype(np.float32)
    points = tf.cast(tf.math.ceil(tf.cast(size, tf.float32) / step), tf.int32) + 1
    # A margin of the kernel's size: the field is as strong at the edge as inside.
    noise = tf.random.stateless_normal(tf.concat([[2], points + 2 * radius, [1]], 0), seed, alg="philox")
    smooth = tf.nn.conv2d(noise, kernel.reshape(-1, 1, 1, 1), 1, "VALID")
    smooth = tf.nn.conv2d(smooth, kernel.reshape(1, -1, 1, 1), 1, "VALID")
    strength = displacement / float((kernel**2).sum())  # smoothing leaves the sum of squares along each axis
    field = tf.image.resize(strength * smooth, size, "bicubic")
    return tf.transpose(field[:, :, :, 0], [1, 2, 0])


def source_coordinates(matrix: tf.Tensor, field: tf.Tensor) -> tf.Tensor:
    """Where each pixel of the result comes from: float32 `(height, width, 2)`, after the field and then the matrix."""
    size = tf.shape(field)[:2]
    x, y = tf.meshgrid(tf.range(size[1]), tf.range(size[0]))
    moved = tf.cast(tf.stack([x, y], axis=-1), tf.float32) + field
    return tf.reshape(tf.reshape(moved, [-1, 2]) @ tf.transpose(matrix[:, :2]) + matrix[:, 2], tf.shape(field))


def warp_affine(
    images: Sequence[tf.Tensor], fill_values: Sequence[int], fill: str, matrix: tf.Tensor
) -> list[tf.Tensor]:
    """Warp `[image]` or `[image, mask]` by a matrix of `affine_matrix`.

    Args:
        images: image, and mask.
        fill_values: for image and mask, what fills them beyond the edge with `fill="zero"`.
        fill: "reflect" | "zero".
        matrix: float32 `(2, 3)`.
    """
    transform = tf.concat([tf.reshape(matrix, [6]), [0.0, 0.0]], 0)[None]
    mode = {"reflect": "REFLECT", "zero": "CONSTANT"}[fill]
    return [
        tf.raw_ops.ImageProjectiveTransformV3(
            images=image[None],
            transforms=transform,
            output_shape=tf.shape(image)[:2],
            fill_value=float(value),
            interpolation=interpolation,
            fill_mode=mode,
        )[0]
        for image, value, interpolation in zip(images, fill_values, ("BILINEAR", "NEAREST"), strict=False)
    ]


def warp_by_coordinates(
    images: Sequence[tf.Tensor], fill_values: Sequence[int], fill: str, coordinates: tf.Tensor
) -> list[tf.Tensor]:
    """Warp as `warp_affine` does, by the coordinates of `source_coordinates`."""
    height, width = tf.unstack(tf.shape(coordinates)[:2])
    sides = tf.cast(tf.stack([width, height]), tf.float32)
    if fill == "reflect":
        # Mirrored with the pixel at the edge twice, as warp_affine does.
        folded = tf.math.floormod(coordinates + 0.5, 2 * sides)
        coordinates = tf.clip_by_value(tf.minimum(folded, 2 * sides - folded) - 0.5, 0.0, sides - 1)
    # One pixel before the image and two after it stand for all that lies outside.
    coordinates = 1 + tf.clip_by_value(coordinates, -1.0, sides)
    image, *masks = (
        tf.pad(part, [[1, 2], [1, 2], [0, 0]], constant_values=tf.cast(value, part.dtype))
        for part, value in zip(images, fill_values, strict=False)
    )
    corner = tf.floor(coordinates)
    share = coordinates - corner
    # The four neighbours of a point lie together: one look-up finds them.
    neighbours = tf.concat([image[:-1, :-1], image[:-1, 1:], image[1:, :-1], image[1:, 1:]], axis=2)
    upper_left, upper_right, lower_left, lower_right = tf.split(gather_pixels(neighbours, corner), 4, axis=2)
    upper = upper_left + share[:, :, :1] * (upper_right - upper_left)
    lower = lower_left + share[:, :, :1] * (lower_right - lower_left)
    nearest = tf.floor(coordinates + 0.5)
    return [upper + share[:, :, 1:] * (lower - upper), *(gather_pixels(mask, nearest) for mask in masks)]


def gather_pixels(image: tf.Tensor, coordinates: tf.Tensor) -> tf.Tensor:
    """The pixels of an image at whole coordinates `(height, width, 2)`."""
    indices, shape = tf.cast(coordinates, tf.int32), tf.shape(image)
    return tf.gather(tf.reshape(image, [-1, shape[2]]), indices[:, :, 1] * shape[1] + indices[:, :, 0])
