"""Tables of colours: which colour of a mask is which class."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from data_generators.files.preparation import is_name
from utils.base.errors import UserError
from utils.base.text_files import SEPARATORS, Row, divides_evenly, parse_csv, read_text

Colours = dict[tuple[int, ...], int]  # (red, green, blue) -> class
VOID = 255  # a class that many tables give to pixels without a label

HEX = re.compile(r"#([0-9a-fA-F]{6})(?![0-9a-zA-Z])")
# What columns are called, without case, spaces, dots, dashes and underlines.
CHANNELS = ({"r", "red"}, {"g", "green"}, {"b", "blue"})
NAMES = {"name", "classname", "labelname", "categoryname", "class", "label", "category"}
WHOLE_COLOURS = {"rgb", "color", "colour", "colorrgb", "colourrgb", "hex", "hexcolor", "rgbcolor"}
OTHER_COLOURS = {
    "h",
    "s",
    "v",
    "hsv",
    "hsl",
    "hue",
    "saturation",
    "bgr",
    "colorbgr",
    "colourbgr",
    "c",
    "m",
    "y",
    "k",
    "cmyk",
}
NUMBERS = {"id", "ids", "index", "idx", "no", "nr", "number", "class", "classid", "classindex", "label", "labelid"}
NUMBERS |= {"value", "pixel", "pixelvalue", "trainid", "categoryid"}
ADVICE = "Name the columns in a first line, such as id,name,red,green,blue."


class Line(NamedTuple):
    """One line of a table. colour: red, green, blue; label: its class; name: of its class, "" if it has none."""

    row: Row
    colour: tuple[int, ...]
    label: int
    name: str = ""


def colours_of(lines: Sequence[Line]) -> Colours:
    """The class of each colour."""
    return {line.colour: line.label for line in lines}


def names_of_classes(lines: Sequence[Line]) -> list[str] | None:
    """The names of classes 0, 1, ... of a table, without VOID; None if not every class has a name of its own."""
    names = {line.label: line.name for line in lines if line.label != VOID}
    ordered = [names.get(index, "") for index in range(len(names))]
    known = len(ordered) > 1 and len(set(ordered)) == len(ordered) and all(map(is_name, ordered))
    return ordered if known else None


def read_table(path: Path) -> list[Line]:
    """Read a table of colours.

    With a line of headings the columns are found by their names: red, green and blue (or r, g, b), or one column
    rgb or hex; a column id, index or class holds the class. Without headings a line has its three numbers at one of its
    ends, or one colour as #rrggbb; classes are then numbered in the order of the lines. `#` begins a comment.

    Raises:
        UserError: no colours; one that is listed twice, out of range or not certain to be meant.
    """
    rows = split_lines(path)
    if not rows:
        raise UserError(f"{path}: contains 0 colours; there can be 1 to 256.")
    headings = [re.sub(r"[\s._-]", "", cell).lower() for cell in rows[0].cells]
    has_headings = not any(re.search(r"\d", cell) for cell in rows[0].cells)  # #rrggbb became 0xrrggbb
    if has_headings:
        rows = rows[1:]
    other = set(headings) & OTHER_COLOURS
    if has_headings and other:
        raise UserError(f"{path}: the column {min(other)} is none of red, green and blue. {ADVICE}")
    if has_headings and (set(headings) & WHOLE_COLOURS or all(names & set(headings) for names in CHANNELS)):
        listed = by_headings(path, rows, headings)
    else:
        listed = by_position(rows)
    colours: Colours = {}
    classes: set[int] = set()
    for row, colour, index, _ in listed:
        if len(colour) != 3 or max(colour) > 255:
            raise UserError(f"{row.where}: needs red, green and blue from 0 to 255: {shown(row)}")
        if colour in colours:
            raise UserError(f"{row.where}: the colour {' '.join(map(str, colour))} is listed twice.")
        if index in classes or not 0 <= index <= 255:
            raise UserError(f"{row.where}: the class {index} is listed twice, or is not 0 to 255.")
        colours[colour] = index
        classes.add(index)
    if not colours or len(colours) > 256:
        raise UserError(f"{path}: contains {len(colours)} colours; there can be 1 to 256.")
    return listed


def split_lines(path: Path) -> list[Row]:
    """The lines of a table that are neither empty nor comments, divided into cells."""
    lines = [HEX.sub(r"0x\1", line).split("#")[0].rstrip() for line in read_text(path).splitlines()]
    filled = [line for line in lines if line.strip()]
    is_labelmap = all(re.search(r":\d+,\d+,\d+:", line) for line in filled)  # labelmap.txt, name:red,green,blue::
    if filled and not is_labelmap:
        separators = [separator for separator in SEPARATORS if divides_evenly(filled, separator)]
        if separators or "," in filled[0] or ";" in filled[0]:
            return parse_csv(path, "\n".join(lines))
    return [
        Row(f"{path}, line {number}", [cell for cell in re.split(r"[\s,:]+", line) if cell])
        for number, line in enumerate(lines, start=1)
        if line.strip()
    ]


def by_headings(path: Path, rows: Sequence[Row], headings: list[str]) -> list[Line]:
    """The rows with their colours and classes, found by the names of the columns."""

    def column(names: set[str]) -> int | None:
        found = [place for place, heading in enumerate(headings) if heading in names]
        if len(found) > 1:
            raise UserError(
                f"{path}: the columns {', '.join(headings[place] for place in found)} mean the same. {ADVICE}"
            )
        return found[0] if found else None

    for place, heading in enumerate(headings):
        odd = [row for row in rows if len(row.cells) > place and heading in NUMBERS and is_odd(row.cells[place])]
        if odd:
            raise UserError(
                f"{odd[0].where}: the column {heading} has {odd[0].cells[place] or 'an empty cell'}; classes are whole "
                "numbers from 0 to 255."
            )
    numbers = [
        place
        for place, heading in enumerate(headings)
        if heading in NUMBERS and all(is_number(row.cells[place]) for row in rows if len(row.cells) > place)
    ]
    if len(numbers) > 1:
        names = " and ".join(headings[place] for place in numbers)
        raise UserError(f"{path}: the columns {names} could both hold the class. Leave only one of them in the table.")
    channels = [column(names) for names in CHANNELS]
    whole = column(WHOLE_COLOURS) if None in channels else None
    named = next((place for place, heading in enumerate(headings) if heading in NAMES and place not in numbers), None)
    listed = []
    for position, row in enumerate(rows):
        cells = join_names(row, headings)
        if whole is not None:
            colour = whole_colour(cells[whole]) or whole_colour(f"0x{cells[whole]}")
        else:
            chosen = [cells[place] for place in channels if place is not None]
            colour = tuple(int(cell) for cell in chosen if is_number(cell))
        name = "" if named is None else cells[named].strip()
        listed.append(Line(row, colour, int(cells[numbers[0]]) if numbers else position, name))
    return listed


def join_names(row: Row, headings: Sequence[str]) -> list[str]:
    """The cells of a row; in a table divided by spaces, a name in the last column may have several words."""
    cells, count = row.cells, len(headings)
    while len(cells) > count and not cells[-1]:
        cells = cells[:-1]
    if len(cells) > count and not any(map(is_number, cells[count - 1 :])):
        cells = [*cells[: count - 1], " ".join(cells[count - 1 :])]
    if len(cells) != count:
        raise UserError(f"{row.where}: has {len(cells)} cells, but there are {count} headings: {shown(row)}")
    return list(cells)


def by_position(rows: Sequence[Row]) -> list[Line]:
    """The rows with their colours, which stand at the same end of every line; classes are the numbers of the rows."""
    listed, ends = [], set()
    for position, row in enumerate(rows):
        cells = [cell for cell in row.cells if cell]
        found = [colour for cell in cells if not is_number(cell) and (colour := whole_colour(cell))]
        if len(found) == 1 and not any(map(is_number, cells)):
            listed.append(Line(row, found[0], position, " ".join(cell for cell in cells if not whole_colour(cell))))
            continue
        numbers = [is_number(cell) for cell in cells]
        leading = (numbers + [False]).index(False)
        trailing = (numbers[::-1] + [False]).index(False)
        if 3 not in (leading, trailing) or (leading and trailing and leading != len(cells)):
            raise UserError(f"{row.where}: which of these are red, green and blue from 0 to 255? {shown(row)} {ADVICE}")
        if leading != trailing:
            ends.add(leading == 3)
        if len(ends) > 1:
            raise UserError(f"{row.where}: the colour stands at another end than in the lines above. {ADVICE}")
        numerals, name = (cells[:3], cells[3:]) if leading == 3 else (cells[-3:], cells[:-3])
        listed.append(Line(row, tuple(map(int, numerals)), position, " ".join(name)))
    return listed


def whole_colour(text: str) -> tuple[int, ...]:
    """The colour that a cell holds: 0xrrggbb, or three numbers; () if it is none."""
    code = re.fullmatch(r"0x([0-9a-fA-F]{6})", text)
    if code:
        return tuple(bytes.fromhex(code[1]))
    numbers = re.fullmatch(r"[\[(]?\s*(\d{1,3})[\s,;]+(\d{1,3})[\s,;]+(\d{1,3})\s*[\])]?", text)
    return tuple(map(int, numbers.groups())) if numbers else ()


def is_odd(cell: str) -> bool:
    """Whether a cell is a number, but none that a class can have, or empty; names are neither."""
    return not cell or (not is_number(cell) and re.fullmatch(r"[-+]?[0-9]*[.,]?[0-9]+", cell) is not None)


def is_number(cell: str) -> bool:
    """Whether a cell is a whole number from 0."""
    return re.fullmatch(r"[0-9]{1,9}", cell) is not None


def shown(row: Row) -> str:
    """The cells of a row for a message."""
    return " ".join(row.cells)[:80]
