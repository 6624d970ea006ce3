"""The input size and batch size that images and memory allow."""

import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data_preparation.planning.pair_properties import PairProperties
from utils.base.errors import UserError

# Memory of a training step, measured on a CPU with float32: GiB for any image, and kB for each pixel of a batch. From
# the peak of the process at 320x320 with batch size 2 (and 6).
MEMORY = {
    "narrow_unet": (0.8, 1.7),
    "tiny_unet3plus": (1.1, 4.0),
    "unet": (1.4, 7.3),
    "unet3plus": (1.4, 19.4),
    "unet on mobilenetv2": (0.8, 2.2),
}
# Equal images up to WHOLE x WHOLE stay as they are, larger ones are cropped to CROP: in the same time more updates help
# more than more pixels (measured, docs/results/README.md). If one is smaller than SMALLEST_CROP, all are resized.
WHOLE, CROP, SMALLEST_CROP = 320, 256, 192
LARGEST_BATCH = 8
UPDATES_PER_EPOCH = 8  # at least; limits the batch size
SIDE_MULTIPLE = 32


class InputSize(NamedTuple):
    """Input of the network, how images are brought to it, the batch size, and the reasons."""

    height: int
    width: int
    needs_crop: bool
    needs_resize: bool
    reason: str
    batch: int
    batch_reason: str


def choose_input_size(
    train: Sequence[PairProperties],
    val: Sequence[PairProperties],
    model: str,
    size: Sequence[int] | None = None,
    memory: float | None = None,
) -> InputSize:
    """Choose the input size.

    Args:
        train, val: properties of the pairs.
        model: key of MEMORY.
        size: (height, width) if the user has chosen it.
        memory: GiB for training; None is what is free now.

    Raises:
        UserError: there is too little memory even for small images.
    """
    memory = memory or available_memory()
    fixed, per_pixel = MEMORY[model]
    pixels_of_batch = max(memory / 2 - fixed, 0) * 2**30 / (per_pixel * 1000)  # that fit into half of the memory
    if pixels_of_batch < 2 * 128 * 128:
        raise UserError(
            f"{memory:.1f} GiB of memory are too little for {model}: a step takes {fixed} GiB and {per_pixel} kB per "
            "pixel. Choose a smaller --model, or set --memory to what is available."
        )
    sizes = np.array([pair.size for pair in (*train, *val)])
    if size is not None:
        (height, width), reason = size, f"--size; {describe_sizes(sizes)}"
    else:
        # Two images in a batch at least
        fits = int(math.sqrt(pixels_of_batch / 2)) // SIDE_MULTIPLE * SIDE_MULTIPLE
        height, width, reason = size_for(sizes, fits)
    smallest, tallest = sizes.min(axis=0), sizes.max(axis=0)
    chosen = np.array([height, width])
    needs_crop = bool((smallest >= chosen).all() and (tallest > chosen).any())
    fitting = min(pixels_of_batch // (height * width), LARGEST_BATCH, len(train) // UPDATES_PER_EPOCH)
    batch = 2 ** int(math.log2(max(fitting, 1)))
    step = fixed + batch * height * width * per_pixel * 1000 / 2**30
    batch_reason = (
        f"a step takes about {step:.1f} of {memory:.1f} GiB; at most {LARGEST_BATCH}, and at least "
        f"{UPDATES_PER_EPOCH} updates per epoch"
    )
    needs_resize = not needs_crop and not (sizes == chosen).all()
    return InputSize(height, width, needs_crop, needs_resize, reason, batch, batch_reason)


def size_for(sizes: np.ndarray, fits: int) -> tuple[int, int, str]:
    """Return `(height, width, reason)` for images `(images, 2)`; `fits`: side of the largest square for the memory."""
    low, high = sizes.min(axis=0), sizes.max(axis=0)
    described = describe_sizes(sizes)
    whole, crop = min(WHOLE, fits), min(CROP, fits)
    if (low == high).all() and low.prod() <= whole * whole:
        size, reason = low, f"all {described}"
    elif (low >= min(crop, SMALLEST_CROP)).all():
        size = np.minimum(low, crop)
        reason = f"{described}, cropped: more updates help more than more pixels; --size shows more of an image"
    else:
        # Up, because a smaller input loses detail: at 32x32 slices of 49x37 could reach a Dice of .94 at most.
        size = np.minimum(np.ceil(np.median(sizes, axis=0) / SIDE_MULTIPLE) * SIDE_MULTIPLE, crop)
        reason = (
            f"{described}, some too small to crop: their median, up to a multiple of {SIDE_MULTIPLE}, at most {crop}"
        )
    height, width = (int(side) for side in size)
    return height, width, reason


def describe_sizes(sizes: np.ndarray) -> str:
    """The sizes `(images, 2)` of images in words.

    >>> describe_sizes(np.array([[64, 96], [128, 128]]))
    'images of 64x96 to 128x128'
    """
    low, high = sizes.min(axis=0), sizes.max(axis=0)
    return f"images of {low[0]}x{low[1]}" + ("" if (low == high).all() else f" to {high[0]}x{high[1]}")


def available_memory() -> float:
    """GiB of free memory; where the system does not tell, all memory."""
    try:
        text = Path("/proc/meminfo").read_text()
    except OSError:
        text = ""
    match = re.search(r"MemAvailable:\s+(\d+)", text)
    if match:
        return int(match.group(1)) / 2**20
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
