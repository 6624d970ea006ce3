"""Masks that are pictures already: class indices (CamVid, Cityscapes), other grey values, or colours.

    python data_preparation/index_masks.py 'CamVid/{split}' 'CamVid/{split}annot' data
    python data_preparation/index_masks.py 'leftImg8bit/{split}' 'gtFine/{split}' data \\
        --image-suffix _leftImg8bit --mask-suffix _gtFine_labelTrainIds
    python data_preparation/index_masks.py 701_StillsRaw_full LabeledApproved_full data \\
        --mask-suffix _L --colours label_colors.txt --ignore 255 --group '(.+)_f?\\d+'

`{split}` stands for train, val and test: the published split is kept. Without it --val and --test draw one, by the
groups that --group tells. Folders are searched with their subfolders. A colour table has a line with red, green and
blue for each class, in the order of the classes; names beside them and a line of headings do not matter.
"""

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run as a script, the rooms are one folder up

import numpy as np

from data_generators.reading.decoding import decode
from data_generators.reading.headers import is_grey_png, read_whole
from data_generators.reading.masks import read_mask
from data_preparation.common.command_line import command
from data_preparation.common.dataset_writer import Item, Plan, Stored
from data_preparation.common.groups import group_of
from data_preparation.common.listing import list_pictures, refuse
from data_preparation.common.splits import by_split, existing, with_splits
from utils.base.errors import UserError


def plan(options):
    if options.colours and options.values:
        raise UserError("--colours and --values exclude each other.")
    if options.values and len(set(options.values)) < len(options.values):
        raise UserError(f"--values {' '.join(map(str, options.values))}: a value is there twice.")
    if options.ignore is not None and not 0 <= options.ignore <= 255:
        raise UserError(f"--ignore {options.ignore} must be 0 to 255.")
    table = read_colours(existing(options.colours)) if options.colours else None
    further = (options.colours,) if options.colours else ()
    items, skipped, problems = [], [], []
    for split, (images, masks) in by_split(options.images, options.masks).items():
        pictures, left_out = list_pictures(images, recursive=True)
        labels, others = list_pictures(masks, recursive=True)
        skipped += left_out + others
        wanted = {
            stem(path, images, options.image_suffix): path for path in pictures if fits(path, options.image_suffix)
        }
        skipped += [
            (path, f"does not end in {options.image_suffix}")
            for path in pictures
            if not fits(path, options.image_suffix)
        ]
        found = {stem(path, masks, options.mask_suffix): path for path in labels if fits(path, options.mask_suffix)}
        skipped += [
            (path, f"does not end in {options.mask_suffix}") for path in labels if not fits(path, options.mask_suffix)
        ]
        problems += [f"{path} has no mask." for name, path in wanted.items() if name not in found]
        problems += [f"{path} has no image." for name, path in found.items() if name not in wanted]
        for name in sorted(wanted.keys() & found):
            path, base = found[name], Path(name).name
            items.append(
                Item(split, wanted[name], base, base, (path, table, options.values, options.ignore), (path, *further))
            )
    refuse(problems)
    groups = [group_of(item.name, options.group) for item in items]
    return Plan(with_splits(items, groups, options), make_mask, skipped)


def fits(path, suffix):
    return path.stem.endswith(suffix)


def stem(path, folder, suffix):
    """The path below the folder without ending and suffix: what image and mask have in common."""
    return str(path.relative_to(folder).with_name(path.stem.removesuffix(suffix)))


def make_mask(item, height, width):
    path, table, values, ignore = item.detail
    if table:
        return index_colours(path, table, ignore)
    if values is not None:
        return index_values(path, read_mask(path), values, ignore)
    data = read_whole(path)
    if not is_grey_png(data):
        return read_mask(path)
    return Stored(decode(path, data)[:, :, 0], data)


def index_values(path, mask, values, ignore):
    """Grey values -> classes, by their position in `values`; others become `ignore`."""
    classes = np.full(256, -1)
    classes[values] = np.arange(len(values))
    unknown = np.flatnonzero((classes < 0) & (np.bincount(mask.ravel(), minlength=256) > 0))
    if len(unknown) and ignore is None:
        raise UserError(
            f"{path}: holds the value {unknown[0]}, which --values does not name. Name it, or give --ignore."
        )
    classes[classes < 0] = ignore or 0
    return classes.astype(np.uint8)[mask]


def index_colours(path, table, ignore):
    """Colours -> classes by `table`, `{(red, green, blue): class}`; others become `ignore`."""
    pixels = decode(path, read_whole(path))
    if pixels.dtype != np.uint8 or pixels.shape[2] not in (3, 4):
        raise UserError(f"{path}: is no colour picture of 8 bit, as --colours needs.")
    codes = (
        pixels[:, :, 0].astype(np.int32)
        | pixels[:, :, 1].astype(np.int32) << 8
        | pixels[:, :, 2].astype(np.int32) << 16
    )
    known = np.array(sorted((blue | green << 8 | red << 16, index) for (red, green, blue), index in table.items()))
    positions = np.minimum(np.searchsorted(known[:, 0], codes), len(known) - 1)
    mask = known[positions, 1].astype(np.uint8)
    unknown = known[positions, 0] != codes
    if unknown.any():
        if ignore is None:
            code = int(codes[unknown][0])
            colour = f"{code >> 16} {code >> 8 & 255} {code & 255}"
            raise UserError(
                f"{path}: holds the colour {colour}, which the table does not have. Add it, or give --ignore."
            )
        mask[unknown] = ignore
    return mask


def read_colours(path):
    """`{(red, green, blue): class}` of a table, classes in the order of its lines.

    Raises:
        UserError: no colours, or one that comes twice or is out of range.
    """
    table = {}
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1):
        numbers = re.findall(r"(?<![\w.])\d+(?![\w.])", line.split("#")[0])
        if not numbers:
            continue
        colour = tuple(map(int, numbers[-3:] if not line[0].isdigit() else numbers[:3]))
        if len(colour) != 3 or max(colour) > 255:
            raise UserError(f"{path}, line {number}: needs red, green and blue from 0 to 255: {line.strip()}")
        if colour in table:
            raise UserError(f"{path}, line {number}: the colour {' '.join(map(str, colour))} is there already.")
        table[colour] = len(table)
    if not table or len(table) > 256:
        raise UserError(f"{path}: holds {len(table)} colours; 1 to 256 can be classes.")
    return table


def pixel_value(text):
    value = int(text)
    if not 0 <= value <= 255:
        raise ValueError
    return value


main = command(
    __doc__,
    {"images": "folder of images, may hold {split}", "masks": "folder of masks, may hold {split}"},
    plan,
    {
        "--image-suffix": {"default": "", "help": "what the names of images end in, beyond what they share with masks"},
        "--mask-suffix": {"default": "", "help": "the same for masks"},
        "--values": {"type": pixel_value, "nargs": "+", "help": "pixel value of each class, such as 0 255"},
        "--colours": {"type": Path, "help": "table of the colour of each class"},
        "--ignore": {
            "type": int,
            "help": "class that colours and values which are not named become (default: an error)",
        },
        "--group": {"help": "regular expression whose first group tells what belongs together (default: each its own)"},
    },
)

if __name__ == "__main__":
    main()
