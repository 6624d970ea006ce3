"""Plan an experiment: look at images and masks, choose the settings, and write them as YAML.

    python data_preparation/plan.py cells/images cells/masks cells
    python train.py +experiment=cells

    python data_preparation/plan.py 'isbi/{split}/images' 'isbi/{split}/mask' cells    # with folders train and val

It writes configs/experiment/NAME.yaml, with the reason for each choice, lists of the files of each split in data/NAME/,
and data/NAME/pairs.png, which shows some images with the contours of their masks. It takes a few training steps to say
how long the training will take; --no-timing leaves that out. Images and masks belong together by name
(docs/getting-started/your-own-images.md); the pixel values of masks are the classes.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that this file runs as a script from any folder

import cv2
import numpy as np

from data_generators.files.pairing import Pair, find_pairs
from data_preparation.common.command_line import Parser, errors_in_one_line
from data_preparation.common.groups import VOLUME, describe_groups, group_of
from data_preparation.common.stratified_splits import assign_fractions
from data_preparation.planning.choices import DEFAULT_MODEL, Choice, choose_settings, find_classes
from data_preparation.planning.class_names import parse_names
from data_preparation.planning.classes import NO_VALUE
from data_preparation.planning.contact_sheet import draw_sheet
from data_preparation.planning.experiment_file import check_choices, experiment_yaml, list_files
from data_preparation.planning.input_size import MEMORY
from data_preparation.planning.pair_properties import PairProperties, count_values, measure_pairs
from data_preparation.planning.timing import seconds_of_epoch, with_duration
from utils.base.errors import UserError
from utils.base.files import atomic_write
from utils.base.text_files import AS_ON_DISK
from utils.config import load_config
from utils.config.defaults import CONFIGS

SPLITS = ("train", "val")
SHEET = "pairs.png"


class Split(NamedTuple):
    """The pairs of each split, their properties, and why they are split like this."""

    pairs: dict[str, list[Pair]]
    measured: dict[str, list[PairProperties]]
    reason: str


class Plan(NamedTuple):
    """What was written: the experiment and the picture of pairs; notes: lines about the duration."""

    path: Path
    sheet: Path
    notes: list[str]


def plan(options: argparse.Namespace) -> Plan:
    """Choose the settings and write the experiment.

    Raises:
        UserError: pairs that cannot be used, an experiment of that name, or a choice that only the user can make; names
            its option.
    """
    if not re.fullmatch(r"\w[\w-]*", options.name):
        raise UserError(f"NAME={options.name}: letters, digits, - and _ only.")
    path = CONFIGS / "experiment" / f"{options.name}.yaml"
    if path.exists() and not options.force:
        raise UserError(f"{path} exists. Choose another name, or replace it with --force.")
    split = find_split(options)
    folder = Path("data", options.name).resolve()
    lists = list_files(split.pairs, folder)
    names = parse_names(options.names)
    classes = find_classes(options, split.pairs, split.measured, names)
    choices = [Choice(key, str(file)) for key, (file, _) in lists.items()]
    choices += choose_settings(options, split.pairs, split.measured, classes, names)
    check_choices(choices)
    notes: list[str] = []
    if not options.no_timing:
        epoch = seconds_of_epoch(choices, split.pairs, options.quiet)
        choices, notes = with_duration(choices, epoch, options.hours)
    for file, text in lists.values():
        with atomic_write(file) as temporary:
            temporary.write_text(text, encoding="utf-8", errors=AS_ON_DISK)
    background = all(choice.value is not False for choice in choices if choice.key == "OUTPUT.BACKGROUND")
    of_classes = names and names.of_classes(classes.in_order)
    sheet = draw_sheet(split.pairs, split.measured, classes, of_classes, background)
    with atomic_write(folder / SHEET) as temporary:
        cv2.imwrite(str(temporary), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    train, val = (len(split.pairs[name]) for name in SPLITS)
    described = f"{train} images for training, {val} for validation, {split.reason}"
    text = experiment_yaml(choices, options.name, options.images, options.masks, described)
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return Plan(path, folder / SHEET, notes)


def find_split(options: argparse.Namespace) -> Split:
    """Find the pairs and measure them; the split is that of the folders, or drawn by groups."""
    folders = (options.images, options.masks)
    if any("{split}" in folder for folder in folders):
        if not all("{split}" in folder for folder in folders):
            raise UserError("{split} must be in IMAGES and in MASKS, or in neither.")
        pairs = {name: pairs_of(*(folder.replace("{split}", name) for folder in folders)) for name in SPLITS}
        measured = {name: measure_pairs(found, options.quiet) for name, found in pairs.items()}
        return Split(pairs, measured, "by their folders")
    return draw_split(pairs_of(*folders), options)


def draw_split(pairs: list[Pair], options: argparse.Namespace) -> Split:
    """Draw a split by groups, with similar shares of foreground on both sides."""
    groups, reason = find_groups([pair.image.stem for pair in pairs], options.group)
    if len(set(groups)) < 2:
        raise UserError(
            f"All {len(groups)} images are of one group, which cannot be split. Define other groups with --group."
        )
    measured = measure_pairs(pairs, options.quiet)
    shares = foreground_shares(measured, options.values)
    split_of = assign_fractions(groups, shares, (1 - options.val, options.val), options.seed)
    split = Split({name: [] for name in SPLITS}, {name: [] for name in SPLITS}, reason)
    for pair, properties, index in zip(pairs, measured, split_of.tolist(), strict=True):
        split.pairs[SPLITS[index]].append(pair)
        split.measured[SPLITS[index]].append(properties)
    return split


def foreground_shares(measured: Sequence[PairProperties], values: Sequence[int] | None) -> np.ndarray:
    """The share of foreground in each mask: pixels without the first of `values`, by default the smallest value."""
    background = values[0] if values else np.flatnonzero(count_values(measured).pixels)[0]
    return np.array([1 - pair.values[background : background + 1].sum() / pair.values.sum() for pair in measured])


def find_groups(stems: Sequence[str], pattern: str | None) -> tuple[list[str], str]:
    """Return `(the group of each name, one line about them)`."""
    if pattern is not None:
        groups = [group_of(stem, pattern) for stem in stems]
        return groups, describe_groups(groups, pattern)
    # More names than the other commands group (seq_f0930), because a plan is shown before it is used.
    matches = [re.fullmatch(r"(.+)[_-][A-Za-z]*\d+", stem) for stem in stems]
    groups = [match.group(1) for match in matches if match]
    # Numbers that stand alone, or one name for all, are not groups.
    if len(groups) < len(stems) or len(set(groups)) < 2 or len(set(groups)) > len(stems) / 2:
        groups = list(stems)
    return groups, describe_groups(groups, VOLUME)


def pairs_of(images: str, masks: str) -> list[Pair]:
    """The pairs of two folders."""
    cfg = load_config()
    cfg.DATASET.TRAIN.IMAGES_PATH, cfg.DATASET.TRAIN.MASK_PATH = (str(Path(path).resolve()) for path in (images, masks))
    for name, path in (("IMAGES", images), ("MASKS", masks)):
        if not Path(path).is_dir():
            raise UserError(f"{name}={path}: there is no such folder.")
    return find_pairs(cfg, "train")


def ignore_value(text: str) -> int | str:
    """The type of --ignore: a pixel value, or none."""
    if text == NO_VALUE:
        return text
    if not text.isdigit() or int(text) > 255:
        raise argparse.ArgumentTypeError(f"{text} must be 0 to 255, or none")
    return int(text)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the experiment and print it."""
    parser = Parser(__doc__)
    parser.add_argument("images", help="folder of images, or {split} in the path for two folders, train and val")
    parser.add_argument("masks", help="folder of masks, likewise")
    parser.add_argument("name", help="name of the experiment")
    parser.add_argument("--values", type=int, nargs="+", help="pixel value of each class, background first")
    parser.add_argument(
        "--names", help="name of each class in order (sky,building,...), or a table of names and colours (CSV)"
    )
    parser.add_argument("--ignore", type=ignore_value, help="pixel value that is not labelled (none: all are classes)")
    parser.add_argument(
        "--group",
        help="images that stay together: none, volume, or a regular expression whose first group names the group",
    )
    parser.add_argument("--val", type=float, default=0.2, help="share for validation (default 0.2)")
    parser.add_argument("--size", type=int, nargs=2, metavar=("HEIGHT", "WIDTH"), help="input size of the network")
    parser.add_argument("--model", choices=MEMORY, default=DEFAULT_MODEL, help=f"default {DEFAULT_MODEL}")
    parser.add_argument("--memory", type=float, help="GiB of memory for training (default: what is free now)")
    parser.add_argument("--hours", type=float, help="choose as many epochs as fit into so many hours on this machine")
    parser.add_argument("--no-timing", action="store_true", help="take no training steps to see how long they take")
    parser.add_argument(
        "--no-background", action="store_true", help="class 0 is a class like the others, as the sky in street scenes"
    )
    parser.add_argument("--seed", type=int, default=5, help="random seed of the split (default 5)")
    parser.add_argument("--force", action="store_true", help="replace an experiment of that name")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    options = parser.parse_args(arguments)
    with errors_in_one_line():
        if not 0 < options.val < 1:
            raise UserError(f"--val {options.val} must be between 0 and 1.")
        if options.hours is not None and (options.no_timing or not options.hours > 0):
            raise UserError(f"--hours {options.hours:g} must be above 0, and needs the timing: leave --no-timing out.")
        written = plan(options)
    print(written.path.read_text(), end="")
    print("", *written.notes, f"saved {written.path}", f"saved {written.sheet}: see whether the masks fit", sep="\n")
    print(f"Next: python train.py +experiment={options.name}")


if __name__ == "__main__":
    main()
