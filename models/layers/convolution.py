"""Convolutions that pick the fastest exact kernel."""

from typing import Any

import keras
from keras import KerasTensor

WINOGRAD_PAYS = ((80 * 80, 64), (64 * 64, 128))  # from so many pixels and products of a value on, by measurement


@keras.saving.register_keras_serializable("unet_family")
class Conv2D(keras.layers.Conv2D):
    """`keras.layers.Conv2D`; TensorFlow on a CPU computes large 3x3 convolutions with Winograd's algorithm.

    Values and gradients are the same up to rounding, see `models.layers.winograd`.

    Args:
        winograd: bool; false leaves all convolutions to the library.
    """

    def __init__(
        self, filters: int, kernel_size: int | tuple[int, int], *args: Any, winograd: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(filters, kernel_size, *args, **kwargs)
        self.winograd = winograd

    def convolution_op(self, inputs: KerasTensor, kernel: KerasTensor) -> KerasTensor:
        if not self.winograd_pays(inputs.shape):
            return super().convolution_op(inputs, kernel)
        from models.layers.winograd import conv2d

        return conv2d(inputs, kernel)

    def winograd_pays(self, shape: tuple[int | None, ...]) -> bool:
        """Whether Winograd's algorithm was measured to be faster for maps `(batch, height, width, channels)`.

        Transforming the maps must cost little compared to the products, of which there are `channels * filters` for
        `channels + filters` values; and transforming the kernels little compared to the maps.
        """
        plain = (self.padding, *self.kernel_size, *self.strides, *self.dilation_rate, self.groups, self.compute_dtype)
        if (
            not self.winograd
            or self.data_format != "channels_last"
            or plain != ("same", 3, 3, 1, 1, 1, 1, 1, "float32")
        ):
            return False
        _, height, width, channels = shape
        if height is None or width is None or channels is None:
            return False
        products = channels * self.filters / (channels + self.filters)  # for each value that is transformed
        large = any(height * width >= pixels and products >= fewest for pixels, fewest in WINOGRAD_PAYS)
        return large and keras.backend.backend() == "tensorflow" and not _runs_on_gpu()

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "winograd": self.winograd}


def _runs_on_gpu() -> bool:
    import tensorflow as tf

    return bool(tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("TPU"))
