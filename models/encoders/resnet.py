"""ResNet as torchvision builds it: the stride of a block in its 3x3 convolution, no biases, padding on both sides.

The layers have the names of `keras.applications.ResNet50`, whose stride is in the first 1x1 convolution: with the same
weights the two are different networks.
"""

from collections.abc import Callable

import keras
from keras import KerasTensor, layers

EPSILON = 1e-5  # PyTorch's, added to the variance
WIDTHS = (64, 128, 256, 512)

# Layers -> blocks of each of the four stages, and whether they are bottlenecks: 1x1, 3x3, 1x1 with four times the width
DEPTHS = {
    18: ((2, 2, 2, 2), False),
    34: ((3, 4, 6, 3), False),
    50: ((3, 4, 6, 3), True),
    101: ((3, 4, 23, 3), True),
    152: ((3, 8, 36, 3), True),
}


def resnet(depth: int, input_shape: tuple[int | None, int | None, int]) -> keras.Model:
    """A ResNet without its classifier and without published weights (He et al., CVPR 2016, arXiv:1512.03385).

    Args:
        depth: of DEPTHS.
        input_shape: `(height, width, channels)`.

    >>> resnet(18, (64, 64, 3)).output_shape
    (None, 2, 2, 512)
    """
    stages, bottleneck = DEPTHS[depth]
    image = keras.Input(input_shape)
    x = conv_norm(image, 64, 7, 2, "conv1")
    x = layers.ReLU(name="conv1_relu")(x)
    x = layers.ZeroPadding2D(1, name="pool1_pad")(x)  # nothing is below 0 here
    x = layers.MaxPooling2D(3, 2, name="pool1_pool")(x)
    for stage, (blocks, width) in enumerate(zip(stages, WIDTHS, strict=True), 2):
        for number in range(1, blocks + 1):
            stride = 2 if stage > 2 and number == 1 else 1
            x = block(x, width, stride, bottleneck, f"conv{stage}_block{number}")
    return keras.Model(image, x, name=f"resnet{depth}")


def block(x: KerasTensor, width: int, stride: int, bottleneck: bool, name: str) -> KerasTensor:
    """Convolutions beside a shortcut, which is projected where size or width change."""
    parts = (
        [(width, 1, 1), (width, 3, stride), (4 * width, 1, 1)] if bottleneck else [(width, 3, stride), (width, 3, 1)]
    )
    shortcut = x
    if stride > 1 or x.shape[-1] != parts[-1][0]:
        shortcut = conv_norm(x, parts[-1][0], 1, stride, f"{name}_0")
    for number, (filters, size, step) in enumerate(parts, 1):
        x = conv_norm(x, filters, size, step, f"{name}_{number}")
        if number < len(parts):
            x = layers.ReLU(name=f"{name}_{number}_relu")(x)
    x = layers.Add(name=f"{name}_add")([shortcut, x])
    return layers.ReLU(name=f"{name}_out")(x)


def conv_norm(x: KerasTensor, filters: int, size: int, stride: int, name: str) -> KerasTensor:
    """Convolution and batch normalisation."""
    if size > 1:
        x = layers.ZeroPadding2D(size // 2, name=f"{name}_pad")(x)
    x = layers.Conv2D(filters, size, stride, use_bias=False, kernel_initializer="he_normal", name=f"{name}_conv")(x)
    return layers.BatchNormalization(epsilon=EPSILON, name=f"{name}_bn")(x)


def builder(depth: int) -> Callable[..., keras.Model]:
    """A function that builds one depth, called as those of `keras.applications`."""

    def build(include_top: bool, weights: str | None, input_shape: tuple[int | None, int | None, int]) -> keras.Model:
        return resnet(depth, input_shape)

    return build


ResNet18, ResNet34, ResNet50, ResNet101, ResNet152 = map(builder, DEPTHS)
