"""Batch normalisation folded into the convolution before it, for models that are only run."""

import keras
import numpy as np
from keras import layers

from models.layers.match_size import MatchSize
from models.layers.upsample_conv import UpsampleConv2D

# Convolution -> the shape that a factor per filter takes to multiply its kernel, given the kernel's shape
FACTOR_SHAPES = {
    layers.Conv2D: lambda shape: (1, 1, 1, -1),
    layers.Conv2DTranspose: lambda shape: (1, 1, -1, 1),
    layers.DepthwiseConv2D: lambda shape: (1, 1, *shape[2:]),
    UpsampleConv2D: lambda shape: (1, 1, 1, -1),
}


def fold_batch_norm(model):
    """Return a copy of a functional model in which no normalisation is computed that a convolution can do.

    In inference a normalisation multiplies and shifts each channel; so does the convolution before it, once its kernel
    and bias are changed. Outputs agree up to rounding. A normalisation without such a convolution (one of its own, no
    activation, used by nothing else) stays.

    Args:
        model: functional `keras.Model`, nested ones included. It is left as it is; the copy has weights of its own.
    """
    convolutions = {}  # normalisation -> convolution
    for layer in _all_layers(model):
        if isinstance(layer, layers.BatchNormalization):
            convolution = _convolution_before(layer)
            if convolution is not None:
                convolutions[layer] = convolution
    norms = {convolution: norm for norm, convolution in convolutions.items()}
    copies = {}

    def copy(layer):
        if layer in convolutions:
            copies[layer] = layers.Identity(name=layer.name, dtype=layer.dtype_policy)
        else:
            config = layer.get_config() | ({"use_bias": True} if layer in norms else {})
            copies[layer] = layer.__class__.from_config(config)
        return copies[layer]

    def call(layer, *args, **kwargs):
        return args[0] if isinstance(layer, layers.Identity) else layer(*args, **kwargs)

    folded = keras.models.clone_model(model, clone_function=copy, call_function=call, recursive=True)
    for layer, its_copy in copies.items():
        if layer in norms:
            its_copy.set_weights(_folded_weights(layer, norms[layer]))
        elif layer not in convolutions:
            its_copy.set_weights(layer.get_weights())
    return folded


def _all_layers(model):
    for layer in model.layers:
        yield from _all_layers(layer) if isinstance(layer, keras.Model) else [layer]


def _convolution_before(norm):
    """The convolution whose output, cropped or extended perhaps, goes to this normalisation and nowhere else."""
    layer = norm
    while layer is norm or isinstance(layer, MatchSize):
        inputs = layer.input[0] if isinstance(layer, MatchSize) else layer.input
        layer = inputs._keras_history.operation
        if len(layer._outbound_nodes) != 1:
            return None
    is_linear = getattr(layer, "activation", keras.activations.linear) is keras.activations.linear
    return layer if isinstance(layer, tuple(FACTOR_SHAPES)) and is_linear else None


def _folded_weights(convolution, norm):
    """[kernel, bias] of the convolution that does the normalisation too."""
    mean, variance = (np.asarray(value) for value in (norm.moving_mean, norm.moving_variance))
    factor = 1 / np.sqrt(variance + norm.epsilon)
    if norm.scale:
        factor = factor * np.asarray(norm.gamma)
    shift = -mean * factor + (np.asarray(norm.beta) if norm.center else 0)
    kernel, *bias = convolution.get_weights()
    (shape,) = (shape for kind, shape in FACTOR_SHAPES.items() if isinstance(convolution, kind))
    return [kernel * factor.reshape(shape(kernel.shape)), shift + (bias[0] * factor if bias else 0)]
