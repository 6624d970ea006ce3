"""Changes of intensity of the engine `tensorflow`, one function a knob.

Images are float32 `(height, width, channels)` in [0, 1]. `draws` are float32 `(3,)` in [0, 1), `seed` is int64 `(2,)`
for the knobs that draw more. The engine clips what the functions return.
"""

import math
from collections.abc import Callable, Sequence

import tensorflow as tf

from data_generators.augmentation.knobs import Knob


def within(bounds: Sequence[float], number: tf.Tensor) -> tf.Tensor:
    """A number in [0, 1), brought into a range."""
    low, high = bounds
    return low + (high - low) * number


def brightness(image: tf.Tensor, knob: Knob, draws: tf.Tensor, seed: tf.Tensor | None = None) -> tf.Tensor:
    return image + within(knob["SHIFT"], draws[0])


def contrast(image: tf.Tensor, knob: Knob, draws: tf.Tensor, seed: tf.Tensor | None = None) -> tf.Tensor:
    return image * within(knob["FACTOR"], draws[0])


def gamma(image: tf.Tensor, knob: Knob, draws: tf.Tensor, seed: tf.Tensor | None = None) -> tf.Tensor:
    return image ** within(knob["EXPONENT"], draws[0])


def noise(image: tf.Tensor, knob: Knob, draws: tf.Tensor, seed: tf.Tensor | None = None) -> tf.Tensor:
    return image + within(knob["STD"], draws[0]) * tf.random.stateless_normal(tf.shape(image), seed, alg="philox")


def blur(image: tf.Tensor, knob: Knob, draws: tf.Tensor, seed: tf.Tensor | None = None) -> tf.Tensor:
    """Gaussian blur; at the edge the weights are those of the pixels that exist."""
    sigma = within(knob["SIGMA"], draws[0])
    radius = math.ceil(3 * knob["SIGMA"][1])
    kernel = tf.exp(-(tf.range(-radius, radius + 1, dtype=tf.float32) ** 2) / (2 * sigma**2))
    height, width = tf.shape(image)[0], tf.shape(image)[1]

    def along(images, axis):
        return tf.nn.conv2d(images, tf.reshape(kernel, [-1, 1, 1, 1] if axis == 0 else [1, -1, 1, 1]), 1, "SAME")

    channels = along(along(tf.transpose(image, [2, 0, 1])[:, :, :, None], 0), 1)
    weight = along(tf.ones([1, height, 1, 1]), 0) * along(tf.ones([1, 1, width, 1]), 1)
    return tf.transpose((channels / weight)[:, :, :, 0], [1, 2, 0])


def coarse_dropout(image: tf.Tensor, knob: Knob, draws: tf.Tensor, seed: tf.Tensor | None = None) -> tf.Tensor:
    """Rectangles of the image become 0."""
    fewest, most = knob["HOLES"]
    count = fewest + tf.cast(draws[0] * (most - fewest + 1), tf.int32)
    numbers = tf.random.stateless_uniform([2, 2, most], seed, alg="philox")
    covered = []
    for axis in range(2):
        side = tf.cast(tf.shape(image)[axis], tf.float32)
        length = tf.maximum(tf.round(within(knob["SIZE"], numbers[axis, 0]) * side), 1.0)
        start = tf.floor(numbers[axis, 1] * (side - length + 1))
        pixels = tf.range(side)[:, None]
        covered.append(tf.cast((pixels >= start) & (pixels < start + length), tf.float32))
    rows, columns = covered
    rows *= tf.cast(tf.range(most) < count, tf.float32)
    hole = tf.matmul(rows, columns, transpose_b=True) > 0
    return tf.where(hole[:, :, None], 0.0, image)


# In the order they are applied: knob -> function (image, knob, draws, seed)
INTENSITY_CHANGES: dict[str, Callable[..., tf.Tensor]] = {
    "BRIGHTNESS": brightness,
    "CONTRAST": contrast,
    "GAMMA": gamma,
    "NOISE": noise,
    "BLUR": blur,
    "COARSE_DROPOUT": coarse_dropout,
}
