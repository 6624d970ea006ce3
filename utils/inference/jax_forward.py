"""Run a model over batches with JAX, on one device or shared between several."""

from typing import Any

import jax
import keras
import numpy as np

from utils.devices.compiled import compiled
from utils.devices.full_batches import FullBatches
from utils.devices.jax_devices import JaxDevices
from utils.inference.forward import Forward, in_unit_range


def make_forward(model: keras.Model, strategy: JaxDevices, jit_compile: bool = True) -> Forward:
    """See `utils.inference.forward.make_forward`."""
    devices = strategy.alone()
    run = compiled(lambda images: model(in_unit_range(images), training=False), model.variables, devices=devices)
    full = FullBatches(share=len(devices.local))

    def forward(images: np.ndarray | jax.Array) -> dict[str, Any]:
        count = len(images)
        images, counted = full(images)
        outputs = run(*devices.put_batch([images]))
        if count == len(counted):
            return outputs
        return {name: np.asarray(output)[:count] for name, output in outputs.items()}  # JAX would compile the cut

    return forward
