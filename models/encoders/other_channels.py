"""Weights trained on RGB for images of other channels: a grey image in every channel gives the same activations.

One channel is repeated to three. Of two, the mean becomes the third, in between. Of four and more, each takes the
kernels and the mean of red, green or blue in turn, and the kernels of those that share a colour are divided by their
number, so that the response keeps its size. All channels then train with kernels of their own.
"""

from collections.abc import Sequence

import keras
import numpy as np
from keras import KerasTensor, layers


def at_least_three(image: KerasTensor) -> KerasTensor:
    """`(batch, height, width, channels)` with one or two channels spread over three; others as they are."""
    channels = image.shape[-1]
    if channels == 1:
        return layers.Concatenate(name="rgb")([image] * 3)
    if channels == 2:
        first, second = image[..., :1], image[..., 1:]
        return layers.Concatenate(name="rgb")([first, (first + second) / 2, second])
    return image


def source_channels(channels: int, bgr: bool = False) -> list[int]:
    """The channel of the published weights that each of the channels takes after.

    Args:
        bgr: the published order is blue, green, red, and the channels of the image were reversed.

    >>> source_channels(5), source_channels(5, bgr=True)
    ([0, 1, 2, 0, 1], [1, 2, 0, 1, 2])
    """
    sources = [channel % 3 for channel in range(channels)]
    return [2 - source for source in reversed(sources)] if bgr else sources


def spread_first_kernel(published: keras.Model, network: keras.Model, bgr: bool) -> None:
    """Give a network of more than three channels the weights of the same network of three."""
    sources = source_channels(network.input.shape[-1], bgr)
    values = published.get_weights()
    for place, (value, variable) in enumerate(zip(values, network.weights, strict=True)):
        if value.shape != tuple(variable.shape):
            # The kernel `(height, width, channels, filters)` of the first convolution, or a normalisation before it.
            values[place] = value[sources] if value.ndim == 1 else spread_kernel(value, sources)
    network.set_weights(values)


def spread_kernel(kernel: np.ndarray, sources: Sequence[int]) -> np.ndarray:
    """A kernel `(height, width, channels, filters)` of the channels in `sources`, with the same sum over them."""
    share = np.array([1 / sources.count(source) for source in sources], kernel.dtype)
    return kernel[:, :, sources] * share[:, None]
