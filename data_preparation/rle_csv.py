"""Convert run-length tables as on Kaggle: one row per object, with the name of its image and its runs.

    python data_preparation/rle_csv.py train.csv train_images data --val 0.1
    python data_preparation/rle_csv.py train.csv train_images data --class-column ClassId

The first column names the image, with or without ending; the last column has the runs (others: --id-column and
--rle-column). Empty runs or -1 mean an image without objects. Pixels are counted from 1 down the columns, or along the
rows with --row-major. The numbers in --class-column are the classes, from 1; where objects overlap, the later row is on
top. --objects keeps the objects, a row each, as label images; --border N makes a border of N pixels between those that
touch background, with --border-class a class of its own. With --multi-label classes may overlap: bit c - 1 of a mask's
value says whether class c is there, up to class 8 (train with OUTPUT.MULTI_LABEL=True).
"""

import functools
import re
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that this file runs as a script from any folder

import numpy as np

from data_generators.files.found_files import IMAGE_SUFFIXES
from data_preparation.common.command_line import dataset_command
from data_preparation.common.dataset_writer import Conversion, MadeMask, NewPair
from data_preparation.common.groups import group_of
from data_preparation.common.image_files import Skipped, list_images, raise_problems
from data_preparation.common.objects import OBJECT_OPTIONS, ObjectMasks
from data_preparation.common.splits import paths_by_split, with_splits
from utils.base import rle
from utils.base.class_bits import bit_of
from utils.base.errors import UserError
from utils.base.text_files import Row, read_csv


class RunRow(NamedTuple):
    """A row of the table. where: file, line and image, for messages; label: its value; runs: the text."""

    where: str
    label: int
    runs: str


NO_CLASSES = "none"
CLASS_HEADING = re.compile(r"(class|category|label)([ _-]?(id|name|index|number))?", re.IGNORECASE)

Table = dict[str, list[RunRow]]  # name of the image -> its rows


def collect(options: Namespace) -> Conversion:
    """Find the images of all splits and their rows."""
    pairs: list[NewPair] = []
    skipped: list[Skipped] = []
    problems: list[str] = []
    for split, (table, folder) in paths_by_split(options.table, options.images).items():
        images, skipped_images = images_by_name(folder)
        rows, repeated = read_table(table, options)
        skipped += skipped_images + repeated
        problems += [f"{table}: there is no image {name} in {folder}." for name in rows if name not in images]
        for name, path in images.items():
            if name in rows or options.unlisted == "empty":
                annotation = (rows.get(name, []), "row" if options.row_major else "column", options.multi_label)
                pairs.append(NewPair(split, path, name, name, annotation, (table,)))
            else:
                skipped.append((path, f"not in {table.name}"))
    raise_problems(problems)
    if pairs and not any(pair.annotation[0] for pair in pairs):
        raise UserError(f"{pairs[0].sources[0]}: no row has runs, so that every mask would be empty. See --rle-column.")
    groups = [group_of(pair.name, options.group) for pair in pairs]
    highest = max((row.label for pair in pairs for row in pair.annotation[0]), default=1)
    chosen = ObjectMasks.from_options(options, highest + 1)
    make_mask = draw_mask if chosen.is_plain else functools.partial(draw_objects, chosen=chosen)
    pairs = with_splits(pairs, groups, options)
    return Conversion(pairs, make_mask, skipped, multi_label=options.multi_label, objects=chosen.objects)


def images_by_name(folder: Path) -> tuple[dict[str, Path], list[Skipped]]:
    """Return `({name without ending: image}, skipped)` of a folder."""
    paths, skipped = list_images(folder)
    images: dict[str, Path] = {}
    for path in paths:
        other = images.setdefault(path.stem, path)
        if other is not path:
            raise UserError(f"{other} and {path} have the same name. Remove one of them.")
    return images, skipped


def read_table(path: Path, options: Namespace) -> tuple[Table, list[Skipped]]:
    """Return `({image name: rows}, skipped)` of a table with a line of headings.

    Raises:
        UserError: see `read_csv`; no such column, a row with too few or too many cells, a class that is not an integer
            from 1 to 255.
    """
    table: Table = {}
    skipped: list[Skipped] = []
    seen = set()
    found = read_csv(path)
    headings = found[0].cells if found else []
    columns = find_columns(path, headings, options)
    for row in found[1:]:
        if any(row.cells[len(headings) :]):
            raise UserError(f"{row.where}: has {len(row.cells)} cells, but there are {len(headings)} headings.")
        name, runs, label = read_row(row, columns)
        rows = table.setdefault(name, [])
        if runs in rle.EMPTY:
            continue
        if (name, label, runs) in seen:
            skipped.append((row.where, "repeats a row above"))
            continue
        seen.add((name, label, runs))
        if not is_class(label):
            raise UserError(f"{row.where}: the class {label} must be an integer from 1 to 255.")
        value = bit_of(int(label), row.where) if options.multi_label else int(label)
        rows.append(RunRow(f"{row.where} ({name})", value, runs))
    if not table:
        raise UserError(f"{path}: contains no rows below the headings.")
    return table, skipped


def is_class(text: str) -> bool:
    """Whether a cell is an integer from 1 to 255."""
    return re.fullmatch(r"[0-9]{1,3}", text) is not None and 1 <= int(text) <= 255


def read_row(row: Row, columns: Mapping[str, int]) -> tuple[str, str, str]:
    """Return `(image name without ending, runs, class)` of a row, as texts."""
    if len(row.cells) <= max(columns.values()):
        raise UserError(f"{row.where}: has {len(row.cells)} columns, too few. Is the file truncated?")
    name, runs, label = (row.cells[columns[key]] if key in columns else "1" for key in ("id", "rle", "class"))
    if Path(name).suffix.lower() in IMAGE_SUFFIXES:
        name = Path(name).stem
    if not name:
        raise UserError(f"{row.where}: names no image.")
    return name, runs, label


def find_columns(path: Path, headings: Sequence[str], options: Namespace) -> dict[str, int]:
    """`{"id": index, "rle": index[, "class": index]}`: by default the first and the last column.

    Raises:
        UserError: no headings, or a column that is missing or there twice.
    """
    if len(headings) < 2:
        raise UserError(f"{path}: needs a line of headings with at least two columns.")
    if headings[-1] in rle.EMPTY or all(part.isdigit() for part in headings[-1].split()):
        raise UserError(
            f"{path}: the first line must name the columns, such as image_id,rle; it looks like a row: "
            f"{','.join(headings)[:80]}"
        )
    wanted = {"id": options.id_column or headings[0], "rle": options.rle_column or headings[-1]}
    if options.class_column not in (None, NO_CLASSES):
        wanted["class"] = options.class_column
    classes = [heading for heading in headings if CLASS_HEADING.fullmatch(heading) and heading not in wanted.values()]
    if options.class_column is None and classes:
        raise UserError(
            f"{path}: has a column {classes[0]}. If it holds the classes, set --class-column {classes[0]}; "
            f"--class-column {NO_CLASSES} makes all objects class 1."
        )
    for name in wanted.values():
        if headings.count(name) != 1:
            raise UserError(f"{path}: has no column {name}, or several of that name. Columns: {', '.join(headings)}")
    return {key: headings.index(name) for key, name in wanted.items()}


def draw_mask(pair: NewPair, height: int, width: int) -> np.ndarray:
    """The mask of an image: its rows, the later on top, or those of one class after the other as bits."""
    rows, order, multi_label = pair.annotation
    runs = [rle.parse(row.runs, height * width, row.where) for row in rows]
    labels = [row.label for row in rows]
    if not multi_label:
        return rle.paint(runs, height, width, order, labels)
    mask = np.zeros((height, width), np.uint8)
    for label in set(labels):
        own = [found for found, other in zip(runs, labels, strict=True) if other == label]
        mask |= rle.paint(own, height, width, order, [label] * len(own))
    return mask


def draw_objects(pair: NewPair, height: int, width: int, chosen: ObjectMasks) -> MadeMask:
    """The mask of an image with its label image or borders: a row is an object."""
    rows, order, _ = pair.annotation
    runs = [rle.parse(row.runs, height * width, row.where) for row in rows]
    numbers = rle.paint(runs, height, width, order, range(1, len(rows) + 1), np.int32)
    return chosen.finish(draw_mask(pair, height, width), numbers, pair.image)


main = dataset_command(
    __doc__,
    {"table": "CSV file, may contain {split}", "images": "folder of images, may contain {split}"},
    collect,
    {
        "--id-column": {"help": "column of the image names (default: the first)"},
        "--rle-column": {"help": "column of the runs (default: the last)"},
        "--class-column": {
            "help": "column of the classes; none: all objects are class 1 (default: none, if no column is called class)"
        },
        "--multi-label": {"action": "store_true", "help": "classes may overlap: a bit of the mask's value each"},
        "--row-major": {"action": "store_true", "help": "pixels are counted along the rows"},
        "--unlisted": {
            "choices": ("skip", "empty"),
            "default": "skip",
            "help": "images that are not in the table (default skip)",
        },
        "--group": {
            "help": "regular expression whose first group names the images that stay together (default: no groups)"
        },
        **OBJECT_OPTIONS,
    },
)

if __name__ == "__main__":
    main()
