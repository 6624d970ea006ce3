"""The values that a mask file holds, whatever its form: grey, palette, inverted, in the alpha channel."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

from data_generators.files.image_file import ImageFile
from data_generators.reading.decoding import decode
from data_generators.reading.headers import read_header, read_whole
from data_generators.reading.orientation import turn_as_shown
from data_generators.reading.tiff import TIFF_STARTS, decode_tiff_values
from utils.base.errors import UserError

STORED, SHOWN, ALPHA = "stored", "shown", "alpha"  # of PREPROCESS_DATA.MASK_FORM
WHITE = [255, 255, 255]

# Forms that can be meant in two ways: name -> what was read, and the other reading.
FORMS = {
    "white index": "have a palette whose colour 0 is white: the indices are used, so that white is class 0. "
    "PREPROCESS_DATA.MASK_FORM=shown takes the grey values of the colours",
    "white is 0": "are TIFF files in which 0 is shown white: the stored values are used, 1 bit as 0 and 255. "
    "PREPROCESS_DATA.MASK_FORM=shown takes what viewers show",
    "alpha": "have an alpha channel, which is not used. PREPROCESS_DATA.MASK_FORM=alpha takes it alone",
}


def read_values(file: ImageFile | str, form: str = STORED, turned: bool = False) -> np.ndarray:
    """The values of a mask: uint8 or uint16 `(height, width)`.

    Args:
        file: the mask.
        form: "stored": the values in the file, indices of a palette rather than colours; "shown": the grey values that
            viewers show; "alpha": the alpha channel.
        turned: whether to turn it by its EXIF orientation, as viewers do.

    Raises:
        UserError: it cannot be read, is a colour picture, or its shape is in the alpha channel that is not asked for.
    """
    return read_values_and_form(file, form, turned)[0]


def read_values_and_form(
    file: ImageFile | str, form: str = STORED, turned: bool = False
) -> tuple[np.ndarray, str | None]:
    """`read_values`, and the name in FORMS if the mask could be meant otherwise."""
    data, ambiguous = read_whole(file), None
    if form == ALPHA:
        values = alpha_channel(file, decode(file, data))
    elif form == SHOWN:
        values = drop_equal_channels(file, decode(file, data))
    elif data.startswith(TIFF_STARTS):
        stored, ambiguous = decode_tiff_values(file, data)
        values = drop_equal_channels(file, to_whole_numbers(file, stored), has_alpha=ambiguous == "alpha")
    elif read_header(file, data).has_palette:
        values, ambiguous = read_indices(file, data)
    else:
        pixels = decode(file, data)
        values = drop_equal_channels(file, pixels)
        ambiguous = "alpha" if pixels.shape[2] == 4 and pixels[:, :, 3].min() < pixels[:, :, 3].max() else None
    return turn_as_shown(values, data) if turned else values, ambiguous


def read_indices(file: ImageFile | str, data: bytes) -> tuple[np.ndarray, str | None]:
    """The indices of a picture with a palette, and "white index" if its colour 0 is white."""
    try:
        with Image.open(io.BytesIO(data)) as picture:
            indices = np.asarray(picture)
            palette = picture.getpalette("RGB") or []
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error):
        raise UserError(f"{file}: cannot be decoded; the file is damaged. Copy or export it again.") from None
    return indices, "white index" if palette[:3] == WHITE else None


def alpha_channel(file: ImageFile | str, pixels: np.ndarray) -> np.ndarray:
    """The alpha channel `(height, width)` of `(height, width, channels)`; `file` names the mask in errors."""
    if pixels.shape[2] != 4:
        raise UserError(f"{file}: has no alpha channel, which PREPROCESS_DATA.MASK_FORM=alpha reads.")
    return np.ascontiguousarray(pixels[:, :, 3])


def to_whole_numbers(file: ImageFile | str, values: np.ndarray) -> np.ndarray:
    """Values of a mask of any type -> uint8 or uint16, if they are whole numbers; `file` names it in errors."""
    if values.dtype in (np.uint8, np.uint16):
        return values
    whole = values.astype(np.uint16) if np.isfinite(values).all() and values.min() >= 0 else None
    if whole is None or not np.array_equal(whole, values):
        raise UserError(f"{file}: holds {values.dtype} values that are no whole numbers from 0 to 65535.")
    return whole


def drop_equal_channels(file: ImageFile | str, pixels: np.ndarray, has_alpha: bool | None = None) -> np.ndarray:
    """`(height, width, channels)` -> `(height, width)`, if all channels but alpha are equal.

    Args:
        file: names the mask in errors.
        pixels: the channels.
        has_alpha: whether the last is alpha; None: the fourth is.

    Raises:
        UserError: they are not.
    """
    has_alpha = pixels.shape[2] == 4 if has_alpha is None else has_alpha
    first, last = pixels[:, :, 0], pixels[:, :, -1]
    for number in range(1, pixels.shape[2] - has_alpha):
        channel = pixels[:, :, number]
        unused = number >= 3 and channel.min() == channel.max()  # a fourth band that is not declared as alpha
        if not unused and not np.array_equal(first, channel):
            what = "is a colour picture" if pixels.shape[2] in (3, 4) and number < 3 else "has channels that differ"
            raise UserError(
                f"{file}: {what}; a mask needs one channel whose pixel value is the class index (0, 1, ...). Save it "
                "as grey or with a palette."
            )
    if has_alpha and first.min() == first.max() and last.min() < last.max():
        raise UserError(
            f"{file}: has one colour everywhere, and a shape in its alpha channel. PREPROCESS_DATA.MASK_FORM=alpha "
            "reads that; save masks of another form without alpha."
        )
    return first
