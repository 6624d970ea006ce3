"""The plain U-Nets of mateuszbuda/brain-segmentation-pytorch and milesial/Pytorch-UNet."""

from typing import Any

from utils.checkpoints.foreign.layouts import Arrays, Network, Pair, count

EPSILON = 1e-5  # PyTorch's, added to the variance


def settings(arrays: Arrays, widths: list[int], first: str, head: str, **more: Any) -> dict[str, Any]:
    """The settings that both share, with what is read from shapes."""
    return {
        "MODEL.TYPE": "unet",
        "MODEL.FILTERS": widths,
        "MODEL.HEAD.KERNEL": arrays[head].shape[-1],
        "MODEL.DECODER.NORM_EPSILON": EPSILON,
        "INPUT.CHANNELS": arrays[first].shape[1],
        "OUTPUT.CLASSES": arrays[head].shape[0],
        **more,
    }


def mateuszbuda(arrays: Arrays) -> Network:
    """Blocks `encoder1` to `encoder4`, `bottleneck`, `decoder4` to `decoder1`; upsampled map before the skip."""
    pairs = []
    for level in range(1, 6):
        block, short, stride = (f"encoder{level}", f"enc{level}", 2 ** (level - 1))
        if level == 5:
            block, short = "bottleneck", "bottleneck"
        for number in (1, 2):
            pairs.append(Pair(f"{block}.{short}conv{number}", f"encoder{stride}_{number}_conv"))
            pairs.append(Pair(f"{block}.{short}norm{number}", f"encoder{stride}_{number}_norm"))
            if level < 5:
                pairs.append(Pair(f"decoder{level}.dec{level}conv{number}", f"decoder{stride}_{number}_conv"))
                pairs.append(Pair(f"decoder{level}.dec{level}norm{number}", f"decoder{stride}_{number}_norm"))
        if level < 5:
            pairs.append(Pair(f"upconv{level}", f"decoder{stride}_upsample"))
    pairs.append(Pair("conv", "mask_logits"))
    widths = [arrays[f"encoder{level}.enc{level}conv1.weight"].shape[0] for level in range(1, 5)]
    widths.append(arrays["bottleneck.bottleneckconv1.weight"].shape[0])
    return Network(settings(arrays, widths, "encoder1.enc1conv1.weight", "conv.weight"), pairs)


def milesial(arrays: Arrays) -> Network:
    """`inc`, `down1` to `down4`, `up1` to `up4`; the skip before the upsampled map.

    With `bilinear=True` there are no weights in the upsampling, and the convolutions take over narrowing the maps.
    """
    bilinear = not count(arrays, r"(up\d\.up)\.weight")
    pairs, widths = [], []
    for level in range(5):
        stride, down = 2**level, f"down{level}.maxpool_conv.1" if level else "inc"
        widths.append(arrays[f"{down}.double_conv.0.weight"].shape[0])
        pairs += double_conv(down, f"encoder{stride}")
        if level < 4:
            pairs += [] if bilinear else [Pair(f"up{4 - level}.up", f"decoder{stride}_upsample")]
            pairs += double_conv(f"up{4 - level}.conv", f"decoder{stride}", parts=(1, 0))
    pairs.append(Pair("outc.conv", "mask_logits"))
    found = settings(arrays, widths, "inc.double_conv.0.weight", "outc.conv.weight")
    if "inc.double_conv.0.bias" in arrays:  # versions before 2021
        found["MODEL.CONV_BIAS"] = True
    if bilinear:
        first, last = (
            [arrays[f"up{up}.conv.double_conv.{place}.weight"].shape[0] for up in range(1, 5)] for place in (0, 3)
        )
        found |= {"MODEL.DECODER.UPSAMPLE": "bilinear_aligned", "MODEL.DECODER.FILTERS": last}
        found |= {} if first == last else {"MODEL.DECODER.MID_FILTERS": "half"}
    return Network(found, pairs)


def double_conv(theirs: str, ours: str, parts: tuple[int, ...] = ()) -> list[Pair]:
    """Convolution, normalisation, ReLU, twice."""
    return [
        Pair(f"{theirs}.double_conv.0", f"{ours}_1_conv", parts),
        Pair(f"{theirs}.double_conv.1", f"{ours}_1_norm"),
        Pair(f"{theirs}.double_conv.3", f"{ours}_2_conv"),
        Pair(f"{theirs}.double_conv.4", f"{ours}_2_norm"),
    ]
