"""Sliding-window prediction: an image of any size, predicted in overlapping tiles of one size.

Tiles overlap; beyond the border the image is mirrored (the overlap-tile strategy of Ronneberger et al. 2015). The
network's whole output for a tile is used; for an unpadded network that is its centre.
"""

import tempfile
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import numpy as np

MAX_IN_MEMORY = 256 * 2**20  # bytes; larger results are kept in a memory-mapped file
GRID = 32  # tiles start at multiples, so that every network here pools the same pixels together wherever a tile starts


class AxisTiles(NamedTuple):
    """Tiles along an axis: `starts` of their outputs; `weights` `(tiles, output)`, which add up to 1 at each pixel."""

    starts: list[int]
    weights: np.ndarray


def place_tiles(length: int, output: int, overlap: float, blend: str) -> AxisTiles:
    """Place tiles along an axis.

    Args:
        length: of the image, pixels.
        output: of what the network returns for one tile, pixels.
        overlap: smallest share of `output` that neighbouring tiles have in common.
        blend: "gaussian": neighbours fade into each other, weighted by a Gaussian with a standard deviation of an
            eighth of the tile (as in nnU-Net, Isensee et al. 2021); "crop": each pixel from the tile whose border is
            farthest.
    """
    stride = max(output - round(output * overlap), 1)
    stride = stride // GRID * GRID or stride
    end = max(length - output, 0)
    starts = [*range(0, end, stride), end]
    if blend == "gaussian":
        distance = (np.arange(output) - (output - 1) / 2) / (output / 8)
        # Never 0: at the border of the image there is one tile only.
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
    normalised = [weight / total[start : start + output] for start, weight in zip(starts, weights, strict=True)]
    return AxisTiles(starts, np.stack(normalised).astype(np.float32))


def mirror_indices(indices: np.ndarray, length: int) -> np.ndarray:
    """Replace indices beyond the ends of an axis by those of the mirror image, which does not repeat the end itself.

    >>> mirror_indices(np.arange(-2, 6), 4).tolist()
    [2, 1, 0, 1, 2, 3, 2, 1]
    """
    period = max(2 * (length - 1), 1)
    indices = np.abs(indices) % period
    return np.minimum(indices, period - indices) if length > 1 else np.zeros_like(indices)


def predict_sliding_window(
    image: np.ndarray,
    predict: Callable[[np.ndarray], np.ndarray],
    tile: tuple[int, int],
    output: tuple[int, int],
    overlap: float,
    blend: str,
    batch_size: int,
    done: Callable[[int, int], None] = lambda tiles, total: None,
) -> np.ndarray:
    """Predict an image in tiles.

    Args:
        image: `(height, width, channels)` of any type.
        predict: function, tiles `(batch, *tile, channels)` -> probabilities `(batch, *output, classes)`.
        tile, output: (height, width) of what goes in and what comes out.
        overlap, blend: as in `place_tiles`.
        batch_size: tiles predicted at once.
        done: called after each batch with (tiles done, all tiles).

    Returns:
        float32 `(height, width, classes)`, memory-mapped if it is large.

    >>> image = np.random.default_rng(0).random((50, 40, 1), np.float32)
    >>> found = predict_sliding_window(image, lambda tiles: tiles, (32, 32), (32, 32), 0.5, "gaussian", 4)
    >>> bool(np.allclose(found, image))
    True
    """
    sizes = image.shape[:2]
    axes = [place_tiles(length, out, overlap, blend) for length, out in zip(sizes, output, strict=True)]
    margins = [(inside - out) // 2 for inside, out in zip(tile, output, strict=True)]
    indices = [
        [mirror_indices(start - margin + np.arange(inside), length) for start in axis.starts]
        for axis, margin, inside, length in zip(axes, margins, tile, sizes, strict=True)
    ]
    positions = [(i, j) for i in range(len(axes[0].starts)) for j in range(len(axes[1].starts))]
    result = None
    for first in range(0, len(positions), batch_size):
        batch = positions[first : first + batch_size]
        tiles = np.stack([image[np.ix_(indices[0][i], indices[1][j])] for i, j in batch])
        for (i, j), probability in zip(batch, predict(tiles), strict=True):
            if result is None:
                result = zeros((*sizes, probability.shape[-1]))
            top, left = axes[0].starts[i], axes[1].starts[j]
            into = result[top : top + output[0], left : left + output[1]]
            weight = axes[0].weights[i][:, None, None] * axes[1].weights[j][None, :, None]
            into += (probability * weight)[: into.shape[0], : into.shape[1]]
        done(first + len(batch), len(positions))
    assert result is not None  # an image has at least one tile
    return result


def zeros(shape: tuple[int, ...], dtype: type[np.generic] = np.float32) -> np.ndarray:
    """An array of zeros; a large one is mapped to a temporary file without a name, which vanishes with it."""
    if np.dtype(dtype).itemsize * np.prod(shape, dtype=np.int64) <= MAX_IN_MEMORY:
        return np.zeros(shape, dtype)
    with tempfile.TemporaryFile() as file:
        return np.memmap(file, dtype, "w+", shape=shape)
