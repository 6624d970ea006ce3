"""A trained network with its temperature as a part of it, in whichever format and on whichever backend it runs."""

import keras
import numpy as np
from keras import ops

from utils.checkpoints.temperature import SIGMOID_MIN, SOFTMAX_MIN, Temperature


def with_temperature(model: keras.Model, temperature: Temperature | None) -> keras.Model:
    """A model whose probabilities are those of `Temperature.scale`; the model itself without a temperature.

    Args:
        model: of `models.inference_model`, images -> probabilities `(batch, height, width, classes)`.
        temperature: of its weights.
    """
    if temperature is None:
        return model
    # Operations of Keras alone: a saved model needs no code of this project to be read.
    probability, inverse = model.output, (1 / np.asarray(temperature.values, np.float32)).tolist()
    if temperature.sigmoids:
        probability = ops.clip(probability, SIGMOID_MIN, 1 - SIGMOID_MIN)
        calibrated = ops.sigmoid((ops.log(probability) - ops.log(1 - probability)) * inverse)
    else:
        calibrated = ops.softmax(ops.log(ops.maximum(probability, SOFTMAX_MIN)) * inverse, axis=-1)
    return keras.Model(model.input, calibrated, name=model.name)
