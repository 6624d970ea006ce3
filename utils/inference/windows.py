"""Which window an unpadded network slides over an image, and how long that takes."""

import time
from collections.abc import Sequence

from omegaconf import DictConfig

from models import valid_output_size
from models.model_types import model_settings
from utils.base.terminal import say

STEP = 128  # pixels between the sides to choose from: few of them, as each is a network of its own
LARGEST = 1084  # pixels; 64 maps of that side are 300 MB
SLOW = 10  # seconds for one image from which on its cost is said


def unpadded_window(cfg: DictConfig, image: Sequence[int]) -> tuple[int, int]:
    """(height, width) of the fastest window for an image (height, width): one that covers it, or the largest.

    An unpadded network computes the border of a window for nothing: of 572 pixels 184 with five levels, of 188 all but
    4. Whatever the window, each pixel of the mask sees the same surroundings; the outermost with MODEL.HEAD.KERNEL=1.

    Args:
        cfg: restored config with MODEL.PADDING=valid. A window is no larger than 1084 or INPUT; both sides are equal if
            PREDICT.TTA turns it.
    """
    sides = [
        fitting_side(cfg, length, size) for length, size in zip(image, (cfg.INPUT.HEIGHT, cfg.INPUT.WIDTH), strict=True)
    ]
    return (max(sides), max(sides)) if cfg.PREDICT.TTA == "dihedral" else (sides[0], sides[1])


def fitting_side(cfg: DictConfig, length: int, trained: int) -> int:
    """The smallest side, in steps from the smallest possible one, whose mask covers a length."""
    settings, _ = model_settings(cfg)
    levels = len(settings.FILTERS)
    limit = max(LARGEST, trained)
    smallest = next(side for side in range(1, limit + 1) if valid_output_size(side, levels) is not None)
    sides = [side for side in range(smallest, limit + 1, STEP) if valid_output_size(side, levels) is not None]
    return next((side for side in sides if (valid_output_size(side, levels) or 0) >= length), sides[-1])


def tiles_at_once(window: Sequence[int]) -> int:
    """How many tiles hold as many pixels as one of the largest window."""
    return max(LARGEST**2 // (window[0] * window[1]), 1)


class TileClock:
    """Says once what a sliding window costs, if it is slow: called with (tiles done, all tiles) after each batch."""

    def __init__(self) -> None:
        self.said = False
        self.batches: list[tuple[int, float]] = []  # tiles done, time

    def start(self, image: Sequence[int], window: Sequence[int]) -> None:
        """Begin an image (height, width)."""
        self.image, self.window, self.batches = image, window, []

    def __call__(self, done: int, total: int) -> None:
        # The first batch builds the graph too: the second one tells how long the others take.
        self.batches.append((done, time.perf_counter()))
        if self.said or len(self.batches) != 2:
            return
        (before, start), (_, now) = self.batches
        left = (total - done) * (now - start) / (done - before)
        if left >= SLOW:
            self.said = True
            height, width = self.image
            say(
                f"An image of {height}x{width} takes {total} tiles of {self.window[0]}x{self.window[1]}: about "
                f"{left:.0f} s left for it.",
                stream="stderr",
            )
