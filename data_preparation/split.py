"""Split a folder of images and masks into folds, or into training, validation and test, as lists of files.

    python data_preparation/split.py data/images data/mask data/folds --folds 5
    python train.py -m DATASET.FOLDS=data/folds DATASET.FOLD=0,1,2,3,4
    python data_preparation/split.py data/images data/mask data/lists --fractions 0.7 0.15 0.15
    python train.py DATASET.TRAIN.IMAGES_PATH=data/lists/train_images.txt ...

Images of one volume or patient (what the name says before its last number; or --group) stay together. The parts get
alike shares of images without foreground, with little and with much of it (scikit-learn's StratifiedGroupKFold).
A list holds one path a line, relative to the folder of the list.
"""

import argparse
import functools
import os
import shutil
import sys
import tempfile
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run as a script, the rooms are one folder up

import numpy as np
from tqdm import tqdm

from data_generators.files.pairing import find_mask, is_mask_name
from data_generators.reading.masks import read_mask
from data_preparation.common.command_line import Parser, errors_in_one_line
from data_preparation.common.dataset_writer import CHUNK
from data_preparation.common.groups import VOLUME, describe_groups, group_of
from data_preparation.common.listing import list_pictures, refuse
from data_preparation.common.parallel import run_parallel
from data_preparation.common.splits import SPLITS
from utils.base.errors import UserError
from utils.config.folds import list_name

SIZES = 4  # images with foreground are told apart by its share, in so many classes
FINE = (2, 3, 4, 5, 10, 20, 50, 100)  # parts that fractions are put together from, the first number that they fit


def split(
    images, masks, output, folds=None, fractions=None, group=VOLUME, background=0, seed=5, workers=None, quiet=True
):
    """Write list files and return what is in them.

    Args:
        images, masks: folders.
        output: folder of the lists. Lists of an earlier split there are replaced, all together.
        folds: how many; each image is in the validation list of one of them. Either this or `fractions`.
        fractions: shares of train, val and, where there is a third, test; they sum to 1.
        group: see `data_preparation.common.groups.group_of`.
        background: pixel value that does not count as foreground.
        seed: the same seed gives the same lists.

    Returns:
        {list name: list of Path}

    Raises:
        UserError: an image without a mask, too few groups, or shares that do not sum to 1.
    """
    check_shares(folds, fractions)
    pairs = find_files(Path(images), Path(masks))
    groups = [group_of(image.stem, group) for image, _ in pairs]
    needed = folds if folds else sum(share > 0 for share in fractions)
    if len(set(groups)) < max(needed, 2):
        raise UserError(
            f"The {len(pairs)} images belong to {len(set(groups))} group(s), such as {groups[0]}; {max(needed, 2)} are "
            "needed. Tell what belongs together with --group: none, or a regular expression."
        )
    shares = foreground_shares([mask for _, mask in pairs], background, workers, quiet)
    if folds:
        part_of = assign_parts(groups, shares, folds, seed)
        lists = {}
        for fold in range(folds):
            chosen = {"train": part_of != fold, "val": part_of == fold}
            lists.update(name_lists(pairs, chosen, fold))
    else:
        splits = assign_fractions(groups, shares, fractions, seed)
        lists = name_lists(pairs, {name: splits == index for index, name in enumerate(SPLITS[: len(fractions)])}, None)
    write_lists(Path(output), lists)
    return lists


def check_shares(folds, fractions):
    if (folds is None) == (fractions is None):
        raise UserError("Give either --folds or --fractions.")
    if folds is not None and folds < 2:
        raise UserError(f"--folds {folds} must be at least 2.")
    if fractions is not None and (
        len(fractions) not in (2, 3) or min(fractions) < 0 or not fractions[0] or abs(sum(fractions) - 1) > 1e-6
    ):
        raise UserError(f"--fractions {fractions}: give the shares of train, val and test, or of the first two; sum 1.")


def find_files(images, masks):
    """The pairs `(image, mask)` of two folders, which may be the same, in the order of the names."""
    pictures, _ = list_pictures(images)
    labels, _ = list_pictures(masks)
    if pictures == labels:
        pictures, labels = ([path for path in labels if is_mask_name(path.stem) == wanted] for wanted in (False, True))
    if not pictures:
        raise UserError(f"{images}: the folder holds no images.")
    by_stem = {}
    for path in labels:
        by_stem.setdefault(path.stem, []).append(path)
    pairs = [(image, find_mask(image, by_stem)) for image in pictures]
    refuse([f"{image} has no mask in {masks}." for image, mask in pairs if mask is None])
    return pairs


def foreground_shares(masks, background, workers, quiet):
    """The share of pixels of each mask that are not background: float array `(masks,)`."""
    work = functools.partial(foreground_share, background=background)
    with tqdm(run_parallel(work, masks, workers, CHUNK), "masks", len(masks), disable=quiet, leave=False) as bar:
        shares = dict(bar)
    return np.array([shares[mask] for mask in masks])


def foreground_share(path, background):
    return float(np.mean(read_mask(path) != background))


def assign_fractions(groups, shares, fractions, seed):
    """The place in `fractions` of each image, 0 for the first of them: int array; a group is in one."""
    parts = count_parts(fractions, len(set(groups)))
    ends = np.cumsum(allot(fractions, parts))
    return np.searchsorted(ends, assign_parts(groups, shares, parts, seed), side="right")


def assign_parts(groups, shares, parts, seed):
    """The part of each image, 0 to `parts - 1`: int array; a group is in one part."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    strata = stratify(shares, parts)
    each_its_own = len(set(groups)) == len(groups)  # the same result in a fraction of the time
    kind = StratifiedKFold if each_its_own else StratifiedGroupKFold
    if np.bincount(strata).max() < parts:  # scikit-learn wants one stratum that fills all parts
        strata = np.zeros_like(strata)
    part_of = np.zeros(len(groups), int)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that a stratum has fewer images than parts
        folds = kind(parts, shuffle=True, random_state=seed).split(np.zeros(len(groups)), strata, groups)
        for part, (_, chosen) in enumerate(folds):
            part_of[chosen] = part
    return part_of


def stratify(shares, parts):
    """0 without foreground, else 1 to 4 by its share, as long as each class has an image for each part."""
    present = shares > 0
    sizes = int(np.clip(present.sum() // parts, 1, SIZES))
    limits = np.quantile(shares[present], np.arange(1, sizes) / sizes) if present.any() else []
    return np.where(present, 1 + np.searchsorted(limits, shares, side="right"), 0)


def count_parts(fractions, groups):
    """How many equal parts to make for shares: of a number that suits, not more than groups."""
    fitting = (parts for parts in FINE if all(abs(share * parts - round(share * parts)) < 1e-6 for share in fractions))
    return min(next(fitting, FINE[-1]), groups)


def allot(fractions, parts):
    """How many of the parts each share gets: at least one where it is not 0."""
    exact = np.array(fractions) * parts
    counts = np.where(exact > 0, np.maximum(np.floor(exact + 1e-9), 1), 0).astype(int)
    while counts.sum() != parts:
        step = 1 if counts.sum() < parts else -1
        allowed = (exact > 0) & ((step > 0) | (counts > 1))
        counts[np.argmax(np.where(allowed, step * (exact - counts), -np.inf))] += step
    return counts


def name_lists(pairs, chosen, fold):
    """`{list name: files}`; chosen is `{split: bool array}`. Empty splits have no list."""
    lists = {}
    for name, mask in chosen.items():
        for position, kind in enumerate(("images", "masks")):
            files = [pair[position] for pair, wanted in zip(pairs, mask, strict=True) if wanted]
            if files:
                lists[list_name(fold, name, kind)] = files
    return lists


def write_lists(output, lists):
    """Write the lists aside, then move them into place; lists of an earlier split that are not among them go."""
    output.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=".split.", dir=output))
    try:
        for name, files in lists.items():
            lines = [os.path.relpath(os.path.abspath(path), os.path.abspath(output)) for path in files]
            (aside / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
        for path in output.glob("*_*.txt"):
            if path.name not in lists and path.name.removesuffix(".txt").endswith(("_images", "_masks")):
                path.unlink()
        for name in lists:
            os.replace(aside / name, output / name)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def make_parser(description, output):
    """The options of a command that divides images and masks; `output` is the help on the folder it writes."""
    parser = Parser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", help="folder of images")
    parser.add_argument("masks", help="folder of masks")
    parser.add_argument("output", help=output)
    parser.add_argument(
        "--group", default=VOLUME, help="volume (default), none, or a regular expression whose first group counts"
    )
    parser.add_argument("--background", type=int, default=0, help="pixel value that is no foreground (default 0)")
    parser.add_argument("--seed", type=int, default=5, help="of the division: the same seed, the same (default 5)")
    parser.add_argument("--workers", type=int, default=None, help="processes that read masks (default: one per core)")
    return parser


def main(arguments=None):
    parser = make_parser(__doc__, "folder that gets the lists")
    parser.add_argument("--folds", type=int, help="number of folds")
    parser.add_argument(
        "--fractions", type=float, nargs="+", help="shares of train, val and test, such as 0.7 0.15 0.15"
    )
    options = vars(parser.parse_args(arguments))
    with errors_in_one_line():
        lists = split(**options, quiet=False)
        stems = {path.stem for name, files in lists.items() if name.endswith("images.txt") for path in files}
        print(describe_groups([group_of(stem, options["group"]) for stem in sorted(stems)], options["group"]))
        for name, files in lists.items():
            if name.endswith("images.txt"):
                groups = len({group_of(path.stem, options["group"]) for path in files})
                print(f"{name.removesuffix('_images.txt')}: {len(files)} images of {groups} groups")
        print(f"{len(lists)} lists in {options['output']}")


if __name__ == "__main__":
    main()
