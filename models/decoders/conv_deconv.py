"""The plain baseline without skips: a few convolutions down, transposed convolutions up, no normalisation."""

from keras import KerasTensor, layers
from omegaconf import DictConfig

from models.layers.blocks import BlockSettings, DecoderMap, FeatureMaps


def encoder(
    image: KerasTensor, settings: DictConfig, blocks: BlockSettings, weights: str | None
) -> tuple[FeatureMaps, FeatureMaps]:
    """Strided 3x3 convolution, 3x3 convolution, 2x2 max pooling, 3x3 convolution; widths MODEL.FILTERS (16, 32, 64)."""
    x = image
    features: FeatureMaps = {}
    names: list[str] = []
    for stride, width, step in zip((2, 2, 4), settings.FILTERS, (2, 1, 1), strict=True):
        if stride == 4:
            x = layers.MaxPooling2D(2, padding="same", name="encoder4_pool")(x)
        name = f"encoder{stride}_{width}"
        name += "_second" if name in names else ""  # the two of stride 2, where they are equally wide
        names.append(name)
        options = blocks.conv_options(followed_by_norm=False)
        x = layers.Conv2D(width, 3, step, "same", activation=blocks.activation, name=name, **options)(x)
        features[stride] = x
    return features, features


def decoder(features: FeatureMaps, down: FeatureMaps, settings: DictConfig, blocks: BlockSettings) -> list[DecoderMap]:
    """One transposed 3x3 convolution from stride 4 to 2; the head's transposed convolution does the rest."""
    width = settings.FILTERS[-1]
    options = blocks.conv_options(followed_by_norm=False)
    up = layers.Conv2DTranspose(width, 3, 2, "same", activation=blocks.activation, name="decoder2_upsample", **options)
    return [DecoderMap("mask", 2, up(features[4]))]
