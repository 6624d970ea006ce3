"""Look at a folder of images and masks and write an experiment that trains on them.

    python data_preparation/plan.py cells/images cells/masks cells
    python train.py +experiment=cells

    python data_preparation/plan.py 'isbi/{split}/images' 'isbi/{split}/mask' cells    # train and val are there

It writes configs/experiment/NAME.yaml, each choice with what it was derived from, and lists of the files of each
split in data/NAME/. A mask belongs to an image by its name (README, "Your own data"); its pixel values are the classes.
"""

import argparse
import json
import math
import os
import re
import sys
from collections import Counter
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run as a script, the rooms are one folder up

import numpy as np
from omegaconf import OmegaConf

from data_generators.files.pairing import find_pairs
from data_preparation.common.command_line import Parser, errors_in_one_line
from data_preparation.common.dataset_report import median_frequency
from data_preparation.common.groups import VOLUME, describe_groups, group_of
from data_preparation.common.survey import count_values, survey
from data_preparation.split import assign_fractions
from utils.base.errors import UserError
from utils.base.files import atomic_write
from utils.config import load_config
from utils.config.checks import check_config
from utils.config.defaults import CONFIGS

# What a training step takes in memory, measured on a CPU with float32: GiB whatever the image, and kB for each pixel of
# a batch. Peak of the process at 320x320, batch 2 (and 6).
MEMORY = {"tiny_unet3plus": (1.1, 4.0), "unet": (1.4, 7.3), "unet3plus": (1.4, 19.4)}
LARGEST_SIDE = 512  # larger images are cut: more pixels bring less than more updates do
SMALLEST_CUT = 256  # pixels that a cut should show around an object
MOST_CLASSES = 64  # more values than that in masks are no classes
RARE = 0.05  # share of foreground pixels below which batches are filled up with it
UPDATES = 3000
SPLITS = ("train", "val")
COLOUR = "colour images"


class Size(NamedTuple):
    """Input of the network, whether images are cut or resized to it, size of a batch, and why."""

    height: int
    width: int
    cut: bool
    resize: bool
    how: str
    batch: int
    how_batch: str


def plan(options):
    """Decide and write. Returns the path of the experiment.

    Raises:
        UserError: bad pairs, an experiment of that name, or a choice that only the user can make; names its option.
    """
    if not re.fullmatch(r"\w[\w-]*", options.name):
        raise UserError(f"NAME={options.name}: letters, digits, - and _ only.")
    path = CONFIGS / "experiment" / f"{options.name}.yaml"
    if path.exists() and not options.force:
        raise UserError(f"{path} exists. Choose another name, or replace it with --force.")
    splits, found, how_split = find_splits(options)
    choices = decide(options, splits, found, how_split)
    folder = Path("data", options.name).resolve()
    lists = list_files(splits, folder)
    choices[1:1] = [(key, str(file), "") for key, (file, _) in lists.items()]
    choices = [choice for choice in choices if choice[1] is not None]
    check(choices)
    for file, text in lists.values():
        with atomic_write(file) as temporary:
            temporary.write_text(text, encoding="utf-8")
    with atomic_write(path) as temporary:
        temporary.write_text(as_yaml(choices, options), encoding="utf-8")
    return path


def list_files(splits, folder):
    """`{key of the config: (list file, its text)}`, absolute paths."""
    lists = {}
    for split, pairs in splits.items():
        for key, files in zip(("IMAGES_PATH", "MASK_PATH"), zip(*pairs, strict=True), strict=True):
            text = "".join(f"{file.resolve()}\n" for file in files)
            lists[f"DATASET.{split.upper()}.{key}"] = (folder / f"{split}_{key.split('_')[0].lower()}.txt", text)
    return lists


def find_splits(options):
    """Return `(pairs, what they hold, how they were split)`; the first two by split: {"train": list, "val": list}."""
    folders = (options.images, options.masks)
    if any("{split}" in folder for folder in folders):
        if not all("{split}" in folder for folder in folders):
            raise UserError("{split} must be in IMAGES and in MASKS, or in neither.")
        splits = {name: pairs_of(*(folder.replace("{split}", name) for folder in folders)) for name in SPLITS}
        return splits, {name: survey(pairs, options.quiet) for name, pairs in splits.items()}, "as the folders say"
    pairs = pairs_of(*folders)
    groups, how = find_groups([pair.image.stem for pair in pairs], options.group)
    if len(set(groups)) < 2:
        raise UserError(
            f"All {len(groups)} images are of one group: they cannot be split. Name other groups with --group."
        )
    found = survey(pairs, options.quiet)
    sides = assign_fractions(groups, foreground_shares(found, options), (1 - options.val, options.val), options.seed)
    splits, held = ({name: [] for name in SPLITS} for _ in range(2))
    for pair, holding, side in zip(pairs, found, sides.tolist(), strict=True):
        splits[SPLITS[side]].append(pair)
        held[SPLITS[side]].append(holding)
    return splits, held, how


def foreground_shares(found, options):
    """The share of pixels of each mask that do not have the first value of --values, or the smallest there is."""
    background = options.values[0] if options.values else np.flatnonzero(count_values(found)[0])[0]
    return np.array([1 - pair.values[background : background + 1].sum() / pair.values.sum() for pair in found])


def find_groups(stems, pattern):
    """Return `(the group of each name, one line that tells about them)`."""
    if pattern is not None:
        groups = [group_of(stem, pattern) for stem in stems]
        return groups, describe_groups(groups, pattern)
    # Wider than the volumes that the other commands know, as a plan is shown before anything comes of it: seq_f0930.
    matches = [re.fullmatch(r"(.+)[_-][A-Za-z]*\d+", stem) for stem in stems]
    groups = [match.group(1) for match in matches if match]
    # Numbers that stand alone, or one name for all, group nothing.
    if len(groups) < len(stems) or len(set(groups)) < 2 or len(set(groups)) > len(stems) / 2:
        groups = stems
    return groups, describe_groups(groups, VOLUME)


def pairs_of(images, masks):
    cfg = load_config()
    cfg.DATASET.TRAIN.IMAGES_PATH, cfg.DATASET.TRAIN.MASK_PATH = (str(Path(path).resolve()) for path in (images, masks))
    for name, path in (("IMAGES", images), ("MASKS", masks)):
        if not Path(path).is_dir():
            raise UserError(f"{name}={path}: there is no such folder.")
    return find_pairs(cfg, "train")


def decide(options, splits, found, how_split):
    """The choices: list of (key, value, what it was derived from); a value of None is left to its default."""
    everything = found["train"] + found["val"]
    pixels, images, _ = count_values(everything)
    values, ignored, how_classes = find_classes(options, np.flatnonzero(pixels).tolist())
    how_ignored = (
        "--ignore"
        if options.ignore is not None
        else "255 after 0, 1, ... usually means not labelled; else --ignore none"
    )
    train_pixels, _, shares = (counts[values] for counts in count_values(found["train"]))
    foreground = train_pixels[1:].sum() / max(train_pixels.sum(), 1)
    with_foreground = np.mean([holds(pair, values[1:]) for pair in found["train"]])
    channels, how_channels = find_channels(everything, splits["train"])
    size = find_size(options, found)
    wants_foreground = with_foreground < 0.5 or (foreground < RARE and size.cut)
    steps = math.ceil(len(splits["train"]) / size.batch)
    epochs = min(max(round(UPDATES / steps / 10) * 10, 20), 300)
    labelled = pixels[values].sum()
    share_of = [f"{value}: {pixels[value] / labelled:.2%} in {int(images[value])} masks" for value in values]
    return [
        ("# split", f"{len(splits['train'])} images for training, {len(splits['val'])} for validation", how_split),
        ("DATASET.IGNORE_LABEL", ignored, how_ignored),
        ("DATASET.LABEL_VALUES", None if values == list(range(len(values))) else values, how_classes),
        ("DATASET.CROP.MODE", "random" if size.cut else None, "details are kept; validation takes the centre"),
        ("DATASET.FOREGROUND_FRACTION", 0.5 if wants_foreground else None,
         f"{with_foreground:.0%} of the training masks hold foreground, {foreground:.2%} of their pixels"),
        ("PREPROCESS_DATA.RESIZE.VALUE", size.resize or None, "see INPUT"),
        ("MODEL.TYPE", options.model, "trains without a GPU too; with one try --model unet3plus"
         if options.model == "tiny_unet3plus" else "--model"),
        ("MODEL.WEIGHTS_FILE_NAME", options.name, ""),
        ("SHOW_CENTER_CHANNEL_IMAGE", False if how_channels == COLOUR else None, "colours"),
        ("INPUT.HEIGHT", size.height, size.how),
        ("INPUT.WIDTH", size.width, ""),
        ("INPUT.CHANNELS", channels, how_channels),
        ("OUTPUT.CLASSES", len(values), "; ".join(share_of[:4] + ["..."] * (len(values) > 4))),
        ("HYPER_PARAMETERS.BATCH_SIZE", size.batch, size.how_batch),
        ("HYPER_PARAMETERS.EPOCHS", epochs, f"about {UPDATES} updates in all, but 20 to 300 epochs"),
        ("HYPER_PARAMETERS.LEARNING_RATE", 1e-3, "usual with Adam for networks that start untrained"),
        ("LR_SCHEDULE.NAME", "cosine", "needs no knowledge of the data"),
        ("CALLBACKS.EARLY_STOPPING.PATIENCE", max(epochs // 3, 10), "a third of the epochs"),
        ("LOSS_OPTIONS.cce.class_weights", *find_weights(shares)),
    ]  # fmt: skip


def find_weights(shares):
    """Return `(class weights or None, how)` from the shares of the classes where they occur."""
    present = shares[shares > 0]
    ratio = present.max() / present.min()
    if len(shares) < 3 or ratio < 10:
        return None, ""
    weights = [float(f"{weight:.3g}") for weight in np.clip(median_frequency(shares), 0.1, 10)]
    how = f"where they occur, the commonest class has {ratio:.0f} times the pixels of the rarest"
    return weights, f"{how}: median-frequency balancing, 0.1 to 10"


def holds(pair, values):
    """Whether the mask of a pair has a pixel of one of the values."""
    return any(value < len(pair.values) and pair.values[value] for value in values)


def find_classes(options, values):
    """Return `(pixel value of each class, ignored value or None, how)`."""
    if options.values:
        missing = sorted(set(values) - set(options.values) - {options.ignore})
        if missing:
            raise UserError(f"--values {options.values}: the masks hold {missing[:10]} too. Add them, or --ignore one.")
        return options.values, options.ignore if options.ignore != "none" else None, "--values"
    if len(values) > MOST_CLASSES:
        raise UserError(
            f"The masks hold {len(values)} different values, too many for classes. Name the value of each class with "
            "--values (JPEG masks: save them again as PNG)."
        )
    ignored = None if options.ignore == "none" else options.ignore
    if options.ignore is None and values[-1] == 255 and len(values) > 2 and values[:-1] == list(range(len(values) - 1)):
        ignored = 255
    values = [value for value in values if value != ignored]
    if len(values) < 2:
        raise UserError(
            f"The masks hold only {values}: there is nothing to tell apart. Name the classes with --values."
        )
    shown = ", ".join(map(str, values[:12])) + (" ..." if len(values) > 12 else "")
    return values, ignored, f"the masks hold {shown}"


def find_channels(found, pairs):
    counts = Counter(pair.channels for pair in found)
    if set(counts) == {3} and all(re.fullmatch(r"image_.+_\d+", pair.image.stem) for pair in pairs):
        return 3, "slices with their neighbours, as their names say"
    if all(pair.is_grey for pair in found) and max(counts) <= 4:
        return 1, "all images are grey"
    if max(counts) <= 4:
        return 3, COLOUR
    if len(counts) > 1:
        raise UserError(f"The images have {' or '.join(map(str, sorted(counts)))} channels; they must agree.")
    return max(counts), "as stored"


def find_size(options, found):
    """The `Size` that the images and the memory allow.

    Raises:
        UserError: not even small images fit.
    """
    sizes = np.array([pair.size for pair in found["train"] + found["val"]])
    low, high = sizes.min(axis=0), sizes.max(axis=0)
    fixed, per_pixel = MEMORY[options.model]
    memory = options.memory or available_memory()
    room = max(memory / 2 - fixed, 0) * 2**30 / (per_pixel * 1000)  # pixels of a batch in half of the memory
    if room < 2 * 128 * 128:
        raise UserError(
            f"{memory:.1f} GiB of memory are too little for {options.model}: a step takes {fixed} GiB and {per_pixel} "
            "kB for each pixel. Choose a smaller --model, or say with --memory how much there is."
        )
    side = min(LARGEST_SIDE, int(math.sqrt(room / 2)) // 32 * 32)  # two images in a batch
    one_size = (low == high).all()
    described = f"images of {low[0]}x{low[1]}" + ("" if one_size else f" to {high[0]}x{high[1]}")
    if options.size:
        size, how = np.array(options.size), f"--size; {described}"
    elif one_size and low.prod() <= side * side:
        size, how = low, f"all {described}"
    elif (low >= min(side, SMALLEST_CUT)).all():
        size, how = np.minimum(low, side), f"{described}, cut to what fits into memory and at most {LARGEST_SIDE}"
    else:
        size = np.minimum(np.median(sizes, axis=0) // 32 * 32, side).clip(32)
        how = f"{described}, some too small to cut: their median in steps of 32"
    height, width = (int(side) for side in size)
    cut = bool((low >= size).all() and (high > size).any())
    batch = 2 ** int(math.log2(max(min(room // (height * width), 8, len(found["train"]) // 8), 1)))
    takes = fixed + batch * height * width * per_pixel * 1000 / 2**30
    how_batch = f"a step takes about {takes:.1f} of {memory:.1f} GiB; at most 8, and 8 updates in an epoch"
    return Size(height, width, cut, not cut and not (sizes == size).all(), how, batch, how_batch)


def available_memory():
    """GiB of memory that are free now; where the system does not say, all there is."""
    try:
        text = Path("/proc/meminfo").read_text()
        return int(re.search(r"MemAvailable:\s+(\d+)", text).group(1)) / 2**20
    except (OSError, AttributeError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def check(choices):
    """The choices must be a config that training takes; UserError where they are not."""
    cfg = load_config(["loss=cce_dice"])
    for key, value, _ in choices[1:]:
        OmegaConf.update(cfg, key, value)
    check_config(cfg)


def as_yaml(choices, options):
    """The experiment as text, a comment beside each choice that says where it comes from."""
    (_, counted, how), *choices = choices
    lines = [
        "# @package _global_",
        "# Planned by data_preparation/plan.py from",
        f"# {options.images} and",
        f"# {options.masks}:",
        f"# {counted}, {how}.",
        f"# train: python train.py +experiment={options.name}",
        "# augmentation: none here; flips are safe where an image has no fixed up and left",
        "defaults:",
        "  - override /loss: cce_dice            # cross-entropy and Dice: sound for balanced and for rare classes",
        "",
    ]
    tree = {}
    for key, value, how in choices:
        *parents, last = key.split(".")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = (value, how)
    return "\n".join(lines + write_level(tree, "")) + "\n"


def write_level(tree, indent):
    lines = []
    for key, value in tree.items():
        if isinstance(value, dict):
            lines += [f"{indent}{key}:", *write_level(value, indent + "  ")]
            continue
        value, how = value
        # JSON is YAML: it quotes what needs quotes.
        line = f"{indent}{key}: {json.dumps(value)}"
        if how and len(how) > 78:
            lines.append(f"{indent}# {how}")
            how = ""
        lines.append(f"{line.ljust(39)} # {how}" if how else line)
    return lines


def ignore_value(text):
    if text == "none":
        return text
    if not text.isdigit() or int(text) > 255:
        raise argparse.ArgumentTypeError(f"{text} must be 0 to 255, or none")
    return int(text)


def main(arguments=None):
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", help="folder of images, or {split} for two folders, train and val")
    parser.add_argument("masks", help="folder of masks, likewise")
    parser.add_argument("name", help="of the experiment")
    parser.add_argument("--values", type=int, nargs="+", help="pixel value of each class, background first")
    parser.add_argument("--ignore", type=ignore_value, help="pixel value that is not labelled (none: all are classes)")
    parser.add_argument(
        "--group", help="what belongs together: none, volume, or a regular expression whose first group counts"
    )
    parser.add_argument("--val", type=float, default=0.2, help="share for validation (default 0.2)")
    parser.add_argument("--size", type=int, nargs=2, metavar=("HEIGHT", "WIDTH"), help="of the network's input")
    parser.add_argument("--model", choices=MEMORY, default="tiny_unet3plus", help="default tiny_unet3plus")
    parser.add_argument("--memory", type=float, help="GiB that training may find (default: what is free now)")
    parser.add_argument("--seed", type=int, default=5, help="of the split (default 5)")
    parser.add_argument("--force", action="store_true", help="replace an experiment of that name")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    options = parser.parse_args(arguments)
    with errors_in_one_line():
        if not 0 < options.val < 1:
            raise UserError(f"--val {options.val} must be between 0 and 1.")
        path = plan(options)
    print(path.read_text(), end="")
    print(f"\nsaved {path}\nNext: python train.py +experiment={options.name}")


if __name__ == "__main__":
    main()
