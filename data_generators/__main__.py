"""Look at what training sees: python -m data_generators +show=8 augmentation=medical

Writes `augmentation_<name>.png` to the current folder: the first samples of training, each as it is stored (above) and
as the augmentation changes it (below), with the contours of its mask.
"""

from itertools import zip_longest
from pathlib import Path

import cv2
import numpy as np

from data_generators import paired_samples
from data_generators.augment import Augmentation
from utils.config import entry
from utils.errors import UserError
from utils.files import write_whole
from utils.visualize import MIN_PANEL, displayable, enlarge, overlay

COLUMNS, GAP, TINT = 4, 6, 0.15


def show(cfg):
    """Write the contact sheet of `show` pairs."""
    if cfg.MODEL.TYPE == "classifier":
        raise UserError("python -m data_generators shows images with masks: leave MODEL.TYPE=classifier out.")
    drawn = []
    for augmentation in (None, Augmentation.from_config(cfg)):
        samples, read, _ = paired_samples(cfg, "train", True, False, augmentation)
        count = cfg.get("show", 8)
        drawn.append([draw(cfg, *read(samples[n % len(samples)], 0, n)) for n in range(count)])
    sheet = contact_sheet(*drawn)
    chosen = [override.split("=")[1] for override in cfg.OVERRIDES if override.startswith("augmentation=")]
    path = Path(f"augmentation_{chosen[0] if chosen else 'none'}.png")
    with write_whole(path) as temporary:
        cv2.imwrite(str(temporary), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    print(f"saved {path.resolve()}")


def draw(cfg, image, mask=None):
    """RGB picture of a sample with the contours of its mask."""
    factor = max(1, -(-MIN_PANEL // image.shape[1]))
    picture = enlarge(displayable(image, cfg.SHOW_CENTER_CHANNEL_IMAGE), factor)
    if mask is None:
        return picture
    known = np.where(mask[:, :, 0] == cfg.DATASET.IGNORE_LABEL, 0, mask[:, :, 0])
    return overlay(picture, enlarge(known, factor), TINT)


def contact_sheet(above, below):
    """Pictures `(height, width, 3)` of one size, in two lists, in rows of COLUMNS."""
    blank = np.full_like(above[0], 255)
    rows = []
    for first in range(0, len(above), COLUMNS):
        for pictures, gap in ((above, GAP), (below, 3 * GAP)):
            row = pictures[first : first + COLUMNS]
            row = [picture for picture, _ in zip_longest(row, range(COLUMNS), fillvalue=blank)]
            padded = [np.pad(p, ((0, gap), (0, GAP), (0, 0)), constant_values=255) for p in row]
            rows.append(np.hstack(padded))
    return np.vstack(rows)


if __name__ == "__main__":
    entry(show)()
