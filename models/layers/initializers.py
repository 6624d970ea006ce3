"""Initial weights of the convolutions that no file of weights fills."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from utils.base.registry import load_object, look_up

if TYPE_CHECKING:
    import keras

# MODEL.INITIALIZER -> (class of Keras, its options)
INITIALIZERS: dict[str, tuple[str, dict[str, Any]]] = {
    "he_normal": ("keras.initializers:HeNormal", {}),
    "glorot_uniform": ("keras.initializers:GlorotUniform", {}),
    "normal": ("keras.initializers:RandomNormal", {"stddev": 0.02}),
    "torch_uniform": (
        "keras.initializers:VarianceScaling",
        {"scale": 1 / 3, "mode": "fan_in", "distribution": "uniform"},
    ),
}


def make_initializer(name: str) -> keras.initializers.Initializer:
    """The initializer of a kernel, a new object for each layer: it draws its own seed.

    Args:
        name: he_normal (He et al. 2015, arXiv:1502.01852) | glorot_uniform (Keras's default) | normal, of standard
            deviation 0.02 (pix2pix, Isola et al. 2017, arXiv:1611.07004) | torch_uniform, PyTorch's default: between
            -1 and 1 over the square root of the fan-in, biases too (`start_biases`).

    Raises:
        UserError: the name is not in the table.

    >>> make_initializer("normal").stddev
    0.02
    """
    location, options = look_up(INITIALIZERS, name, "MODEL.INITIALIZER")
    return load_object(location)(**options)


def start_biases(model: keras.Model) -> None:
    """Draw the biases of layers whose kernel is `torch_uniform` from the same interval; all others start at 0.

    The interval needs the fan-in, which an initializer of biases is not told. As in PyTorch the fan-in of a transposed
    convolution is that of its kernel, `(height, width, outputs, inputs)`: the number of its outputs times its taps.
    """
    import keras

    for layer in model.layers:
        initializer = getattr(layer, "kernel_initializer", None)
        is_torch = getattr(initializer, "scale", None) == INITIALIZERS["torch_uniform"][1]["scale"]
        if is_torch and layer.bias is not None:
            limit = 1 / math.sqrt(math.prod(layer.kernel.shape[:-1]))
            layer.bias.assign(keras.initializers.RandomUniform(-limit, limit)(layer.bias.shape))
