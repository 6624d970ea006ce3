"""Run a model over batches, on one device or shared between several."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import keras
from keras import KerasTensor, ops

from utils.base.registry import load_object

if TYPE_CHECKING:
    import numpy as np

    from utils.devices.strategy import Strategy

Forward = Callable[["np.ndarray | KerasTensor"], dict[str, KerasTensor]]

# BACKEND -> function (model, strategy, jit_compile) -> forward
FORWARDS = {
    "tensorflow": "utils.inference.tensorflow_forward:make_forward",
    "jax": "utils.inference.jax_forward:make_forward",
}


def in_unit_range(images: KerasTensor) -> KerasTensor:
    """Images as models take them: those that come as uint8 are divided by 255, on the device."""
    return ops.cast(images, "float32") / 255 if images.dtype == "uint8" else images


def make_forward(model: keras.Model, strategy: Strategy, jit_compile: bool = False) -> Forward:
    """Return `forward(images) -> {output name: tensor (batch, ...)}`, each image through the model once.

    Args:
        model: functional model, image -> dict of outputs.
        strategy: of `utils.devices.strategy.make_strategy`, under which it was built; the replicas of this process
            share each batch.
        jit_compile: compile with XLA; JAX always does.
    """
    return load_object(FORWARDS[keras.backend.backend()])(model, strategy, jit_compile)
