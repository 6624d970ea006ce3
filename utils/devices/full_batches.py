"""Batches of one size, so that JAX compiles nothing a second time for the last, smaller one of an epoch."""

from typing import Any

import keras
import numpy as np


def fill(batch: Any, size: int) -> tuple[Any, np.ndarray]:
    """Repeat the last image of a batch until there are `size`.

    Args:
        batch: arrays `(batch, ...)` of at most `size` images, or dicts and sequences of them.

    Returns:
        (the same with arrays `(size, ...)`, counted): counted is float32 `(size,)`, 1 of an image, 0 of a repetition. A
        full batch is returned as it is.

    >>> fill([np.array([5, 6])], 3)
    ([array([5, 6, 6])], array([1., 1., 0.], dtype=float32))
    """
    count = len(keras.tree.flatten(batch)[0])
    counted = (np.arange(size) < count).astype("float32")
    if count == size:
        return batch, counted

    def filled(array: Any) -> np.ndarray:
        array = np.asarray(array)
        return np.concatenate([array, np.repeat(array[-1:], size - count, axis=0)])

    return keras.tree.map_structure(filled, batch), counted


class FullBatches:
    """Fill each batch to the size of the largest before it whose images have the same shape.

    What was filled is put where the arrays of that batch lay, for JAX compiles anew for other devices.

    Args:
        share: devices that must be able to share a batch.

    >>> full = FullBatches(share=2)
    >>> [full(np.arange(count))[0].size for count in (5, 4, 1)]
    [6, 6, 6]
    """

    def __init__(self, share: int = 1) -> None:
        self.share = share
        self.largest: dict[tuple[int, ...], int] = {}
        self.places: dict[tuple[int, ...], list[Any]] = {}

    def __call__(self, batch: Any) -> tuple[Any, np.ndarray]:
        """See `fill`."""
        first = keras.tree.flatten(batch)[0]
        count, shape = len(first), tuple(first.shape[1:])
        size = self.largest[shape] = max(self.largest.get(shape, 0), count + -count % self.share)
        if count == size:
            self.places[shape] = [getattr(array, "sharding", None) for array in keras.tree.flatten(batch)]
            return fill(batch, size)
        batch, counted = fill(batch, size)
        arrays = keras.tree.flatten(batch)
        places = self.places.get(shape, [None] * len(arrays))
        return keras.tree.pack_sequence_as(batch, list(map(put, arrays, places))), counted


def put(array: Any, place: Any) -> Any:
    """An array of JAX there; the same array if it lies there, or if it has no place."""
    if place is None:
        return array
    import jax

    return jax.device_put(array, place)
