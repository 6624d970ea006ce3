"""The random numbers of TensorFlow's initializers, drawn with NumPy.

JAX compiles a program for each shape that it draws: half a minute for UNet 3+, whose convolutions all differ. Drawn
here they need none, and a seed gives the initial weights that it gives on TensorFlow, up to rounding.

TensorFlow draws with the counter-based generator Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy
as 1, 2, 3"), whose key and first counter it scrambles from the seed: `tensorflow/core/kernels/stateless_random_ops.cc`
and `tensorflow/core/lib/random/random_distributions.h`.
"""

from __future__ import annotations

import contextlib
import importlib
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

WORDS = 4  # that the generator gives for a counter
ROUNDS = 10
MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
SCRAMBLING_KEY = (0x3EC8F720, 0x02461E29)
HALF, LOW = np.uint64(32), np.uint64(0xFFFFFFFF)
LIMIT = 2.0  # standard deviations, beyond which the truncated distribution draws again
RESERVED = 256  # counters for each four truncated numbers
CHUNK = 2**14  # counters at a time, so that what is computed of them stays in the processor's cache

Draw = Callable[..., Any]  # (shape, mean or minval, stddev or maxval, dtype, seed) -> tensor, as in `keras.random`


@contextlib.contextmanager
def drawing_on_host() -> Iterator[None]:
    """On JAX, let Keras's initializers draw here. On TensorFlow nothing changes.

    >>> import keras
    >>> with drawing_on_host():
    ...     kernel = keras.initializers.HeNormal(seed=0)((3, 3, 8, 8))
    >>> tuple(kernel.shape)
    (3, 3, 8, 8)
    """
    import keras

    if keras.backend.backend() != "jax":
        yield
        return
    module = importlib.import_module(keras.initializers.VarianceScaling.__module__).random
    of_keras = {name: getattr(module, name) for name in DRAWS}
    for name, draw in DRAWS.items():
        setattr(module, name, where_seed_is_fixed(draw, of_keras[name]))
    try:
        yield
    finally:
        for name, draw in of_keras.items():
            setattr(module, name, draw)


def where_seed_is_fixed(draw: Draw, of_keras: Draw) -> Draw:
    """`draw` for a seed that is a number; what Keras does for a generator of seeds."""

    def either(shape: Sequence[int], *arguments: float, dtype: Any = None, seed: Any = None, **named: float) -> Any:
        from keras import ops

        if not isinstance(seed, int):
            return of_keras(shape, *arguments, dtype=dtype, seed=seed, **named)
        return ops.convert_to_tensor(draw(tuple(shape), *arguments, seed=seed, **named), dtype)

    return either


def uniform(shape: Sequence[int], minval: float = 0.0, maxval: float = 1.0, *, seed: int) -> np.ndarray:
    """float32 between `minval` and `maxval`.

    >>> uniform((2,), seed=0).round(3)
    array([0.211, 0.706], dtype=float32)
    """
    key, first = scrambled(seed)
    return fill(shape, lambda numbers: unit(philox(key, numbers, first))) * np.float32(maxval - minval) + np.float32(
        minval
    )


def normal(shape: Sequence[int], mean: float = 0.0, stddev: float = 1.0, *, seed: int) -> np.ndarray:
    """float32 of a normal distribution."""
    key, first = scrambled(seed)
    return fill(shape, lambda numbers: gaussian(philox(key, numbers, first))) * np.float32(stddev) + np.float32(mean)


def truncated_normal(shape: Sequence[int], mean: float = 0.0, stddev: float = 1.0, *, seed: int) -> np.ndarray:
    """float32 of a normal distribution without what lies beyond two standard deviations.

    Each four numbers have counters of their own, and take what fits first.
    """
    key, first = scrambled(seed)

    def within(numbers: np.ndarray) -> np.ndarray:
        counters = numbers * np.uint64(RESERVED)
        values = gaussian(philox(key, counters, first))
        short = (np.abs(values) >= LIMIT).any(axis=1)
        tries, counters = values[short], counters[short]
        while len(tries) and (np.abs(tries) < LIMIT).sum(axis=1).min() < WORDS:
            counters = counters + np.uint64(1)
            tries = np.concatenate([tries, gaussian(philox(key, counters, first))], axis=1)
        in_order = np.argsort(np.abs(tries) >= LIMIT, axis=1, kind="stable")[:, :WORDS]
        values[short] = np.take_along_axis(tries, in_order, axis=1)
        return values

    return fill(shape, within) * np.float32(stddev) + np.float32(mean)


DRAWS: dict[str, Draw] = {"uniform": uniform, "normal": normal, "truncated_normal": truncated_normal}


def fill(shape: Sequence[int], of_fours: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """An array of `shape`, four numbers at a time: `of_fours` takes uint64 `(n,)`, returns float32 `(n, 4)`."""
    count = math.prod(shape)
    fours = -(-count // WORDS)
    values = np.empty((fours, WORDS), np.float32)
    for start in range(0, fours, CHUNK):
        values[start : start + CHUNK] = of_fours(np.arange(start, min(start + CHUNK, fours), dtype=np.uint64))
    return values.reshape(-1)[:count].reshape(shape)


def scrambled(seed: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """(key, upper half of the counters) that TensorFlow makes of a seed."""
    words = [int(word) for word in philox(SCRAMBLING_KEY, np.array([seed], np.uint64), (0, 0))[0]]
    return (words[0], words[1]), (words[2], words[3])


def philox(key: tuple[int, int], lower: np.ndarray, upper: tuple[int, int]) -> np.ndarray:
    """The random words of 128-bit counters: uint32 `(n, 4)`.

    Args:
        lower: the lower halves, uint64 `(n,)`.
        upper: the two words of the upper half of all of them.
    """
    words = [lower & LOW, lower >> HALF, *(np.full_like(lower, word) for word in upper)]
    for _ in range(ROUNDS):
        one, other = words[0] * MULTIPLIERS[0], words[2] * MULTIPLIERS[1]
        words = [
            (other >> HALF) ^ words[1] ^ np.uint64(key[0]),
            other & LOW,
            (one >> HALF) ^ words[3] ^ np.uint64(key[1]),
            one & LOW,
        ]
        key = ((key[0] + KEY_STEPS[0]) % 2**32, (key[1] + KEY_STEPS[1]) % 2**32)
    return np.stack(words, axis=-1).astype(np.uint32)


def unit(words: np.ndarray) -> np.ndarray:
    """float32 in [0, 1) of random words: their lower 23 bits are the mantissa."""
    return (words & np.uint32(2**23 - 1) | np.uint32(127 << 23)).view(np.float32) - np.float32(1)


def gaussian(words: np.ndarray) -> np.ndarray:
    """Standard normal float32 of random words `(n, 4)`, two of each two (Box and Muller 1958)."""
    values = unit(words)
    radius = np.sqrt(np.float32(-2) * np.log(np.maximum(values[:, 0::2], np.float32(1e-7))))
    angle = np.float32(2 * math.pi) * values[:, 1::2]
    return np.stack([np.sin(angle) * radius, np.cos(angle) * radius], axis=-1).reshape(len(words), WORDS)
