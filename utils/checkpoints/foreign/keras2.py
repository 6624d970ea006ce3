"""Networks of Keras 2: Unet of qubvel's segmentation_models, UNet 3+ of hamidriasat."""

import re
from collections.abc import Iterator
from typing import Any

from utils.base.errors import UserError
from utils.checkpoints.foreign.layouts import Arrays, Network, Pair, count
from utils.checkpoints.foreign.smp_encoders import EFFICIENTNETS, RESNETS

DECODER = r"(decoder_stage\d|center_block\d|final_conv)"
VGG_SKIPS = "[block2_conv2,block3_conv{0},block4_conv{0},block5_conv{0},block5_pool]"
RESNET_LAYER = r"bn_data|conv0|bn[01]|stage\d_unit\d+_(bn\d|conv\d|sc)"
MOBILENET_SKIPS = [f"block_{number}_expand_relu" for number in (1, 3, 6, 13)]


def unet(arrays: Arrays) -> Network:
    """`decoder_stage0`, ... from coarse to fine, on an encoder whose layers have the names of those here."""
    stages = count(arrays, r"(decoder_stage\d)")
    encoder = list(dict.fromkeys(name.partition("/")[0] for name in arrays if not re.match(DECODER, name)))
    transposed = "decoder_stage0a_transpose/kernel" in arrays
    norm = "decoder_stage0b_bn/gamma" in arrays
    settings: dict[str, Any] = {"MODEL.TYPE": "unet", **encoder_settings(arrays)}
    if transposed and not norm:
        raise UserError("its decoder has transposed convolutions without batch normalisation, ours would have it.")
    pairs = [Pair(name, f"encoder/{name}") for name in encoder]
    for stage in range(stages):
        theirs, ours = f"decoder_stage{stage}", f"decoder{16 >> stage}"
        first = f"{ours}_upsample" if transposed else f"{ours}_1_conv"
        second = ours if transposed else f"{ours}_2"
        pairs += [Pair(f"{theirs}a_{'transpose' if transposed else 'conv'}", first)]
        pairs += [Pair(f"{theirs}b_conv", f"{second}_conv")]
        if norm:
            pairs += [Pair(f"{theirs}a_bn", f"{ours}_upsample_norm" if transposed else f"{ours}_1_norm")]
            pairs += [Pair(f"{theirs}b_bn", f"{second}_norm")]
    for number in (1, 2) if "center_block1_conv/kernel" in arrays else ():
        settings["MODEL.DECODER.CENTER_CONVS"] = 2
        pairs += [Pair(f"center_block{number}_conv", f"decoder32_{number}_conv")]
        pairs += [Pair(f"center_block{number}_bn", f"decoder32_{number}_norm")] if norm else []
    settings["MODEL.DECODER.FILTERS"] = [
        arrays[f"decoder_stage{stage}b_conv/kernel"].shape[-1] for stage in range(stages)
    ]
    settings |= TRANSPOSED if transposed else {"MODEL.DECODER.UPSAMPLE": "nearest"}
    settings |= {} if norm else {"MODEL.DECODER.NORM": False}
    settings["OUTPUT.CLASSES"] = arrays["final_conv/kernel"].shape[-1]
    return Network(settings, [*pairs, Pair("final_conv", "mask_logits")])


TRANSPOSED = {"MODEL.DECODER.UPSAMPLE_KERNEL": 4, "MODEL.DECODER.UPSAMPLE_NORM": True, "MODEL.DECODER.CONVS": 1}


def encoder_settings(arrays: Arrays) -> dict[str, Any]:
    """Type, skips and channels of the encoder.

    Raises:
        UserError: it is none that is built here.
    """
    if "block5_conv3/kernel" in arrays:
        number = 4 if "block5_conv4/kernel" in arrays else 3
        skips = VGG_SKIPS.format(number)[1:-1].split(",")
        return found(arrays, "vgg19" if number == 4 else "vgg16", "block1_conv1", skips)
    if "expanded_conv_project/kernel" in arrays:
        return found(arrays, "mobilenetv2", "Conv1", [*MOBILENET_SKIPS, "out_relu"])
    if "stem_conv/kernel" in arrays and "top_conv/kernel" in arrays:
        sides = arrays["stem_conv/kernel"].shape[-1], arrays["top_conv/kernel"].shape[-1]
        size = EFFICIENTNETS.get((*sides, count(arrays, r"(block\d+[a-z])_project_conv/")))
        if size is not None:
            return found(arrays, f"efficientnetb{size[0]}", "stem_conv", None)
    if "bn_data/beta" in arrays:
        return found(arrays, resnet(arrays), "conv0", None)
    raise UserError("its encoder is not among those that can be taken: VGG, ResNet, MobileNetV2, EfficientNet.")


def resnet(arrays: Arrays) -> str:
    """The type of a ResNet with layers `stage1_unit1_conv1`, ...

    Raises:
        UserError: a ResNeXt, a squeeze-and-excitation ResNet, or one of another depth.
    """
    layers = [name.partition("/")[0] for name in arrays if not re.match(DECODER, name)]
    blocks = tuple(count(arrays, rf"stage{stage}_unit(\d+)_conv1/") for stage in range(1, 5))
    kind = RESNETS.get(("stage1_unit1_conv3/kernel" in arrays, blocks))
    if kind is None or any(not re.fullmatch(RESNET_LAYER, layer) for layer in layers):
        known = ", ".join(RESNETS.values())
        raise UserError(f"its encoder is none of {known}: ResNeXt and squeeze-and-excitation are not built here.")
    return f"pre{kind}"


def found(arrays: Arrays, kind: str, first: str, skips: list[str] | None) -> dict[str, Any]:
    """The settings of an encoder; its first layer tells the channels."""
    settings = {"MODEL.BACKBONE.TYPE": kind, "INPUT.CHANNELS": arrays[f"{first}/kernel"].shape[2]}
    return settings if skips is None else {**settings, "MODEL.BACKBONE.SKIP_LAYERS": skips}


def unet3plus(arrays: Arrays) -> Network:
    """Layers are numbered by their creation: encoder, presence, decoder from coarse to fine, heads from fine to coarse.

    Raises:
        UserError: a number of layers that none of the variants has.
    """
    convs, norms = numbered(arrays, "conv2d"), numbered(arrays, "batch_normalization")
    guided = len(convs) > 10 and arrays[f"{convs[10]}/kernel"].shape[:2] == (1, 1)
    heads = len(convs) - 34 - guided
    if heads not in (1, 5) or len(norms) != 34:
        raise UserError(f"it has {len(convs)} convolutions and {len(norms)} normalisations, which no variant has.")
    strides = [1, 2, 4, 8, 16]
    blocks = [f"encoder{stride}_{number}" for stride in strides for number in (1, 2)]
    for stride in strides[-2::-1]:
        blocks += [f"decoder{stride}_from{source}" for source in strides] + [f"decoder{stride}"]
    masks = ["mask", *(f"mask_stride{stride}" for stride in strides[1:])][:heads]
    layers = [f"{block}_conv" for block in blocks] + [f"{mask}_logits" for mask in masks]
    if guided:
        layers.insert(10, "presence_logits")
    pairs = [Pair(theirs, ours) for theirs, ours in zip(convs, layers, strict=True)]
    pairs += [Pair(theirs, f"{block}_norm") for theirs, block in zip(norms, blocks, strict=True)]
    kind = "unet3plus" + ("_deepsup" if heads == 5 else "") + ("_cgm" if guided else "")
    settings = {
        "MODEL.TYPE": kind if kind != "unet3plus_cgm" else "unet3plus",
        "MODEL.FILTERS": [arrays[f"{convs[place]}/kernel"].shape[-1] for place in range(0, 10, 2)],
        "INPUT.CHANNELS": arrays[f"{convs[0]}/kernel"].shape[2],
        "OUTPUT.CLASSES": arrays[f"{convs[-1]}/kernel"].shape[-1],
    }
    settings |= {"MODEL.CGM": True} if kind == "unet3plus_cgm" else {}
    return Network(settings | ({"MODEL.CGM_GATE": "logit"} if guided else {}), pairs)


def numbered(arrays: Arrays, kind: str) -> list[str]:
    """Layers of a kind in the order of their numbers: `conv2d`, `conv2d_1`, ... or from another number on."""

    def numbers() -> Iterator[tuple[int, str]]:
        for name in {name.partition("/")[0] for name in arrays}:
            if match := re.fullmatch(rf"{kind}(?:_(\d+))?", name):
                yield int(match[1] or 0), name

    return [name for _, name in sorted(numbers())]
