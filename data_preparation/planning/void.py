"""Pixel values that look as if they marked pixels without a label, by where they are in the masks."""

from collections.abc import Sequence

import cv2
import numpy as np

from data_generators.files.pairing import Pair
from data_generators.reading.mask_values import read_values
from utils.base.errors import UserError

SAMPLE = 50  # masks that are looked at
BORDER = 0.02  # of the shorter side: as far a strip along a border reaches
MOST_PIXELS = 0.2  # share above which a value is a class
WHERE = 0.9  # share of the masks with the value, as void is nearly everywhere
THIN = 0.5  # share of its pixels that are in such a strip
ONE_NEIGHBOUR = 0.8  # share of these with the same neighbour, above which the value is a part or a rim of that class


def refuse_to_guess(pairs: Sequence[Pair], values: Sequence[int], regions: Sequence[str] = ()) -> None:
    """Raise a UserError if the largest of the values looks like void, for only the user knows.

    Args:
        pairs: whose masks are looked at.
        values: sorted, of all masks.
        regions: what to type if the values stand for several classes of data that is known.
    """
    *others, last = values
    if len(others) < 2 or others != list(range(others[0], others[0] + len(others))) or others[0] > 1:
        return
    reason = ""
    if last > others[-1] + 1:
        reason = f"the other values are {others[0]} to {others[-1]}"
    elif runs_along_borders(pairs, last):
        reason = "it is in nearly all masks, mostly in strips between the others"
    if reason:
        known = f"The masks look like regions, one in another; type {' or '.join(regions)}. If not: " if regions else ""
        raise UserError(
            f"{known}The mask value {last} may mark pixels without a label: {reason}. Say which it is: "
            f"--ignore {last} leaves these pixels out of training and scores, --ignore none makes it a class."
        )


def runs_along_borders(pairs: Sequence[Pair], value: int) -> bool:
    """Whether a value is in nearly all masks, rare, and mostly in strips between several other values."""
    step = -(-len(pairs) // SAMPLE)
    chosen = [pair.mask for pair in pairs[::step] if pair.mask is not None]
    pixels = total = near = with_value = 0
    neighbours = np.zeros(value)
    for file in chosen:
        mask = read_values(file)
        area = mask == value
        total += area.size
        if not area.any():
            continue
        with_value += 1
        pixels += int(np.count_nonzero(area))
        reach = max(2, round(BORDER * min(mask.shape)))
        window = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
        near += int(np.count_nonzero(area & (cv2.erode(area.astype(np.uint8), window) == 0)))
        for other in np.unique(mask[mask < value]):
            close = cv2.dilate((mask == other).astype(np.uint8), window) > 0
            neighbours[other] += np.count_nonzero(area & close)
    return bool(
        with_value >= WHERE * len(chosen)
        and pixels <= MOST_PIXELS * total
        and near >= THIN * pixels
        and neighbours.max() <= ONE_NEIGHBOUR * neighbours.sum()
    )
