"""MODEL.INIT: the kernel that reads the image, for other input channels than those it was trained with."""

from collections.abc import Sequence

import numpy as np
from omegaconf import DictConfig

from utils.base.registry import load_object

Name = tuple[int, str]  # the slice, counted from the one whose mask it is; name and band of the channel


def input_names(cfg: DictConfig) -> list[Name] | None:
    """Slice, and name with band, of the input channels in their order; None where they have no names, as pictures.

    >>> from utils.config import load_config
    >>> input_names(load_config(["DATASET.CHANNELS=[t1,t2]", "INPUT.CHANNELS=2"]))
    [(0, 't1 1'), (0, 't2 1')]
    """
    dataset, prepared = cfg.DATASET, cfg.DATA_PREPARATION.CHANNELS
    if dataset.CHANNELS is not None:
        names = [f"{channel} {band}" for channel in dataset.CHANNELS for band in dataset.BANDS or [1]]
    elif prepared is not None:
        numbers = dataset.BANDS or range(1, len(prepared) + 1)
        names = [f"{prepared[number - 1]} 1" if number <= len(prepared) else f"band {number}" for number in numbers]
    else:
        return None
    around = dataset.SLICES_AROUND
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
