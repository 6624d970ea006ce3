"""Unet and UnetPlusPlus of segmentation_models.pytorch (0.3 to 0.6) and their encoders."""

from dataclasses import replace
from typing import Any

from utils.base.errors import UserError
from utils.base.registry import load_object
from utils.checkpoints.foreign.layouts import Arrays, Network, Pair
from utils.checkpoints.foreign.smp_encoders import EPSILON

HERE = "utils.checkpoints.foreign.smp_encoders"

# A name that only files with this encoder have -> function arrays -> Network of the encoder alone
ENCODERS = {
    "encoder.layer1.0.conv1.weight": f"{HERE}:resnet",
    "encoder.features.0.0.weight": f"{HERE}:mobilenetv2",
    "encoder.features.0.weight": f"{HERE}:vgg",
    "encoder._conv_stem.weight": f"{HERE}:efficientnet",
}


def encoder_of(arrays: Arrays) -> Network:
    """Settings and pairs of the encoder.

    Raises:
        UserError: it is none of ENCODERS.
    """
    for name, location in ENCODERS.items():
        if name in arrays:
            return load_object(location)(arrays)
    raise UserError("its encoder is not among those that can be taken: ResNet, VGG, MobileNetV2, EfficientNet.")


def unet(arrays: Arrays) -> Network:
    """`decoder.blocks.0`, ... from coarse to fine, each two convolutions; a centre on VGG."""
    strides = [16 >> block for block in range(5) if f"decoder.blocks.{block}.conv1.0.weight" in arrays]
    blocks = {stride: f"decoder.blocks.{place}" for place, stride in enumerate(strides)}
    pairs = [pair for stride, block in blocks.items() for pair in two_convs(block, f"decoder{stride}")]
    settings: dict[str, Any] = {
        "MODEL.TYPE": "unet",
        "MODEL.DECODER.FILTERS": [arrays[f"{block}.conv1.0.weight"].shape[0] for block in blocks.values()],
    }
    if "decoder.center.0.0.weight" in arrays:
        settings["MODEL.DECODER.CENTER_CONVS"] = 2
        for number in (1, 2):
            pairs += conv_norm(f"decoder.center.{number - 1}", f"decoder32_{number}")
    return whole(arrays, settings, pairs)


def unetplusplus(arrays: Arrays) -> Network:
    """`decoder.blocks.x_<depth>_<row>`: rows from coarse to fine, each from the last node to the first.

    They concatenate the upsampled map, the nodes from right to left and the encoder's map.
    """
    settings: dict[str, Any] = {"MODEL.TYPE": "unet++", "MODEL.DECODER.INNER_FILTERS": "encoder"}
    pairs = two_convs("decoder.blocks.x_0_4", "decoder1")
    widths = []
    for row in range(4):
        widths.append(arrays[f"decoder.blocks.x_0_{row}.conv1.0.weight"].shape[0])
        for depth in range(row + 1):
            column = row - depth + 1
            parts = (0, *range(column, 0, -1))
            pairs += two_convs(f"decoder.blocks.x_{depth}_{row}", f"decoder{16 >> row}_column{column}", parts)
    widths.append(arrays["decoder.blocks.x_0_4.conv1.0.weight"].shape[0])
    network = whole(arrays, settings | {"MODEL.DECODER.FILTERS": widths}, pairs)
    # On VGG it has a centre, which its forward pass leaves out.
    return replace(network, unused=rf"{network.unused}|decoder\.center\..*")


def whole(arrays: Arrays, settings: dict[str, Any], pairs: list[Pair]) -> Network:
    """The network of a decoder, with its encoder and head.

    Raises:
        UserError: a part that no setting makes.
    """
    if any(".attention" in name for name in arrays):
        raise UserError("its decoder has attention (decoder_attention_type), ours has none.")
    if "decoder.blocks.0.conv1.0.bias" in arrays or "decoder.blocks.x_0_0.conv1.0.bias" in arrays:
        raise UserError("its decoder has no batch normalisation (decoder_use_norm), as ours would have.")
    encoder = encoder_of(arrays)
    head = arrays["segmentation_head.0.weight"]
    settings = {
        **settings,
        **encoder.settings,
        "MODEL.DECODER.UPSAMPLE": "nearest",
        "MODEL.DECODER.NORM_EPSILON": EPSILON,
        "MODEL.HEAD.KERNEL": head.shape[-1],
        "OUTPUT.CLASSES": head.shape[0],
    }
    pairs = [*encoder.pairs, *pairs, Pair("segmentation_head.0", "mask_logits")]
    return Network(settings, pairs, rf"{encoder.unused}|classification_head\..*", encoder.folded)


def two_convs(theirs: str, ours: str, parts: tuple[int, ...] = ()) -> list[Pair]:
    """Convolution, normalisation, ReLU, twice."""
    return [*conv_norm(f"{theirs}.conv1", f"{ours}_1", parts), *conv_norm(f"{theirs}.conv2", f"{ours}_2")]


def conv_norm(theirs: str, ours: str, parts: tuple[int, ...] = ()) -> list[Pair]:
    return [Pair(f"{theirs}.0", f"{ours}_conv", parts), Pair(f"{theirs}.1", f"{ours}_norm")]
