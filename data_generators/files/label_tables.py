"""CSV tables with the class labels of images: the names of the classes, or a column of 0 and 1 for each class."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from data_generators.files.found_files import missing
from utils.base.errors import UserError
from utils.base.text_files import CONTROL_CHARACTER, Row, check_file_name, read_csv

LABEL_HEADING = re.compile(r"(labels?|class(es)?|categor(y|ies)|tags?|targets?)([ _-]?\w*)?", re.IGNORECASE)
NO, YES = {"0", "0.0", "false"}, {"1", "1.0", "true"}


class LabelledImage(NamedTuple):
    """An image file and the names of its classes."""

    image: Path
    labels: tuple[str, ...]


def read_label_table(path: Path) -> tuple[list[LabelledImage], list[str]]:
    """Read a table of labels; image paths are relative to its folder.

    Rows are `image,label[,label...]`, with or without headings; or, in one-hot form, `image` and one column for each
    class, named by the headings, with 1 for the classes of the image and 0 for all others.

    Returns:
        `(samples, problems)`: in the order of the rows; a message for each row that cannot be used.

    Raises:
        UserError: see `read_csv`; or columns that could be labels or something else.
    """
    rows = read_csv(path)
    headings = rows[0].cells if rows and is_heading(path, rows[0]) else None
    rows = rows[1:] if headings is not None else rows
    one_hot = is_one_hot(path, headings, rows)
    if headings is not None and not one_hot:
        check_headings(path, headings)
    samples: list[LabelledImage] = []
    problems: list[str] = []
    listed: dict[Path, LabelledImage] = {}
    for row in rows:
        image = path.parent / check_file_name(row.cells[0], row.where)
        if headings is not None and one_hot:
            pairs = zip(headings[1:], row.cells[1:], strict=True)
            labels = tuple(name for name, cell in pairs if cell.lower() in YES)
        else:
            labels = tuple(cell for cell in row.cells[1:] if cell)
        sample = LabelledImage(image, labels)
        if not row.cells[0] or not image.is_file():
            problems.append(f"{row.where}: {missing(image)}")
        elif any(CONTROL_CHARACTER.search(label) for label in labels):
            problems.append(f"{row.where}: the label {str(labels)[:80]} contains control characters.")
        elif not labels:
            problems.append(f"{row.where}: {row.cells[0]} has no label.")
        elif set(listed.setdefault(image, sample).labels) != set(labels):
            problems.append(f"{row.where}: {row.cells[0]} has other labels in a row above. Write all in one row.")
        else:
            samples.append(sample)
    return samples, problems


def is_heading(path: Path, row: Row) -> bool:
    """Whether a first row names columns: its first cell has no ending and is no file."""
    name = row.cells[0]
    return not Path(name).suffix and not (path.parent / check_file_name(name, row.where)).is_file()


def is_one_hot(path: Path, headings: Sequence[str] | None, rows: Sequence[Row]) -> bool:
    """Whether every image has a column of 0 or 1 for each of several classes.

    Raises:
        UserError: there are such columns, but no headings that name the classes, or not in every row.
    """
    wide = [row for row in rows if len(row.cells) > 2]
    if not wide or not all(cell.lower() in NO | YES for row in wide for cell in row.cells[1:]):
        return False
    if headings is None:
        raise UserError(f"{path}: has columns of 0 and 1, but no first line that names their classes: image,cat,dog.")
    if len(set(headings)) < len(headings) or all(map(LABEL_HEADING.fullmatch, headings[1:])):
        raise UserError(f"{path}: has columns of 0 and 1; its headings must be the names of the classes, each once.")
    for row in rows:
        if len(row.cells) != len(headings):
            raise UserError(f"{row.where}: has {len(row.cells)} cells, but there are {len(headings)} headings.")
    return True


def check_headings(path: Path, headings: Sequence[str]) -> None:
    """Raise a UserError if a further column may hold something else than labels, such as an age."""
    further = [name for name in headings[2:] if name and not LABEL_HEADING.fullmatch(name)]
    if further:
        raise UserError(
            f"{path}: the columns {', '.join(further)} are read as labels. Leave them out if they are none, call them "
            "label if they are, or write 0 and 1 in a column for each class."
        )
