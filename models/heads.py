"""Heads: decoder maps -> named outputs. Deep supervision and the classification-guided module work on any decoder."""

from dataclasses import replace
from typing import Any

import keras
from keras import KerasTensor, layers, ops
from omegaconf import DictConfig

from models.layers.blocks import BlockSettings, DecoderMap, FeatureMaps, match_size


def make_outputs(
    image: KerasTensor,
    features: FeatureMaps,
    maps: list[DecoderMap],
    classes: int,
    settings: DictConfig,
    blocks: BlockSettings,
    multi_label: bool = False,
) -> dict[str, KerasTensor]:
    """Name the outputs of a model.

    Args:
        image: the input, whose height and width the masks get.
        features: {stride: encoder map}; the coarsest feeds the classification-guided module.
        maps: list of DecoderMap, the mask's first; the others are supervised with DEEP_SUPERVISION.
        classes: int, OUTPUT.CLASSES.
        settings: MODEL with its nulls replaced, of `models.model_settings`.
        blocks: of the same settings.
        multi_label: whether the classes may overlap: a sigmoid each, none of them the background.

    Returns:
        The dict of `models.build_model`.
    """
    supervised = maps if settings.DEEP_SUPERVISION else maps[:1]
    activation = "sigmoid" if classes == 1 or multi_label else "softmax"
    masks = {name: mask_logits(x, stride, image, classes, settings, blocks, name) for name, stride, x in supervised}
    outputs = {}
    if settings.CGM:
        foreground = classes if activation == "sigmoid" else classes - 1
        outputs["presence"] = presence_head(features[max(features)], foreground, blocks)
    if settings.CGM and settings.CGM_GATE == "logit":
        masks = gate_masks(masks, outputs["presence"], "logit")
    masks = {name: probabilities(logits, activation, name) for name, logits in masks.items()}
    if settings.CGM and settings.CGM_GATE == "probability":
        masks = gate_masks(masks, outputs["presence"], "probability")
    # An output is known by the name of the layer that makes it.
    return {name: layers.Identity(dtype="float32", name=name)(mask) for name, mask in masks.items()} | outputs


def mask_logits(
    x: KerasTensor,
    stride: int,
    image: KerasTensor,
    classes: int,
    settings: DictConfig,
    blocks: BlockSettings,
    name: str,
) -> KerasTensor:
    """Logits by a convolution, brought to the image's size.

    A coarser map is upsampled bilinearly after its convolution; with MODEL.HEAD.TRANSPOSE the mask's own head is a
    transposed convolution that does both.
    """
    blocks = replace(blocks, initializer=settings.HEAD.INITIALIZER or blocks.initializer)
    options = blocks.conv_options(followed_by_norm=False)
    head = f"{name}_logits"
    if settings.HEAD.TRANSPOSE and name == "mask":
        x = layers.Conv2DTranspose(classes, settings.HEAD.KERNEL, stride, "same", name=head, **options)(x)
    else:
        x = layers.Conv2D(classes, settings.HEAD.KERNEL, padding="same", name=head, **options)(x)
        if stride > 1:
            x = layers.UpSampling2D(stride, interpolation="bilinear", name=f"{name}_upsample")(x)
    if blocks.padding == "same":
        x = match_size(x, image, name)
    return x


def probabilities(logits: KerasTensor, activation: str, name: str) -> KerasTensor:
    """Probabilities in float32."""
    return layers.Activation(activation, dtype="float32", name=f"{name}_{activation}")(logits)


def gate_masks(masks: dict[str, KerasTensor], presence: KerasTensor, of: str) -> dict[str, KerasTensor]:
    """Each mask, probabilities or logits, with what the classifier finds absent taken out."""
    return {name: PresenceGate(of, name=f"{name}_gate")([mask, presence]) for name, mask in masks.items()}


def presence_head(bottleneck: KerasTensor, foreground: int, blocks: BlockSettings) -> KerasTensor:
    """The classifier of the classification-guided module (UNet 3+, section 3.3).

    Dropout, a 1x1 convolution to an (absent, present) pair for each foreground class, the maximum over the image, and
    softmax over the pair. `presence > 0.5` is therefore the paper's argmax, but it has a gradient and a target.

    Args:
        bottleneck: `(batch, height, width, channels)`, the coarsest encoder map.
        foreground: number of classes without the background.
        blocks: settings of the layers.

    Returns:
        `(batch, foreground classes)` float32, the probability that the class occurs in the image.
    """
    x = layers.Dropout(0.5, name="presence_dropout")(bottleneck)
    options = blocks.conv_options(followed_by_norm=False)
    x = layers.Conv2D(2 * foreground, 1, name="presence_logits", **options)(x)
    x = layers.GlobalMaxPooling2D(name="presence_pool")(x)
    return PairSoftmax(dtype="float32", name="presence")(x)


@keras.saving.register_keras_serializable("unet_family")
class PairSoftmax(layers.Layer):
    """`(batch, 2 * n)` logits (absent, present), ... -> `(batch, n)` probability of present."""

    def call(self, logits: KerasTensor) -> KerasTensor:
        return ops.sigmoid(logits[:, 1::2] - logits[:, 0::2])

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        batch, pairs = input_shape
        return (batch, None if pairs is None else pairs // 2)


@keras.saving.register_keras_serializable("unet_family")
class PresenceGate(layers.Layer):
    """Multiply the foreground by the hard decision of the classifier.

    Call with `[mask, presence]`: mask `(batch, height, width, classes)`, presence `(batch, foreground classes)`.
    The decision itself passes no gradient: the classifier learns from its own loss.

    Args:
        of: what the mask holds. "probability": an absent class is 0, and the background takes what the others lose, as
            in the UNet 3+ paper, which multiplies the segmentation. "logit": the logit of an absent class is 0, that of
            the background stays; a single class then has 0.5 everywhere, as in the authors' code.
    """

    def __init__(self, of: str = "probability", **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        self.of = of

    def call(self, inputs: list[KerasTensor]) -> KerasTensor:
        mask, presence = inputs
        gate = ops.cast(presence > 0.5, mask.dtype)[:, None, None, :]
        if mask.shape[-1] == presence.shape[-1]:  # sigmoids, without a background
            return mask * gate
        kept = mask[..., 1:] * gate
        taken = ops.maximum(1 - ops.sum(kept, axis=-1, keepdims=True), 0)
        return ops.concatenate([mask[..., :1] if self.of == "logit" else taken, kept], axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "of": self.of}

    def compute_output_shape(self, input_shape: list[tuple[int | None, ...]]) -> tuple[int | None, ...]:
        return input_shape[0]
