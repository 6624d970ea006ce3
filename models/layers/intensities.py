"""Image preprocessing as a layer: percentile stretch and z-score, of the image or by the training set."""

from collections.abc import Mapping
from typing import Any

import keras
from keras import KerasTensor, ops

from models.image_preprocessing import IMAGE_PREPROCESSING
from utils.base.registry import load_object
from utils.base.volume_zscore import HIGHEST, LOWEST

# Smallest spread to divide by: less than the step of 16 bit, 1 / 65535. An image of one value becomes 0, not NaN.
SMALLEST = 1e-5


@keras.saving.register_keras_serializable("unet_family")
class PreprocessImage(keras.layers.Layer):
    """Apply a row of `models.image_preprocessing.IMAGE_PREPROCESSING`, in float32 whatever the policy.

    Args:
        kind: its name.
        settings: {key of PREPROCESS_DATA: value}, those that the row reads.

    Call with images `(batch, height, width, channels)` in [0, 1]; returns the same shape.

    >>> layer = PreprocessImage("zscore", {"FOREGROUND": False})
    >>> layer(ops.array([[[[0.0], [1.0]]]])).numpy().ravel().tolist()
    [-1.0, 1.0]
    """

    def __init__(self, kind: str, settings: Mapping[str, Any], **options: Any) -> None:
        super().__init__(**{**options, "dtype": "float32", "trainable": False})
        self.kind, self.settings = kind, dict(settings)
        function = IMAGE_PREPROCESSING[kind].function
        assert function is not None, f"{kind} needs no layer"
        self.function = load_object(function)

    def call(self, image: KerasTensor) -> KerasTensor:
        return self.function(image, self.settings)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "kind": self.kind, "settings": self.settings}


def stretch_percentiles(image: KerasTensor, settings: Mapping[str, Any]) -> KerasTensor:
    """The values between two percentiles of each image and channel become 0 to 1; values beyond are clipped.

    Percentiles lie between neighbouring values, as those of `numpy.percentile`.

    Args:
        image: `(batch, height, width, channels)` in [0, 1].
        settings: PERCENTILES (low, high) in 0 to 100; FOREGROUND: of the values above 0 alone; SCOPE, with "dataset"
            STATISTICS: LOW and HIGH, the percentiles of the training set.
    """
    if settings.get("SCOPE") == "volume":  # loaders did it
        return image
    if settings.get("SCOPE") == "dataset":
        return stretch(image, *constants(settings, "LOW", "HIGH"))
    batch, height, width, channels = ops.shape(image)
    ordered = ops.sort(ops.reshape(image, (batch, height * width, channels)), axis=1)
    ranks = ops.cast(ops.arange(height * width), "float32")[None, :, None]
    first = ops.sum(ops.cast(ordered <= 0, "float32"), axis=1, keepdims=True) if settings["FOREGROUND"] else 0.0
    last = ops.cast(height * width, "float32") - 1

    def percentile(share: float) -> KerasTensor:
        rank = ops.minimum(first + share / 100 * (last - first), last)
        # The two neighbours of the rank, weighted by nearness: every export format can compute that.
        near = ops.maximum(1 - ops.abs(ranks - rank), 0)
        return ops.sum(ordered * near, axis=1)[:, None, None, :]

    return stretch(image, *map(percentile, settings["PERCENTILES"]))


def stretch(image: KerasTensor, low: KerasTensor, high: KerasTensor) -> KerasTensor:
    """`low` to `high` become 0 to 1; values beyond are clipped."""
    return ops.clip((image - low) / ops.maximum(high - low, SMALLEST), 0, 1)


def constants(settings: Mapping[str, Any], *names: str) -> list[KerasTensor]:
    """Numbers of STATISTICS, each float32 `(channels,)`."""
    return [ops.convert_to_tensor(settings["STATISTICS"][name], "float32") for name in names]


def zscore(image: KerasTensor, settings: Mapping[str, Any]) -> KerasTensor:
    """Mean 0 and standard deviation 1 of each image and channel.

    Args:
        image: `(batch, height, width, channels)` in [0, 1].
        settings: FOREGROUND: True: of the values above 0 alone; the others stay 0. SCOPE: "volume": loaders made
            [0, 1] of the z-scores of the volume, see `utils.base.volume_zscore`; "dataset": by STATISTICS, MEAN and
            STD of the training set.
    """
    if settings.get("SCOPE") == "volume":
        return image * (HIGHEST - LOWEST) + LOWEST
    counts = ops.cast(image > 0, "float32") if settings["FOREGROUND"] is True else ops.ones_like(image)
    if settings.get("SCOPE") == "dataset":
        center, deviation = constants(settings, "MEAN", "STD")
        return (image - center) * counts / ops.maximum(deviation, SMALLEST)
    number = ops.maximum(ops.sum(counts, axis=(1, 2), keepdims=True), 1)

    def mean(values: KerasTensor) -> KerasTensor:
        return ops.sum(values * counts, axis=(1, 2), keepdims=True) / number

    centred = image - mean(image)
    centred = (centred - mean(centred)) * counts  # a second time: float32 sums of many pixels are not exact
    return centred / ops.maximum(ops.sqrt(mean(ops.square(centred))), SMALLEST)


def dataset_zscore(image: KerasTensor, settings: Mapping[str, Any]) -> KerasTensor:
    """Clip to percentiles of the training set, then subtract its mean and divide by its standard deviation.

    What nnU-Net does with CT (Isensee et al. 2021, https://doi.org/10.1038/s41592-020-01008-z).

    Args:
        image: `(batch, height, width, channels)` in [0, 1].
        settings: STATISTICS: LOW, HIGH, MEAN and STD, one number for each channel.
    """
    low, high, mean, deviation = constants(settings, "LOW", "HIGH", "MEAN", "STD")
    clipped = ops.minimum(ops.maximum(image, low), high)
    return (clipped - mean) / ops.maximum(deviation, SMALLEST)
