"""Convert run-length tables as on Kaggle: one row per object, with the name of its image and its runs.

    python data_preparation/rle_csv.py train.csv train_images data --val 0.1
    python data_preparation/rle_csv.py train.csv train_images data --class-column ClassId

The first column names the image, with or without ending; the last column has the runs (others: --id-column and
--rle-column). Empty runs or -1 mean an image without objects. Pixels are counted from 1 down the columns, or along the
rows with --row-major. The numbers in --class-column are the classes, from 1; where objects overlap, the later row is on
top.
"""

import csv
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # so that this file runs as a script from any folder

import numpy as np

from data_generators.files.pairing import IMAGE_SUFFIXES
from data_preparation.common.command_line import dataset_command
from data_preparation.common.dataset_writer import Conversion, NewPair
from data_preparation.common.groups import group_of
from data_preparation.common.image_files import Skipped, list_images, raise_problems
from data_preparation.common.splits import paths_by_split, with_splits
from utils.base import rle
from utils.base.errors import UserError


class RunRow(NamedTuple):
    """A row of the table. where: file, line and image, for messages; label: its class; runs: the text."""

    where: str
    label: int
    runs: str


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
                annotation = (rows.get(name, []), "row" if options.row_major else "column")
                pairs.append(NewPair(split, path, name, name, annotation, (table,)))
            else:
                skipped.append((path, f"not in {table.name}"))
    raise_problems(problems)
    groups = [group_of(pair.name, options.group) for pair in pairs]
    return Conversion(with_splits(pairs, groups, options), draw_mask, skipped)


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
        UserError: not UTF-8, no such column, a row with too few cells, a class that is not an integer from 1 to 255.
    """
    table: Table = {}
    skipped: list[Skipped] = []
    seen = set()
    csv.field_size_limit(sys.maxsize)  # the runs of a large image are long
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            columns = find_columns(path, next(reader, []), options)
            for cells in reader:
                where = f"{path}, line {reader.line_num}"
                if not any(cell.strip() for cell in cells):
                    continue
                name, runs, label = read_row(where, cells, columns)
                rows = table.setdefault(name, [])
                if runs in rle.EMPTY:
                    continue
                if (name, label, runs) in seen:
                    skipped.append((where, "repeats a row above"))
                    continue
                seen.add((name, label, runs))
                if not label.isdigit() or not 1 <= int(label) <= 255:
                    raise UserError(f"{where}: the class {label} must be an integer from 1 to 255.")
                rows.append(RunRow(f"{where} ({name})", int(label), runs))
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: is not a CSV file in UTF-8 ({error}).") from None
    if not table:
        raise UserError(f"{path}: contains no rows below the headings.")
    return table, skipped


def read_row(where: str, cells: Sequence[str], columns: Mapping[str, int]) -> tuple[str, str, str]:
    """Return `(image name without ending, runs, class)` of a row, as texts."""
    if len(cells) <= max(columns.values()):
        raise UserError(f"{where}: has {len(cells)} columns, too few. Is the file truncated?")
    name, runs, label = (cells[columns[key]].strip() if key in columns else "1" for key in ("id", "rle", "class"))
    if Path(name).suffix.lower() in IMAGE_SUFFIXES:
        name = Path(name).stem
    if not name:
        raise UserError(f"{where}: names no image.")
    return name, runs, label


def find_columns(path: Path, headings: Sequence[str], options: Namespace) -> dict[str, int]:
    """`{"id": index, "rle": index[, "class": index]}`: by default the first and the last column.

    Raises:
        UserError: no headings, or a column that is missing or there twice.
    """
    headings = [heading.strip() for heading in headings]
    if len(headings) < 2:
        raise UserError(f"{path}: needs a line of headings with at least two columns.")
    if headings[-1] in rle.EMPTY or all(part.isdigit() for part in headings[-1].split()):
        raise UserError(
            f"{path}: the first line must name the columns, such as image_id,rle; it looks like a row: "
            f"{','.join(headings)[:80]}"
        )
    wanted = {"id": options.id_column or headings[0], "rle": options.rle_column or headings[-1]}
    if options.class_column:
        wanted["class"] = options.class_column
    for name in wanted.values():
        if headings.count(name) != 1:
            raise UserError(f"{path}: has no column {name}, or several of that name. Columns: {', '.join(headings)}")
    return {key: headings.index(name) for key, name in wanted.items()}


def draw_mask(pair: NewPair, height: int, width: int) -> np.ndarray:
    """The mask of an image: its rows, the later on top."""
    rows, order = pair.annotation
    runs = [rle.parse(row.runs, height * width, row.where) for row in rows]
    return rle.paint(runs, height, width, order, [row.label for row in rows])


main = dataset_command(
    __doc__,
    {"table": "CSV file, may contain {split}", "images": "folder of images, may contain {split}"},
    collect,
    {
        "--id-column": {"help": "column of the image names (default: the first)"},
        "--rle-column": {"help": "column of the runs (default: the last)"},
        "--class-column": {"help": "column of the classes (default: none, all objects are class 1)"},
        "--row-major": {"action": "store_true", "help": "pixels are counted along the rows"},
        "--unlisted": {
            "choices": ("skip", "empty"),
            "default": "skip",
            "help": "images that are not in the table (default skip)",
        },
        "--group": {
            "help": "regular expression whose first group names the images that stay together (default: no groups)"
        },
    },
)

if __name__ == "__main__":
    main()
