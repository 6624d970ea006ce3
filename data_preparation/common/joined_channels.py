"""The channels of an image of several files as one TIFF file, to be packed into a shard."""

import io
from collections.abc import Sequence

import numpy as np

from data_generators.files.image_file import ImageFile, ImageParts
from data_generators.reading.channels import join_channels, refuse_colours
from data_generators.reading.decoding import decode
from data_generators.reading.headers import read_whole
from data_generators.reading.tiff import TIFF_STARTS, decode_tiff_values
from data_preparation.common.tiff import write_tiff
from utils.base.errors import UserError


def joined_tiff(image: ImageParts) -> bytes:
    """A TIFF file with a band for each file of an image, with the values as stored.

    Raises:
        UserError: the files differ in size or in the type of their values, or one has colours.
    """
    bands = [stored_band(part) for part in image.parts]
    for part, band in zip(image.parts, bands, strict=True):
        if band.dtype != bands[0].dtype:
            raise UserError(
                f"{part}: holds {band.dtype} values, {image.parts[0]} of the same image {bands[0].dtype}. Save all "
                "channels alike to pack them."
            )
    joined, buffer = join_channels(image, bands), io.BytesIO()
    write_tiff(buffer, joined)
    return buffer.getvalue()


def planes_tiff(planes: Sequence[np.ndarray]) -> bytes:
    """A TIFF file with a band for each plane `(height, width)` of a mask, of 8 bits where the values fit."""
    stack, buffer = np.stack(planes, axis=-1), io.BytesIO()
    small = stack.astype(np.uint8)
    write_tiff(buffer, small if np.array_equal(small, stack) else stack)
    return buffer.getvalue()


def stored_band(file: ImageFile) -> np.ndarray:
    """The values of a file with one channel as stored, `(height, width, 1)`."""
    data = read_whole(file)
    values = decode_tiff_values(file, data)[0] if data.startswith(TIFF_STARTS) else None
    if values is None or values.dtype in (np.uint8, np.uint16):
        values = decode(file, data)
    refuse_colours(file, values, 1)
    if values.shape[2] not in (1, 3, 4):
        raise UserError(f"{file}: has {values.shape[2]} bands; a channel has one.")
    return values[:, :, :1]
