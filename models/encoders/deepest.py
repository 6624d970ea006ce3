"""The coarsest map of an encoder as a vector for each image, by which images can be compared."""

from __future__ import annotations

import re

import keras
from keras import layers


def encoder_features(model: keras.Model) -> keras.Model:
    """A model images -> `(batch, channels)` float32: the mean over the image of the coarsest map of its encoder.

    Args:
        model: of `models.build_model` or `models.inference_model`, which share their weights with it.

    >>> from models import build_model
    >>> from utils.config import load_config
    >>> model = build_model(load_config(["MODEL.TYPE=unet", "MODEL.FILTERS=[4,8]"]), size=(32, 32))
    >>> encoder_features(model).output_shape
    (None, 8)
    """
    names = [layer.name for layer in model.layers]
    if "encoder" in names:  # a pretrained one is a model of its own, with an output for each stride
        encoder = model.get_layer("encoder")
        places = [encoder.layers.index(output._keras_history.operation) for output in encoder.outputs]
        deepest = encoder._inbound_nodes[-1].output_tensors[places.index(max(places))]
    else:
        strides = {name: int(found[1]) for name in names if (found := re.match(r"encoder(\d+)_", name))}
        last = [name for name, stride in strides.items() if stride == max(strides.values())][-1]
        deepest = model.get_layer(last).output
    return keras.Model(model.input, layers.GlobalAveragePooling2D(dtype="float32")(deepest))
