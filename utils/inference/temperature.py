"""A trained network with its temperature as a part of it, in whichever format and on whichever backend it runs."""

import keras
from keras import layers, ops

from utils.checkpoints.temperature import SIGMOID_MIN, SOFTMAX_MIN, Temperature


def with_temperature(model: keras.Model, temperature: Temperature | None) -> keras.Model:
    """A model whose probabilities are those of `Temperature.scale`; the model itself without a temperature.

    Args:
        model: of `models.inference_model`, images -> probabilities `(batch, height, width, classes)`.
        temperature: of its weights.
    """
    if temperature is None:
        return model
    # Parts of Keras alone: a saved model needs no code of this project to be read.
    inverse = [1 / value for value in temperature.values]
    divide = layers.Rescaling(inverse if len(inverse) > 1 else inverse[0], dtype="float32", name="temperature")
    probability = model.output
    if temperature.sigmoids:
        probability = ops.clip(probability, SIGMOID_MIN, 1 - SIGMOID_MIN)
        calibrated = ops.sigmoid(divide(ops.log(probability) - ops.log(1 - probability)))
    else:
        calibrated = ops.softmax(divide(ops.log(ops.maximum(probability, SOFTMAX_MIN))), axis=-1)
    return keras.Model(model.input, calibrated, name=model.name)
