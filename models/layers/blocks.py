"""The building blocks that encoders, decoders and heads share."""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import keras
from keras import KerasTensor, layers
from omegaconf import DictConfig

from models.layers.aligned_upsampling import AlignedUpsampling2D
from models.layers.batch_norm import BatchNorm
from models.layers.convolution import Conv2D
from models.layers.initializers import make_initializer
from models.layers.match_size import MatchSize
from models.layers.upsample_conv import UpsampleConv2D
from utils.base.errors import UserError

FeatureMaps = dict[int, KerasTensor]  # {stride: map (batch, height, width, channels)}


class DecoderMap(NamedTuple):
    """A map that can become a mask."""

    output: str  # name of the mask: "mask", "mask_stride2", "mask_depth1", ...
    stride: int
    map: KerasTensor  # (batch, height, width, channels)


@dataclass(frozen=True)
class BlockSettings:
    """How the blocks of a model are made: MODEL.DECODER and the keys beside it that concern all convolutions."""

    activation: str
    norm: bool
    norm_momentum: float
    norm_epsilon: float
    sync_norm: bool
    bias: bool  # of convolutions that a normalisation follows; all others have one
    dropout: float
    initializer: str  # a name of `INITIALIZERS`
    l2: float
    padding: str
    convs: int
    mid_filters: str | None
    upsample: str
    upsample_kernel: int
    upsample_norm: bool
    fast_upsample: bool
    winograd: bool

    @classmethod
    def from_settings(cls, settings: DictConfig) -> "BlockSettings":
        """Read the settings of `models.model_settings`.

        Raises:
            UserError: Keras has no activation of that name.
        """
        decoder = settings.DECODER
        try:
            keras.activations.get(decoder.ACTIVATION)
        except ValueError:
            raise UserError(
                f"MODEL.DECODER.ACTIVATION={decoder.ACTIVATION} is not a name Keras knows: relu, swish, gelu, elu, ..."
            ) from None
        return cls(
            activation=decoder.ACTIVATION,
            norm=bool(decoder.NORM),
            norm_momentum=decoder.NORM_MOMENTUM,
            norm_epsilon=decoder.NORM_EPSILON,
            sync_norm=settings.SYNC_BATCH_NORM,
            bias=settings.CONV_BIAS,
            dropout=decoder.DROPOUT,
            initializer=settings.INITIALIZER,
            l2=settings.L2,
            padding=settings.PADDING,
            convs=decoder.CONVS,
            mid_filters=decoder.MID_FILTERS,
            upsample=decoder.UPSAMPLE,
            upsample_kernel=decoder.UPSAMPLE_KERNEL,
            upsample_norm=decoder.UPSAMPLE_NORM,
            fast_upsample=settings.EXACT_FAST_UPSAMPLE,
            winograd=settings.WINOGRAD,
        )

    def of_decoder(self, settings: DictConfig) -> "BlockSettings":
        """The same without normalisation where MODEL.DECODER.NORM keeps it to the encoder."""
        return replace(self, norm=False) if settings.DECODER.NORM == "encoder" else self

    def conv_options(self, followed_by_norm: bool) -> dict[str, Any]:
        """Keyword arguments of a convolution layer; initializer and regularizer are new objects for each layer."""
        return {
            "use_bias": self.bias or not followed_by_norm,
            "kernel_initializer": make_initializer(self.initializer),
            "kernel_regularizer": keras.regularizers.L2(self.l2) if self.l2 else None,
        }


def conv_block(
    x: KerasTensor, filters: int, blocks: BlockSettings, name: str, convs: int = 1, mid_filters: int | None = None
) -> KerasTensor:
    """`convs` times convolution 3x3, batch normalisation, activation.

    `(batch, height, width, channels)` -> `(batch, height, width, filters)`, smaller by 2 each with valid padding.

    Args:
        mid_filters: width of all convolutions but the last, if it is another.
    """
    for number in range(1, convs + 1):
        part = f"{name}_{number}" if convs > 1 else name
        width = filters if mid_filters is None or number == convs else mid_filters
        x = activation(conv_norm(x, width, blocks, part), blocks, part)
    return x


def conv_norm(x: KerasTensor, filters: int, blocks: BlockSettings, name: str) -> KerasTensor:
    """Convolution 3x3 and normalisation, of `conv_block`."""
    options = blocks.conv_options(followed_by_norm=blocks.norm)
    x = Conv2D(filters, 3, padding=blocks.padding, winograd=blocks.winograd, name=f"{name}_conv", **options)(x)
    return norm(x, blocks, name)


def norm(x: KerasTensor, blocks: BlockSettings, name: str) -> KerasTensor:
    """Batch normalisation and dropout, where the settings ask for them."""
    if blocks.norm:
        # On JAX it always sees the batch of all devices.
        synchronized = blocks.sync_norm and keras.backend.backend() == "tensorflow"
        options = {"momentum": blocks.norm_momentum, "epsilon": blocks.norm_epsilon, "synchronized": synchronized}
        x = BatchNorm(name=f"{name}_norm", **options)(x)
    if blocks.dropout:
        x = layers.Dropout(blocks.dropout, name=f"{name}_dropout")(x)
    return x


def activation(x: KerasTensor, blocks: BlockSettings, name: str) -> KerasTensor:
    return layers.Activation(blocks.activation, name=f"{name}_{blocks.activation}")(x)


def up_block(x: KerasTensor, skips: list[KerasTensor], filters: int, blocks: BlockSettings, name: str) -> KerasTensor:
    """One step of a U-Net decoder: twice the size, concatenated with the skips, then `convs` convolutions.

    Args:
        x: map `(batch, height, width, channels)`.
        skips: list of maps of twice that size, perhaps empty.
        filters: int, width of the upsampling (if it convolves) and of the convolutions.
    """
    x = upsample(x, filters, blocks, name)
    if skips:
        if blocks.padding == "valid":
            skips = [center_crop(skip, x, f"{name}_crop") for skip in skips]
        else:
            x = match_size(x, skips[0], name)
        x = layers.Concatenate(name=f"{name}_concat")([x, *skips])
    mid_filters = max(x.shape[-1] // 2, 1) if blocks.mid_filters == "half" else None
    return conv_block(x, filters, blocks, name, blocks.convs, mid_filters)


def upsample(x: KerasTensor, filters: int, blocks: BlockSettings, name: str) -> KerasTensor:
    """Twice the height and width.

    A transposed convolution to `filters`; or bilinear upsampling and a 3x3 convolution to `filters`; or repeated
    pixels or bilinear upsampling with aligned corners, which keep the channels.
    """
    name_up = f"{name}_upsample"
    if blocks.upsample == "nearest":
        return layers.UpSampling2D(2, interpolation="nearest", name=name_up)(x)
    if blocks.upsample == "bilinear_aligned":
        return AlignedUpsampling2D(name=name_up)(x)
    options = blocks.conv_options(followed_by_norm=blocks.upsample_norm)
    if blocks.upsample == "bilinear":
        x = UpsampleConv2D(filters, 2, fast=blocks.fast_upsample, name=name_up, **options)(x)
    else:
        x = layers.Conv2DTranspose(filters, blocks.upsample_kernel, 2, "same", name=name_up, **options)(x)
    return activation(norm(x, blocks, name_up), blocks, name_up) if blocks.upsample_norm else x


def resize_conv_norm(
    x: KerasTensor, stride: int, reference: KerasTensor, to_stride: int, filters: int, blocks: BlockSettings, name: str
) -> KerasTensor:
    """Bring a map from one stride to another's size, with a convolution and normalisation.

    A finer map is max-pooled before the convolution, a coarser one upsampled bilinearly (UNet 3+, section 3.1).

    Args:
        x: map `(batch, height, width, channels)` at `stride`.
        reference: a map at `to_stride`, whose height and width the result gets.
    """
    options = blocks.conv_options(followed_by_norm=blocks.norm)
    if stride > to_stride:
        up = UpsampleConv2D(filters, stride // to_stride, fast=blocks.fast_upsample, name=f"{name}_conv", **options)
        return norm(match_size(up(x), reference, name), blocks, name)
    if stride < to_stride:
        x = layers.MaxPooling2D(to_stride // stride, padding="same", name=f"{name}_pool")(x)
        x = match_size(x, reference, name)
    return conv_norm(x, filters, blocks, name)


def match_size(x: KerasTensor, reference: KerasTensor, name: str) -> KerasTensor:
    """Crop or extend `x` to the height and width of `reference`.

    The layer exists even where the sizes agree (it then does nothing): Keras stores weights in the order of the
    graph, which must not depend on the size of the images.
    """
    return MatchSize(name=f"{name}_match")([x, reference])


def center_crop(x: KerasTensor, reference: KerasTensor, name: str) -> KerasTensor:
    """The centre of `x`, as large as `reference`; both sizes must be known."""
    margins = [(have - want) for have, want in zip(x.shape[1:3], reference.shape[1:3], strict=True)]
    return layers.Cropping2D([(margin // 2, margin - margin // 2) for margin in margins], name=name)(x)
