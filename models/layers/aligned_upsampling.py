"""Bilinear upsampling to twice the size with aligned corners."""

import keras
import numpy as np
from keras import KerasTensor, ops


@keras.saving.register_keras_serializable("unet_family")
class AlignedUpsampling2D(keras.layers.Layer):
    """Twice the height and width; the corner pixels of both maps have the same centres.

    `keras.layers.UpSampling2D(2, interpolation="bilinear")` aligns the edges of the maps instead. This is
    `torch.nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)`.

    Call: `(batch, height, width, channels)` -> `(batch, 2 * height, 2 * width, channels)`.

    >>> row = AlignedUpsampling2D()(np.array([0.0, 3.0], "float32").reshape(1, 1, 2, 1))
    >>> ops.convert_to_numpy(row)[0, 0, :, 0].tolist()
    [0.0, 1.0, 2.0, 3.0]
    """

    def call(self, x: KerasTensor) -> KerasTensor:
        _, height, width, channels = ops.shape(x)
        if keras.backend.backend() == "tensorflow":
            from tensorflow.raw_ops import ResizeBilinear  # other backends run without TensorFlow

            return ops.cast(ResizeBilinear(images=x, size=[2 * height, 2 * width], align_corners=True), x.dtype)
        x = ops.matmul(self._weights(width), x)
        x = ops.matmul(self._weights(height), ops.reshape(x, (-1, height, 2 * width * channels)))
        return ops.reshape(x, (-1, 2 * height, 2 * width, channels))

    def _weights(self, size: int) -> KerasTensor:
        """The matrix `(2 * size, size)` of one axis: weights fall linearly with the distance of the pixels."""
        position = np.arange(2 * size) * (size - 1) / (2 * size - 1)
        weights = np.maximum(0, 1 - np.abs(position[:, None] - np.arange(size)))
        return ops.cast(weights, self.compute_dtype)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        batch, height, width, channels = input_shape
        sides = [None if side is None else 2 * side for side in (height, width)]
        return (batch, *sides, channels)
