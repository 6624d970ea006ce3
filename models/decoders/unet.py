"""The U-Net decoder (Ronneberger et al., MICCAI 2015, arXiv:1505.04597)."""

from omegaconf import DictConfig

from models.layers.blocks import BlockSettings, DecoderMap, FeatureMaps, conv_block, up_block
from utils.base.errors import UserError

WIDTHS = (256, 128, 64, 32, 16)  # of the stages on an ImageNet backbone, from coarse to fine


def stage_widths(features: FeatureMaps, settings: DictConfig, least: int | None = None) -> dict[int, int]:
    """{stride: width} of the decoder stages, coarse to fine: MODEL.DECODER.FILTERS, or a default.

    The default mirrors the plain encoder, and takes 256, 128, 64, 32, 16 on an ImageNet backbone. There may be one
    stage fewer than it takes to reach stride 1; the head then brings the mask to the image's size.

    Args:
        features: {stride: encoder map}.
        settings: settings of `models.model_settings`.
        least: the smallest number of stages, if it is another.

    Raises:
        UserError: too few or too many widths.
    """
    bottleneck = max(features)
    widths = settings.DECODER.FILTERS
    if widths is None:
        widths = settings.FILTERS[-2::-1] if settings.BACKBONE.TYPE == "unet3plus" else WIDTHS
    strides = [bottleneck >> step for step in range(1, bottleneck.bit_length())]
    if settings.DECODER.FILTERS is None:
        widths = widths[: len(strides)]
    least = len(strides) - 1 if least is None else least
    if not max(least, 1) <= len(widths) <= len(strides):
        raise UserError(
            f"MODEL.DECODER.FILTERS={list(widths)} needs {max(least, 1)} to {len(strides)} widths: the stages go from "
            f"stride {strides[0]} to 1."
        )
    return dict(zip(strides, widths, strict=False))


def unet(features: FeatureMaps, down: FeatureMaps, settings: DictConfig, blocks: BlockSettings) -> list[DecoderMap]:
    """From the bottleneck up, each stage doubles the size and concatenates the encoder map of its stride, if any.

    Args:
        features: {stride: encoder map `(batch, height, width, channels)`}; the coarsest is the bottleneck.

    Returns:
        list of DecoderMap, finest first: the stages.
    """
    x = features[max(features)]
    if settings.DECODER.CENTER_CONVS:
        x = conv_block(x, x.shape[-1], blocks, f"decoder{max(features)}", settings.DECODER.CENTER_CONVS)
    maps: list[DecoderMap] = []
    for stride, width in stage_widths(features, settings).items():
        skips = [features[stride]] if stride in features else []
        x = up_block(x, skips, width, blocks, f"decoder{stride}")
        maps.insert(0, DecoderMap(f"mask_stride{stride}", stride, x))
    return [maps[0]._replace(output="mask"), *maps[1:]]
