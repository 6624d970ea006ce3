"""Weights and images drawn by name, for networks of other programs: `references/make_foreign.py` and its tests."""

import zlib

import numpy as np

SIDE = 64  # of the image


def drawn(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Values that belong to the name of an array of a state dict."""
    values = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape, np.float32)
    if name.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    if len(shape) > 1:
        return values * np.sqrt(2 / np.prod(shape[1:]), dtype="float32")
    if name.endswith("running_var"):
        return np.exp(0.1 * values)
    return 0.1 * values + np.float32(name.endswith("weight"))


def drawn_of_keras(path: str, shape: tuple[int, ...]) -> np.ndarray:
    """Values that belong to the path of an array in a file of Keras 2."""
    kind = path.rpartition("/")[2].removesuffix(":0")
    values = np.random.default_rng(zlib.crc32(path.encode())).standard_normal(shape, np.float32)
    if kind.endswith("kernel"):
        inputs = np.prod(shape[:2]) if kind.startswith("depthwise") else np.prod(shape[:-1])
        return values * np.sqrt(2 / inputs, dtype="float32")
    return np.exp(0.1 * values) if kind == "moving_variance" else 0.1 * values + np.float32(kind == "gamma")


def drawn_images(channels: int) -> np.ndarray:
    """`(1, height, width, channels)` in [0, 1]."""
    return np.random.default_rng(1).random((1, SIDE, SIDE, channels), np.float32)


def sample(values: np.ndarray) -> np.ndarray:
    """Mean, standard deviation and 24 values."""
    positions = np.random.default_rng(2).integers(values.size, size=24)
    return np.concatenate([[values.mean(), values.std()], values.ravel()[positions]])
