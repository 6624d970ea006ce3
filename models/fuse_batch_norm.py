"""Batch normalisation fused into the convolution before it, for models that only predict."""

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
from keras import KerasTensor, layers

from models.layers.host_draws import drawing_on_host
from models.layers.match_size import MatchSize
from models.layers.upsample_conv import UpsampleConv2D

# Convolution -> the shape that a factor per filter takes to multiply its kernel, given the kernel's shape
FACTOR_SHAPES: dict[type[layers.Layer], Callable[[tuple[int, ...]], tuple[int, ...]]] = {
    layers.Conv2D: lambda shape: (1, 1, 1, -1),
    layers.Conv2DTranspose: lambda shape: (1, 1, -1, 1),
    layers.DepthwiseConv2D: lambda shape: (1, 1, *shape[2:]),
    UpsampleConv2D: lambda shape: (1, 1, 1, -1),
}


def fuse_batch_norm(model: keras.Model) -> keras.Model:
    """Return a copy of a functional model with each normalisation fused into the convolution before it.

    In inference a normalisation multiplies and shifts each channel; the convolution before it can do that with another
    kernel and bias. Outputs agree up to rounding. A normalisation stays where the layer before it is no convolution,
    has an activation, or feeds other layers too.

    Args:
        model: functional `keras.Model`, nested ones included. It is not changed; the copy has weights of its own.
    """
    convolutions = {}  # normalisation -> convolution
    for layer in _all_layers(model):
        if isinstance(layer, layers.BatchNormalization):
            convolution = _convolution_before(layer)
            if convolution is not None:
                convolutions[layer] = convolution
    norms = {convolution: norm for norm, convolution in convolutions.items()}
    copies = {}

    def copy(layer: layers.Layer) -> layers.Layer:
        if layer in convolutions:
            copies[layer] = layers.Identity(name=layer.name, dtype=layer.dtype_policy)
        else:
            config = layer.get_config() | ({"use_bias": True} if layer in norms else {})
            copies[layer] = layer.__class__.from_config(config)
        return copies[layer]

    def call(layer: layers.Layer, *args: Any, **kwargs: Any) -> KerasTensor:
        return args[0] if isinstance(layer, layers.Identity) else layer(*args, **kwargs)

    with drawing_on_host():  # first weights, which are replaced at once: JAX would compile a program for each shape
        fused = keras.models.clone_model(model, clone_function=copy, call_function=call, recursive=True)
    for layer, its_copy in copies.items():
        if layer in norms:
            its_copy.set_weights(_fused_weights(layer, norms[layer]))
        elif layer not in convolutions:
            its_copy.set_weights(layer.get_weights())
    return fused


def _all_layers(model: keras.Model) -> Iterator[layers.Layer]:
    for layer in model.layers:
        yield from _all_layers(layer) if isinstance(layer, keras.Model) else [layer]


def _convolution_before(norm: layers.BatchNormalization) -> layers.Layer | None:
    """The convolution whose output, cropped or extended perhaps, goes to this normalisation and nowhere else."""
    layer = norm
    while layer is norm or isinstance(layer, MatchSize):
        inputs = layer.input[0] if isinstance(layer, MatchSize) else layer.input
        layer = inputs._keras_history.operation
        if len(layer._outbound_nodes) != 1:
            return None
    if isinstance(layer, UpsampleConv2D):
        return layer  # which has no activation
    if isinstance(layer, layers.Conv2D | layers.Conv2DTranspose | layers.DepthwiseConv2D):
        return layer if layer.activation is keras.activations.linear else None
    return None


def _fused_weights(convolution: layers.Layer, norm: layers.BatchNormalization) -> list[np.ndarray]:
    """[kernel, bias] of the convolution that does the normalisation too."""
    mean, variance = (np.asarray(value) for value in (norm.moving_mean, norm.moving_variance))
    factor = 1 / np.sqrt(variance + norm.epsilon)
    if norm.scale:
        factor = factor * np.asarray(norm.gamma)
    shift = -mean * factor + (np.asarray(norm.beta) if norm.center else 0)
    kernel, *bias = convolution.get_weights()
    (shape,) = (shape for kind, shape in FACTOR_SHAPES.items() if isinstance(convolution, kind))
    return [kernel * factor.reshape(shape(kernel.shape)), shift + (bias[0] * factor if bias else 0)]
