"""PREPROCESS_DATA.VALUE_RANGE: images whose values have no range of their own, int16 and float32 for instance."""

import numpy as np
from omegaconf import DictConfig

from data_generators.files.image_file import ImageFile
from utils.base.errors import UserError

ValueRange = tuple[float, float]


def value_range_of(cfg: DictConfig) -> ValueRange | None:
    """PREPROCESS_DATA.VALUE_RANGE of a checked config."""
    stored = cfg.PREPROCESS_DATA.VALUE_RANGE
    return None if stored is None else (float(stored[0]), float(stored[1]))


def to_uint16(file: ImageFile | str, pixels: np.ndarray, value_range: ValueRange | None) -> np.ndarray:
    """Values from `low` to `high` -> 0 to 65535, uint16 of the same shape; values outside are clipped.

    Args:
        file: names the image in errors.
        pixels: of any shape and numeric type.
        value_range: (low, high), or None if the config gives none.

    Raises:
        UserError: there is no range, or a value is not finite.

    Example:
        >>> to_uint16("a.tif", np.array([-1000, 0, 3000], np.int16), (-1000, 1000)).tolist()
        [0, 32768, 65535]
    """
    if value_range is None:
        raise UserError(
            f"{file}: holds {pixels.dtype} values; pictures of 8 or 16 bit are read. Name the values that become 0 and "
            "1, such as PREPROCESS_DATA.VALUE_RANGE=[-1000,3000], or convert it."
        )
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        raise UserError(f"{file}: holds values that are not finite (NaN or infinite). Replace them.")
    low, high = value_range
    scaled = (np.clip(pixels.astype(np.float64), low, high) - low) * (65535 / (high - low))
    return np.rint(scaled).astype(np.uint16)
