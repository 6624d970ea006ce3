"""ImageNet backbones as encoders."""

import math
import warnings
from pathlib import Path

import keras
from keras import KerasTensor, layers
from omegaconf import DictConfig

from models.encoders.backbones import BACKBONES, Backbone, Pixels
from models.encoders.other_channels import at_least_three, source_channels, spread_first_kernel
from models.layers.batch_norm import BatchNorm
from models.layers.blocks import BlockSettings, FeatureMaps
from models.layers.convolution import Conv2D
from utils.base.errors import UserError
from utils.base.registry import load_object

MIN_SIDE = 32  # of a backbone that halves five times


def pretrained(
    image: KerasTensor, settings: DictConfig, blocks: BlockSettings, weights: str | None
) -> tuple[FeatureMaps, FeatureMaps]:
    """An ImageNet backbone of `models.encoders.backbones`, with its own weights or new ones.

    With weights the image is scaled to the pixels they expect, and other than three channels are adapted
    (`models.encoders.other_channels`). A frozen backbone (TRAINABLE false) runs in inference mode: no dropout, fixed
    statistics of batch normalisation.

    Raises:
        UserError: weights that cannot be had or do not fit, an unknown layer, a size it cannot take.
    """
    backbone_settings = settings.BACKBONE
    backbone = BACKBONES[backbone_settings.TYPE]
    height, width, channels = image.shape[1:]
    for key, side in (("HEIGHT", height), ("WIDTH", width)):
        if side is not None and side < MIN_SIDE:
            raise UserError(
                f"INPUT.{key}={side} is too small for MODEL.BACKBONE.TYPE={backbone_settings.TYPE}: "
                f"at least {MIN_SIDE}."
            )
    x = image
    if backbone_settings.WEIGHTS is not None:
        x = expected_pixels(image, backbone.pixels)
        channels = max(channels, 3)
    network = build_backbone(backbone, backbone_settings, weights, (height, width, channels))
    fuse_normalisation(network)
    if blocks.winograd:
        speed_up_convolutions(network)
    save_memory_of_swish(network)

    skips = name_skips(network, backbone, backbone_settings)
    # The bottleneck is the same in both; DOWN_LAYERS are those of the strides between.
    inner = list(skips)[1:-1]
    if backbone_settings.DOWN_LAYERS and len(inner) != len(backbone_settings.DOWN_LAYERS):
        raise UserError(
            f"MODEL.BACKBONE.DOWN_LAYERS={list(backbone_settings.DOWN_LAYERS)} needs a layer for each of the strides "
            f"{inner}."
        )
    down = dict(zip(inner, backbone_settings.DOWN_LAYERS, strict=True)) if backbone_settings.DOWN_LAYERS else {}
    taps = tap_layers(network, [*skips.values(), *down.values()], backbone, backbone_settings)
    if not backbone_settings.TRAINABLE:
        freeze(network)
    elif backbone_settings.NORM_MOMENTUM is not None:
        set_momentum(network, backbone_settings.NORM_MOMENTUM)
    maps = taps(x)
    features = dict(zip(skips, maps, strict=False))
    check_strides(features, skips, height)
    return features, {**features, **dict(zip(down, maps[len(skips) :], strict=True))}


def name_skips(network: keras.Model, backbone: Backbone, settings: DictConfig) -> dict[int, str]:
    """`{stride: layer}` of the skips and the bottleneck: the usual ones, or MODEL.BACKBONE.SKIP_LAYERS.

    Of the latter the first may have stride 1 or 2; each has twice the stride of the one before.

    Raises:
        UserError: the backbone has no layer of the first name.
    """
    if not settings.SKIP_LAYERS:
        return backbone.skips
    first = tap_layers(network, settings.SKIP_LAYERS[:1], backbone, settings)
    side = network.input.shape[1] or 256
    shape = first.compute_output_shape((1, side, side, network.input.shape[-1]))
    stride = min(2, round(side / (shape[0] if isinstance(shape, list) else shape)[1]))
    return {stride << place: name for place, name in enumerate(settings.SKIP_LAYERS)}


def tap_layers(network: keras.Model, names: list[str], backbone: Backbone, settings: DictConfig) -> keras.Model:
    """Return the part of a backbone that gives the outputs of the layers named.

    Raises:
        UserError: the backbone has no layer of that name.
    """
    known = {layer.name for layer in network.layers}
    for name in names:
        if name not in known:
            raise UserError(
                f"MODEL.BACKBONE.SKIP_LAYERS or DOWN_LAYERS: {settings.TYPE} has no layer {name}. Its own are "
                f"{', '.join(backbone.skips.values())}; "
                f"`python -m models MODEL.BACKBONE.TYPE={settings.TYPE} +layers=True` lists all."
            )
    return keras.Model(network.input, [network.get_layer(name).output for name in names], name="encoder")


def check_strides(features: FeatureMaps, skips: dict[int, str], height: int | None) -> None:
    """Refuse maps that do not have the stride of their place.

    Raises:
        UserError: names the layer, and the strides to choose layers for.
    """
    for stride, feature in features.items():
        if height and feature.shape[1] not in (height // stride, math.ceil(height / stride)):
            raise UserError(
                f"MODEL.BACKBONE.SKIP_LAYERS: {skips[stride]} has {feature.shape[1]} rows for an image of {height}; "
                f"its place needs stride {stride}. Name one layer for each of the strides {list(skips)}."
            )


def freeze(network: keras.Model) -> None:
    """Fix the weights and the statistics of batch normalisation, and drop nothing."""
    network.trainable = False
    for layer in network.layers:
        if isinstance(layer, layers.Dropout):
            layer.rate = 0.0


def fuse_normalisation(network: keras.Model) -> None:
    """Let the normalisations of a backbone compute as ours do, in one kernel where there is one.

    Published backbones make their own layers. Ours differ in their method `call` alone, so the class can be changed
    in place; building the network again would double the time that it takes.
    """
    for layer in network.layers:
        if type(layer) is layers.BatchNormalization:
            object.__setattr__(layer, "__class__", BatchNorm)


def speed_up_convolutions(network: keras.Model) -> None:
    """Let the convolutions of a backbone pick their kernel as ours do, see `models.layers.convolution`."""
    for layer in network.layers:
        if type(layer) is layers.Conv2D:
            object.__setattr__(layer, "__class__", Conv2D)
            layer.winograd = True


def save_memory_of_swish(network: keras.Model) -> None:
    """Let the backbone's swish compute its sigmoid again for the gradient, instead of keeping it.

    The efficientnet package multiplies by a sigmoid, as its older Keras had no such function.
    """
    for layer in network.layers:
        if getattr(getattr(layer, "activation", None), "__name__", None) == "swish":
            layer.activation = keras.activations.silu


def set_momentum(network: keras.Model, momentum: float) -> None:
    """Set the share of their averages that the normalisations keep at each step.

    Published backbones keep 0.99 or 0.999. In a short training the averages then stay those of ImageNet, or the first
    values of new layers, while the weights move on, and validation sees another network than training.
    """
    for layer in network.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = momentum


def expected_pixels(image: KerasTensor, pixels: Pixels) -> KerasTensor:
    """RGB, or other channels, in [0, 1] -> what the pretrained weights were trained on."""
    x = at_least_three(image)
    if pixels.bgr:
        x = x[..., ::-1]
    sources = source_channels(x.shape[-1], pixels.bgr)
    scale = [1 / pixels.deviation[source] for source in sources]
    offset = [-pixels.mean[source] / pixels.deviation[source] for source in sources]
    return layers.Rescaling(scale, offset, name="expected_pixels")(x)


def build_backbone(
    backbone: Backbone, settings: DictConfig, weights: str | None, shape: tuple[int | None, int | None, int]
) -> keras.Model:
    """Build the backbone without its classifier and load its weights, adapted to more than three channels.

    Args:
        weights: a name of `Backbone.weights`, the path of a file, or None: untrained.

    Raises:
        UserError: weights that cannot be downloaded or do not fit.
    """
    if weights is not None and shape[-1] > 3:
        published = build_backbone(backbone, settings, weights, (*shape[:2], 3))
        network = build_backbone(backbone, settings, None, shape)
        spread_first_kernel(published, network, backbone.pixels.bgr)
        return network
    variant = backbone.pytorch if settings.VARIANT == "pytorch" else None
    build = load_object(variant or backbone.build)
    named = weights in backbone.weights
    if weights is not None and not named and not Path(weights).is_file():
        raise UserError(
            f"MODEL.BACKBONE.WEIGHTS={weights} is neither a file nor one of: {', '.join(('null', *backbone.weights))}."
        )
    try:
        network = build(include_top=False, weights=weights if named else None, input_shape=shape)
    except Exception as error:
        if not named:
            raise
        raise UserError(
            f"The {weights} weights of {settings.TYPE} could not be downloaded ({error}). On a machine with network "
            f"download them, copy the file here and set MODEL.BACKBONE.WEIGHTS=/path/to/the/file.h5."
        ) from None
    if weights is not None and not named:
        load_backbone_weights(network, weights, settings)
    return network


def load_backbone_weights(network: keras.Model, weights: str, settings: DictConfig) -> None:
    """Load a file of weights: .weights.h5 of Keras 3, or .h5 of earlier versions; names work with the latter."""
    options = {"by_name": True, "skip_mismatch": True} if settings.WEIGHTS_BY_NAME else {}
    try:
        with warnings.catch_warnings():
            if not options:
                warnings.simplefilter("error")  # Keras only warns about layers that the file does not have
            network.load_weights(weights, **options)
    except (ValueError, OSError, KeyError, UserWarning) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"MODEL.BACKBONE.WEIGHTS={weights} does not fit {settings.TYPE} without its classifier: {reason}"
        ) from None
