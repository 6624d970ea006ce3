"""The UNet 3+ decoder: full-scale skip connections (Huang et al., ICASSP 2020, arXiv:2004.08790)."""

from keras import layers
from omegaconf import DictConfig

from models.layers.blocks import BlockSettings, DecoderMap, FeatureMaps, activation, conv_block, resize_conv_norm


def unet3plus(
    features: FeatureMaps, down: FeatureMaps, settings: DictConfig, blocks: BlockSettings
) -> list[DecoderMap]:
    """Each decoder map sees every scale: finer encoder maps, the encoder map of its own stride, coarser decoder maps.

    Every incoming map is brought to the stride and to the same width, MODEL.FILTERS[0] (64 in the paper); one
    convolution fuses their concatenation.

    Args:
        features: {stride: encoder map `(batch, height, width, channels)`}; the coarsest is the bottleneck.

    Returns:
        list of DecoderMap, finest first; the last is the bottleneck itself.
    """
    width = settings.FILTERS[0]
    strides = sorted(features)
    maps = {strides[-1]: features[strides[-1]]}
    for stride in reversed(strides[:-1]):
        incoming = [
            resize_conv_norm(
                maps[source] if source > stride else features[source],
                source,
                features[stride],
                stride,
                width,
                blocks,
                f"decoder{stride}_from{source}",
            )
            for source in strides
        ]
        x = layers.Concatenate(name=f"decoder{stride}_concat")(incoming)
        # Activation after concatenation is the same function; before it, the maps would be kept twice for the gradient.
        x = activation(x, blocks, f"decoder{stride}_concat")
        maps[stride] = conv_block(x, width * len(strides), blocks, f"decoder{stride}")
    return [
        DecoderMap("mask" if stride == strides[0] else f"mask_stride{stride}", stride, maps[stride])
        for stride in strides
    ]
