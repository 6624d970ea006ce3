"""PREPROCESS_DATA.VALUE_RANGE and WINDOW: which values become 0 and 1, where the type of the file does not say it."""

import numpy as np
from omegaconf import DictConfig

from data_generators.files.image_file import ImageFile
from utils.base.errors import UserError

ValueRange = tuple[float, float]


def value_range_of(cfg: DictConfig) -> ValueRange | None:
    """The stored values that become 0 and 1, of a checked config: PREPROCESS_DATA.VALUE_RANGE, or WINDOW.

    Raises:
        UserError: there is a WINDOW, and images that are not known to be slices of scans with 16 bit in their unit.
    """
    stored = cfg.PREPROCESS_DATA.VALUE_RANGE
    if cfg.PREPROCESS_DATA.IMAGE_PREPROCESSING_TYPE == "window":
        return stored_window(cfg)
    return None if stored is None else (float(stored[0]), float(stored[1]))


def stored_window(cfg: DictConfig) -> ValueRange:
    """PREPROCESS_DATA.WINDOW, in the unit of the scans, as the values of slices that were prepared with 16 bit.

    Example:
        >>> from utils.config import load_config
        >>> prepared = ["PREPARED_BY=volumes", "DEPTH=16", "SCAN_MIN_VALUE=-1024", "SCAN_MAX_VALUE=3071.9375"]
        >>> kind = ["PREPROCESS_DATA.IMAGE_PREPROCESSING_TYPE=window", "PREPROCESS_DATA.WINDOW=[-200,250]"]
        >>> stored_window(load_config([*(f"DATA_PREPARATION.{key}" for key in prepared), *kind]))
        (13184.0, 20384.0)
    """
    group, window = cfg.DATA_PREPARATION, list(cfg.PREPROCESS_DATA.WINDOW)
    low, high = group.SCAN_MIN_VALUE, group.SCAN_MAX_VALUE
    key = f"PREPROCESS_DATA.WINDOW={window} is in the unit of scans"
    if group.PREPARED_BY is None or group.DEPTH == 8:
        raise UserError(
            f"{key}, which images of 8 bit and pictures do not keep: prepare the scans with --depth 16, or leave "
            "IMAGE_PREPROCESSING_TYPE out and name stored values in PREPROCESS_DATA.VALUE_RANGE."
        )
    if low is None or group.INTENSITY_SCALING != "window":
        raise UserError(
            f"{key}, and each volume was scaled by its own values: prepare them with --depth 16 and --window LOW HIGH, "
            "the same for all, or choose IMAGE_PREPROCESSING_TYPE=zscore."
        )
    if window[0] < low or window[1] > high:
        raise UserError(f"{key}, of which the preparation kept {low:g} to {high:g} (DATA_PREPARATION.SCAN_MIN_VALUE).")
    step = (high - low) / 65535
    return (window[0] - low) / step, (window[1] - low) / step


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
