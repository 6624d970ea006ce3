"""MobileNetV2 as torchvision builds it: padding on both sides where Keras pads below and on the right, epsilon 1e-5."""

import keras
from keras import layers

from models.layers.padded_conv import pad_by

EPSILON = 1e-5  # PyTorch's, added to the variance


def MobileNetV2(  # named as the function of keras.applications
    include_top: bool, weights: str | None, input_shape: tuple[int | None, int | None, int]
) -> keras.Model:
    """The network without its classifier and without published weights; layers as in `keras.applications.MobileNetV2`.

    The layers of Keras's network are changed in place: all maps keep their sizes.

    >>> MobileNetV2(False, None, (64, 64, 3)).get_layer("block_1_pad").padding
    ((1, 1), (1, 1))
    """
    network = keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=input_shape)
    for layer in network.layers:
        if isinstance(layer, layers.ZeroPadding2D):
            layer.padding = ((1, 1), (1, 1))
        elif isinstance(layer, layers.BatchNormalization):
            layer.epsilon = EPSILON
    pad_by(network.get_layer("Conv1"), (1, 1))
    return network
