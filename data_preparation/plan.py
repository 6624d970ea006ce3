"""Plan an experiment: look at images and masks, choose the settings, and write them as YAML.

    python data_preparation/plan.py cells/images cells/masks cells
    python train.py +experiment=cells

    python data_preparation/plan.py 'isbi/{split}/images' 'isbi/{split}/mask' cells    # with folders train and val
    python data_preparation/plan.py mri/images mri/mask brains --channels t1 t2 flair   # a file for each channel
    python data_preparation/plan.py ct/images ct/masks liver --class-masks liver tumour # a mask file for each class
    python data_preparation/plan.py ct/images ct/masks liver --label-sets 1=liver 2=liver,tumour  # nested classes

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

from data_generators.files.preparation import CHANNELS, CLASS_NAMES, single_preparation
from data_preparation.common.command_line import Parser, errors_in_one_line
from data_preparation.planning.choices import choose_settings, find_classes
from data_preparation.planning.class_names import parse_names
from data_preparation.planning.classes import COLOUR, NO_VALUE
from data_preparation.planning.contact_sheet import draw_sheet
from data_preparation.planning.experiment_file import Choice, check_choices, check_lists, experiment_yaml, list_files
from data_preparation.planning.intensities import depth_notes
from data_preparation.planning.label_sets import parse_label_sets, region_notes
from data_preparation.planning.networks import DEFAULT, FROM_SCRATCH, IMAGENET
from data_preparation.planning.slices import check_neighbours, slice_notes
from data_preparation.planning.splitting import SPLITS, find_split
from data_preparation.planning.start_weights import find_run, start_notes
from data_preparation.planning.stored_form import StoredForm
from data_preparation.planning.timing import seconds_of_epoch, with_duration
from utils.base.errors import UserError
from utils.base.files import atomic_write
from utils.base.text_files import AS_ON_DISK
from utils.base.wording import counted
from utils.config.defaults import CONFIGS

SHEET = "pairs.png"


class Plan(NamedTuple):
    """What was written: the experiment and the picture of pairs; notes: lines to print, on the duration and weights."""

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
    ignored = options.ignore if options.ignore != NO_VALUE else None
    form = StoredForm(options.channels, options.class_masks, ignored, parse_label_sets(options.label_sets))
    form.check()
    start = find_run(options.init)
    split = find_split(options, form)
    if options.slices_around:
        check_neighbours(options.slices_around, split.pairs)
    folder = Path("data", options.name).resolve()
    lists = list_files(split.pairs, folder)
    check_lists(lists, split.pairs, form)
    names = parse_names(options.names)
    prepared = single_preparation(pair.image for pairs in split.pairs.values() for pair in pairs)
    settings = prepared.settings if prepared else {}
    classes = find_classes(options, split, form, names, settings)
    choices = [Choice(key, str(file)) for key, (file, _) in lists.items()]
    choices += choose_settings(options, split, form, classes, settings, start)
    cfg = check_choices(choices)
    cfg.OUTPUT.CLASS_NAMES = cfg.OUTPUT.CLASS_NAMES or settings.get(CLASS_NAMES)
    notes = [] if classes.overlapping else region_notes(classes.values, form.channels or settings.get(CHANNELS))
    channels = next(choice.reason for choice in choices if choice.key == "INPUT.CHANNELS")
    notes += slice_notes(options.slices_around, split.pairs, channels) + start_notes(start, cfg) + depth_notes(choices)
    if not options.no_timing:
        epoch = seconds_of_epoch(choices, split.pairs, options.quiet)
        choices, lines = with_duration(choices, epoch, options.hours)
        notes += lines
    if options.weights is None and any(choice.reason == COLOUR for choice in choices):
        notes.append(f"Few colour pictures reach more from ImageNet weights: add --weights {IMAGENET} --force")
    for file, text in lists.values():
        with atomic_write(file) as temporary:
            temporary.write_text(text, encoding="utf-8", errors=AS_ON_DISK)
    background = all(choice.value is not False for choice in choices if choice.key == "OUTPUT.BACKGROUND")
    sheet = draw_sheet(split.pairs, split.measured, form, classes, background)
    with atomic_write(folder / SHEET) as temporary:
        cv2.imwrite(str(temporary), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    train, val = (len(split.pairs[name]) for name in SPLITS)
    described = f"{counted(train, 'image')} for training, {val} for validation, {split.reason}"
    text = experiment_yaml(choices, options.name, options.images, options.masks, described)
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return Plan(path, folder / SHEET, notes)


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
    parser.add_argument("images", help="folder or .txt list of images, or {split} in the path for two folders")
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
    parser.add_argument(
        "--channels", nargs="+", help="an image is several files, such as t1 t2 flair: see DATASET.CHANNELS"
    )
    parser.add_argument(
        "--class-masks",
        nargs="+",
        help="a mask is a file for each of these classes, such as liver tumour; after the word stack: a file holds a "
        "plane for each: see DATASET.CLASS_MASKS",
    )
    parser.add_argument(
        "--label-sets",
        nargs="+",
        metavar="VALUE=NAMES",
        help="a mask value stands for several classes, such as 1=liver 2=liver,tumour, or for none of them (3=): see "
        "DATASET.LABEL_SETS",
    )
    parser.add_argument(
        "--slices-around",
        type=int,
        default=0,
        metavar="NUMBER",
        help="images are slices of volumes: so many neighbours on either side become channels",
    )
    parser.add_argument("--val", type=float, default=0.2, help="share for validation (default 0.2)")
    parser.add_argument("--size", type=int, nargs=2, metavar=("HEIGHT", "WIDTH"), help="input size of the network")
    parser.add_argument("--model", choices=FROM_SCRATCH, help=f"default {DEFAULT}")
    parser.add_argument(
        "--weights",
        help="start with a MobileNetV2 trained on ImageNet: imagenet, which downloads it, or its file (.h5)",
    )
    parser.add_argument(
        "--init",
        metavar="RUN",
        help="take the network of a run, or of another program (.pt, .safetensors, .h5), and start with its weights",
    )
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
        if options.slices_around < 0:
            raise UserError(f"--slices-around {options.slices_around} must be 0 or more.")
        if options.hours is not None and (options.no_timing or not options.hours > 0):
            raise UserError(f"--hours {options.hours:g} must be above 0, and needs the timing: leave --no-timing out.")
        written = plan(options)
    print(written.path.read_text(), end="")
    print("", *written.notes, f"saved {written.path}", f"saved {written.sheet}: see whether the masks fit", sep="\n")
    print(f"Next: python train.py +experiment={options.name}")


if __name__ == "__main__":
    main()
