"""Overlap-tile prediction: an image of any size, seen through a window of one size.

The window moves over the image so that neighbours overlap; beyond the border the image is mirrored (Ronneberger et al.
2015). Of each window counts what the network gives back: all of it, or of an unpadded network its centre.
"""

import tempfile
from itertools import pairwise
from typing import NamedTuple

import numpy as np

IN_MEMORY = 256 * 2**20  # bytes; larger results lie in a file that the system maps
GRID = 32  # windows lie on multiples, so that every network here pools the same pixels together wherever a window lies


class Axis(NamedTuple):
    """Windows along an axis: `starts` of their outputs; `weights` `(windows, output)`, at each pixel together 1."""

    starts: list
    weights: np.ndarray


def plan_axis(length, output, overlap, blend):
    """Place windows along an axis.

    Args:
        length: of the image, pixels.
        output: of what the network returns for one window, pixels.
        overlap: share of `output` that neighbours have in common at least.
        blend: "gaussian": neighbours fade into each other, by a bell with a standard deviation of an eighth of the
            window (as nnU-Net does, Isensee et al. 2021); "crop": each pixel from the window whose border is farthest.
    """
    stride = max(output - round(output * overlap), 1)
    stride = stride // GRID * GRID or stride
    end = max(length - output, 0)
    starts = [*range(0, end, stride), end]
    if blend == "gaussian":
        distance = (np.arange(output) - (output - 1) / 2) / (output / 8)
        # Never 0: at the border of the image there is one window only.
        weights = np.tile(np.maximum(np.exp(-(distance**2) / 2), 1e-4), (len(starts), 1))
    else:
        weights = np.ones((len(starts), output))
        for index, (start, following) in enumerate(pairwise(starts)):
            cut = (start + output + following) // 2
            weights[index, cut - start :] = 0
            weights[index + 1, : cut - following] = 0
    total = np.zeros(end + output)
    for start, weight in zip(starts, weights, strict=True):
        total[start : start + output] += weight
    weights = [weight / total[start : start + output] for start, weight in zip(starts, weights, strict=True)]
    return Axis(starts, np.stack(weights).astype(np.float32))


def mirrored(indices, length):
    """Indices beyond the ends of an axis -> those of the mirror image; the end itself is not repeated."""
    period = max(2 * (length - 1), 1)
    indices = np.abs(indices) % period
    return np.minimum(indices, period - indices) if length > 1 else np.zeros_like(indices)


def predict_tiled(image, predict, tile, output, overlap, blend, batch_size):
    """Predict an image through a window.

    Args:
        image: `(height, width, channels)` of any type.
        predict: function, windows `(batch, *tile, channels)` -> probabilities `(batch, *output, classes)`.
        tile, output: (height, width) of what goes in and what comes out.
        overlap, blend: as in `plan_axis`.
        batch_size: windows predicted at once.

    Returns:
        float32 `(height, width, classes)`, in a mapped file where it is large.
    """
    sizes = image.shape[:2]
    axes = [plan_axis(length, out, overlap, blend) for length, out in zip(sizes, output, strict=True)]
    margins = [(window - out) // 2 for window, out in zip(tile, output, strict=True)]
    sources = [
        [mirrored(start - margin + np.arange(window), length) for start in axis.starts]
        for axis, margin, window, length in zip(axes, margins, tile, sizes, strict=True)
    ]
    places = [(i, j) for i in range(len(axes[0].starts)) for j in range(len(axes[1].starts))]
    result = None
    for first in range(0, len(places), batch_size):
        batch = places[first : first + batch_size]
        windows = np.stack([image[np.ix_(sources[0][i], sources[1][j])] for i, j in batch])
        for (i, j), probability in zip(batch, predict(windows), strict=True):
            if result is None:
                result = zeros((*sizes, probability.shape[-1]))
            top, left = axes[0].starts[i], axes[1].starts[j]
            into = result[top : top + output[0], left : left + output[1]]
            weight = axes[0].weights[i][:, None, None] * axes[1].weights[j][None, :, None]
            into += (probability * weight)[: into.shape[0], : into.shape[1]]
    return result


def zeros(shape):
    """A float32 array of zeros; a large one lies in a temporary file without a name, which vanishes with it."""
    if 4 * np.prod(shape, dtype=np.int64) <= IN_MEMORY:
        return np.zeros(shape, np.float32)
    with tempfile.TemporaryFile() as file:
        return np.memmap(file, np.float32, "w+", shape=shape)
