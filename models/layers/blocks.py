"""The building blocks that encoders, decoders and heads share."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import keras
from keras import layers

from models.layers.batch_norm import BatchNorm
from models.layers.convolution import Conv2D
from models.layers.match_size import MatchSize
from models.layers.upsample_conv import UpsampleConv2D
from utils.base.errors import UserError


class DecoderMap(NamedTuple):
    """A map that can become a mask."""

    output: str  # name of the mask: "mask", "mask_stride2", "mask_depth1", ...
    stride: int
    map: Any  # (batch, height, width, channels)


@dataclass(frozen=True)
class Style:
    """How the convolutions of a model are made: MODEL.DECODER and its neighbours, read once."""

    activation: str
    norm: bool
    norm_momentum: float
    sync_norm: bool
    bias: bool  # of convolutions that a normalisation follows; all others have one
    dropout: float
    l2: float
    padding: str
    convs: int
    upsample: str
    upsample_kernel: int
    upsample_norm: bool
    fast_upsample: bool
    winograd: bool

    @classmethod
    def from_config(cls, model):
        decoder = model.DECODER
        try:
            keras.activations.get(decoder.ACTIVATION)
        except ValueError:
            raise UserError(
                f"MODEL.DECODER.ACTIVATION={decoder.ACTIVATION} is not a name Keras knows: relu, swish, gelu, elu, ..."
            ) from None
        return cls(
            activation=decoder.ACTIVATION,
            norm=decoder.NORM,
            norm_momentum=decoder.NORM_MOMENTUM,
            sync_norm=model.SYNC_BATCH_NORM,
            bias=model.CONV_BIAS,
            dropout=decoder.DROPOUT,
            l2=model.L2,
            padding=model.PADDING,
            convs=decoder.CONVS,
            upsample=decoder.UPSAMPLE,
            upsample_kernel=decoder.UPSAMPLE_KERNEL,
            upsample_norm=decoder.UPSAMPLE_NORM,
            fast_upsample=model.EXACT_FAST_UPSAMPLE,
            winograd=model.WINOGRAD,
        )

    def conv_options(self, followed_by_norm):
        """Keyword arguments of a convolution layer; initializer and regularizer are new objects for each layer."""
        return {
            "use_bias": self.bias or not followed_by_norm,
            "kernel_initializer": keras.initializers.HeNormal(),
            "kernel_regularizer": keras.regularizers.L2(self.l2) if self.l2 else None,
        }


def conv_block(x, filters, style, name, convs=1):
    """`convs` times convolution 3x3, batch normalisation, activation.

    `(batch, height, width, channels)` -> `(batch, height, width, filters)`, smaller by 2 each with valid padding.
    """
    for number in range(1, convs + 1):
        part = f"{name}_{number}" if convs > 1 else name
        x = activation(conv_norm(x, filters, style, part), style, part)
    return x


def conv_norm(x, filters, style, name):
    """Convolution 3x3 and normalisation, of `conv_block`."""
    options = style.conv_options(followed_by_norm=style.norm)
    x = Conv2D(filters, 3, padding=style.padding, winograd=style.winograd, name=f"{name}_conv", **options)(x)
    return norm(x, style, name)


def norm(x, style, name):
    """Batch normalisation and dropout, where the style has them."""
    if style.norm:
        x = BatchNorm(momentum=style.norm_momentum, synchronized=style.sync_norm, name=f"{name}_norm")(x)
    if style.dropout:
        x = layers.Dropout(style.dropout, name=f"{name}_dropout")(x)
    return x


def activation(x, style, name):
    return layers.Activation(style.activation, name=f"{name}_{style.activation}")(x)


def up_block(x, skips, filters, style, name):
    """One step of a U-Net decoder: twice the size, concatenated with the skips, then `style.convs` convolutions.

    Args:
        x: map `(batch, height, width, channels)`.
        skips: list of maps of twice that size, perhaps empty.
        filters: int, width of the upsampling (if it convolves) and of the convolutions.
    """
    x = upsample(x, filters, style, name)
    if skips:
        if style.padding == "valid":
            skips = [center_crop(skip, x, f"{name}_crop") for skip in skips]
        else:
            x = match_size(x, skips[0], name)
        x = layers.Concatenate(name=f"{name}_concat")([x, *skips])
    return conv_block(x, filters, style, name, style.convs)


def upsample(x, filters, style, name):
    """Twice the height and width.

    A transposed convolution to `filters`; or bilinear upsampling and a 3x3 convolution to `filters`; or repeated
    pixels, which keep the channels.
    """
    name_up = f"{name}_upsample"
    if style.upsample == "nearest":
        return layers.UpSampling2D(2, interpolation="nearest", name=name_up)(x)
    options = style.conv_options(followed_by_norm=style.upsample_norm)
    if style.upsample == "bilinear":
        x = UpsampleConv2D(filters, 2, fast=style.fast_upsample, name=name_up, **options)(x)
    else:
        x = layers.Conv2DTranspose(filters, style.upsample_kernel, 2, "same", name=name_up, **options)(x)
    return activation(norm(x, style, name_up), style, name_up) if style.upsample_norm else x


def resize_conv_norm(x, stride, reference, to_stride, filters, style, name):
    """Bring a map from one stride to another's size, with a convolution and normalisation.

    A finer map is max-pooled before the convolution, a coarser one upsampled bilinearly (UNet 3+, section 3.1).

    Args:
        x: map `(batch, height, width, channels)` at `stride`.
        reference: a map at `to_stride`, whose height and width the result gets.
    """
    options = style.conv_options(followed_by_norm=style.norm)
    if stride > to_stride:
        up = UpsampleConv2D(filters, stride // to_stride, fast=style.fast_upsample, name=f"{name}_conv", **options)
        return norm(match_size(up(x), reference, name), style, name)
    if stride < to_stride:
        x = layers.MaxPooling2D(to_stride // stride, padding="same", name=f"{name}_pool")(x)
        x = match_size(x, reference, name)
    return conv_norm(x, filters, style, name)


def match_size(x, reference, name):
    """Crop or extend `x` to the height and width of `reference`.

    The layer is there even where the sizes agree (it then does nothing): Keras stores weights in the order of the
    graph, which must not depend on the size of the images.
    """
    return MatchSize(name=f"{name}_match")([x, reference])


def center_crop(x, reference, name):
    """The centre of `x`, as large as `reference`; both sizes must be known."""
    margins = [(have - want) for have, want in zip(x.shape[1:3], reference.shape[1:3], strict=True)]
    return layers.Cropping2D([(margin // 2, margin - margin // 2) for margin in margins], name=name)(x)
