"""LGG brain MRI (Kaggle "lgg-mri-segmentation"): `kaggle_3m/<patient>/<name>_<n>.tif` with `<name>_<n>_mask.tif`.

    python data_preparation/lgg.py kaggle_3m data --val 0.1

Whole patients go to training or validation, drawn by --seed. Masks of 0 and 255 become classes 0 and 1.
"""

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run as a script, the rooms are one folder up

import numpy as np

from data_generators.reading.masks import read_mask
from data_preparation.common.command_line import command
from data_preparation.common.dataset_writer import Item, Plan
from data_preparation.common.listing import list_pictures, refuse
from data_preparation.common.splits import with_splits
from utils.base.errors import UserError


def plan(options):
    pictures, skipped = list_pictures(Path(options.source), recursive=True)
    slices = {path: re.fullmatch(r"(.+)_(\d+)(_mask)?", path.stem) for path in pictures}
    skipped += [(path, "not named <name>_<n>.tif or <name>_<n>_mask.tif") for path in pictures if not slices[path]]
    images = {path.with_suffix("") for path in pictures if slices[path] and not slices[path].group(3)}
    masks = {path.with_suffix(""): path for path in pictures if slices[path] and slices[path].group(3)}

    items, groups, problems = [], [], []
    for path in pictures:
        match = slices[path]
        if not match:
            continue
        mask = path.with_name(f"{path.stem}_mask")
        if match.group(3):
            image = path.with_name(path.stem.removesuffix("_mask"))
            if image not in images:
                problems.append(f"{path} has no image {image.name}.tif.")
        elif mask.with_suffix("") not in masks:
            problems.append(f"{path} has no mask {mask.name}.tif.")
        else:
            name, mask = f"{match.group(1)}_{match.group(2)}", masks[mask.with_suffix("")]
            items.append(Item(None, path, f"image_{name}", f"mask_{name}", mask, (mask,)))
            groups.append(path.parent.name)
    refuse(problems)
    return Plan(with_splits(items, groups, options), read_binary, skipped)


def read_binary(item, height, width):
    """0 and 255, grey or as three equal channels -> 0 and 1."""
    mask = read_mask(item.detail)
    if np.count_nonzero(mask > 1) != np.count_nonzero(mask == 255):
        values = np.unique(mask)[:10].tolist()
        raise UserError(f"{item.detail}: holds the values {values}; a mask has 0 and 255.")
    return (mask > 0).astype(np.uint8)


main = command(__doc__, {"source": "the folder kaggle_3m, with one folder per patient"}, plan)

if __name__ == "__main__":
    main()
