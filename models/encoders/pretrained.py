"""ImageNet backbones as encoders."""

import math
import warnings
from pathlib import Path

import keras
from keras import layers

from models.encoders.backbones import BACKBONES
from utils.base.errors import UserError
from utils.base.registry import load_object

SMALLEST_SIDE = 32  # of a backbone that halves five times


def pretrained(image, model, style):
    """An ImageNet backbone of `models.encoders.backbones`, with its own weights or new ones.

    With weights the image is scaled to the pixels they expect, and a single channel is repeated to three. A frozen
    backbone (TRAINABLE false) runs in inference mode: no dropout, fixed statistics of batch normalisation.

    Raises:
        UserError: weights that cannot be had or do not fit, an unknown layer, a size or channels it cannot take.
    """
    settings = model.BACKBONE
    row = BACKBONES[settings.TYPE]
    height, width, channels = image.shape[1:]
    for key, side in (("HEIGHT", height), ("WIDTH", width)):
        if side is not None and side < SMALLEST_SIDE:
            raise UserError(
                f"INPUT.{key}={side} is too small for MODEL.BACKBONE.TYPE={settings.TYPE}: at least {SMALLEST_SIDE}."
            )
    x = image
    if settings.WEIGHTS is not None:
        x = expected_pixels(image, row.pixels, settings)
        channels = 3
    base = build_base(row, settings, (height, width, channels))

    skips = dict(zip(row.skips, settings.SKIP_LAYERS or row.skips.values(), strict=True))
    # The bottleneck is the same in both; the second taps are those of the strides between.
    down = dict(zip(list(row.skips)[1:-1], settings.DOWN_LAYERS, strict=True)) if settings.DOWN_LAYERS else {}
    names = list(skips.values()) + list(down.values())
    for name in names:
        if name not in (layer.name for layer in base.layers):
            raise UserError(
                f"MODEL.BACKBONE.SKIP_LAYERS or DOWN_LAYERS: {settings.TYPE} has no layer {name}. Its own are "
                f"{', '.join(row.skips.values())}; `python -m models MODEL.BACKBONE.TYPE={settings.TYPE}` lists all."
            )
    taps = keras.Model(base.input, [base.get_layer(name).output for name in names], name="encoder")
    if not settings.TRAINABLE:
        freeze(base)
    maps = taps(x)
    features = dict(zip(skips, maps, strict=False))
    for stride, feature in features.items():
        if height and feature.shape[1] not in (height // stride, math.ceil(height / stride)):
            raise UserError(
                f"MODEL.BACKBONE.SKIP_LAYERS: {skips[stride]} has {feature.shape[1]} rows for an image of {height}; "
                f"its place needs stride {stride}. Name one layer for each of the strides {list(row.skips)}."
            )
    return features, {**features, **dict(zip(down, maps[len(skips) :], strict=True))}


def freeze(base):
    """No weight changes, batch normalisation keeps its statistics, nothing is dropped."""
    base.trainable = False
    for layer in base.layers:
        if isinstance(layer, layers.Dropout):
            layer.rate = 0.0


def expected_pixels(image, pixels, settings):
    """RGB in [0, 1] -> what the pretrained weights were trained on."""
    channels = image.shape[-1]
    if channels not in (1, 3):
        raise UserError(
            f"INPUT.CHANNELS={channels} does not fit MODEL.BACKBONE.WEIGHTS={settings.WEIGHTS}: pretrained weights "
            "take 3 channels, or 1, which is repeated. Set MODEL.BACKBONE.WEIGHTS=null to train from scratch."
        )
    x = layers.Concatenate(name="rgb")([image] * 3) if channels == 1 else image
    if pixels.bgr:
        x = x[..., ::-1]
    scale = [1 / deviation for deviation in pixels.deviation]
    offset = [-mean / deviation for mean, deviation in zip(pixels.mean, pixels.deviation, strict=True)]
    return layers.Rescaling(scale, offset, name="expected_pixels")(x)


def build_base(row, settings, shape):
    """Build the backbone without its classifier and load its weights."""
    build, weights = load_object(row.build), settings.WEIGHTS if settings.LOAD_WEIGHTS else None
    named = weights in row.weights
    if weights is not None and not named and not Path(weights).is_file():
        raise UserError(
            f"MODEL.BACKBONE.WEIGHTS={weights} is neither a file nor one of: null, {', '.join(row.weights)}."
        )
    try:
        base = build(include_top=False, weights=weights if named else None, input_shape=shape)
    except Exception as error:
        if not named:
            raise
        raise UserError(
            f"The {weights} weights of {settings.TYPE} could not be downloaded ({error}). On a machine with network "
            f"download them, copy the file here and set MODEL.BACKBONE.WEIGHTS=/path/to/the/file.h5."
        ) from None
    if weights is not None and not named:
        load_backbone_weights(base, settings)
    return base


def load_backbone_weights(base, settings):
    """Load a file of weights: .weights.h5 of Keras 3, or .h5 of earlier versions; names work with the latter."""
    options = {"by_name": True, "skip_mismatch": True} if settings.WEIGHTS_BY_NAME else {}
    try:
        with warnings.catch_warnings():
            if not options:
                warnings.simplefilter("error")  # Keras only warns about layers that the file does not have
            base.load_weights(settings.WEIGHTS, **options)
    except (ValueError, OSError, KeyError, UserWarning) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"MODEL.BACKBONE.WEIGHTS={settings.WEIGHTS} does not fit {settings.TYPE} without its classifier: {reason}"
        ) from None
