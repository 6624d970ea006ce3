"""Convolution of an upsampled map, computed before upsampling."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import KerasTensor, ops


@keras.saving.register_keras_serializable("unet_family")
class UpsampleConv2D(keras.layers.Layer):
    """Bilinear upsampling by a whole factor, then a convolution with zero padding ("same"), in one step.

    Equals `Conv2D(padding="same")(UpSampling2D(scale, interpolation="bilinear")(x))` in value and gradient up to
    rounding, borders included. Upsampling U acts on space alone and a 3x3 kernel is nine mixes of channels W_k, each
    with a shift S_k, so conv(U x) = sum_k S_k U (W_k x): the channels are mixed at the low resolution, and S_k U, a
    small matrix for each axis, does the rest. The wide upsampled map is never made.

    Args:
        filters: int, output channels.
        scale: int, upsampling factor of height and width.
        kernel_size: int, odd.
        fast: bool; false computes the two layers one after the other. The weights are the same.
        use_bias, kernel_initializer, kernel_regularizer: as in `keras.layers.Conv2D`, whose other arguments (strides,
            padding, dilation_rate, ...) are refused.

    Raises:
        ValueError: an argument that is not one of these, or out of range.

    Call: `(batch, height, width, channels)` -> `(batch, scale * height, scale * width, filters)`.
    The kernel has the shape of an ordinary convolution, `(kernel_size, kernel_size, channels, filters)`.
    """

    def __init__(
        self,
        filters: int,
        scale: int,
        kernel_size: int = 3,
        fast: bool = True,
        use_bias: bool = True,
        kernel_initializer: str | Mapping | keras.initializers.Initializer = "glorot_uniform",
        kernel_regularizer: str | Mapping | keras.regularizers.Regularizer | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        for name, value in (("filters", filters), ("scale", scale), ("kernel_size", kernel_size)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name}={value} must be a whole number of at least 1.")
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size={kernel_size} must be odd.")
        self.input_spec = keras.layers.InputSpec(ndim=4)
        self.filters = filters
        self.scale = scale
        self.kernel_size = kernel_size
        self.fast = fast
        self.use_bias = use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.kernel = self.add_weight(
            name="kernel",
            shape=(self.kernel_size, self.kernel_size, input_shape[-1], self.filters),
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
        )
        self.bias = self.add_weight(name="bias", shape=(self.filters,), initializer="zeros") if self.use_bias else None

    def call(self, x: KerasTensor) -> KerasTensor:
        _, height, width, channels = ops.shape(x)
        y = self._mix_then_upsample(x) if self._pays(height, width, channels) else self._two_layers(x)
        return y if self.bias is None else ops.add(y, self.bias)

    def _pays(self, height: int | KerasTensor | None, width: int | KerasTensor | None, channels: int) -> bool:
        """Whether the matrices cost less than the convolution of the upsampled map that they replace.

        The matrices grow with the image, the convolution with its channels: for narrow maps of large images and a
        scale of 2 the two layers are cheaper.
        """
        if not (isinstance(height, int) and isinstance(width, int)):
            return self.fast
        return self.saved_multiplications((None, height, width, channels)) > 0

    def saved_multiplications(self, input_shape: tuple[int | None, int, int, int]) -> int:
        """Multiplications saved for an image of `(batch, height, width, channels)`, 0 if the fast form is not used."""
        _, height, width, channels = input_shape
        taps, scale = self.kernel_size, self.scale
        matrices = taps * channels * taps + taps * taps * scale * width + taps * scale**2 * height
        per_pixel_and_filter = taps * taps * scale**2 * channels - matrices
        return max(per_pixel_and_filter, 0) * height * width * self.filters if self.fast else 0

    def _mix_then_upsample(self, x: KerasTensor) -> KerasTensor:
        _, height, width, channels = ops.shape(x)
        taps, scale, filters = self.kernel_size, self.scale, self.filters
        kernel = ops.reshape(ops.transpose(self.kernel, (2, 0, 1, 3)), (channels, taps * taps * filters))
        mixed = ops.matmul(ops.reshape(x, (-1, channels)), kernel)
        mixed = ops.reshape(mixed, (-1, height, width, taps, taps * filters))
        mixed = ops.transpose(mixed, (0, 3, 1, 2, 4))  # batch, row tap, row, column, (column tap, filter)
        mixed = ops.reshape(mixed, (-1, taps * height, width * taps, filters))

        columns = ops.transpose(self._shifted_upsampling(width), (1, 2, 0))
        columns = ops.reshape(columns, (width * scale, width * taps))
        mixed = ops.matmul(columns, mixed)
        mixed = ops.reshape(mixed, (-1, taps * height, width * scale * filters))

        rows = ops.transpose(self._shifted_upsampling(height), (1, 0, 2))
        rows = ops.reshape(rows, (height * scale, taps * height))
        return ops.reshape(ops.matmul(rows, mixed), (-1, height * scale, width * scale, filters))

    def _shifted_upsampling(self, size: int | KerasTensor) -> KerasTensor:
        """The matrices S_k U of one axis, `(taps, scale * size, size)`.

        Bilinear weights fall linearly with the distance between the (clamped) position of an output pixel and an
        input pixel. A row that a shift takes from outside is zero: the convolution's padding.
        """
        # Sizes known beforehand make a constant; others are computed in the graph.
        library = np if isinstance(size, int) else ops
        source = (
            library.arange(size * self.scale)[None] + (np.arange(self.kernel_size) - self.kernel_size // 2)[:, None]
        )
        inside = (source >= 0) & (source < size * self.scale)
        last = size - 1 if library is np else ops.cast(size - 1, "float32")
        source = source.astype("float32") if library is np else ops.cast(source, "float32")
        position = library.clip((source + 0.5) / self.scale - 0.5, 0.0, last)
        pixels = np.arange(size, dtype="float32") if library is np else ops.arange(size, dtype="float32")
        weights = library.maximum(0.0, 1.0 - library.abs(position[..., None] - pixels))
        return ops.cast(library.where(inside[..., None], weights, 0.0), self.compute_dtype)

    def _two_layers(self, x: KerasTensor) -> KerasTensor:
        height, width = ops.shape(x)[1:3]
        x = ops.image.resize(
            x, (height * self.scale, width * self.scale), interpolation="bilinear", data_format="channels_last"
        )
        return ops.conv(ops.cast(x, self.compute_dtype), self.kernel, padding="same", data_format="channels_last")

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        batch, height, width, _ = input_shape
        sides = [None if side is None else side * self.scale for side in (height, width)]
        return (batch, *sides, self.filters)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.filters,
            "scale": self.scale,
            "kernel_size": self.kernel_size,
            "fast": self.fast,
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
        }
