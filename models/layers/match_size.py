"""Crop or pad a map to the size of another."""

import keras
from keras import KerasTensor, ops


@keras.saving.register_keras_serializable("unet_family")
class MatchSize(keras.layers.Layer):
    """Give a map the height and width of another: crop at the bottom and right, or repeat the last row and column.

    Upsampling by 2 a map that came from pooling an odd size makes it one row too large (pooling that rounds up)
    or too small (pooling that rounds down, as in VGG).

    Call with `[map, reference]`, both `(batch, height, width, channels)`; returns the map at the reference's size.
    """

    def call(self, inputs: list[KerasTensor]) -> KerasTensor:
        x, reference = inputs
        sizes = zip((1, 2), ops.shape(x)[1:3], ops.shape(reference)[1:3], strict=True)
        for axis, size, wanted in sizes:
            if isinstance(size, int) and isinstance(wanted, int) and size >= wanted:
                x = _take(x, axis, ops.arange(wanted)) if size > wanted else x
            else:
                # Repeating the last index pads; stopping early crops: one form for sizes known only at run time.
                x = _take(x, axis, ops.minimum(ops.arange(wanted), size - 1))
        return x

    def compute_output_shape(self, input_shape: list[tuple[int | None, ...]]) -> tuple[int | None, ...]:
        x, reference = input_shape
        return (x[0], *reference[1:3], x[3])


def _take(x: KerasTensor, axis: int, indices: KerasTensor) -> KerasTensor:
    return ops.take(x, indices, axis=axis)
