"""Convert LGG brain MRI (Kaggle "lgg-mri-segmentation"): `kaggle_3m/<patient>/<name>_<n>.tif`, `<name>_<n>_mask.tif`.

    python data_preparation/lgg.py kaggle_3m data --val 0.1

Whole patients go to training or validation, drawn by --seed. Masks of 0 and 255 become classes 0 and 1.
--split-by slices draws slices instead, as some published results did: neighbours of training slices are then validated.
"""

import re
import sys
from argparse import Namespace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that this file runs as a script from any folder

import numpy as np

from data_generators.reading.masks import read_mask
from data_preparation.common.command_line import dataset_command
from data_preparation.common.dataset_writer import Conversion, NewPair
from data_preparation.common.image_files import list_images, raise_problems
from data_preparation.common.splits import with_splits
from utils.base.errors import UserError

CLASSES = ("background", "tumour")


def collect(options: Namespace) -> Conversion:
    """Find the slices of all patients and their masks."""
    paths, skipped = list_images(Path(options.source), recursive=True)
    matches = {path: re.fullmatch(r"(.+)_(\d+)(_mask)?", path.stem) for path in paths}
    skipped += [(path, "not named <name>_<n>.tif or <name>_<n>_mask.tif") for path in paths if not matches[path]]
    named = {path: match for path, match in matches.items() if match}
    images = {path.with_suffix("") for path, match in named.items() if not match.group(3)}
    masks = {path.with_suffix(""): path for path, match in named.items() if match.group(3)}

    pairs, patients, problems = [], [], []
    for path, match in named.items():
        if match.group(3):
            image = path.with_name(path.stem.removesuffix("_mask"))
            if image not in images:
                problems.append(f"{path} has no image {image.name}.tif.")
            continue
        mask = masks.get(path.with_name(f"{path.stem}_mask").with_suffix(""))
        if mask is None:
            problems.append(f"{path} has no mask {path.stem}_mask.tif.")
            continue
        name = f"{match.group(1)}_{match.group(2)}"
        pairs.append(NewPair(None, path, f"image_{name}", f"mask_{name}", mask, (mask,)))
        patients.append(path.parent.name)
    raise_problems(problems)
    groups = patients if options.split_by == "patients" else [pair.name for pair in pairs]
    return Conversion(with_splits(pairs, groups, options), read_binary_mask, skipped, CLASSES)


def read_binary_mask(pair: NewPair, height: int, width: int) -> np.ndarray:
    """0 and 255, in one or three equal channels, become 0 and 1."""
    mask = read_mask(pair.annotation)
    if np.count_nonzero(mask > 1) != np.count_nonzero(mask == 255):
        values = np.unique(mask)[:10].tolist()
        raise UserError(f"{pair.annotation}: contains the values {values}; a mask has 0 and 255.")
    return (mask > 0).astype(np.uint8)


SOURCES = {"source": "the folder kaggle_3m, with one folder per patient"}
OPTIONS = {
    "--split-by": {
        "choices": ("patients", "slices"),
        "default": "patients",
        "help": "what stays together in the split (default patients)",
    }
}

main = dataset_command(__doc__, SOURCES, collect, OPTIONS)

if __name__ == "__main__":
    main()
