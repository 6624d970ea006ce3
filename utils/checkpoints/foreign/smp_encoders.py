"""The encoders of segmentation_models.pytorch: which one it is, and how its modules are called here."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from utils.base.errors import UserError
from utils.checkpoints.foreign.layouts import Arrays, Network, Pair, count

UNUSED = Network.unused
EPSILON = 1e-5  # PyTorch's, added to the variance

# (bottleneck, blocks of each stage) -> MODEL.BACKBONE.TYPE
RESNETS: dict[tuple[bool, tuple[int, ...]], str] = {
    (False, (2, 2, 2, 2)): "resnet18",
    (False, (3, 4, 6, 3)): "resnet34",
    (True, (3, 4, 6, 3)): "resnet50",
    (True, (3, 4, 23, 3)): "resnet101",
    (True, (3, 8, 36, 3)): "resnet152",
}
# Number of convolutions -> MODEL.BACKBONE.TYPE, convolutions of each block
VGGS = {13: ("vgg16", (2, 2, 3, 3, 3)), 16: ("vgg19", (2, 2, 4, 4, 4))}
# (width of the stem, of the head, blocks) -> size, blocks of each of the seven stages, the blocks that are skips
EFFICIENTNETS = {
    (32, 1280, 16): (0, (1, 2, 2, 3, 3, 4, 1), (2, 4, 8, 15)),  # 8 is the first of its stage, in the others the last is
    (32, 1280, 23): (1, (2, 3, 3, 4, 4, 5, 2), (4, 7, 15, 22)),
    (32, 1408, 23): (2, (2, 3, 3, 4, 4, 5, 2), (4, 7, 15, 22)),
    (40, 1536, 26): (3, (2, 3, 3, 5, 5, 6, 2), (4, 7, 17, 25)),
    (48, 1792, 32): (4, (2, 4, 4, 6, 6, 8, 2), (5, 9, 21, 31)),
    (48, 2048, 39): (5, (3, 5, 5, 7, 7, 9, 3), (7, 12, 26, 38)),
    (56, 2304, 45): (6, (3, 6, 6, 8, 8, 11, 3), (8, 14, 30, 44)),
    (64, 2560, 55): (7, (4, 7, 7, 10, 10, 13, 4), (10, 17, 37, 54)),
}
MOBILENET_SKIPS = ["expanded_conv_project_BN", "block_2_add", "block_5_add", "block_12_add", "out_relu"]


def settings(kind: str, skips: list[str], channels: int, variant: str = "keras") -> dict[str, Any]:
    """The settings of an encoder."""
    found = {"MODEL.BACKBONE.TYPE": kind, "MODEL.BACKBONE.SKIP_LAYERS": skips, "INPUT.CHANNELS": channels}
    return found | ({"MODEL.BACKBONE.VARIANT": variant} if variant != "keras" else {})


def encoder_pairs(names: Iterator[tuple[str, str]]) -> list[Pair]:
    return [Pair(f"encoder.{theirs}", f"encoder/{ours}") for theirs, ours in names]


def resnet(arrays: Arrays) -> Network:
    """Stages `layer1` to `layer4`.

    Raises:
        UserError: a ResNeXt, a wide or a squeeze-and-excitation ResNet.
    """
    blocks = tuple(count(arrays, rf"encoder\.layer{stage}\.(\d+)\.") for stage in range(1, 5))
    bottleneck = "encoder.layer1.0.conv3.weight" in arrays
    kind = RESNETS.get((bottleneck, blocks))
    middle = arrays[f"encoder.layer1.0.conv{2 if bottleneck else 1}.weight"].shape
    if kind is None or middle != (64, 64, 3, 3) or "encoder.layer1.0.se_module.fc1.weight" in arrays:
        raise UserError(f"its encoder is no ResNet that is built here: {', '.join(RESNETS.values())}.")

    def names() -> Iterator[tuple[str, str]]:
        yield from (("conv1", "conv1_conv"), ("bn1", "conv1_bn"))
        for stage, number in ((stage, number) for stage, many in enumerate(blocks, 1) for number in range(many)):
            theirs, ours = f"layer{stage}.{number}", f"conv{stage + 1}_block{number + 1}"
            for part in range(1, 4 if bottleneck else 3):
                yield f"{theirs}.conv{part}", f"{ours}_{part}_conv"
                yield f"{theirs}.bn{part}", f"{ours}_{part}_bn"
            if f"encoder.{theirs}.downsample.0.weight" in arrays:
                yield from ((f"{theirs}.downsample.0", f"{ours}_0_conv"), (f"{theirs}.downsample.1", f"{ours}_0_bn"))

    skips = ["conv1_relu", *(f"conv{stage}_block{many}_out" for stage, many in enumerate(blocks, 2))]
    variant = "pytorch" if bottleneck else "keras"
    channels = arrays["encoder.conv1.weight"].shape[1]
    return Network(settings(kind, skips, channels, variant), encoder_pairs(names()), UNUSED)


def mobilenetv2(arrays: Arrays) -> Network:
    """`features.0`, blocks `features.1` to `features.17`, `features.18`."""

    def names() -> Iterator[tuple[str, str]]:
        yield from (("features.0.0", "Conv1"), ("features.0.1", "bn_Conv1"))
        for number in range(17):
            theirs, ours = f"features.{number + 1}.conv", f"block_{number}" if number else "expanded_conv"
            places = {"expand": ("0.0", "0.1"), "depthwise": ("1.0", "1.1"), "project": ("2", "3")}
            if not number:
                places = {"depthwise": ("0.0", "0.1"), "project": ("1", "2")}
            for part, (conv, norm) in places.items():
                yield from ((f"{theirs}.{conv}", f"{ours}_{part}"), (f"{theirs}.{norm}", f"{ours}_{part}_BN"))
        yield from (("features.18.0", "Conv_1"), ("features.18.1", "Conv_1_bn"))

    channels = arrays["encoder.features.0.0.weight"].shape[1]
    return Network(settings("mobilenetv2", MOBILENET_SKIPS, channels, "pytorch"), encoder_pairs(names()), UNUSED)


def vgg(arrays: Arrays) -> Network:
    """`features.<place>`: convolutions, each followed by a ReLU, and a pooling after each block.

    Those with a batch normalisation before the ReLU (`_bn`) have it folded into the convolution.

    Raises:
        UserError: of another depth.
    """
    normalised = "encoder.features.1.running_mean" in arrays
    convs = count(arrays, r"encoder\.features\.(\d+)\.weight") // (2 if normalised else 1)
    if convs not in VGGS:
        raise UserError(f"its VGG has {convs} convolutions; only vgg16 and vgg19 are built here, with or without _bn.")
    kind, blocks = VGGS[convs]

    def places() -> Iterator[tuple[int, str]]:
        place = 0
        for block, many in enumerate(blocks, 1):
            for number in range(1, many + 1):
                yield place, f"block{block}_conv{number}"
                place += 3 if normalised else 2
            place += 1

    folded: dict[str, np.ndarray] = {}
    unused = UNUSED
    for place, _ in places() if normalised else ():
        folded |= fold_norm(arrays, f"encoder.features.{place}", f"encoder.features.{place + 1}")
        unused += rf"|encoder\.features\.{place + 1}\..*"
    names = ((f"features.{place}", ours) for place, ours in places())
    skips = [f"block{block}_conv{many}" for block, many in enumerate(blocks, 1)][1:]
    channels = arrays["encoder.features.0.weight"].shape[1]
    return Network(settings(kind, [*skips, "block5_pool"], channels), encoder_pairs(names), unused, folded)


def fold_norm(arrays: Arrays, conv: str, norm: str) -> dict[str, np.ndarray]:
    """The kernel and bias of a convolution that does what it does with the normalisation after it.

    >>> arrays = {"c.weight": np.ones((1, 1, 1, 1)), "c.bias": np.zeros(1), "n.weight": np.full(1, 3.0)}
    >>> arrays |= {"n.bias": np.ones(1), "n.running_mean": np.full(1, 0.5), "n.running_var": np.full(1, 4.0)}
    >>> {name: array.round(3).ravel().tolist() for name, array in fold_norm(arrays, "c", "n").items()}
    {'c.weight': [1.5], 'c.bias': [0.25]}
    """
    kernel, bias = (arrays[f"{conv}.{name}"].astype(np.float64) for name in ("weight", "bias"))
    gamma, beta, mean, variance = (
        arrays[f"{norm}.{name}"].astype(np.float64) for name in ("weight", "bias", "running_mean", "running_var")
    )
    factor = gamma / np.sqrt(variance + EPSILON)
    folded = {f"{conv}.weight": kernel * factor[:, None, None, None], f"{conv}.bias": (bias - mean) * factor + beta}
    return {name: array.astype(np.float32) for name, array in folded.items()}


def efficientnet(arrays: Arrays) -> Network:
    """`_conv_stem`, `_blocks.<number>`; its head is not part of the encoder.

    Raises:
        UserError: of no known size.
    """
    stem, head = (arrays[f"encoder.{name}.weight"].shape for name in ("_conv_stem", "_conv_head"))
    blocks = count(arrays, r"encoder\._blocks\.(\d+)\.")
    if (stem[0], head[0], blocks) not in EFFICIENTNETS:
        raise UserError(f"its EfficientNet has {blocks} blocks after {stem[0]} filters, which none of B0 to B7 has.")
    size, stages, taken = EFFICIENTNETS[stem[0], head[0], blocks]
    ours = [f"block{stage}{chr(97 + number)}" for stage, many in enumerate(stages, 1) for number in range(many)]
    parts = {
        "_expand_conv": "expand_conv",
        "_bn0": "expand_bn",
        "_depthwise_conv": "dwconv",
        "_bn1": "bn",
        "_se_reduce": "se_reduce",
        "_se_expand": "se_expand",
        "_project_conv": "project_conv",
        "_bn2": "project_bn",
    }

    def names() -> Iterator[tuple[str, str]]:
        yield from (("_conv_stem", "stem_conv"), ("_bn0", "stem_bn"))
        for number, name in enumerate(ours):
            for part, its in parts.items():
                if f"encoder._blocks.{number}.{part}.weight" in arrays:
                    yield f"_blocks.{number}.{part}", f"{name}_{its}"

    skips = [f"{ours[place]}_{'project_bn' if ours[place].endswith('a') else 'add'}" for place in taken]
    found = settings(f"efficientnetb{size}", ["stem_activation", *skips], stem[1], "pytorch" if size else "keras")
    return Network(found, encoder_pairs(names()), rf"{UNUSED}|encoder\._(conv_head|bn1)\..*")
