"""What a model costs: multiplications and additions of one image, from the shapes of its layers."""

import math

import keras
from keras import KerasTensor, layers

from models.layers.upsample_conv import UpsampleConv2D


def count_flops(model: keras.Model) -> int:
    """Floating-point operations of the convolutions and dense layers of one forward pass of one image.

    A multiplication and an addition count two. Normalisation, activations and interpolation are left out, as usual.
    `UpsampleConv2D` counts what the convolution of the upsampled map would cost, so that models compare by
    architecture, not by the way they are computed.

    Raises:
        ValueError: the model has no fixed height and width.

    >>> image = keras.Input((8, 8, 3))
    >>> count_flops(keras.Model(image, layers.Conv2D(4, 3, padding="same")(image)))  # 2 * 3 * 3 * 3 * 4 * 8 * 8
    13824
    """
    return sum(_layer_flops(layer) for layer in model.layers)


def model_cost(model: keras.Model) -> dict[str, float | None]:
    """`{"parameters": int, "gflops": of one image, None if it has no fixed size}`."""
    try:
        gflops = round(count_flops(model) / 1e9, 3)
    except ValueError:
        gflops = None
    return {"parameters": model.count_params(), "gflops": gflops}


def _layer_flops(layer: layers.Layer) -> int:
    if isinstance(layer, keras.Model):
        return count_flops(layer)
    if isinstance(layer, layers.Dense):
        return 2 * math.prod(layer.kernel.shape)
    if isinstance(layer, layers.DepthwiseConv2D):
        return 2 * math.prod(layer.kernel.shape[:2]) * _elements(layer.output)
    if isinstance(layer, layers.Conv2DTranspose):
        # Every input element meets the whole kernel.
        return 2 * math.prod(layer.kernel.shape) * _elements(layer.input) // layer.input.shape[-1]
    if isinstance(layer, (layers.Conv2D, UpsampleConv2D)):
        return 2 * math.prod(layer.kernel.shape[:3]) * _elements(layer.output)
    return 0


def _elements(tensor: KerasTensor) -> int:
    if None in tensor.shape[1:]:
        raise ValueError("The cost needs a fixed INPUT.HEIGHT and INPUT.WIDTH.")
    return math.prod(tensor.shape[1:])
