"""Text, JSON and CSV that others wrote: the one place where what is wrong with such a file becomes one line.

Readers check what the values mean; encodings, separators, truncation and damage are handled here.
"""

import csv
import io
import itertools
import json
import math
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from utils.base.errors import UserError

SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab"}
LINES_COMPARED = 20  # to tell the separator where the first line leaves it open
CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# Names of files are bytes. Python keeps those that are not UTF-8 as surrogates, which UTF-8 cannot write: lists of
# files take them as they are on the disk, tables and reports show them as \udce4.
AS_ON_DISK, SHOWN = "surrogateescape", "backslashreplace"

MAX_NAME_BYTES = 255  # of a file name, on every common file system


class Row(NamedTuple):
    """A row of a table. where: file and line, for messages; cells: without spaces around them."""

    where: str
    cells: list[str]


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, with or without a byte order mark, or in UTF-16 or UTF-32.

    Raises:
        UserError: it cannot be read, is in another encoding, or holds zero bytes.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from None
    encoding = json.detect_encoding(data)
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}: is not text in UTF-8 or UTF-16 (byte {error.start + 1} is {data[error.start]:#04x}). "
            "Save it as UTF-8."
        ) from None
    if "\0" in text:
        raise UserError(f"{path}: contains zero bytes, it is damaged or not text. Copy it again.")
    return text


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        UserError: see `read_text`; or it is not JSON, truncated, nested too deeply, or repeats a key.
    """
    text = read_text(path)
    try:
        return json.loads(text, object_pairs_hook=unique_keys)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: is not a complete JSON file ({error}). Copy it again.") from None


def unique_keys(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """The pairs of a JSON object as a dict; ValueError if a key is there twice, of which one would be lost."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} is there twice")
    return found


def read_csv(path: Path) -> list[Row]:
    """The rows of a CSV file that are not empty; cells are separated by comma, semicolon or tab.

    A first line `sep=;`, as Excel writes it, names the separator.

    Raises:
        UserError: see `read_text`; or a quote is not closed, or several separators are possible.
    """
    return parse_csv(path, read_text(path))


def parse_csv(path: Path, text: str) -> list[Row]:
    """`read_csv` of the text of a file."""
    first, _, rest = text.partition("\n")
    separator, start = None, 0
    if first.lower().startswith("sep=") and first.rstrip("\r")[4:] in SEPARATORS:
        separator, start, text = first[4], 1, rest
    rows = parse(path, text, separator or find_separator(path, text), start)
    return [row for row in rows if any(row.cells)]


def parse(path: Path, text: str, separator: str, start: int = 0) -> list[Row]:
    """Divide a text into rows; `start` lines stand before it."""
    csv.field_size_limit(sys.maxsize)  # the runs of a large image are long
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        return [Row(f"{path}, line {start + reader.line_num}", [cell.strip() for cell in cells]) for cells in reader]
    except csv.Error as error:
        raise UserError(
            f"{path}, line {start + reader.line_num}: is not CSV ({error}). Is the file truncated, or a quote missing?"
        ) from None


def find_separator(path: Path, text: str) -> str:
    """The separator of a table: the one in its first line; of several, the one that divides all lines alike."""
    lines = list(itertools.islice((line for line in io.StringIO(text) if line.strip()), LINES_COMPARED))
    found = [separator for separator in SEPARATORS if lines and separator in lines[0]]
    if len(found) > 1:
        found = [separator for separator in found if divides_evenly(lines, separator)] or found
    if len(found) > 1:
        names = " or ".join(SEPARATORS[separator] for separator in found)
        raise UserError(
            f"{path}: its cells could be separated by {names}. Write sep={found[0]} in a first line, or its like."
        )
    return found[0] if found else ","


def divides_evenly(lines: Sequence[str], separator: str) -> bool:
    """Whether a separator divides every line into equally many cells, more than one."""
    try:
        counts = {len(next(csv.reader([line], delimiter=separator, strict=True), [])) for line in lines}
    except csv.Error:
        return False
    return len(counts) == 1 and counts.pop() > 1


def check_file_name(name: object, where: str) -> str:
    """The name of a file that a text gives, as it stands.

    Raises:
        UserError: it is no text, longer than a file system allows, or contains control characters.
    """
    if not isinstance(name, str):
        raise UserError(f"{where}: {str(name)[:40]} stands where the name of a file belongs.")
    if any(len(part.encode(errors="surrogateescape")) > MAX_NAME_BYTES for part in name.split("/")):
        raise UserError(f"{where}: the file name {name[:40]}... is longer than {MAX_NAME_BYTES} bytes. Is it a list?")
    if CONTROL_CHARACTER.search(name):
        raise UserError(f"{where}: the file name {name[:80]!r} contains control characters. Rename the file.")
    return name


def spreadsheet_cell(text: object) -> object:
    """A cell as a spreadsheet shows it: before a text that it would run as a formula stands an apostrophe.

    >>> spreadsheet_cell("=1+1"), spreadsheet_cell("a.png"), spreadsheet_cell("-0.5"), spreadsheet_cell(-0.5)
    ("'=1+1", 'a.png', '-0.5', -0.5)
    """
    is_formula = str(text).startswith(("=", "+", "-", "@", "\t", "\r")) and isinstance(text, str | Path)
    return f"'{text}" if is_formula and not re.fullmatch(r"[+-][0-9.]+(e[+-]?[0-9]+)?", str(text)) else text


def path_inside(folder: Path, name: object, where: str) -> Path:
    """The path that a file names, relative to a folder.

    Raises:
        UserError: no text, see `check_file_name`, or it leads out of the folder.

    >>> path_inside(Path("data"), "../b.png", "list.json")
    Traceback (most recent call last):
    ...
    utils.base.errors.UserError: list.json: the path ../b.png leads out of the folder data. Make it relative to it.
    """
    name = check_file_name(name, where)
    path = folder / name
    if ".." in Path(name).parts or not path.is_relative_to(folder):
        raise UserError(f"{where}: the path {name} leads out of the folder {folder}. Make it relative to it.")
    return path


def without_nan(value: Any) -> Any:
    """The same for JSON, which knows no NaN: null for a score that is not defined.

    >>> without_nan({"dice": float("nan"), "counts": [1, 2]})
    {'dice': None, 'counts': [1, 2]}
    """
    if isinstance(value, dict):
        return {key: without_nan(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [without_nan(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
