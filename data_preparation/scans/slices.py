"""Cut oriented scans into 8-bit slices and their labels."""

import cv2
import numpy as np

from utils.base.errors import UserError

LABELS = (0, 1, 2)  # background, liver, tumour


def window_slice(pixels, low, high, scaling):
    """Map HU to uint8: `window` takes low..high to 0..255, `slice_min_max` the range the slice has within them."""
    if scaling == "slice_min_max":
        low, high = max(low, float(pixels.min())), min(high, float(pixels.max()))
        if low >= high:
            return np.zeros(pixels.shape, np.uint8)
    factor = 255 / (high - low)
    # One pass: scales, shifts, rounds, and saturates to 0..255, which is the clipping.
    return cv2.addWeighted(pixels, factor, pixels, 0, -low * factor, dtype=cv2.CV_8U)


def label_slice(segmentation, index, labels):
    """The labels of one slice as uint8 classes.

    Args:
        labels: of LiTS "merge_tumour" (liver and tumour are class 1) or "liver_and_tumour"; of other scans
            "foreground" (all above 0 is class 1) or "as_stored".

    Raises:
        UserError: a value other than 0, 1 and 2 of LiTS; one that is no whole number from 0 to 255 of others.
    """
    values = segmentation.slice(index)
    with np.errstate(invalid="ignore"):  # what does not fit is found by the comparison
        classes = values.astype(np.uint8)
    is_lits = labels in ("merge_tumour", "liver_and_tumour")
    known = LABELS if is_lits else range(256)
    if not np.array_equal(classes, values) or classes.max() > known[-1]:
        unknown = sorted(set(np.unique(values).tolist()) - set(known))
        meaning = (
            "0 (background), 1 (liver) and 2 (tumour) are known" if is_lits else "whole numbers to 255 are classes"
        )
        raise UserError(
            f"{segmentation.path}: slice {index} holds the labels {', '.join(f'{value:g}' for value in unknown[:10])}; "
            f"{meaning}."
        )
    return np.minimum(classes, 1) if labels in ("merge_tumour", "foreground") else classes


def crop_or_pad(pixels, height, width):
    """Cut or fill up `(rows, columns)` around the centre; new pixels are 0."""
    rows, columns = pixels.shape
    top, left = max(rows - height, 0) // 2, max(columns - width, 0) // 2
    cut = pixels[top : top + height, left : left + width]
    above, before = (height - cut.shape[0]) // 2, (width - cut.shape[1]) // 2
    framed = np.zeros((height, width), pixels.dtype)
    framed[above : above + cut.shape[0], before : before + cut.shape[1]] = cut
    return framed
