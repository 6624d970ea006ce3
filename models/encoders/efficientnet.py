"""EfficientNet B0 to B7 of the package `efficientnet`, on either backend."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import keras

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
