"""The few layers that Keras does not have."""

import keras
from keras import ops


@keras.saving.register_keras_serializable("unet_family")
class MatchSize(keras.layers.Layer):
    """Give a map the height and width of another: crop at the bottom and right, or repeat the last row and column.

    Upsampling by 2 a map that came from pooling an odd size makes it one row too large (pooling that rounds up)
    or too small (pooling that rounds down, as in VGG).

    Call with `[map, reference]`, both `(batch, height, width, channels)`; returns the map at the reference's size.
    """

    def call(self, inputs):
        x, reference = inputs
        sizes = zip((1, 2), ops.shape(x)[1:3], ops.shape(reference)[1:3], strict=True)
        for axis, size, wanted in sizes:
            if isinstance(size, int) and isinstance(wanted, int) and size >= wanted:
                x = _take(x, axis, ops.arange(wanted)) if size > wanted else x
            else:
                # Repeating the last index pads; stopping early crops: one form for sizes known only at run time.
                x = _take(x, axis, ops.minimum(ops.arange(wanted), size - 1))
        return x

    def compute_output_shape(self, input_shape):
        x, reference = input_shape
        return (x[0], *reference[1:3], x[3])


def _take(x, axis, indices):
    return ops.take(x, indices, axis=axis)


@keras.saving.register_keras_serializable("unet_family")
class UpsampleConv2D(keras.layers.Layer):
    """Bilinear upsampling by a whole factor, then a convolution with zero padding ("same"), stride 1.

    Args:
        filters: int, output channels.
        scale: int, upsampling factor of height and width.
        kernel_size: int, odd.
        use_bias, kernel_initializer, kernel_regularizer: as in `keras.layers.Conv2D`.

    Call: `(batch, height, width, channels)` -> `(batch, scale * height, scale * width, filters)`.
    The kernel has the shape of an ordinary convolution, `(kernel_size, kernel_size, channels, filters)`.
    """

    def __init__(
        self,
        filters,
        scale,
        kernel_size=3,
        use_bias=True,
        kernel_initializer="glorot_uniform",
        kernel_regularizer=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.filters = filters
        self.scale = scale
        self.kernel_size = kernel_size
        self.use_bias = use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)

    def build(self, input_shape):
        self.kernel = self.add_weight(
            name="kernel",
            shape=(self.kernel_size, self.kernel_size, input_shape[-1], self.filters),
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
        )
        self.bias = self.add_weight(name="bias", shape=(self.filters,), initializer="zeros") if self.use_bias else None

    def call(self, x):
        height, width = ops.shape(x)[1:3]
        x = ops.image.resize(
            x, (height * self.scale, width * self.scale), interpolation="bilinear", data_format="channels_last"
        )
        x = ops.conv(ops.cast(x, self.compute_dtype), self.kernel, padding="same", data_format="channels_last")
        return x if self.bias is None else ops.add(x, self.bias)

    def compute_output_shape(self, input_shape):
        batch, height, width, _ = input_shape
        sides = [None if side is None else side * self.scale for side in (height, width)]
        return (batch, *sides, self.filters)

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "scale": self.scale,
            "kernel_size": self.kernel_size,
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
        }
