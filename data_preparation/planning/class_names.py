"""Names and colours of classes, from --names."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from data_generators.files.preparation import is_name
from data_preparation.common.colour_tables import VOID, read_table
from utils.base.errors import UserError

VOID_NAMES = {"void", "unlabelled", "unlabeled", "ignore", "ignored", "dontcare"}


class Names(NamedTuple):
    """What --names says.

    in_order: the names of the classes, typed; by_value: `{pixel value: name}` of a table; colours: `{pixel value: RGB}`
    of a table.
    """

    in_order: list[str]
    by_value: dict[int, str]
    colours: dict[int, tuple[int, ...]]

    def of_void(self, found: Sequence[int]) -> int | None:
        """The value that is called void or the like; `found`: sorted values of all masks, which typed names follow."""
        typed = zip(found, self.in_order, strict=True) if len(found) == len(self.in_order) else ()
        named = self.by_value or dict(typed)
        return next((value for value, name in named.items() if is_void(name)), None)

    def of_classes(self, values: Sequence[int]) -> list[str]:
        """The name of each class.

        Raises:
            UserError: not one name for each.
        """
        if self.by_value:
            return [self.by_value[value] for value in values]
        names = [name for name in self.in_order if not is_void(name)]
        if len(names) != len(values):
            raise UserError(
                f"--names has {len(names)} names, but there are {len(values)} classes with the mask values "
                f"{', '.join(map(str, values))}. Name each one"
                + (f", or leave one out: --ignore {values[-1]}." if len(names) < len(values) else ".")
            )
        return names


def is_void(name: str) -> bool:
    """Whether a name says that pixels have no label.

    >>> is_void("Un-labelled"), is_void("road")
    (True, False)
    """
    return re.sub(r"[^a-z]", "", name.lower()) in VOID_NAMES


def parse_names(text: str | None) -> Names | None:
    """Read --names: names with commas between them, or the path of a table of names and colours.

    Raises:
        UserError: one name only, a name that is given twice or cannot be one, or a table without names.

    >>> parse_names("sky, road").in_order
    ['sky', 'road']
    """
    if text is None:
        return None
    if Path(text).is_file() or re.search(r"\.(csv|txt|tsv)$", text):
        if not Path(text).is_file():
            raise UserError(f"--names {text}: there is no such file.")
        lines = [line for line in read_table(Path(text)) if line.name or line.label != VOID]
        names, advice = [line.name for line in lines], "each line needs a name of its own, in a column called name"
    else:
        lines, advice = [], "names have commas between them, and no two are the same: sky,building,road"
        names = [name.strip() for name in text.split(",")]
    if len(names) < 2 or len(set(names)) < len(names) or not all(map(is_name, names)):
        raise UserError(f"--names {text}: {advice}.")
    if not lines:
        return Names(names, {}, {})
    return Names([], {line.label: line.name for line in lines}, {line.label: line.colour for line in lines})
