"""Convolutions that pad as PyTorch does: the same on both sides, or as it was fixed for another size of images."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import KerasTensor, layers, ops

Margins = Sequence[int]  # (before, after), of height and width


class Padded:
    """Pads by `margins` whatever the size and the stride; put before a class of Keras, whose padding is "same"."""

    margins: Margins

    def __init__(self, *args: Any, margins: Margins = (0, 0), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.margins = tuple(margins)

    def padded(self, inputs: KerasTensor) -> KerasTensor:
        """`(batch, height, width, channels)` with the margins, of zeros."""
        return ops.pad(inputs, [(0, 0), self.margins, self.margins, (0, 0)])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "margins": list(self.margins)}  # type: ignore[misc]


@keras.saving.register_keras_serializable("unet_family")
class PaddedConv2D(Padded, layers.Conv2D):
    """See `Padded`."""

    def call(self, inputs: KerasTensor) -> KerasTensor:
        outputs = ops.conv(self.padded(inputs), self.kernel, self.strides, "valid")
        return outputs if self.bias is None else outputs + self.bias


@keras.saving.register_keras_serializable("unet_family")
class PaddedDepthwiseConv2D(Padded, layers.DepthwiseConv2D):
    """See `Padded`."""

    def call(self, inputs: KerasTensor) -> KerasTensor:
        outputs = ops.depthwise_conv(self.padded(inputs), self.kernel, self.strides, "valid")
        return outputs if self.bias is None else outputs + self.bias


def pad_by(layer: layers.Layer, margins: Margins) -> None:
    """Let a built convolution pad by these margins.

    Published networks make their own layers. Ours differ in their method `call` alone, so the class can be changed in
    place. The maps must keep the sizes that "same" gives them.
    """
    kind = PaddedDepthwiseConv2D if isinstance(layer, layers.DepthwiseConv2D) else PaddedConv2D
    object.__setattr__(layer, "__class__", kind)
    layer.margins = tuple(margins)
