"""What a person sees: tables and lines, also while progress is drawn; plain text where there is no terminal."""

import io
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from utils.base.errors import printable
from utils.base.progress import display
from utils.base.streams import StandardStream, is_terminal, make_console, write_line

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

NUMBER = re.compile(r"[-+\u2212]?[\d,._ ]*\d([eE][-+]?\d+)?\s?%?|[-\u2013\u2014]?")  # also a dash, for no value


def make_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> "Table":
    """A table that loses nothing where it is narrow: long cells are folded.

    Args:
        columns: their headings. A column whose cells are all numbers or dashes is aligned to the right.
        rows: a cell for each column: text, a number, or rich's `Text` for one in colour.

    Example:
        >>> print(render(make_table(["class", "Dice"], [["liver", "0.9350"], ["tumour", "-"]]), 40))
        class     Dice
        ──────────────
        liver   0.9350
        tumour       -
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    cells = [[cell if isinstance(cell, Text) else Text(printable(cell)) for cell in row] for row in rows]
    table = Table(
        header_style="bold",
        box=box.Box("    \n    \n ── \n    \n    \n    \n    \n    \n"),
        show_edge=False,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    for index, name in enumerate(columns):
        numbers = bool(cells) and all(NUMBER.fullmatch(row[index].plain.strip()) for row in cells)
        table.add_column(name, justify="right" if numbers else "left", overflow="fold")
    for row in cells:
        table.add_row(*row)
    return table


def render(drawing: "RenderableType", width: int = 80, encoding: str = "utf-8") -> str:
    """What `show` writes, as plain text of at most `width` columns, without spaces at the ends of lines."""
    from rich.console import Console

    file = io.TextIOWrapper(io.BytesIO(), encoding)
    console = Console(file=file, width=width, color_system=None, force_terminal=False, force_jupyter=False)
    with console.capture() as captured:
        console.print(drawing, markup=False, emoji=False, highlight=False)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def show(drawing: "RenderableType", stream: str = "stdout") -> None:
    """Draw a table, or whatever rich draws, on "stdout" or "stderr"."""
    console = make_console(stream)
    if not is_terminal(stream):
        say(render(drawing, console.width, StandardStream(stream).encoding), stream)
        return
    with display.paused():
        console.print(drawing)


def say(text: str, stream: str = "stdout") -> None:
    """Write a line at once; it is not broken, so that commands can be copied."""
    with display.paused():
        write_line(printable(text), stream)
