"""The UNet 3+ decoder: full-scale skip connections (Huang et al., ICASSP 2020, arXiv:2004.08790)."""

from keras import layers

from models.blocks import conv_block, resize_conv_block


def unet3plus(features, filters, style):
    """Each decoder map sees every scale: finer encoder maps, the encoder map of its own stride, coarser decoder maps.

    Every incoming map is brought to the stride and to the same width (that of the finest encoder level), the
    concatenation is fused by one convolution.

    Args:
        features: {stride: encoder map `(batch, height, width, channels)`}; the coarsest is the bottleneck.
        filters: widths; `filters[0]` is the width of an incoming map (64 in the paper).

    Returns:
        {stride: decoder map}, finest first; the bottleneck stands for itself at the coarsest stride.
    """
    width = filters[0]
    strides = sorted(features)
    maps = {strides[-1]: features[strides[-1]]}
    for stride in reversed(strides[:-1]):
        incoming = [
            resize_conv_block(
                maps[source] if source > stride else features[source],
                source,
                features[stride],
                stride,
                width,
                style,
                f"decoder{stride}_from{source}",
            )
            for source in strides
        ]
        x = layers.Concatenate(name=f"decoder{stride}_concat")(incoming)
        maps[stride] = conv_block(x, width * len(strides), style, f"decoder{stride}")
    return dict(sorted(maps.items()))
