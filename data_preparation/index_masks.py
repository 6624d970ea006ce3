"""Convert masks that are images: class indices (CamVid, Cityscapes), other gray values, colours, or label images.

    python data_preparation/index_masks.py 'CamVid/{split}' 'CamVid/{split}annot' data
    python data_preparation/index_masks.py 'leftImg8bit/{split}' 'gtFine/{split}' data \\
        --image-suffix _leftImg8bit --mask-suffix _gtFine_labelTrainIds
    python data_preparation/index_masks.py 701_StillsRaw_full LabeledApproved_full data \\
        --mask-suffix _L --colours label_colors.txt --ignore 255 --group '(.+)_f?\\d+'
    python data_preparation/index_masks.py 'CHASE/*.jpg' 'CHASE/*_1stHO.png' data --values 0 255 --group 'Image_(\\d+)'
    python data_preparation/index_masks.py cells/images cells/labels data --numbers --objects --border 1

IMAGES and MASKS are folders, in which a mask has the name of its image, patterns, in which `*` stands for the same in
both, or a file each, such as stacks of pages. Masks of two classes that JPEG has blurred need --threshold 128.
`{split}` stands for train, val and test: the published split is kept. Without it --val and --test draw one, by the
groups that --group defines. Subfolders are searched too. A colour table has one line per class with its red, green and
blue value. With headings such as id,name,r,g,b the columns are found by name, and id is the class; without, the classes
are numbered in the order of the lines, and a line with any other number is refused. With --numbers pixel values are
numbers of objects, in TIFF of 32 bit too: all objects become class 1, and --border N keeps those apart that touch.
"""

import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that this file runs as a script from any folder

import numpy as np

from data_generators.files.image_file import ImageFile
from data_generators.reading.decoding import decode
from data_generators.reading.headers import is_grey_png, read_whole
from data_generators.reading.mask_values import read_values
from data_generators.reading.masks import read_mask
from data_generators.reading.objects import read_objects
from data_preparation.common.colour_tables import Colours, colours_of, names_of_classes, read_table
from data_preparation.common.command_line import dataset_command
from data_preparation.common.dataset_writer import Conversion, MadeMask, NewPair
from data_preparation.common.groups import group_of
from data_preparation.common.image_files import Skipped, list_images, page_pairs_of, raise_problems
from data_preparation.common.objects import OBJECT_OPTIONS, ObjectMasks
from data_preparation.common.patterns import name_matches, without
from data_preparation.common.splits import existing_path, paths_by_split, with_splits
from utils.base.errors import UserError


class IndexMask(NamedTuple):
    """A mask file, and how its pixels become classes: by colour, by gray value, or as they are.

    ignore: class of colours and gray values that are not listed; None makes them an error. threshold: gray values from
    there on are class 1, those below class 0. numbers: what becomes of objects, if pixel values are their numbers.
    """

    path: ImageFile
    colours: Colours | None
    values: list[int] | None
    ignore: int | None
    threshold: int | None
    numbers: ObjectMasks | None = None


def collect(options: Namespace) -> Conversion:
    """Find images and masks with the same name below two folders."""
    check_values(options)
    table = read_table(existing_path(options.colours)) if options.colours else []
    colours = colours_of(table) or None
    chosen = ObjectMasks.from_options(options, 2) if options.numbers else None
    names = chosen.class_names(["background", "object"]) if chosen else names_of_classes(table)
    further_sources = (options.colours,) if options.colours else ()
    pairs: list[NewPair] = []
    skipped: list[Skipped] = []
    problems: list[str] = []
    for split, (images, masks) in paths_by_split(options.images, options.masks).items():
        mask_files, skipped_masks = list_named(masks, options.mask_suffix)
        image_files, skipped_images = list_named(images, options.image_suffix)
        image_files = without(image_files, mask_files)
        skipped += skipped_images + skipped_masks
        alone = [path for name, path in image_files.items() if name not in mask_files]
        if options.labelled_only:
            skipped += [(path, "has no mask") for path in alone]
        else:
            problems += [f"{path} has no mask. Leave such images out with --labelled-only." for path in alone]
        problems += [f"{path} has no image." for name, path in mask_files.items() if name not in image_files]
        for name in sorted(image_files.keys() & mask_files):
            base = Path(name).name or image_files[name].stem
            for number, (image, path) in enumerate(pages := page_pairs_of([(image_files[name], mask_files[name])])):
                mask = IndexMask(path, colours, options.values, options.ignore, options.threshold, chosen)
                target = base if len(pages) == 1 else f"{base}_{number}"
                pairs.append(NewPair(split, image, target, target, mask, (path, *further_sources)))
    raise_problems(problems)
    if options.ignore is not None and (colours or options.values):
        check_not_all_ignored(pairs)
    groups = [group_of(pair.name, options.group) for pair in pairs]
    pairs = with_splits(pairs, groups, options)
    return Conversion(pairs, make_mask, skipped, names, objects=bool(chosen and chosen.objects))


def check_not_all_ignored(pairs: Sequence[NewPair]) -> None:
    """Raise a UserError if no mask contains a listed colour or value; reads masks up to the first that does."""
    for pair in pairs:
        path, colours, values = pair.annotation[:3]
        listed = ~find_colours(path, colours)[1] if colours else np.isin(read_mask(path), values)
        if listed.any():
            return
    if pairs:
        option = "--colours" if pairs[0].annotation.colours else "--values"
        raise UserError(
            f"{option}: no mask contains any of the {option[2:]} listed, all pixels would be ignored. The first is "
            f"{pairs[0].annotation.path}. Is the order red, green, blue?"
        )


def check_values(options: Namespace) -> None:
    """Raise a UserError for options that exclude each other or are out of range."""
    if sum(value is not None for value in (options.colours, options.values, options.threshold)) > 1:
        raise UserError("--colours, --values and --threshold exclude each other.")
    if options.threshold is not None and (options.ignore is not None or not 1 <= options.threshold <= 65535):
        raise UserError(f"--threshold {options.threshold} must be 1 to 65535, without --ignore.")
    if options.values and len(set(options.values)) < len(options.values):
        raise UserError(f"--values {' '.join(map(str, options.values))}: a value is listed twice.")
    if options.numbers and any(
        vars(options)[name] is not None for name in ("colours", "values", "ignore", "threshold")
    ):
        raise UserError(
            "--numbers says what pixel values are: leave --colours, --values, --ignore and --threshold out."
        )
    if not options.numbers and (options.objects or options.border or options.border_class):
        raise UserError("--objects and --border are for masks of single objects: label images, with --numbers.")
    if options.ignore is not None and not 0 <= options.ignore <= 255:
        raise UserError(f"--ignore {options.ignore} must be 0 to 255.")


def list_named(folder: Path, suffix: str) -> tuple[dict[str, Path], list[Skipped]]:
    """Return `({name: file}, skipped)`.

    Names of a folder have no suffix and no ending, but the subfolder; of a pattern they are what its `*` stand for;
    that of a single file is empty.
    """
    if "*" in str(folder):
        root = Path(folder.anchor)
        return name_matches(root, str(folder.relative_to(root))), []
    if folder.is_file():
        return {"": folder}, []
    paths, skipped = list_images(folder, recursive=True)
    named = {}
    for path in paths:
        if path.stem.endswith(suffix):
            named[str(path.relative_to(folder).with_name(path.stem.removesuffix(suffix)))] = path
        else:
            skipped.append((path, f"does not end in {suffix}"))
    return named, skipped


def make_mask(pair: NewPair, height: int, width: int) -> np.ndarray | MadeMask:
    """The classes of a mask file."""
    path, colours, values, ignore, threshold, chosen = pair.annotation
    if chosen:
        numbers = read_objects(path)
        return chosen.finish((numbers > 0).astype(np.uint8), numbers, path)
    if threshold is not None:
        return (read_values(path) >= threshold).astype(np.uint8)
    if colours:
        return classes_of_colours(path, colours, ignore)
    if values is not None:
        return classes_of_values(path, read_mask(path), values, ignore)
    data = read_whole(path)
    if not is_grey_png(data):
        return read_mask(path)
    return MadeMask(decode(path, data)[:, :, 0], data)


def classes_of_values(path: ImageFile, mask: np.ndarray, values: Sequence[int], ignore: int | None) -> np.ndarray:
    """Gray values become classes by their position in `values`; others become `ignore`."""
    classes = np.full(256, -1)
    classes[values] = np.arange(len(values))
    unknown = np.flatnonzero((classes < 0) & (np.bincount(mask.ravel(), minlength=256) > 0))
    if len(unknown) and ignore is None:
        raise UserError(
            f"{path}: contains the value {unknown[0]}, which is not in --values. Add it, or set --ignore; masks of two "
            "classes that were blurred need --threshold."
        )
    classes[classes < 0] = ignore or 0
    return classes.astype(np.uint8)[mask]


def classes_of_colours(path: ImageFile, colours: Mapping[tuple[int, ...], int], ignore: int | None) -> np.ndarray:
    """Colours become classes by the table; others become `ignore`."""
    mask, unknown, codes = find_colours(path, colours)
    if unknown.any():
        if ignore is None:
            code = int(codes[unknown][0])
            colour = f"{code >> 16} {code >> 8 & 255} {code & 255}"
            raise UserError(
                f"{path}: contains the colour {colour}, which is not in the table. Add it, or set --ignore."
            )
        mask[unknown] = ignore
    return mask


def find_colours(path: ImageFile, colours: Mapping[tuple[int, ...], int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The classes of a mask file, where its colour is not listed, and the codes of its colours; `(height, width)`."""
    pixels = decode(path, read_whole(path))
    if pixels.dtype != np.uint8 or pixels.shape[2] not in (3, 4):
        raise UserError(f"{path}: is not an 8-bit colour image, which --colours needs.")
    codes = (
        pixels[:, :, 0].astype(np.int32)
        | pixels[:, :, 1].astype(np.int32) << 8
        | pixels[:, :, 2].astype(np.int32) << 16
    )
    known = np.array(sorted((blue | green << 8 | red << 16, index) for (red, green, blue), index in colours.items()))
    positions = np.minimum(np.searchsorted(known[:, 0], codes), len(known) - 1)
    mask = known[positions, 1].astype(np.uint8)
    return mask, known[positions, 0] != codes, codes


def pixel_value(text: str) -> int:
    """The type of --values: an integer from 0 to 255."""
    value = int(text)
    if not 0 <= value <= 255:
        raise ValueError
    return value


main = dataset_command(
    __doc__,
    {
        "images": "folder or pattern of images, or a file; may contain {split}",
        "masks": "the same of masks",
    },
    collect,
    {
        "--image-suffix": {"default": "", "help": "end of the image names that mask names do not share"},
        "--mask-suffix": {"default": "", "help": "the same for masks"},
        "--values": {"type": pixel_value, "nargs": "+", "help": "pixel value of each class, such as 0 255"},
        "--colours": {"type": Path, "help": "table with the colour of each class"},
        "--numbers": {"action": "store_true", "help": "masks are label images: pixel values are numbers of objects"},
        **OBJECT_OPTIONS,
        "--ignore": {"type": int, "help": "class for colours and values that are not listed (default: an error)"},
        "--threshold": {"type": int, "help": "gray value from which on pixels are class 1, such as 128"},
        "--labelled-only": {"action": "store_true", "help": "leave out images without a mask (default: an error)"},
        "--group": {
            "help": "regular expression whose first group names the images that stay together (default: no groups)"
        },
    },
)

if __name__ == "__main__":
    main()
