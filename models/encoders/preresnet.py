"""ResNet whose blocks normalise before each convolution, and whose first layer normalises the image."""

from collections.abc import Callable

import keras
from keras import KerasTensor, layers

from models.encoders.resnet import DEPTHS, WIDTHS

EPSILON = 2e-5  # of the published weights, which came from MXNet


def preresnet(depth: int, input_shape: tuple[int | None, int | None, int]) -> keras.Model:
    """A pre-activation ResNet (He et al. 2016, arXiv:1603.05027) without its classifier; no weights are downloaded.

    Its layers have the names of the ResNets of qubvel's classification_models, whose files of weights without the
    classifier MODEL.BACKBONE.WEIGHTS takes. Paddings are the same on both sides.

    Args:
        depth: of DEPTHS.
        input_shape: `(height, width, channels)`.

    >>> preresnet(18, (64, 64, 3)).output_shape
    (None, 2, 2, 512)
    """
    stages, bottleneck = DEPTHS[depth]
    image = keras.Input(input_shape)
    x = layers.BatchNormalization(epsilon=EPSILON, scale=False, name="bn_data")(image)
    x = norm_relu(conv(x, 64, 7, 2, "conv0"), "bn0", "relu0")
    x = layers.ZeroPadding2D(1, name="pooling0_pad")(x)  # nothing is below 0 here
    x = layers.MaxPooling2D(3, 2, name="pooling0")(x)
    for stage, (blocks, width) in enumerate(zip(stages, WIDTHS, strict=True), 1):
        for number in range(1, blocks + 1):
            stride = 2 if stage > 1 and number == 1 else 1
            x = block(x, width, stride, bottleneck, number == 1, f"stage{stage}_unit{number}_")
    return keras.Model(image, norm_relu(x, "bn1", "relu1"), name=f"preresnet{depth}")


def block(x: KerasTensor, width: int, stride: int, bottleneck: bool, project: bool, name: str) -> KerasTensor:
    """Convolutions of normalised maps beside a shortcut: `x` itself, or a projection of its normalised map."""
    parts = (
        [(width, 1, 1), (width, 3, stride), (4 * width, 1, 1)] if bottleneck else [(width, 3, stride), (width, 3, 1)]
    )
    shortcut = x
    for number, (filters, size, step) in enumerate(parts, 1):
        x = norm_relu(x, f"{name}bn{number}", f"{name}relu{number}")
        if number == 1 and project:
            shortcut = conv(x, parts[-1][0], 1, stride, f"{name}sc")
        x = conv(x, filters, size, step, f"{name}conv{number}")
    return layers.Add(name=f"{name}add")([x, shortcut])


def conv(x: KerasTensor, filters: int, size: int, stride: int, name: str) -> KerasTensor:
    if size > 1:
        x = layers.ZeroPadding2D(size // 2, name=f"{name}_pad")(x)
    return layers.Conv2D(filters, size, stride, use_bias=False, kernel_initializer="he_normal", name=name)(x)


def norm_relu(x: KerasTensor, norm: str, relu: str) -> KerasTensor:
    return layers.ReLU(name=relu)(layers.BatchNormalization(epsilon=EPSILON, name=norm)(x))


def builder(depth: int) -> Callable[..., keras.Model]:
    """A function that builds one depth, called as those of `keras.applications`."""

    def build(include_top: bool, weights: str | None, input_shape: tuple[int | None, int | None, int]) -> keras.Model:
        return preresnet(depth, input_shape)

    return build


PreResNet18, PreResNet34, PreResNet50, PreResNet101, PreResNet152 = map(builder, DEPTHS)
