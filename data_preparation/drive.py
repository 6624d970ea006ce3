"""Convert DRIVE retina vessels: `images/<n>_training.tif`, `1st_manual/<n>_manual1.gif`, `mask/<n>_training_mask.gif`.

    python data_preparation/drive.py DRIVE/training data/drive --val 0.25

Vessels become class 1, pixels outside the field of view 255: train with DATASET.IGNORE_LABEL=255. `--val 0.25` keeps 5
of the 20 images for validation, drawn by --seed. A folder of the test form, `<n>_test.tif`, is read likewise.
"""

import re
import sys
from argparse import Namespace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that this file runs as a script from any folder

import numpy as np

from data_generators.reading.mask_values import SHOWN
from data_generators.reading.masks import read_mask
from data_preparation.common.command_line import dataset_command
from data_preparation.common.dataset_writer import Conversion, NewPair
from data_preparation.common.image_files import list_images, raise_problems
from data_preparation.common.splits import existing_path, with_splits
from utils.base.errors import UserError

CLASSES = ("background", "vessel")
OUTSIDE = 255  # the field of view is round


def collect(options: Namespace) -> Conversion:
    """Find the images, their vessels and their fields of view."""
    source = Path(options.source)
    images, skipped = list_images(existing_path(source / "images"))
    pairs, problems = [], []
    for path in images:
        named = re.fullmatch(r"(\d+)_(training|test)", path.stem)
        if not named:
            skipped.append((path, "not named <n>_training.tif or <n>_test.tif"))
            continue
        number = named.group(1)
        vessels, field = source / f"1st_manual/{number}_manual1.gif", source / f"mask/{path.stem}_mask.gif"
        problems += [
            f"{path} has no {what} {file}."
            for what, file in (("mask", vessels), ("field of view", field))
            if not file.is_file()
        ]
        pairs.append(NewPair(None, path, path.stem, path.stem, (vessels, field), (vessels, field)))
    raise_problems(problems)
    return Conversion(with_splits(pairs, [pair.name for pair in pairs], options), read_vessels, skipped, CLASSES)


def read_vessels(pair: NewPair, height: int, width: int) -> np.ndarray:
    """0 and 255 become 0 and 1, and OUTSIDE where the field of view is 0."""
    vessels, field = map(read_binary, pair.annotation)
    if vessels.shape != field.shape:
        (h, w), (other_h, other_w) = vessels.shape, field.shape
        raise UserError(f"{pair.annotation[1]}: is {other_h}x{other_w} pixels, {pair.annotation[0]} {h}x{w}.")
    return np.where(field, vessels, OUTSIDE).astype(np.uint8)


def read_binary(path: Path) -> np.ndarray:
    """Where a mask of 0 and 255 is not 0: bool `(height, width)`."""
    mask = read_mask(path, form=SHOWN)  # of a GIF the colours, whatever their place in its table
    values = np.unique(mask)
    if not set(values.tolist()) <= {0, 255}:
        raise UserError(f"{path}: contains the values {values[:10].tolist()}; a mask has 0 and 255.")
    return mask > 0


main = dataset_command(__doc__, {"source": "the folder with images, 1st_manual and mask"}, collect)

if __name__ == "__main__":
    main()
