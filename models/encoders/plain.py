"""The plain encoder of U-Net and UNet 3+."""

from keras import layers

from models.layers.blocks import conv_block


def plain(image, model, style):
    """The contracting path of U-Net and UNet 3+: at each stride two 3x3 convolutions, then 2x2 max pooling.

    Strides 1, 2, 4, 8, 16 with the five widths of MODEL.FILTERS. Pooling rounds odd sizes up.
    """
    features, x = {}, image
    for level, width in enumerate(model.FILTERS):
        stride = 2**level
        if level:
            x = layers.MaxPooling2D(2, padding="same", name=f"encoder{stride}_pool")(x)
        x = conv_block(x, width, style, f"encoder{stride}", convs=2)
        features[stride] = x
    return features, features
