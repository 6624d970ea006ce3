"""Split images and masks into folds, or into training, validation and test, as lists of files.

    python data_preparation/split.py data/images data/mask data/folds --folds 5
    python train.py -m DATASET.FOLDS=data/folds DATASET.FOLD=0,1,2,3,4
    python data_preparation/split.py data/images data/mask data/lists --fractions 0.7 0.15 0.15
    python train.py DATASET.TRAIN.IMAGES_PATH=data/lists/train_images.txt ...

Images of one volume or patient stay together: those with the same name before the last number, or as --group says. All
parts get similar shares of images with no, little and much foreground (scikit-learn's StratifiedGroupKFold). A list has
one path per line, relative to the folder of the list.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that this file runs as a script from any folder

from data_generators.files.channels import find_cases
from data_preparation.common.command_line import errors_in_one_line, make_split_parser
from data_preparation.common.file_lists import Lists, name_lists, write_lists
from data_preparation.common.groups import VOLUME, describe_groups, group_of
from data_preparation.common.image_files import class_names, list_pairs
from data_preparation.common.splits import SPLITS
from data_preparation.common.stratified_splits import assign_fractions, assign_parts, foreground_shares
from utils.base.errors import UserError
from utils.base.wording import counted


def split(
    images: str | Path,
    masks: str | Path,
    output: str | Path,
    folds: int | None = None,
    fractions: Sequence[float] | None = None,
    group: str | None = VOLUME,
    background: int = 0,
    seed: int = 5,
    workers: int | None = None,
    quiet: bool = True,
    channels: Sequence[str] | None = None,
    class_masks: Sequence[str] | None = None,
) -> Lists:
    """Write list files and return what is in them.

    Args:
        images, masks: folders.
        output: folder of the lists. Lists of an earlier split there are replaced, all together.
        folds: how many; each image is in the validation list of one fold. Either this or `fractions`.
        fractions: shares of train, val and, optionally, test; they sum to 1.
        group: see `data_preparation.common.groups.group_of`.
        background: pixel value that is not foreground.
        seed: the same seed gives the same lists.
        workers: processes that read masks; None is one per core.
        quiet: no progress bar.
        channels: DATASET.CHANNELS, if an image is several files; all of them are in the list.
        class_masks: see `data_preparation.common.image_files.class_names`.

    Returns:
        {list name: files}

    Raises:
        UserError: an image without a mask, too few groups, or fractions that do not sum to 1.
    """
    check_parts(folds, fractions)
    pairs = list_pairs(Path(images), Path(masks), channels, class_masks)
    groups = [group_of(image.stem, group) for image, _ in pairs]
    needed = folds or sum(share > 0 for share in fractions or ())
    if len(set(groups)) < max(needed, 2):
        raise UserError(
            f"{counted(len(pairs), 'image')} of {counted(len(set(groups)), 'group')}, such as {groups[0]}: "
            f"{counted(max(needed, 2), 'group')} are needed. Define other groups with --group: none, or a regular "
            "expression."
        )
    shares = foreground_shares([mask for _, mask in pairs], background, workers, quiet, class_names(class_masks))
    lists: Lists = {}
    if folds:
        part_of = assign_parts(groups, shares, folds, seed)
        for fold in range(folds):
            lists |= name_lists(pairs, {"train": part_of != fold, "val": part_of == fold}, fold)
    elif fractions:
        split_of = assign_fractions(groups, shares, fractions, seed)
        splits = {name: split_of == index for index, name in enumerate(SPLITS[: len(fractions)])}
        lists = name_lists(pairs, splits, None)
    write_lists(Path(output), lists)
    return lists


def check_parts(folds: int | None, fractions: Sequence[float] | None) -> None:
    """Raise a UserError for folds or fractions that make no split."""
    if (folds is None) == (fractions is None):
        raise UserError("Give either --folds or --fractions.")
    if folds is not None and folds < 2:
        raise UserError(f"--folds {folds} must be at least 2.")
    if fractions is not None and (
        len(fractions) not in (2, 3) or min(fractions) < 0 or not fractions[0] or abs(sum(fractions) - 1) > 1e-6
    ):
        raise UserError(
            f"--fractions {fractions}: give the shares of train, val and, optionally, test; their sum must be 1."
        )


def names_of(files: Sequence[Path], options: Mapping[str, Any]) -> list[str]:
    """The names of the images in a list, without ending."""
    if options["channels"] is None:
        return [path.stem for path in files]
    return [image.stem for image in find_cases(files, options["channels"], Path(options["images"])).images]


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the lists and print how many images each split has."""
    parser = make_split_parser(__doc__, "folder for the lists")
    parser.add_argument("--folds", type=int, help="number of folds")
    parser.add_argument(
        "--fractions", type=float, nargs="+", help="shares of train, val and test, such as 0.7 0.15 0.15"
    )
    options = vars(parser.parse_args(arguments))
    with errors_in_one_line():
        lists = split(**options, quiet=False)
        names = {name: names_of(files, options) for name, files in lists.items() if name.endswith("images.txt")}
        stems = {stem for found in names.values() for stem in found}
        print(describe_groups([group_of(stem, options["group"]) for stem in sorted(stems)], options["group"]))
        for name, found in names.items():
            groups = len({group_of(stem, options["group"]) for stem in found})
            print(f"{name.removesuffix('_images.txt')}: {counted(len(found), 'image')} of {counted(groups, 'group')}")
        print(f"{counted(len(lists), 'list')} in {options['output']}")


if __name__ == "__main__":
    main()
