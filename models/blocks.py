"""The building blocks that encoders, decoders and heads share."""

from dataclasses import dataclass

import keras
from keras import layers

from models.layers import MatchSize, UpsampleConv2D


@dataclass(frozen=True)
class Style:
    """How the convolutions of a model are made."""

    l2: float = 1e-4  # regularisation of the kernels
    activation: str = "relu"
    initializer: str = "he_normal"

    def conv_options(self):
        """Keyword arguments of a convolution layer; initializer and regularizer are new objects for each layer."""
        return {
            "kernel_initializer": keras.initializers.get(self.initializer),
            "kernel_regularizer": keras.regularizers.L2(self.l2) if self.l2 else None,
        }


def conv(x, filters, style, name, kernel_size=3):
    """One convolution, same padding, with bias."""
    return layers.Conv2D(filters, kernel_size, padding="same", name=f"{name}_conv", **style.conv_options())(x)


def norm_activation(x, style, name):
    """Batch normalisation and the activation."""
    x = layers.BatchNormalization(name=f"{name}_norm")(x)
    return layers.Activation(style.activation, name=f"{name}_{style.activation}")(x)


def conv_block(x, filters, style, name, convs=1):
    """`convs` times convolution 3x3, batch normalisation, activation.

    `(batch, height, width, channels)` -> `(batch, height, width, filters)`
    """
    for number in range(1, convs + 1):
        part = f"{name}_{number}" if convs > 1 else name
        x = norm_activation(conv(x, filters, style, part), style, part)
    return x


def resize_conv_block(x, stride, reference, to_stride, filters, style, name):
    """Bring a map from one stride to another's size, with a convolution, batch normalisation and activation.

    A finer map is max-pooled before the convolution, a coarser one upsampled bilinearly (UNet 3+, section 3.1).

    Args:
        x: map `(batch, height, width, channels)` at `stride`.
        reference: a map at `to_stride`, whose height and width the result gets.
    """
    if stride < to_stride:
        x = layers.MaxPooling2D(to_stride // stride, padding="same", name=f"{name}_pool")(x)
    if stride > to_stride:
        up = UpsampleConv2D(filters, stride // to_stride, name=f"{name}_conv", **style.conv_options())
        x = match_size(up(x), reference, name)
    else:
        x = conv(match_size(x, reference, name), filters, style, name)
    return norm_activation(x, style, name)


def match_size(x, reference, name):
    """Crop or extend `x` to the height and width of `reference`; nothing is added where they are equal."""
    if None not in x.shape[1:3] and x.shape[1:3] == reference.shape[1:3]:
        return x
    return MatchSize(name=f"{name}_match")([x, reference])
