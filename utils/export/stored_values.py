"""What EXPORT.PREPROCESS=True puts before a model: the arithmetic that loaders apply to the values of a file."""

from typing import TYPE_CHECKING

import numpy as np
from omegaconf import DictConfig

from data_generators.reading.value_range import ValueRange, value_range_of

if TYPE_CHECKING:
    import keras

LEVELS = 65535  # to which loaders round values with a range, see data_generators.reading.value_range


def stored_range(cfg: DictConfig) -> ValueRange | None:
    """The stored values that become 0 and 1, or None: images of 8 bit, 0 and 255.

    Args:
        cfg: config of the weights.

    >>> from utils.config import load_config
    >>> stored_range(load_config(["DATA_PREPARATION.DEPTH=16"]))
    (0.0, 65535.0)
    """
    found = value_range_of(cfg)
    return (0.0, float(LEVELS)) if found is None and cfg.DATA_PREPARATION.DEPTH == 16 else found


def input_type(cfg: DictConfig) -> str:
    """What an exported file takes: float32 holds the stored values of any file exactly, be it uint16, int16 or float.

    >>> from utils.config import load_config
    >>> input_type(load_config(["EXPORT.PREPROCESS=True"]))
    'uint8'
    """
    return "uint8" if cfg.EXPORT.PREPROCESS and stored_range(cfg) is None else "float32"


def with_stored_values(model: "keras.Model", value_range: ValueRange | None) -> "keras.Model":
    """A model that takes stored values in place of [0, 1], and clips and rounds them as loaders do.

    Args:
        model: images in [0, 1] -> probabilities.
        value_range: of `stored_range`; None: the images are uint8.
    """
    import keras
    from keras import ops

    # Parts of Keras alone: a saved model needs no code of this project to be read.
    image = keras.Input(model.input_shape[1:], dtype="uint8" if value_range is None else "float32", name="image")
    if value_range is None:
        unit = ops.cast(image, "float32") / 255.0
    else:
        low, high = value_range
        scaled = (ops.clip(image, low, high) - low) * (LEVELS / (high - low))
        unit = ops.round(scaled) / float(LEVELS)
    return keras.Model(image, model(unit), name=model.name)


def stored_images(images: np.ndarray, cfg: DictConfig) -> np.ndarray:
    """uint8 images as the exported file takes them: as stored values, or without EXPORT.PREPROCESS in [0, 1]."""
    if input_type(cfg) == "uint8":
        return images
    low, high = (stored_range(cfg) if cfg.EXPORT.PREPROCESS else None) or (0.0, 1.0)
    return (images / np.float32(255) * (high - low) + low).astype(np.float32)
