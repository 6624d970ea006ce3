"""The plain encoder of U-Net and UNet 3+."""

from keras import KerasTensor, layers
from omegaconf import DictConfig

from models.layers.blocks import BlockSettings, FeatureMaps, conv_block


def plain(
    image: KerasTensor, settings: DictConfig, blocks: BlockSettings, weights: str | None
) -> tuple[FeatureMaps, FeatureMaps]:
    """The contracting path of U-Net and UNet 3+: at each stride two 3x3 convolutions, then 2x2 max pooling.

    Strides 1, 2, 4, 8, 16 with the five widths of MODEL.FILTERS. Pooling rounds odd sizes up. There are no pretrained
    `weights`.
    """
    features, x = {}, image
    for level, width in enumerate(settings.FILTERS):
        stride = 2**level
        if level:
            x = layers.MaxPooling2D(2, padding="same", name=f"encoder{stride}_pool")(x)
        x = conv_block(x, width, blocks, f"encoder{stride}", convs=2)
        features[stride] = x
    return features, features
