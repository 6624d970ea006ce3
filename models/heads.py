"""Heads: decoder maps -> named outputs. Deep supervision and the classification-guided module work on any decoder."""

import keras
from keras import layers, ops

from models.blocks import conv, match_size


def make_outputs(image, features, maps, classes, row, style):
    """Name the outputs of a model.

    Args:
        image: the input, whose height and width the masks get.
        features: {stride: encoder map}; the coarsest feeds the classification-guided module.
        maps: {stride: decoder map}, finest first.
        classes: int, OUTPUT.CLASSES.
        row: `ModelType` with the flags.

    Returns:
        The dict of `build_model`.
    """
    finest, *coarser = maps
    names = {finest: "mask"}
    if row.deep_supervision:
        names.update({stride: f"mask_stride{stride}" for stride in coarser})
    probabilities = {
        name: mask_head(maps[stride], stride, image, classes, style, name) for stride, name in names.items()
    }
    if not row.cgm:
        return {name: _named(mask, name) for name, mask in probabilities.items()}
    presence = presence_head(features[max(features)], classes, style)
    gated = {name: _named(PresenceGate(name=f"{name}_gate")([m, presence]), name) for name, m in probabilities.items()}
    return {**gated, "presence": presence}


def mask_head(x, stride, image, classes, style, name):
    """Logits by a 3x3 convolution, upsampled bilinearly to the image, then probabilities in float32."""
    x = conv(x, classes, style, f"{name}_logits")
    if stride > 1:
        x = layers.UpSampling2D(stride, interpolation="bilinear", name=f"{name}_upsample")(x)
    x = match_size(x, image, name)
    activation = "sigmoid" if classes == 1 else "softmax"
    return layers.Activation(activation, dtype="float32", name=f"{name}_{activation}")(x)


def presence_head(bottleneck, classes, style):
    """The classifier of the classification-guided module (UNet 3+, section 3.3).

    Dropout, a 1x1 convolution to an (absent, present) pair for each foreground class, the maximum over the image, and
    softmax over the pair. `presence > 0.5` is therefore the paper's argmax, but it has a gradient and a target.

    Returns:
        `(batch, foreground classes)` float32, the probability that the class occurs in the image.
    """
    foreground = max(classes - 1, 1)
    x = layers.Dropout(0.5, name="presence_dropout")(bottleneck)
    x = conv(x, 2 * foreground, style, "presence", kernel_size=1)
    x = layers.GlobalMaxPooling2D(name="presence_pool")(x)
    return PairSoftmax(dtype="float32", name="presence")(x)


@keras.saving.register_keras_serializable("unet_family")
class PairSoftmax(layers.Layer):
    """`(batch, 2 * n)` logits (absent, present), ... -> `(batch, n)` probability of present."""

    def call(self, logits):
        return ops.sigmoid(logits[:, 1::2] - logits[:, 0::2])

    def compute_output_shape(self, input_shape):
        return (input_shape[0], input_shape[1] // 2)


@keras.saving.register_keras_serializable("unet_family")
class PresenceGate(layers.Layer):
    """Multiply foreground probabilities by the hard decision of the classifier; background takes what they lose.

    Call with `[mask, presence]`: mask `(batch, height, width, classes)`, presence `(batch, foreground classes)`.
    The decision itself passes no gradient: the classifier learns from its own loss.
    """

    def __init__(self, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})

    def call(self, inputs):
        mask, presence = inputs
        gate = ops.cast(presence > 0.5, mask.dtype)[:, None, None, :]
        if mask.shape[-1] == 1:
            return mask * gate
        kept = mask[..., 1:] * gate
        background = ops.maximum(1 - ops.sum(kept, axis=-1, keepdims=True), 0)
        return ops.concatenate([background, kept], axis=-1)

    def compute_output_shape(self, input_shape):
        return input_shape[0]


def _named(x, name):
    return layers.Identity(dtype="float32", name=name)(x)
