"""Run-length tables as on Kaggle: rows of image and runs, several rows for an image with several objects.

    python data_preparation/rle_csv.py train.csv train_images data --val 0.1
    python data_preparation/rle_csv.py train.csv train_images data --class-column ClassId

The first column names the image, with or without ending, the last holds the runs (other columns: --id-column,
--rle-column); empty or -1 is an image without objects. Pixels count from 1 down the columns (--row-major: along the
rows). With --class-column its numbers are the classes, from 1; where they overlap, the later row lies on top.
"""

import csv
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # run as a script, the rooms are one folder up

from data_generators.files.pairing import IMAGE_SUFFIXES
from data_preparation.common.command_line import command
from data_preparation.common.dataset_writer import Item, Plan
from data_preparation.common.groups import group_of
from data_preparation.common.listing import list_pictures, refuse
from data_preparation.common.splits import by_split, with_splits
from utils.base import rle
from utils.base.errors import UserError


def plan(options):
    items, skipped, problems = [], [], []
    for split, (table, folder) in by_split(options.table, options.images).items():
        pictures, left_out = list_pictures(folder)
        skipped += left_out
        by_name = {}
        for path in pictures:
            other = by_name.setdefault(path.stem, path)
            if other is not path:
                raise UserError(f"{other} and {path} have one name. Remove one of them.")
        rows, repeated = read_table(table, options)
        skipped += repeated
        problems += [f"{table}: there is no image {name} in {folder}." for name in rows if name not in by_name]
        for name, path in by_name.items():
            if name in rows or options.unlisted == "empty":
                detail = (rows.get(name, []), "row" if options.row_major else "column")
                items.append(Item(split, path, name, name, detail, (table,)))
            else:
                skipped.append((path, f"not in {table.name}"))
    refuse(problems)
    groups = [group_of(item.name, options.group) for item in items]
    return Plan(with_splits(items, groups, options), draw, skipped)


def read_table(path, options):
    """Return `({image name: [(where, class, runs)]}, skipped)` of a table with a line of headings.

    Raises:
        UserError: not UTF-8, no such column, a row with too few cells, a class that is no number from 1 to 255.
    """
    rows, skipped, seen = {}, [], set()
    csv.field_size_limit(sys.maxsize)  # the runs of a large image are long
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            columns = find_columns(path, next(reader, []), options)
            for cells in reader:
                where = f"{path}, line {reader.line_num}"
                if not any(cell.strip() for cell in cells):
                    continue
                if len(cells) <= max(columns.values()):
                    raise UserError(f"{where}: has {len(cells)} columns, too few. Is the file truncated?")
                name, runs, label = (
                    cells[columns[key]].strip() if key in columns else "1" for key in ("id", "rle", "class")
                )
                if Path(name).suffix.lower() in IMAGE_SUFFIXES:
                    name = Path(name).stem
                if not name:
                    raise UserError(f"{where}: names no image.")
                shapes = rows.setdefault(name, [])
                if runs in rle.EMPTY:
                    continue
                if (name, label, runs) in seen:
                    skipped.append((where, "the same row stands above"))
                    continue
                seen.add((name, label, runs))
                if not label.isdigit() or not 1 <= int(label) <= 255:
                    raise UserError(f"{where}: the class {label} is no whole number from 1 to 255.")
                shapes.append((f"{where} ({name})", int(label), runs))
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: is not a CSV file in UTF-8 ({error}).") from None
    if not rows:
        raise UserError(f"{path}: holds no rows below the headings.")
    return rows, skipped


def find_columns(path, headings, options):
    """`{"id": index, "rle": index[, "class": index]}`: first, last, and the class where one is asked for."""
    headings = [heading.strip() for heading in headings]
    if len(headings) < 2:
        raise UserError(f"{path}: needs a line of headings with at least two columns.")
    if headings[-1] in rle.EMPTY or all(part.isdigit() for part in headings[-1].split()):
        raise UserError(
            f"{path}: the first line must name the columns, such as image_id,rle; it is a row already: "
            f"{','.join(headings)[:80]}"
        )
    wanted = {"id": options.id_column or headings[0], "rle": options.rle_column or headings[-1]}
    if options.class_column:
        wanted["class"] = options.class_column
    for name in wanted.values():
        if headings.count(name) != 1:
            raise UserError(f"{path}: has no column {name}, or several. Columns: {', '.join(headings)}")
    return {key: headings.index(name) for key, name in wanted.items()}


def draw(item, height, width):
    rows, order = item.detail
    runs = [rle.parse(text, height * width, where) for where, _, text in rows]
    return rle.paint(runs, height, width, order, [label for _, label, _ in rows])


main = command(
    __doc__,
    {"table": "CSV file, may hold {split}", "images": "folder of images, may hold {split}"},
    plan,
    {
        "--id-column": {"help": "heading of the image names (default: the first column)"},
        "--rle-column": {"help": "heading of the runs (default: the last column)"},
        "--class-column": {"help": "heading of the classes (default: all are class 1)"},
        "--row-major": {"action": "store_true", "help": "pixels count along the rows"},
        "--unlisted": {
            "choices": ("skip", "empty"),
            "default": "skip",
            "help": "images not in the table (default skip)",
        },
        "--group": {"help": "regular expression whose first group tells what belongs together (default: each its own)"},
    },
)

if __name__ == "__main__":
    main()
