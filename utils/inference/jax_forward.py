"""Run a model over batches with JAX, on one device or shared between several."""

import jax
import keras
import numpy as np

from utils.devices.compiled import compiled
from utils.devices.jax_devices import JaxDevices
from utils.inference.forward import Forward, in_unit_range


def make_forward(model: keras.Model, strategy: JaxDevices, jit_compile: bool = True) -> Forward:
    """See `utils.inference.forward.make_forward`."""
    devices = strategy.alone()
    run = compiled(lambda images: model(in_unit_range(images), training=False), model.variables, devices=devices)
    largest: dict[tuple[int, ...], int] = {}  # batch of each shape of images

    def forward(images: np.ndarray | jax.Array) -> dict[str, jax.Array]:
        # A batch is filled up to the size of the largest before it, which the devices can share: nothing is compiled
        # again for the last one. The outputs of the repeated image are dropped.
        count, shape = len(images), images.shape[1:]
        size = largest[shape] = max(largest.get(shape, 0), count + -count % len(devices.local))
        if count < size:
            images = np.asarray(images)
            images = np.concatenate([images, np.repeat(images[-1:], size - count, axis=0)])
        outputs = run(*devices.put_batch([images]))
        return outputs if count == size else {name: output[:count] for name, output in outputs.items()}

    return forward
