"""MODEL.INIT: the kernel that reads the image, for other input channels than those it was trained with."""

from collections.abc import Sequence

import numpy as np
from omegaconf import DictConfig

from models.encoders.backbones import BACKBONES
from utils.base.registry import load_object
from utils.config.input_channels import names_of_slice


def input_names(cfg: DictConfig) -> list[tuple[int, str]] | None:
    """Slice, counted from the one whose mask it is, and name of the input channels; None where they have no names.

    >>> from utils.config import load_config
    >>> input_names(load_config(["DATASET.CHANNELS=[t1,t2]", "INPUT.CHANNELS=2"]))
    [(0, 't1'), (0, 't2')]
    """
    names, around = names_of_slice(cfg), cfg.DATASET.SLICES_AROUND
    if names is None:
        return None
    return [(step, name.lower()) for step in range(-around, around + 1) for name in names]


def same_names(source: DictConfig, target: DictConfig) -> list[int | None] | None:
    """For each input channel here the place of the one of the same name there, None of a new one.

    Returns:
        None where places count: the channels are the same in the same order, or have no names, or none in common.

    >>> from utils.config import load_config
    >>> there, here = ["DATASET.CHANNELS=[t1,t2]", "INPUT.CHANNELS=2"], ["DATASET.CHANNELS=[flair,t2,t1]"]
    >>> same_names(load_config(there), load_config(here))
    [None, 1, 0]
    """
    theirs, ours = input_names(source), input_names(target)
    if theirs is None or ours is None or theirs == ours or not {*theirs} & {*ours}:
        return None
    return [theirs.index(name) if name in theirs else None for name in ours]


def fit_channels(
    value: np.ndarray,
    shape: tuple[int, ...],
    places: Sequence[int | None] | None,
    source: DictConfig,
    target: DictConfig,
) -> tuple[np.ndarray, str] | None:
    """The first kernel, or an array of a normalisation of the image before it, for the input channels here.

    Args:
        value: the array there.
        shape: of the array here.
        places: of `same_names`.
        source, target: the configs there and here.

    Returns:
        The array and what was done; None where nothing is to be done, or the shapes differ in more than channels.
    """
    if value.ndim == len(shape) == 4 and value.shape[:2] + value.shape[3:] == shape[:2] + shape[3:]:
        if places is not None:
            kernel = by_name(value, places, source.INPUT.CHANNELS, shape[2], reverses(source), reverses(target))
            return kernel, f"{sum(there is not None for there in places)} of {len(places)} channels by name"
        return None if value.shape == shape else (spread(value, shape[2]), f"{value.shape[2]} -> {shape[2]} channels")
    if value.ndim == len(shape) == 1:
        if places is not None and len(value) == source.INPUT.CHANNELS and shape[0] == len(places):
            return np.array([value.mean() if there is None else value[there] for there in places]), "channels by name"
        return None if value.shape == shape else (spread_norm(value, shape[0]), f"{len(value)} -> {shape[0]} channels")
    return None


def reverses(cfg: DictConfig) -> bool:
    """Whether the encoder takes the channels in reverse, as pretrained weights for blue, green, red do."""
    backbone = BACKBONES.get(cfg.MODEL.BACKBONE.TYPE)
    return backbone is not None and backbone.pixels.bgr and cfg.MODEL.BACKBONE.WEIGHTS is not None


def by_name(
    kernel: np.ndarray,
    places: Sequence[int | None],
    there: int,
    inputs: int,
    reversed_there: bool = False,
    reversed_here: bool = False,
) -> np.ndarray:
    """A kernel whose channels are those of the same name; what is new starts at 0 and leaves the response as it was.

    A pretrained encoder reads one channel three times, and two as the first, their mean and the second
    (`models.encoders.other_channels`): its kernel is taken apart and put together accordingly.

    Args:
        kernel: `(height, width, inputs there, filters)`.
        places: of `same_names`.
        there: channels of the images there.
        inputs: what the kernel here reads, 3 for one and two channels of a pretrained encoder.
        reversed_there, reversed_here: the encoder takes the channels in reverse.

    Returns:
        `(height, width, inputs, filters)`.

    >>> kernel = np.array([1.0, 2.0, 3.0]).reshape(1, 1, 3, 1)
    >>> by_name(kernel, [2, 0], 3, 2).ravel().tolist(), by_name(kernel, [2, None], 3, 3).ravel().tolist()
    ([3.0, 1.0], [3.0, 0.0, 0.0])
    """
    kernel = kernel[:, :, ::-1] if reversed_there else kernel
    if there == 1:
        kernel = kernel.sum(axis=2, keepdims=True)
    elif there < kernel.shape[2]:
        first, mean, second = (kernel[:, :, place] for place in range(3))
        kernel = np.stack([first + mean / 2, second + mean / 2], axis=2)
    new = np.zeros_like(kernel[:, :, 0])
    parts = [new if place is None else kernel[:, :, place] for place in places]
    if len(parts) == 1 < inputs:
        parts = [parts[0] / inputs] * inputs
    elif len(parts) < inputs:
        parts = [parts[0], new, parts[1]]
    return np.stack(parts[::-1] if reversed_here else parts, axis=2)


def spread(kernel: np.ndarray, channels: int) -> np.ndarray:
    """A kernel `(height, width, channels, filters)` for other channels, with the same sum over them.

    >>> kernel = np.array([1.0, 2.0]).reshape(1, 1, 2, 1)
    >>> spread(kernel, 3).ravel().tolist(), spread(kernel, 1).ravel().tolist()
    ([0.5, 2.0, 0.5], [3.0])
    """
    there = kernel.shape[2]
    if channels < there:
        return np.stack([kernel[:, :, place::channels].sum(axis=2) for place in range(channels)], axis=2)
    spread_kernel = load_object("models.encoders.other_channels:spread_kernel")  # its module imports Keras
    return spread_kernel(kernel, [channel % there for channel in range(channels)])


def spread_norm(values: np.ndarray, channels: int) -> np.ndarray:
    """An array `(channels,)` of a normalisation of the image for other channels: where `spread` adds kernels, the mean.

    >>> spread_norm(np.array([1.0, 2.0, 6.0]), 2).tolist(), spread_norm(np.array([1.0, 2.0]), 3).tolist()
    ([3.5, 2.0], [1.0, 2.0, 1.0])
    """
    return np.array([values[channel % len(values) :: channels].mean() for channel in range(channels)])
