"""The kernel gradient of a 3x3 convolution as nine matrix products: TensorFlow on a CPU."""

import tensorflow as tf


def conv2d_with_products(x, kernel):
    """Convolution 3x3, stride 1, zero padding ("same").

    Args:
        x: `(batch, height, width, channels)`; all but the batch must be known.
        kernel: `(3, 3, channels, filters)`.

    Returns:
        `(batch, height, width, filters)`
    """
    return _conv2d(x, tf.convert_to_tensor(kernel))  # a variable among the arguments would want a gradient of its own


@tf.custom_gradient
def _conv2d(x, kernel):
    def gradient(upstream):
        of_x = tf.raw_ops.Conv2DBackpropInput(
            input_sizes=tf.shape(x), filter=kernel, out_backprop=upstream, strides=[1, 1, 1, 1], padding="SAME"
        )
        return of_x, kernel_gradient(x, upstream)

    return tf.nn.conv2d(x, kernel, 1, "SAME"), gradient


def kernel_gradient(x, upstream):
    """`(batch, height, width, channels)` and `(batch, height, width, filters)` -> `(3, 3, channels, filters)`."""
    zeros = tf.zeros((3, 3, x.shape[-1], upstream.shape[-1]), x.dtype)
    # One image after the other, and only slices that start at a row or a pixel: nothing is padded or copied.
    return tf.while_loop(
        lambda image, total: image < tf.shape(x)[0],
        lambda image, total: (image + 1, total + _of_one_image(x[image], upstream[image])),
        (0, zeros),
        parallel_iterations=1,
    )[1]


def _of_one_image(x, upstream):
    """Tap (row, column) multiplies each pixel of `upstream` with the pixel of `x` that is so far away from it."""
    height = x.shape[0]
    taps = []
    for shift in (-1, 0, 1):
        source = x[max(shift, 0) : height + min(shift, 0)]
        target = upstream[max(-shift, 0) : height - max(shift, 0)]
        flat_source = tf.reshape(source, (-1, x.shape[-1]))
        flat_target = tf.reshape(target, (-1, upstream.shape[-1]))
        # A shift by one in the flat order pairs the ends of neighbouring rows too, which is taken off again.
        left = _product(flat_source[:-1], flat_target[1:]) - _product(source[:-1, -1], target[1:, 0])
        right = _product(flat_source[1:], flat_target[:-1]) - _product(source[1:, 0], target[:-1, -1])
        taps += [left, _product(flat_source, flat_target), right]
    return tf.reshape(tf.stack(taps), (3, 3, x.shape[-1], upstream.shape[-1]))


def _product(source, target):
    return tf.matmul(source, target, transpose_a=True)
