"""Choose the bands of a raster, and join the channels of an image of several files."""

from collections.abc import Callable, Sequence

import numpy as np

from data_generators.files.image_file import ImageFile, ImageParts
from utils.base.errors import UserError
from utils.base.wording import counted

Bands = tuple[int, ...]  # DATASET.BANDS, counted from 1
OPENCV_ORDER = {3: (2, 1, 0), 4: (2, 1, 0, 3)}  # place of each band of a file in BGR, BGRA


def choose_bands(file: ImageFile | str, pixels: np.ndarray, bands: Sequence[int]) -> np.ndarray:
    """The bands that DATASET.BANDS names, in its order.

    Args:
        file: names the image in errors.
        pixels: what `data_generators.reading.decoding.decode` returns: three and four bands in OpenCV's order.
        bands: counted from 1, as in the file: red is 1 in a picture of colours.

    Raises:
        UserError: the file has fewer bands.

    Example:
        >>> choose_bands("a.png", np.array([[[10, 20, 30]]], np.uint8), (1, 3)).tolist()
        [[[30, 10]]]
    """
    count = pixels.shape[2]
    if max(bands) > count:
        advice = (
            "The first is 1." if count > 1 else "Leave DATASET.BANDS out: there is nothing to choose from one band."
        )
        raise UserError(
            f"{file}: has {counted(count, 'band')}, DATASET.BANDS={list(bands)} asks for band {max(bands)}. {advice}"
        )
    places = OPENCV_ORDER.get(count, range(count))
    return np.take(pixels, [places[band - 1] for band in bands], axis=2)


def read_parts(image: ImageParts, channels: int, read: Callable[[ImageFile, int], np.ndarray]) -> np.ndarray:
    """Read the files of an image and join their channels, uint8 or uint16 `(height, width, channels)`.

    Args:
        image: the files.
        channels: INPUT.CHANNELS; each file gives the same share.
        read: reads so many channels of a file.
    """
    share, rest = divmod(channels, len(image.parts))
    if rest:
        raise UserError(
            f"{image}: INPUT.CHANNELS={channels} cannot be shared by the {len(image.parts)} files of an image. Set a "
            "multiple."
        )
    arrays = {part: read(part, share) for part in dict.fromkeys(image.parts)}  # the ends of a volume are repeated
    return join_channels(image, [arrays[part] for part in image.parts])


def join_channels(image: ImageParts, arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Arrays `(height, width, channels)`, one for each part, as one; of 8 and 16 bit the result has 16.

    Raises:
        UserError: they differ in height or width.

    Example:
        >>> files = ImageParts(("a.png", "b.png"), "a", "", "a.png")
        >>> join_channels(files, [np.uint8([[[1]]]), np.uint16([[[65535]]])]).tolist()
        [[[257, 65535]]]
    """
    size = arrays[0].shape[:2]
    for part, array in zip(image.parts, arrays, strict=True):
        if array.shape[:2] != size:
            raise UserError(
                f"{part}: is {array.shape[0]}x{array.shape[1]} (height x width), {image.parts[0]} of the same image "
                f"{size[0]}x{size[1]}. All channels need one size: resample them to one grid."
            )
    if len({array.dtype for array in arrays}) > 1:
        arrays = [array.astype(np.uint16) * 257 if array.dtype == np.uint8 else array for array in arrays]
    return np.concatenate(arrays, axis=2)


def refuse_colours(file: ImageFile | str, pixels: np.ndarray, count: int) -> None:
    """Raise a UserError if a file of several files of an image is to give one channel, and has three that differ.

    Grey saved as colours is no problem; slices that hold their neighbours, or photographs, would become their mean.

    Args:
        file: names it.
        pixels: `(height, width, bands)` as decoded.
        count: channels that are wanted of it.
    """
    if count == 1 and pixels.shape[2] in (3, 4) and (pixels[:, :, 0:1] != pixels[:, :, 1:3]).any():
        raise UserError(
            f"{file}: has three different bands, and gives one channel. Choose one: DATASET.BANDS=[2] is the slice "
            "itself where a preparation put its neighbours beside it."
        )
