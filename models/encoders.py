"""Encoders: image `(batch, height, width, channels)` -> {stride: feature map}, from fine to coarse."""

from keras import layers

from models.blocks import conv_block


def plain(image, filters, style):
    """The contracting path of U-Net and UNet 3+: at each stride two 3x3 convolutions, then 2x2 max pooling.

    Strides 1, 2, 4, 8, 16 with the given five widths. Pooling rounds odd sizes up.
    """
    features, x = {}, image
    for level, width in enumerate(filters):
        stride = 2**level
        if level:
            x = layers.MaxPooling2D(2, padding="same", name=f"encoder{stride}_pool")(x)
        x = conv_block(x, width, style, f"encoder{stride}", convs=2)
        features[stride] = x
    return features
