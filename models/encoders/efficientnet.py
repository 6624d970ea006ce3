"""EfficientNet B0 to B7 of the package `efficientnet`, on either backend."""

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import keras

from models.layers.padded_conv import pad_by
from utils.base.registry import load_object


def builder(size: int) -> Callable[..., keras.Model]:
    """The function of the package that builds one size; `options` are those of `keras.applications`."""

    def build(**options: Any) -> keras.Model:
        if keras.backend.backend() == "tensorflow":
            return load_object(f"efficientnet.tfkeras:EfficientNetB{size}")(**options)
        return load_object(f"efficientnet.model:EfficientNetB{size}")(**options, **keras_modules())

    return build


def keras_modules() -> dict[str, Any]:
    """The modules that the package is written for, with what Keras 3 has of them."""
    backend = SimpleNamespace(
        backend=keras.backend.backend,
        image_data_format=keras.config.image_data_format,
        is_keras_tensor=keras.backend.is_keras_tensor,
        shape=keras.ops.shape,
        sigmoid=keras.activations.sigmoid,
    )
    return {"backend": backend, "layers": keras.layers, "models": keras.models, "utils": keras.utils}


# Size -> height and width for which segmentation_models.pytorch fixes the padding of its convolutions
PYTORCH_SIDES = {0: 224, 1: 240, 2: 260, 3: 300, 4: 380, 5: 456, 6: 528, 7: 600}


def pytorch_builder(size: int) -> Callable[..., keras.Model]:
    """The same with the padding of PyTorch: where a map of `PYTORCH_SIDES` is odd, that of an odd map for all sizes."""

    def build(**options: Any) -> keras.Model:
        network, side = builder(size)(**options), PYTORCH_SIDES[size]
        for layer in network.layers:
            if isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D) and layer.strides[0] == 2:
                missing = (math.ceil(side / 2) - 1) * 2 + layer.kernel_size[0] - side
                if side % 2:
                    pad_by(layer, (missing // 2, missing - missing // 2))
                side = math.ceil(side / 2)
        return network

    return build


(
    EfficientNetB0,
    EfficientNetB1,
    EfficientNetB2,
    EfficientNetB3,
    EfficientNetB4,
    EfficientNetB5,
    EfficientNetB6,
    EfficientNetB7,
) = map(builder, range(8))
(
    PytorchB0,
    PytorchB1,
    PytorchB2,
    PytorchB3,
    PytorchB4,
    PytorchB5,
    PytorchB6,
    PytorchB7,
) = map(pytorch_builder, range(8))
